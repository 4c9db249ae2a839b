//! Compaction: of each key the last value stays.
//!
//! Key types: [`CompactionPlan`] (what is to be cleaned, taken under the log's lock), [`Compacted`] (what a run did),
//! [`Pace`] (the caller's brake). Offsets never change. Only sealed segments below the last stable offset are
//! cleaned. A run takes the lock for renames alone; killed at any instant, it leaves the log as it was or done.

mod filter;
mod map;
mod run;
mod swap;
mod txns;

use std::collections::HashMap;
use std::sync::Arc;

use millstream_base::{Offset, ProducerEpoch, ProducerId, TimestampMs};

pub use run::WithLog;

use super::{DeletedSegments, Log};
use crate::config::LogConfig;
use crate::error::{ReadError, StorageError};
use crate::home::Home;
use crate::segment::Segment;
use crate::txn_index::AbortedTxn;

/// How much a log wants to be compacted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionNeed {
    /// Bytes that an earlier compaction has seen.
    pub clean_bytes: u64,
    /// Bytes that none has seen and that may be compacted now.
    pub dirty_bytes: u64,
    /// Dirty bytes over all of them.
    pub dirty_ratio: f64,
    /// Whether to compact now: the ratio is above `min.cleanable.dirty.ratio`, or `max.compaction.lag.ms` is over.
    pub due: bool,
}

/// The limits of a run.
#[derive(Clone, Copy, Debug)]
pub struct CompactionOptions {
    /// Memory for the keys (`log.cleaner.dedupe.buffer.size` over the number of cleaners).
    pub dedupe_buffer_bytes: usize,
    /// How full it may become (`log.cleaner.io.buffer.load.factor`).
    pub load_factor: f64,
    /// Most bytes that a compressed batch may have when decompressed.
    pub max_batch_bytes: usize,
    /// A random number, so that nobody can make keys that collide.
    pub seed: u64,
    /// The wall clock.
    pub now: TimestampMs,
}

/// Slows a run down, and stops it.
pub trait Pace {
    /// So many bytes were read or written; may sleep (`log.cleaner.io.max.bytes.per.second`). `false` ends the run.
    fn spent(&mut self, bytes: u64) -> bool;
}

/// As fast as the disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPace;

impl Pace for NoPace {
    fn spent(&mut self, _: u64) -> bool {
        true
    }
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Compacted {
    /// Everything below was cleaned: for the checkpoint, and where the next run begins.
    pub upto: Offset,
    /// Bytes of the segments before.
    pub bytes_before: u64,
    /// Bytes of the segments after.
    pub bytes_after: u64,
    /// Records read.
    pub records_read: u64,
    /// Records kept.
    pub records_kept: u64,
    /// Keys that the map held.
    pub keys: usize,
    /// The replaced files, for removal when due.
    pub replaced: Vec<DeletedSegments>,
}

/// Why a run ended early. The log is as it was, but for groups of segments that were done.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// [`Pace::spent`] said so.
    #[error("stopped")]
    Stopped,
    /// The log was truncated or lost segments meanwhile; plan again.
    #[error("the log changed while it was compacted")]
    Changed,
    /// Not even one batch's keys fit into the buffer.
    #[error("the buffer of {bytes} bytes for keys is too small (log.cleaner.dedupe.buffer.size)")]
    BufferTooSmall {
        /// Its size.
        bytes: usize,
    },
    /// The records cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A batch cannot be written anew.
    #[error("batch at offset {offset}: {problem}")]
    Batch {
        /// Its base offset.
        offset: Offset,
        /// What is wrong.
        problem: String,
    },
}

impl From<StorageError> for CompactionError {
    fn from(error: StorageError) -> Self {
        Self::Read(ReadError::Storage(error))
    }
}

/// What is known of a producer whose last batch must stay, so that its sequence outlives a restart.
#[derive(Clone, Copy, Debug)]
struct ActiveProducer {
    epoch: ProducerEpoch,
    last_offset: Option<Offset>,
}

/// Everything that a run needs of the log.
#[derive(Debug)]
pub struct CompactionPlan {
    home: Arc<Home>,
    config: Arc<LogConfig>,
    /// From the log's first segment to the last that may be cleaned.
    segments: Vec<Arc<Segment>>,
    start: i64,
    first_dirty: i64,
    /// No record from here on is looked at.
    first_uncleanable: i64,
    /// The log's end: its last batch is never dropped as a whole.
    end: i64,
    producers: HashMap<ProducerId, ActiveProducer>,
    aborted: Vec<AbortedTxn>,
}

