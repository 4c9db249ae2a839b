//! One partition's log on disk.
//!
//! Key type: [`Log`]. Synchronous; whoever shares it wraps it in a lock. Offsets only grow, `start <= end`, and
//! bytes behind the last successful write are never read. What may wait for the disk can be done without the
//! log's lock: reads by [`ReadPlan::resolve`], syncs by [`FlushTicket::run`]. After a failure that leaves the
//! file in doubt the log is offline: every later call errs.

mod aborted;
mod append;
mod compact;
mod delete;
mod flush;
mod follow;
mod open;
mod read;
mod times;
mod truncate;

use std::path::Path;
use std::sync::Arc;

use millstream_base::{LeaderEpoch, Offset, TopicPartition, Uuid};
use millstream_partition::{EpochCache, ProducerBatch, ProducerTable};
use millstream_records::BatchHeader;

pub use append::Appended;
pub use compact::{
    Compacted, CompactionError, CompactionNeed, CompactionOptions, CompactionPlan, NoPace, Pace,
    WithLog,
};
pub use delete::{DeletedSegments, RetentionReason};
pub use flush::FlushTicket;
use flush::Unsynced;
pub use open::{Cut, OpenOptions, RecoveryReport};
pub use read::{FileRange, LogRead, ReadPlan};
pub use times::{TimeSearch, TimestampedOffset};

use crate::config::LogConfig;
use crate::error::StorageError;
use crate::home::Home;
use crate::names;
use crate::segment::Segment;

/// One partition's log.
#[derive(Debug)]
pub struct Log {
    home: Arc<Home>,
    partition: TopicPartition,
    topic_id: Option<Uuid>,
    config: Arc<LogConfig>,
    /// Oldest first; never empty. Readers hold older versions of the list.
    segments: Arc<Vec<Arc<Segment>>>,
    start: i64,
    end: i64,
    /// Everything below is on the disk.
    recovery_point: i64,
    producers: ProducerTable,
    epochs: EpochCache,
    /// The checkpoint file does not say what `epochs` says.
    epochs_unsynced: Unsynced,
    /// Files were made or renamed since the directory was last synced.
    names: Unsynced,
    /// When the active segment was made.
    active_since_ms: i64,
    /// The earliest append that is not known to be on disk.
    unflushed_since_ms: Option<i64>,
    offline: Option<Arc<str>>,
    /// Working memory of appends.
    headers: Vec<(u64, BatchHeader)>,
    staged: Vec<ProducerBatch>,
}

impl Log {
    /// Which partition this is.
    pub const fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The topic id of `partition.metadata`.
    pub const fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    /// The directory as it is named now.
    pub fn path(&self) -> Arc<Path> {
        self.home.path()
    }

    /// The settings in force.
    pub const fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// Other settings, from the next call on.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        self.config = config;
    }

    /// The first offset that can be read.
    pub const fn log_start_offset(&self) -> Offset {
        Offset(self.start)
    }

    /// The offset that the next record gets.
    pub const fn end_offset(&self) -> Offset {
        Offset(self.end)
    }

    /// Everything below this offset is on the disk.
    pub const fn recovery_point(&self) -> Offset {
        Offset(self.recovery_point)
    }

    /// The bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.iter().map(|s| s.size()).sum()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// The base offset of the segment that grows.
    pub fn active_base_offset(&self) -> Offset {
        Offset(self.active().base)
    }

    /// The producers of this partition.
    pub const fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    /// Forgets idle producers (`producer.id.expiration.ms`); tells how many. Call now and then.
    pub fn expire_producers(&mut self, now: millstream_base::TimestampMs) -> usize {
        self.producers.expire(now, self.config.producer_id_expiration_ms)
    }

    /// Tells the log how far records are replicated, which moves the last stable offset.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.producers.on_high_watermark(high_watermark);
    }

    /// The last stable offset: where the oldest transaction that is not over begins, else the high watermark.
    pub fn last_stable_offset(&self, high_watermark: Offset) -> Offset {
        match self.producers.first_unstable_offset() {
            Some(first) => first.min(high_watermark),
            None => high_watermark,
        }
    }

    /// The leader epochs.
    pub const fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// Notes that this broker leads in `epoch` from the log's end on.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        self.epochs_unsynced.mark_if(self.epochs.assign(epoch, Offset(self.end)));
    }

    /// The answer to OffsetForLeaderEpoch: the largest epoch <= `epoch` and where it ended.
    pub fn epoch_end_offset(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset(epoch, Offset(self.end))
    }

    /// Why this log is out of service, if it is.
    pub fn offline_reason(&self) -> Option<&str> {
        self.offline.as_deref()
    }

    /// Takes the log out of service: every later call errs.
    pub fn go_offline(&mut self, reason: &str) {
        if self.offline.is_none() {
            tracing::error!(partition = %self.partition, reason, "log is offline");
            self.offline = Some(Arc::from(reason));
        }
    }

    fn check_online(&self) -> Result<(), StorageError> {
        match &self.offline {
            None => Ok(()),
            Some(reason) => Err(StorageError::Offline {
                path: self.home.path().to_path_buf(),
                reason: Arc::clone(reason),
            }),
        }
    }

    fn active(&self) -> &Arc<Segment> {
        // The list is never empty.
        &self.segments[self.segments.len() - 1]
    }

    /// The place in the list of the last segment with a base <= `offset`, or of the first.
    fn segment_index(&self, offset: i64) -> usize {
        self.segments.partition_point(|s| s.base <= offset).saturating_sub(1)
    }

    /// Writes the producers' states as a snapshot named after `offset`, unless it is there.
    fn write_snapshot(&self, offset: i64) -> Result<(), StorageError> {
        let path = self.home.offset_file(offset, names::SNAPSHOT);
        let bytes = self.producers.to_snapshot();
        let write = || {
            let file = self.home.fs.open(&path, millstream_env::fs::OpenMode::Create)?;
            file.truncate(0)?;
            file.write_all_at(&bytes, 0)
        };
        write().map_err(|e| StorageError::io("write", &path, e))
    }
}
