//! Forgetting the log's front: DeleteRecords, retention by time and size, and the deletion of the whole log.
//!
//! Key type: [`DeletedSegments`]. Files are renamed to `.deleted` first and removed later, so that readers who hold
//! them finish, and a crash between leaves nothing half removed.

use std::path::PathBuf;
use std::sync::Arc;

use millstream_base::{Offset, TimestampMs, Uuid};

use super::Log;
use crate::error::{ReadError, StorageError};
use crate::home::Home;
use crate::names;
use crate::segment::{Segment, Stage};

/// Why segments were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetentionReason {
    /// All their records lie below the log's start (DeleteRecords).
    LogStart,
    /// Their newest record is older than `retention.ms`.
    Time,
    /// The log is larger than `retention.bytes`.
    Size,
    /// Compaction has written what is left of them elsewhere.
    Compacted,
}

/// Files that wait for their removal.
#[derive(Debug)]
pub struct DeletedSegments {
    home: Arc<Home>,
    pub(super) files: Vec<PathBuf>,
    /// Why.
    pub reason: RetentionReason,
    /// How many segments.
    pub segments: usize,
    /// How many bytes of records.
    pub bytes: u64,
    /// From when on [`DeletedSegments::remove`] may be called (`file.delete.delay.ms`).
    pub due: TimestampMs,
}

impl DeletedSegments {
    /// Removes the files. Waits for the disk. Fine when the log's directory was renamed or removed meanwhile.
    pub fn remove(&self) -> Result<(), StorageError> {
        let dir = self.home.path();
        for file in &self.files {
            let name = file.file_name().unwrap_or_default();
            self.home.remove(&dir.join(name))?;
        }
        Ok(())
    }
}

impl Log {
    /// Moves the log's start to `to` (DeleteRecords), never back. Whole segments below it are given up at the
    /// next [`Log::enforce_retention`]. The caller has held `to` against the high watermark.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] for `to` above the log's end.
    pub fn delete_records(&mut self, to: Offset) -> Result<Offset, ReadError> {
        self.check_online()?;
        if to.get() > self.end {
            return Err(ReadError::OutOfRange {
                offset: to,
                start: Offset(self.start),
                end: Offset(self.end),
            });
        }
        self.move_start(to.get());
        Ok(Offset(self.start))
    }

    fn move_start(&mut self, to: i64) {
        if to > self.start {
            self.start = to;
            self.epochs_unsynced.mark_if(self.epochs.truncate_from_start(Offset(to)));
        }
    }

    /// Deletes the segments that `cleanup.policy`, `retention.ms` and `retention.bytes` no longer want, and those
    /// below the log's start. Only what lies below `high_watermark` goes. By record timestamps, as Kafka does.
    pub fn enforce_retention(
        &mut self,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Result<Vec<DeletedSegments>, ReadError> {
        self.check_online()?;
        let mut deleted = Vec::new();
        if self.config.delete {
            let count = self.expired_by_time(high_watermark.get(), now)?;
            deleted.extend(self.delete_front(count, RetentionReason::Time, now)?);
            let count = self.expired_by_size(high_watermark.get());
            deleted.extend(self.delete_front(count, RetentionReason::Size, now)?);
        }
        let below = self.segments.iter().skip(1).take_while(|next| next.base <= self.start).count();
        deleted.extend(self.delete_front(below, RetentionReason::LogStart, now)?);
        Ok(deleted)
    }

    /// Where the segment at `at` ends.
    fn segment_end_offset(&self, at: usize) -> i64 {
        self.segments.get(at + 1).map_or(self.end, |next| next.base)
    }

    fn expired_by_time(&self, high_watermark: i64, now: TimestampMs) -> Result<usize, ReadError> {
        let keep_ms = self.config.retention_ms;
        if keep_ms < 0 {
            return Ok(0);
        }
        let mut count = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            if segment.size() == 0 && at + 1 == self.segments.len() {
                break;
            }
            let newest = match segment.max_timestamp()?.0 {
                // Records without a timestamp are as old as their file, as in Kafka; they must not shield what follows.
                ..0 => segment.modified_ms()?,
                newest => newest,
            };
            let old = now.get().saturating_sub(newest) > keep_ms;
            // A segment that compaction has emptied has no age of its own.
            let empty = segment.size() == 0;
            if self.segment_end_offset(at) > high_watermark || !(old || empty) {
                break;
            }
            count = at + 1;
        }
        Ok(count)
    }

