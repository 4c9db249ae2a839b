//! Cutting the log's end, for a follower whose end was not the leader's.

use std::sync::Arc;

use millstream_base::{Offset, TimestampMs};

use super::Log;
use crate::error::{ReadError, StorageError};
use crate::names;
use crate::segment::Segment;

impl Log {
    /// Removes all records from `offset` on. A batch that holds `offset` in its middle goes as a whole. Returns
    /// the new end. Ranges handed out above it become short.
    pub fn truncate_to(&mut self, offset: Offset, now: TimestampMs) -> Result<Offset, ReadError> {
        self.check_online()?;
        let to = offset.get();
        if to >= self.end {
            return Ok(Offset(self.end));
        }
        if to <= self.first_base() {
            self.truncate_fully_and_start_at(offset, now)?;
            return Ok(Offset(self.end));
        }
        let at = self.segment_index(to);
        let segment = Arc::clone(&self.segments[at]);
        let place = segment.find(to, segment.size())?;
        // The end becomes the base of the batch that is cut away, or the end of what is left.
        let (end, size) = match place {
            Some(place) => (place.base_offset.min(to), place.position),
            None => (to, segment.size()),
        };
        self.remove_segments_after(at)?;
        self.cut_segment(&segment, size, end)?;
        self.end = end;
        self.start = self.start.min(end);
        self.recovery_point = self.recovery_point.min(end);
        self.epochs_unsynced.mark_if(self.epochs.truncate_from_end(Offset(end)));
        self.names.mark();
        self.remove_snapshots(|snapshot| snapshot > end)?;
        self.rebuild_producers(now)?;
        Ok(Offset(end))
    }

    /// Removes everything; the log begins and ends at `offset`.
    pub fn truncate_fully_and_start_at(
        &mut self,
        offset: Offset,
        now: TimestampMs,
    ) -> Result<(), StorageError> {
        self.check_online()?;
        let base = offset.get();
        let old = Arc::clone(&self.segments);
        for segment in old.iter() {
            self.remove_segment_files(segment)?;
        }
        self.remove_snapshots(|_| true)?;
        let only = Segment::new(&self.home, base, &self.config);
        only.create()?;
        self.segments = Arc::new(vec![Arc::new(only)]);
        (self.start, self.end, self.recovery_point) = (base, base, base);
        self.epochs.clear();
        self.epochs_unsynced.mark();
        self.names.mark();
        self.producers.clear();
        self.active_since_ms = now.get();
        self.unflushed_since_ms = None;
        Ok(())
    }

    pub(super) fn first_base(&self) -> i64 {
        self.segments.first().map_or(self.start, |s| s.base)
    }

    pub(super) fn remove_segments_after(&mut self, at: usize) -> Result<(), StorageError> {
        let old = Arc::clone(&self.segments);
        for segment in old.iter().skip(at + 1) {
            self.remove_segment_files(segment)?;
        }
        self.segments = Arc::new(old.iter().take(at + 1).cloned().collect());
        Ok(())
    }

    pub(super) fn remove_segment_files(&self, segment: &Segment) -> Result<(), StorageError> {
        segment.close_files();
        for suffix in [names::LOG, names::INDEX, names::TIME_INDEX, names::TXN_INDEX] {
            self.home.remove(&segment.path(suffix))?;
        }
        Ok(())
    }

    /// Cuts a segment's file to `size` and builds its indexes anew.
    fn cut_segment(&mut self, segment: &Segment, size: u64, end: i64) -> Result<(), ReadError> {
        let path = segment.path(names::LOG);
        if size < segment.size() {
            let file = segment.log_file_for_writing()?;
            if let Err(e) = file.truncate(size) {
                self.go_offline(&format!("truncating failed: {e}"));
                return Err(StorageError::io("truncate", &path, e).into());
            }
        }
        segment.cut(size, end, &self.config)
    }

    /// Removes the snapshots whose offset `gone` names.
    pub(super) fn remove_snapshots(&self, gone: impl Fn(i64) -> bool) -> Result<(), StorageError> {
        for offset in self.snapshots()? {
            if gone(offset) {
                self.home.remove(&self.home.offset_file(offset, names::SNAPSHOT))?;
            }
        }
        Ok(())
    }

    /// The offsets of the snapshots in the directory, growing.
    pub(super) fn snapshots(&self) -> Result<Vec<i64>, StorageError> {
        let path = self.home.path();
        let entries = self.home.fs.list(&path).map_err(|e| StorageError::io("list", &path, e))?;
        let names = entries.iter().filter_map(|e| names::parse_offset_file(&e.name));
        Ok(names.filter(|(_, suffix)| *suffix == names::SNAPSHOT).map(|(o, _)| o).collect())
    }
}
