//! Appending what a leader has: offsets and epochs stand in the batches already.
//!
//! A follower's log is a copy: the same bytes at the same offsets, and the same producers, epochs and aborted
//! transactions beside them. Only whole, sound batches that continue the log are taken.

use millstream_base::{LeaderEpoch, Offset, TimestampMs};
use millstream_records::{BatchError, BatchHeader, BatchView};

use super::Log;
use super::append::{Appended, parse_whole};
use crate::error::{AppendError, StorageError};

/// Batches that go into one segment by one write.
struct Run {
    from: usize,
    to: usize,
    first_offset: i64,
    last_offset: i64,
    max_timestamp: i64,
}

impl Log {
    /// Appends batches that carry their offsets and epochs already (a follower's copy), checked by their CRCs.
    ///
    /// Their offsets must not lie below the log's end and their epochs not before its last one; gaps, which
    /// compaction leaves, are fine. A last batch that is cut, as a fetch's size limit leaves it, is left out. The
    /// first batch for an empty log may begin below its start, when the leader's log starts within that batch.
    /// Where a write fails, whole batches before it may be stored: [`Log::end_offset`] tells.
    pub fn append_as_follower(
        &mut self,
        batches: &[u8],
        now: TimestampMs,
    ) -> Result<Appended, AppendError> {
        self.check_online()?;
        self.begin_within_batch(batches, now)?;
        let runs = self.check_copies(batches)?;
        let first_offset = runs.first().map_or(self.end, |run| run.first_offset);
        let mut rolled = false;
        let mut flush_due = false;
        for run in &runs {
            let bytes = batches.get(run.from..run.to).unwrap_or_default();
            self.read_headers(bytes)?;
            let done = self.store(bytes, run.max_timestamp, run.last_offset, now)?;
            rolled |= done.rolled;
            flush_due |= done.flush_due;
        }
        Ok(Appended {
            first_offset: Offset(first_offset),
            last_offset: Offset(self.end - 1),
            log_start_offset: Offset(self.start),
            duplicate: false,
            rolled,
            flush_due,
        })
    }

    /// Checks all batches before the first is written, and parts them by segments.
    fn check_copies(&self, batches: &[u8]) -> Result<Vec<Run>, AppendError> {
        let mut runs: Vec<Run> = Vec::new();
        let mut next = self.end;
        let mut last_epoch =
            self.epochs.epoch_of(Offset(self.end - 1)).unwrap_or(LeaderEpoch::NONE);
        let mut at = 0;
        while at < batches.len() {
            let header = match parse_whole(batches, at) {
                Err(BatchError::Torn { .. }) => break,
                other => other?,
            };
            let end = at + header.size_bytes();
            BatchView::parse(batches.get(at..end).unwrap_or_default())?.check_crc()?;
            let (offset, found) = (header.base_offset, header.partition_leader_epoch);
            if offset.get() < next {
                return Err(AppendError::NotNext { expected: Offset(next), found: offset });
            }
            if found.get() >= 0 && found < last_epoch {
                return Err(AppendError::EpochWentBack { offset, last: last_epoch, found });
            }
            last_epoch = last_epoch.max(found);
            next = header.next_offset().get();
            self.add_to_runs(&mut runs, at, end, &header);
            at = end;
        }
        Ok(runs)
    }

    fn add_to_runs(&self, runs: &mut Vec<Run>, at: usize, end: usize, header: &BatchHeader) {
        let (first, last) = (header.base_offset.get(), header.last_offset().get());
        let timestamp = header.max_timestamp.get();
        let limit = u64::from(self.config.segment_bytes);
        if let Some(run) = runs.last_mut()
            && (end - run.from) as u64 <= limit
            && last - run.first_offset <= i64::from(i32::MAX)
        {
            run.to = end;
            run.last_offset = last;
            run.max_timestamp = run.max_timestamp.max(timestamp);
            return;
        }
        runs.push(Run {
            from: at,
            to: end,
            first_offset: first,
            last_offset: last,
            max_timestamp: timestamp,
        });
    }

    fn read_headers(&mut self, bytes: &[u8]) -> Result<(), BatchError> {
        self.headers.clear();
        self.staged.clear();
        let mut at = 0;
        while at < bytes.len() {
            let header = parse_whole(bytes, at)?;
            self.headers.push((at as u64, header));
            at += header.size_bytes();
        }
        Ok(())
    }

    /// An empty log whose start lies within the first batch begins where that batch does; its start stays.
    fn begin_within_batch(&mut self, batches: &[u8], now: TimestampMs) -> Result<(), StorageError> {
        if self.start != self.end {
            return Ok(());
        }
        let Ok(header) = parse_whole(batches, 0) else { return Ok(()) };
        let (first, start) = (header.base_offset.get(), self.start);
        let within = (0..start).contains(&first) && header.last_offset().get() >= start;
        if within && BatchView::parse(batches).is_ok_and(|batch| batch.check_crc().is_ok()) {
            self.truncate_fully_and_start_at(Offset(first), now)?;
            self.start = start;
        }
        Ok(())
    }
}