    fn expired_by_size(&self, high_watermark: i64) -> usize {
        let Ok(keep) = u64::try_from(self.config.retention_bytes) else { return 0 };
        let mut excess = self.size_bytes().saturating_sub(keep);
        let mut count = 0;
        for (at, segment) in self.segments.iter().enumerate() {
            let last = at + 1 == self.segments.len();
            if excess < segment.size()
                || self.segment_end_offset(at) > high_watermark
                || (last && segment.size() == 0)
            {
                break;
            }
            excess -= segment.size();
            count = at + 1;
        }
        count
    }

    /// Gives up the first `count` segments; begins a new one first when that is all of them.
    fn delete_front(
        &mut self,
        count: usize,
        reason: RetentionReason,
        now: TimestampMs,
    ) -> Result<Option<DeletedSegments>, ReadError> {
        if count == 0 {
            return Ok(None);
        }
        if count == self.segments.len() {
            self.roll(self.end, now)?;
            // The new segment's name says where the log goes on; it must outlive those of the old ones.
            let path = self.home.path();
            self.home.fs.sync_dir(&path).map_err(|e| StorageError::io("sync", &path, e))?;
        }
        let gone: Vec<Arc<Segment>> = self.segments.iter().take(count).cloned().collect();
        let rest: Vec<Arc<Segment>> = self.segments.iter().skip(count).cloned().collect();
        let first = rest.first().map_or(self.end, |s| s.base);
        let mut deleted = DeletedSegments {
            home: Arc::clone(&self.home),
            files: Vec::new(),
            reason,
            segments: gone.len(),
            bytes: gone.iter().map(|s| s.size()).sum(),
            due: TimestampMs(now.get().saturating_add(self.config.file_delete_delay_ms)),
        };
        // From here on the segments are no longer read, whatever becomes of their files.
        self.segments = Arc::new(rest);
        self.move_start(first);
        self.recovery_point = self.recovery_point.max(first);
        for segment in gone {
            deleted.files.extend(segment.move_to(Stage::Deleted, false)?);
            let snapshot = self.home.offset_file(segment.base, names::SNAPSHOT);
            self.home.remove(&snapshot)?;
        }
        Ok(Some(deleted))
    }

    /// Files of segments that compaction has replaced.
    pub(super) fn replaced(&self, gone: &[Arc<Segment>], now: TimestampMs) -> DeletedSegments {
        DeletedSegments {
            home: Arc::clone(&self.home),
            files: Vec::new(),
            reason: RetentionReason::Compacted,
            segments: gone.len(),
            bytes: gone.iter().map(|s| s.size()).sum(),
            due: TimestampMs(now.get().saturating_add(self.config.file_delete_delay_ms)),
        }
    }

    /// Begins the deletion of the whole log: its directory is renamed, the log goes offline, and the new path is
    /// for [`crate::LogDir::remove_deleted`] after `file.delete.delay.ms`.
    pub fn rename_for_delete(&mut self, id: Uuid) -> Result<PathBuf, StorageError> {
        let from = self.home.path();
        let to = from.with_file_name(names::delete_dir(&self.partition, id));
        self.home.fs.rename(&from, &to).map_err(|e| StorageError::io("rename", &from, e))?;
        self.home.set_path(&to);
        self.offline = Some(Arc::from("the partition was deleted"));
        Ok(to)
    }
}
