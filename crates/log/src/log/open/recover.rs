//! Finding the log's end and the producers' states: by the files' word, or by checking every batch.

use std::sync::Arc;

use millstream_base::{Offset, TimestampMs};
use millstream_partition::ProducerTable;
use millstream_records::{BatchError, BatchHeader};

use super::{Cut, RecoveryReport, SMALL_FILE};
use crate::error::{ReadError, StorageError};
use crate::log::Log;
use crate::log::append::{marker_of, producer_batch};
use crate::names;
use crate::scan::{ScanError, Scanner};
use crate::segment::{Inner, Segment};
use crate::txn_index::AbortedTxn;

/// Bytes that a check reads at once.
const BLOCK: usize = 256 * 1024;
/// A control batch is tiny; one that is larger is no marker.
const MAX_MARKER: usize = 64 * 1024;

impl Log {
    /// Goes on after a clean stop. `false` when the files contradict that; nothing is changed then.
    pub(super) fn resume(
        &mut self,
        snapshots: &[i64],
        report: &mut RecoveryReport,
        now: TimestampMs,
    ) -> Result<bool, StorageError> {
        let active = Arc::clone(self.active());
        match active.resume(&self.config) {
            Ok(end) => self.end = end,
            Err(ReadError::Storage(e)) => return Err(e),
            Err(problem) => {
                tracing::warn!(partition = %self.partition, %problem, "not as a clean stop leaves it");
                return Ok(false);
            }
        }
        match self.load_producers(self.end, snapshots, report, now) {
            Ok(()) => Ok(true),
            Err(ReadError::Storage(e)) => Err(e),
            Err(_) => Ok(false),
        }
    }

    /// Checks all segments from the one that holds `recovery_point`.
    pub(super) fn recover(
        &mut self,
        recovery_point: i64,
        snapshots: &[i64],
        report: &mut RecoveryReport,
        now: TimestampMs,
    ) -> Result<(), ReadError> {
        let first = self.segment_index(recovery_point);
        let base = self.segments.get(first).map_or(self.start, |s| s.base);
        self.end = base;
        self.load_producers(base, snapshots, report, now)?;
        let segments = Arc::clone(&self.segments);
        for (at, segment) in segments.iter().enumerate().skip(first) {
            self.end = self.end.max(segment.base);
            let sound = self.recover_segment(segment, recovery_point, report, now)?;
            if let Some((position, reason)) = sound {
                self.cut_at(at, position, &reason, report)?;
                break;
            }
            if at + 1 < segments.len() {
                segment.seal()?;
            }
        }
        // A snapshot past the end speaks of records that are gone.
        let end = self.end;
        for &offset in snapshots.iter().filter(|&&offset| offset > end) {
            self.home.remove(&self.home.offset_file(offset, names::SNAPSHOT))?;
        }
        Ok(())
    }

    /// Walks one segment; where and why its sound batches end, if before the file does. `self.end` follows.
    fn recover_segment(
        &mut self,
        segment: &Segment,
        recovery_point: i64,
        report: &mut RecoveryReport,
        now: TimestampMs,
    ) -> Result<Option<(u64, BatchError)>, ReadError> {
        let size = segment.size();
        report.checked_segments += 1;
        if size == 0 {
            segment.recovering(|inner| segment.replace_index_files(inner, false))?;
            return Ok(None);
        }
        let file = segment.log_file()?;
        let interval = self.config.index_interval_bytes;
        let mut scanner = Scanner::new(&*file, 0, size, BLOCK);
        let mut aborted = Vec::new();
        segment.recovering(Inner::reset);
        let bad = loop {
            match self.recover_batch(segment, &mut scanner, recovery_point, &mut aborted, now) {
                Ok(Some((position, header))) => {
                    segment
                        .recovering(|inner| inner.note(segment.base, position, &header, interval));
                    report.checked_bytes += header.size_bytes() as u64;
                }
                Ok(None) => break None,
                Err(ScanError::Batch { position, error }) => break Some((position, error)),
                Err(ScanError::Io(e)) => return Err(segment.scan_error(ScanError::Io(e))),
            }
        };
        segment.recovering(|inner| segment.replace_index_files(inner, false))?;
        segment.set_aborted(aborted)?;
        if recovery_point <= segment.base {
            segment.set_all_checked();
        }
        Ok(bad)
    }

    /// Checks one batch and takes it into producers and epochs.
    fn recover_batch(
        &mut self,
        segment: &Segment,
        scanner: &mut Scanner<'_>,
        recovery_point: i64,
        aborted: &mut Vec<AbortedTxn>,
        now: TimestampMs,
    ) -> Result<Option<(u64, BatchHeader)>, ScanError> {
        let Some((position, header)) = scanner.next()? else { return Ok(None) };
        let base = header.base_offset.get();
        if base < self.end || header.last_offset().get() - segment.base > i64::from(i32::MAX) {
            let error = BatchError::Length(header.batch_length);
            return Err(ScanError::Batch { position, error });
        }
        if header.last_offset().get() >= recovery_point {
            scanner.check_crc(position, &header)?;
        }
        if header.has_producer_id() {
            let size = header.size_bytes().min(MAX_MARKER);
            let bytes = match header.attributes.is_control() {
                true => scanner.bytes(position, size).map_err(ScanError::Io)?,
                false => &[],
            };
            aborted.extend(replay(&mut self.producers, &header, bytes, now));
        }
        let observed = self.epochs.observe(header.partition_leader_epoch, header.base_offset);
        self.epochs_unsynced.mark_if(observed);
        self.end = header.next_offset().get();
        Ok(Some((position, header)))
    }

