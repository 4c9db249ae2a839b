//! One hosted partition: its log under a lock, its high watermark, and those who wait for either.
//!
//! Key type: [`Partition`]. Appends and reads hold the lock for one write or one index look-up; checksums, fsync and
//! sending happen outside. Invariant: log start <= high watermark <= log end, and the high watermark only grows
//! while this broker leads. With one replica the high watermark follows the log end, or, where `flush.messages` asks for an
//! fsync, what has been fsynced.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream_base::{
    ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, TimestampMs,
    TopicPartition, Uuid,
};
use millstream_config::TopicConfig;
use millstream_env::{fs, task};
use millstream_log::{AbortedTxn, AppendError, FileRange, Log, LogConfig, ReadError, StorageError};
use millstream_partition::AppendOrigin;
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::acks::{Acks, CommitFailure, Durable};
use super::complaint::Complaint;
use super::logs::LogState;
use super::transactional::Verifying;
use super::waiter::{FetchWaiter, Waiters};
use crate::fetch::Wanted;

/// Stands for the bytes that became readable where nobody counted them: enough to make every waiting fetch look.
const SOME_BYTES: usize = i32::MAX as usize;

/// Which records a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// All below the high watermark.
    ReadUncommitted,
    /// All below the last stable offset.
    ReadCommitted,
}

/// Who leads the partition and which replicas are in sync, as the cluster image has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The leader.
    pub leader: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// How many replicas are in sync.
    pub in_sync: usize,
}

/// What an append led to.
#[derive(Debug)]
pub(crate) struct Appended {
    /// The first record's offset.
    pub first_offset: Offset,
    /// The last record's offset.
    pub last_offset: Offset,
    /// The log's start.
    pub log_start: Offset,
    /// Completes when the records are committed, for acks=all, and as durable as the topic asks; `None` when they are already.
    pub durable: Option<Durable>,
}

/// Why an append was refused. Nothing was stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendFailure {
    #[error("this broker does not lead the partition")]
    NotLeader,
    #[error("{in_sync} in-sync replicas, min.insync.replicas is {required}")]
    NotEnoughReplicas { in_sync: usize, required: usize },
    #[error(
        "the transaction that the records belong to is over, or the partition is not part of it"
    )]
    NotInTransaction,
    #[error("a marker of epoch {found} for a producer that is at epoch {current} already")]
    StaleMarker { current: ProducerEpoch, found: ProducerEpoch },
    #[error(transparent)]
    Log(#[from] AppendError),
}

impl AppendFailure {
    /// The code that the producer gets.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
            Self::NotInTransaction => ErrorCode::InvalidTxnState,
            Self::StaleMarker { .. } => ErrorCode::InvalidProducerEpoch,
            Self::Log(error) => error.code(),
        }
    }
}

/// What a fetch finds in one partition.
#[derive(Debug)]
pub(crate) struct FetchRead {
    /// The high watermark.
    pub high_watermark: Offset,
    /// The last stable offset.
    pub last_stable: Offset,
    /// The log's start.
    pub log_start: Offset,
    /// The records; `None` when there are none to see.
    pub range: Option<FileRange>,
    /// Where the reader's log and this one part (KIP-595), when they do.
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// The aborted transactions among the records; `None` for readers who do not care.
    pub aborted: Option<Vec<AbortedTxn>>,
}

/// Why a fetch finds nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchRefused {
    #[error("{0}")]
    Fenced(ErrorCode),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl FetchRefused {
    /// The code that the reader gets.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Fenced(code) => *code,
            Self::Read(error) => error.code(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) log: Log,
    leadership: Leadership,
    high_watermark: Offset,
    pub(super) waiters: Waiters,
    acks: Acks,
    /// An fsync is wanted of everything below.
    flush_to: Offset,
    pub(super) flushing: bool,
    complaint: Complaint,
    /// Producers whose first records of a transaction are being asked about.
    pub(super) verifying: Verifying,
}

