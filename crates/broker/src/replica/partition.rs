//! One hosted partition: its log under a lock, what this broker is to it, and those who wait.
//!
//! Key type: [`Partition`]. Appends and reads hold the lock for one write or one index look-up; checksums, fsync and
//! sending happen outside. Invariant: log start <= high watermark <= log end, and the high watermark only grows
//! while this broker leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream_base::{ErrorCode, Offset, PartitionIndex, TimestampMs, TopicPartition, Uuid};
use millstream_config::{TopicConfig, TopicThrottles};
use millstream_log::{Log, LogConfig, StorageError};
use millstream_metadata::Partition as PartitionImage;
use millstream_partition::{LeaderSettings, LogPosition};
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::acks::Acks;
use super::bells::Bells;
use super::complaint::Complaint;
use super::logs::LogState;
use super::role::Role;
use super::shared::Shared;
use super::starts::Starts;
use super::transactional::Verifying;
use super::waiter::Waiters;

/// Stands for the bytes that became readable where nobody counted them: enough to make every waiting fetch look.
pub(super) const SOME_BYTES: usize = i32::MAX as usize;

/// A topic's settings as a partition heeds them.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// What its records and replicas are held to.
    pub topic: TopicConfig,
    /// Which replicas move at a limited rate.
    pub throttles: Arc<TopicThrottles>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) log: Log,
    pub(super) role: Role,
    /// That of `role`, at hand.
    pub(super) high_watermark: Offset,
    /// Fetches of consumers.
    pub(super) waiters: Waiters,
    /// Fetches of followers.
    pub(super) bells: Bells,
    pub(super) acks: Acks,
    /// Those who wait for the followers' log starts.
    pub(super) starts: Starts,
    /// An fsync is wanted of everything below.
    pub(super) flush_to: Offset,
    pub(super) flushing: bool,
    pub(super) complaint: Complaint,
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
    pub(super) shared: Arc<Shared>,
    settings: RwLock<Settings>,
    gone: AtomicBool,
    /// The disk took no more; nothing is fetched until it does.
    pub(super) lacks_room: AtomicBool,
    inner: Mutex<Inner>,
}

impl Partition {
    /// Hosts an opened log. `image`: what metadata says; `high_watermark`: what was known to be committed.
    pub(crate) fn new(
        name: TopicPartition,
        topic_id: Uuid,
        shared: Arc<Shared>,
        mut log: Log,
        image: &PartitionImage,
        high_watermark: Offset,
        settings: Settings,
    ) -> Arc<Self> {
        let (start, end) = (log.log_start_offset(), log.end_offset());
        let position = LogPosition { start, end, high_watermark };
        if image.leader == Some(shared.me) {
            log.begin_epoch(image.leader_epoch);
        }
        let role = Role::new(&shared, image, min_insync(&settings.topic), position);
        let high_watermark = role.high_watermark();
        log.on_high_watermark(high_watermark);
        let inner = Inner {
            log,
            role,
            high_watermark,
            waiters: Waiters::default(),
            bells: Bells::default(),
            acks: Acks::default(),
            starts: Starts::default(),
            flush_to: Offset::ZERO,
            flushing: false,
            complaint: Complaint::default(),
            verifying: Verifying::default(),
        };
        Arc::new(Self {
            name,
            topic_id,
            shared,
            settings: RwLock::new(settings),
            gone: AtomicBool::new(false),
            lacks_room: AtomicBool::new(false),
            inner: Mutex::new(inner),
        })
    }

    /// The partition's number.
    pub(crate) fn index(&self) -> PartitionIndex {
        self.name.partition
    }

    /// The topic's settings.
    pub(crate) fn config(&self) -> TopicConfig {
        self.settings.read().topic
    }

    /// Which replicas move at a limited rate.
    pub(crate) fn throttles(&self) -> Arc<TopicThrottles> {
        Arc::clone(&self.settings.read().throttles)
    }

    pub(super) fn min_insync(&self) -> usize {
        min_insync(&self.settings.read().topic)
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
    pub(crate) fn reconfigure(&self, settings: Settings, log: Arc<LogConfig>) {
        let min_insync = min_insync(&settings.topic);
        *self.settings.write() = settings;
        let mut inner = self.inner.lock();
        inner.log.set_config(log);
        let lag_time_max = self.shared.lag_time_max();
        let Role::Leader(state) = &mut inner.role else { return };
        let settings = LeaderSettings { lag_time_max, min_insync };
        if let Some(high_watermark) = state.set_settings(settings, self.shared.now()) {
            inner.high_watermark_moved(high_watermark, SOME_BYTES);
        }
    }

    /// Ends the partition's service here: those who wait are woken and find it gone.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Release);
        let mut inner = self.inner.lock();
        inner.wake_everybody();
        inner.acks.clear();
        inner.starts.clear();
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

    /// The high watermark.
    pub(crate) fn high_watermark(&self) -> Offset {
        self.inner.lock().high_watermark
    }

    /// Moves the log's start to `offset` (DeleteRecords); -1 is the high watermark. Returns the new start, and what completes
    /// with the start that every live replica has when all are there.
    pub(crate) fn delete_records(
        &self,
        offset: Offset,
    ) -> Result<(Offset, Option<super::starts::AllStarted>), ErrorCode> {
        let mut inner = self.inner.lock();
        if !matches!(inner.role, Role::Leader(_)) || self.is_gone() {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let high_watermark = inner.high_watermark;
        let to = if offset == Offset::NONE { high_watermark } else { offset };
        if to < Offset::ZERO || to > high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        inner.log.delete_records(to).map_err(|error| error.code())?;
        inner.sync_start();
        inner.waiters.wake_all();
        inner.bells.ring();
        let start = inner.log.log_start_offset();
        let Inner { role, starts, .. } = &mut *inner;
        let Role::Leader(state) = role else { return Err(ErrorCode::NotLeaderOrFollower) };
        let low = state.low_watermark(&|id| self.shared.active_epoch(id));
        Ok((start.min(low.max(Offset::ZERO)), (low < to).then(|| starts.until(to))))
    }
}

impl Inner {
    /// Something happened that all who wait must see at once: an error, a new leader.
    pub(super) fn wake_everybody(&mut self) {
        self.waiters.wake_all();
        self.bells.ring();
    }

    /// The end of what a read_committed reader may see.
    pub(super) fn last_stable(&self) -> Offset {
        self.log.last_stable_offset(self.high_watermark)
    }
}

fn min_insync(config: &TopicConfig) -> usize {
    usize::try_from(config.min_insync_replicas).unwrap_or(1)
}