    /// The log ends at `position` of the segment at `at`; everything behind is removed.
    fn cut_at(
        &mut self,
        at: usize,
        position: u64,
        reason: &BatchError,
        report: &mut RecoveryReport,
    ) -> Result<(), StorageError> {
        let segment = Arc::clone(&self.segments[at]);
        let later: u64 = self.segments.iter().skip(at + 1).map(|s| s.size()).sum();
        let path = segment.path(names::LOG);
        let cut = Cut {
            file: path.clone(),
            position,
            bytes: segment.size() - position + later,
            end_offset: Offset(self.end),
            reason: reason.to_string(),
        };
        tracing::warn!(
            partition = %self.partition, file = %path.display(), position, bytes = cut.bytes,
            end_offset = self.end, %reason, "the log's end was cut off"
        );
        // Later segments first: a crash in between leaves a log that is cut at the same place again.
        self.remove_segments_after(at)?;
        let file = segment.log_file_for_writing()?;
        file.truncate(position).map_err(|e| StorageError::io("truncate", &path, e))?;
        segment.set_size(position);
        report.cut = Some(cut);
        Ok(())
    }

    /// The producers' states as of `upto`: from the newest snapshot that can be read, and the batches since.
    pub(in crate::log) fn load_producers(
        &mut self,
        upto: i64,
        snapshots: &[i64],
        report: &mut RecoveryReport,
        now: TimestampMs,
    ) -> Result<(), ReadError> {
        self.producers.clear();
        let mut from = self.start.max(self.first_base());
        for &offset in snapshots.iter().rev().filter(|&&offset| offset <= upto) {
            let path = self.home.offset_file(offset, names::SNAPSHOT);
            let bytes = self.home.fs.read(&path, SMALL_FILE);
            let bytes = bytes.map_err(|e| StorageError::io("read", &path, e))?;
            match ProducerTable::from_snapshot(&bytes) {
                Ok(table) => {
                    self.producers = table;
                    from = from.max(offset);
                    self.remember_recent(offset, now);
                    break;
                }
                Err(problem) => {
                    tracing::warn!(path = %path.display(), %problem, "producer snapshot is not used");
                    report.rebuilt.push(names::offset_file(offset, names::SNAPSHOT));
                    self.home.remove(&path)?;
                }
            }
        }
        self.replay_producers(from, upto, now)
    }

    /// Takes the batches in `from..upto` into the producers' states.
    fn replay_producers(
        &mut self,
        from: i64,
        upto: i64,
        now: TimestampMs,
    ) -> Result<(), ReadError> {
        if from >= upto {
            return Ok(());
        }
        let segments = Arc::clone(&self.segments);
        for segment in segments.iter().skip(self.segment_index(from)) {
            if segment.base >= upto {
                break;
            }
            let Some(place) = segment.find(from, segment.size())? else { continue };
            let file = segment.log_file()?;
            let mut scanner = Scanner::new(&*file, place.position, segment.size(), BLOCK);
            while let Some((position, header)) =
                scanner.next().map_err(|e| segment.scan_error(e))?
            {
                if header.base_offset.get() >= upto {
                    break;
                }
                if !header.has_producer_id() {
                    continue;
                }
                let size = header.size_bytes().min(MAX_MARKER);
                let bytes = match header.attributes.is_control() {
                    true => scanner.bytes(position, size),
                    false => Ok(&[][..]),
                };
                let bytes = bytes.map_err(|e| segment.scan_error(ScanError::Io(e)))?;
                replay(&mut self.producers, &header, bytes, now);
            }
        }
        Ok(())
    }

    /// Builds the producers' states anew after a truncation.
    pub(in crate::log) fn rebuild_producers(&mut self, now: TimestampMs) -> Result<(), ReadError> {
        let snapshots = self.snapshots()?;
        self.load_producers(self.end, &snapshots, &mut RecoveryReport::default(), now)
    }
}

/// Takes one stored batch into the table; the transaction that it aborted.
fn replay(
    producers: &mut ProducerTable,
    header: &BatchHeader,
    bytes: &[u8],
    now: TimestampMs,
) -> Option<AbortedTxn> {
    if !header.attributes.is_control() {
        producers.apply(&producer_batch(header, now));
        return None;
    }
    let marker = marker_of(header, bytes, now)?;
    let done = producers.apply_marker(&marker).filter(|done| done.aborted)?;
    Some(AbortedTxn {
        producer_id: done.producer_id,
        first_offset: done.first_offset,
        last_offset: done.last_offset,
        last_stable_offset: done.last_stable_offset,
    })
}