/// A partition that this broker hosts.
#[derive(Debug)]
pub(crate) struct Partition {
    /// Topic and number.
    pub name: TopicPartition,
    /// The topic's id.
    pub topic_id: Uuid,
    me: NodeId,
    config: RwLock<TopicConfig>,
    gone: AtomicBool,
    inner: Mutex<Inner>,
}

impl Partition {
    /// Hosts an opened log.
    pub(crate) fn new(
        name: TopicPartition,
        topic_id: Uuid,
        me: NodeId,
        mut log: Log,
        leadership: Leadership,
        config: TopicConfig,
    ) -> Arc<Self> {
        let high_watermark = log.end_offset();
        log.on_high_watermark(high_watermark);
        let inner = Inner {
            log,
            leadership,
            high_watermark,
            waiters: Waiters::default(),
            acks: Acks::default(),
            flush_to: Offset::ZERO,
            flushing: false,
            complaint: Complaint::default(),
            verifying: Verifying::default(),
        };
        Arc::new(Self {
            name,
            topic_id,
            me,
            config: RwLock::new(config),
            gone: AtomicBool::new(false),
            inner: Mutex::new(inner),
        })
    }

    /// The partition's number.
    pub(crate) fn index(&self) -> PartitionIndex {
        self.name.partition
    }

    /// The topic's settings.
    pub(crate) fn config(&self) -> TopicConfig {
        *self.config.read()
    }

    /// Whether the partition was deleted since the handle was taken.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }

    /// Says what the disk failed at, but not each time.
    pub(crate) fn complain(&self, failure: &StorageError, now: TimestampMs, what: &str) {
        self.inner.lock().complaint.say(&self.name, failure, now, what);
    }

    /// Runs `look` on the log, under the lock.
    pub(crate) fn with_log<T>(&self, look: impl FnOnce(&mut Log) -> T) -> T {
        look(&mut self.inner.lock().log)
    }

    /// New settings for the topic.
    pub(crate) fn reconfigure(&self, config: TopicConfig, log: Arc<LogConfig>) {
        *self.config.write() = config;
        self.inner.lock().log.set_config(log);
    }

    /// What the cluster image says now.
    pub(crate) fn lead(&self, leadership: Leadership) {
        let mut inner = self.inner.lock();
        if inner.leadership != leadership {
            inner.leadership = leadership;
            if leadership.leader == self.me {
                inner.log.begin_epoch(leadership.epoch);
            }
            inner.waiters.wake_all();
        }
    }