/// The cleanable part of a log.
struct Range {
    first_dirty: i64,
    first_uncleanable: i64,
}

impl Log {
    /// How much this log wants to be compacted. `first_dirty` is what the last run returned or the cleaner's
    /// checkpoint says, 0 for neither. May read the ends of index files.
    pub fn compaction_need(
        &self,
        first_dirty: Offset,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Result<CompactionNeed, ReadError> {
        let range = self.cleanable_range(first_dirty, high_watermark, now)?;
        let (mut clean_bytes, mut dirty_bytes) = (0, 0);
        let mut oldest_dirty = None;
        for (at, segment) in self.segments.iter().enumerate() {
            if segment.base >= range.first_uncleanable {
                break;
            }
            let end = self.segments.get(at + 1).map_or(self.end, |next| next.base);
            if end <= range.first_dirty {
                clean_bytes += segment.size();
                continue;
            }
            dirty_bytes += segment.size();
            if oldest_dirty.is_none() && segment.size() > 0 {
                oldest_dirty = Some(segment.first_timestamp()?);
            }
        }
        let all = clean_bytes + dirty_bytes;
        // Of sizes that fit a disk a float is exact enough.
        let dirty_ratio = if all == 0 { 0.0 } else { dirty_bytes as f64 / all as f64 };
        let lag = oldest_dirty.filter(|t| *t > 0).map_or(0, |t| now.get().saturating_sub(t));
        let due = self.config.compact
            && self.offline.is_none()
            && dirty_bytes > 0
            && (dirty_ratio > self.config.min_cleanable_dirty_ratio
                || lag > self.config.max_compaction_lag_ms);
        Ok(CompactionNeed { clean_bytes, dirty_bytes, dirty_ratio, due })
    }

    /// Plans a compaction; `None` when nothing is dirty.
    pub fn compaction_plan(
        &self,
        first_dirty: Offset,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Result<Option<CompactionPlan>, ReadError> {
        self.check_online()?;
        let range = self.cleanable_range(first_dirty, high_watermark, now)?;
        if range.first_dirty >= range.first_uncleanable {
            return Ok(None);
        }
        let cleanable = self.segments.iter().take_while(|s| s.base < range.first_uncleanable);
        let segments: Vec<Arc<Segment>> = cleanable.cloned().collect();
        // The marker of a transaction may lie far behind its records, even in the active segment.
        let mut aborted = Vec::new();
        for segment in self.segments.iter() {
            aborted.extend(segment.aborted()?);
        }
        let producers = self.producers.iter().map(|(id, state)| {
            let last_offset = state.last().map(|batch| batch.last_offset);
            (id, ActiveProducer { epoch: state.epoch, last_offset })
        });
        Ok(Some(CompactionPlan {
            home: Arc::clone(&self.home),
            config: Arc::clone(&self.config),
            segments,
            start: self.start,
            first_dirty: range.first_dirty,
            first_uncleanable: range.first_uncleanable,
            end: self.end,
            producers: producers.collect(),
            aborted,
        }))
    }

    fn cleanable_range(
        &self,
        first_dirty: Offset,
        high_watermark: Offset,
        now: TimestampMs,
    ) -> Result<Range, ReadError> {
        // A checkpoint past the end speaks of another life of this log.
        let first_dirty = match first_dirty.get() <= self.end {
            true => first_dirty.get().max(self.start),
            false => self.start,
        };
        let mut bound = self.last_stable_offset(high_watermark).get().min(self.active().base);
        let lag = self.config.min_compaction_lag_ms;
        if lag > 0 {
            let young_from = now.get().saturating_sub(lag);
            for (at, segment) in self.segments.iter().enumerate() {
                let end = self.segments.get(at + 1).map_or(self.end, |next| next.base);
                if segment.base >= bound {
                    break;
                }
                if end > first_dirty && segment.max_timestamp()?.0 > young_from {
                    bound = segment.base;
                }
            }
        }
        // Whole segments: one that holds the last stable offset would be cleaned again and again.
        let first_uncleanable =
            self.segments.get(self.segment_index(bound)).map_or(bound, |s| s.base);
        Ok(Range { first_dirty, first_uncleanable })
    }
}

#[cfg(test)]
mod tests;