    /// Ends the partition's service here: those who wait are woken and find it gone.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Release);
        let mut inner = self.inner.lock();
        inner.waiters.wake_all();
        inner.acks.clear();
    }

    /// Appends checked batches. `batches` are patched in place (offsets, leader epoch).
    ///
    /// `required_in_sync`: how many replicas must be in sync, for acks=all.
    pub(crate) fn append(
        self: &Arc<Self>,
        batches: &mut [u8],
        origin: AppendOrigin,
        required_in_sync: Option<usize>,
        now: TimestampMs,
    ) -> Result<Appended, AppendFailure> {
        let mut inner = self.inner.lock();
        self.append_to(&mut inner, batches, origin, required_in_sync, now)
    }

    /// [`Self::append`] under the lock that the caller holds.
    pub(super) fn append_to(
        self: &Arc<Self>,
        inner: &mut Inner,
        batches: &mut [u8],
        origin: AppendOrigin,
        required_in_sync: Option<usize>,
        now: TimestampMs,
    ) -> Result<Appended, AppendFailure> {
        let Leadership { leader, epoch, in_sync } = inner.leadership;
        if leader != self.me || self.is_gone() {
            return Err(AppendFailure::NotLeader);
        }
        if let Some(required) = required_in_sync.filter(|required| in_sync < *required) {
            return Err(AppendFailure::NotEnoughReplicas { in_sync, required });
        }
        let appended = inner.log.append(batches, epoch, origin, now);
        inner.complaint.note(&self.name, &appended, now);
        let appended = appended?;
        let end = inner.log.end_offset();
        if appended.flush_due {
            inner.flush_to = end;
            super::flush::start(self, inner);
        } else if !inner.flushing {
            inner.advance(end, batches.len());
        }
        let durable = inner.wait_durable(&appended, required_in_sync.is_some());
        Ok(Appended {
            first_offset: appended.first_offset,
            last_offset: appended.last_offset,
            log_start: appended.log_start_offset,
            durable,
        })
    }

    /// Reads for a fetch: a range of a file from the wanted offset up to what the reader may see.
    pub(crate) fn read(
        &self,
        wanted: &Wanted,
        max_bytes: u32,
        isolation: Isolation,
        at_least_one: bool,
    ) -> Result<FetchRead, FetchRefused> {
        let (mut found, plan) = {
            let inner = self.inner.lock();
            self.check_epoch(&inner, wanted.current_leader_epoch)?;
            let mut found = inner.ends();
            found.diverging = inner.diverging(wanted);
            if found.diverging.is_some() {
                return Ok(found);
            }
            let bound = match isolation {
                Isolation::ReadUncommitted => found.high_watermark,
                Isolation::ReadCommitted => found.last_stable,
            };
            (found, inner.log.plan_read(wanted.offset, bound, max_bytes, at_least_one)?)
        };
        // Looking up the place may touch index files, and the first look at records checks them: not under the lock,
        // and where the disk is needed, not in the way of other connections.
        let resolved = match fs::without_waiting(|| plan.resolve()) {
            Err(ReadError::Storage(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                task::block_here(|| plan.resolve())
            }
            resolved => resolved,
        };
        found.range = resolved?.range;
        if isolation == Isolation::ReadCommitted {
            found.aborted = Some(self.aborted(wanted.offset, &plan, found.range.as_ref())?);
        }
        Ok(found)
    }

    /// Checks the leader epoch that a client believes in (KIP-320), and that this broker leads.
    pub(crate) fn check_leader(&self, believed: LeaderEpoch) -> Result<(), FetchRefused> {
        self.check_epoch(&self.inner.lock(), believed)
    }

    fn check_epoch(&self, inner: &Inner, believed: LeaderEpoch) -> Result<(), FetchRefused> {
        let Leadership { leader, epoch, .. } = inner.leadership;
        if believed > LeaderEpoch::NONE {
            if believed < epoch {
                return Err(FetchRefused::Fenced(ErrorCode::FencedLeaderEpoch));
            }
            if believed > epoch {
                return Err(FetchRefused::Fenced(ErrorCode::UnknownLeaderEpoch));
            }
        }
        if self.is_gone() {
            return Err(FetchRefused::Fenced(ErrorCode::UnknownTopicOrPartition));
        }
        if inner.log.offline_reason().is_some() {
            return Err(FetchRefused::Fenced(ErrorCode::KafkaStorageError));
        }
        if leader != self.me {
            return Err(FetchRefused::Fenced(ErrorCode::NotLeaderOrFollower));
        }
        Ok(())
    }

    /// The end of what a reader may see.
    pub(crate) fn visible_end(&self, isolation: Isolation) -> Offset {
        let inner = self.inner.lock();
        match isolation {
            Isolation::ReadUncommitted => inner.high_watermark,
            Isolation::ReadCommitted => inner.last_stable(),
        }
    }

    /// What the checkpoints are to say of it.
    pub(crate) fn state(&self) -> LogState {
        let inner = self.inner.lock();
        LogState {
            path: inner.log.path(),
            partition: self.name.clone(),
            recovery_point: inner.log.recovery_point(),
            log_start: inner.log.log_start_offset(),
            high_watermark: inner.high_watermark,
        }
    }

    /// Completes when everything below `up_to` is committed, or this broker stops leading the partition; `None` when it is
    /// committed already.
    pub(crate) fn when_committed(&self, up_to: Offset) -> Option<Durable> {
        let mut inner = self.inner.lock();
        (inner.high_watermark < up_to).then(|| inner.acks.until_committed(up_to))
    }

    /// The high watermark.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.inner.lock().high_watermark
    }

    /// The current leader's id and epoch.
    pub(crate) fn leadership(&self) -> Leadership {
        self.inner.lock().leadership
    }

    /// Registers a waiting fetch that has seen everything below `seen`. False when there is more by now:
    /// the fetch must look again instead of waiting.
    pub(crate) fn wait(
        &self,
        waiter: &Arc<FetchWaiter>,
        seen: Offset,
        isolation: Isolation,
    ) -> bool {
        let mut inner = self.inner.lock();
        let end = match isolation {
            Isolation::ReadUncommitted => inner.high_watermark,
            Isolation::ReadCommitted => inner.last_stable(),
        };
        if end > seen || self.is_gone() {
            return false;
        }
        inner.waiters.add(waiter);
        true
    }

    /// Takes a waiting fetch out.
    pub(crate) fn stop_waiting(&self, waiter: &Arc<FetchWaiter>) {
        self.inner.lock().waiters.remove(waiter);
    }

    /// Moves the log's start to `offset` (DeleteRecords); -1 is the high watermark. Returns the new start.
    pub(crate) fn delete_records(&self, offset: Offset) -> Result<Offset, ErrorCode> {
        let mut inner = self.inner.lock();
        let high_watermark = inner.high_watermark;
        let to = if offset == Offset::NONE { high_watermark } else { offset };
        if to < Offset::ZERO || to > high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        inner.log.delete_records(to).map_err(|error| error.code())?;
        inner.waiters.wake_all();
        Ok(inner.log.log_start_offset())
    }
}

impl Inner {
    /// The end of what a read_committed reader may see.
    fn last_stable(&self) -> Offset {
        self.log.last_stable_offset(self.high_watermark)
    }

    fn ends(&self) -> FetchRead {
        FetchRead {
            high_watermark: self.high_watermark,
            last_stable: self.last_stable(),
            log_start: self.log.log_start_offset(),
            range: None,
            diverging: None,
            aborted: None,
        }
    }

    /// Lets readers see everything below `end`, `bytes` more than before.
    fn advance(&mut self, end: Offset, bytes: usize) {
        debug_assert!(end >= self.high_watermark, "the high watermark only grows");
        if end > self.high_watermark {
            self.high_watermark = end;
            self.log.on_high_watermark(end);
            self.acks.committed(end, true);
            self.waiters.readable(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// All below `end` is on disk: readers may see it and producers are told.
    pub(super) fn flushed(&mut self, end: Offset) {
        self.advance(end.max(self.high_watermark), SOME_BYTES);
        self.acks.flushed(end);
    }

    /// What a producer waits for whose records were just appended, or were there.
    fn wait_durable(&mut self, appended: &millstream_log::Appended, all: bool) -> Option<Durable> {
        let up_to = appended.last_offset.plus(1);
        if all {
            return (self.high_watermark < up_to).then(|| self.acks.until_committed(up_to));
        }
        let waits = appended.flush_due || (appended.duplicate && self.flushing);
        (waits && self.log.recovery_point() < up_to).then(|| self.acks.until_flushed(up_to))
    }

    /// No fsync is under way or wanted: what was appended meanwhile without asking for one can be seen.
    pub(super) fn catch_up(&mut self) {
        self.advance(self.log.end_offset(), SOME_BYTES);
    }

    /// The disk failed: producers that wait are told so.
    pub(super) fn flush_failed(&mut self, error: &StorageError) {
        self.flush_to = self.log.recovery_point();
        self.acks.fail(&CommitFailure::Storage(error.clone()));
        self.waiters.wake_all();
    }

    /// Whether an fsync is wanted.
    pub(super) fn wants_flush(&self) -> bool {
        self.log.recovery_point() < self.flush_to.min(self.log.end_offset())
    }

    /// Where the reader's log parts from this one, if it says which epoch it read last (KIP-595).
    fn diverging(&self, wanted: &Wanted) -> Option<(LeaderEpoch, Offset)> {
        if wanted.last_fetched_epoch == LeaderEpoch::NONE {
            return None;
        }
        let (epoch, end) = self.log.epoch_end_offset(wanted.last_fetched_epoch)?;
        (epoch < wanted.last_fetched_epoch || end < wanted.offset).then_some((epoch, end))
    }
}
