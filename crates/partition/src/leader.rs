//! The leader's view of one partition: followers' progress, the ISR and the high watermark.
//!
//! Key type: [`LeaderState`]. The host hands in what happened (a fetch, an append, an answer of the controller,
//! newer metadata) and `now` (monotonic time), and gets back what follows: a higher watermark, a change of the ISR
//! to propose, whether a producer may be answered. Nothing here waits, sends or writes.
//!
//! Invariants, asserted: log start <= high watermark <= log end; the high watermark only grows; at most one proposal
//! is under way; the leader is in its ISR. While a proposal may still be accepted, the high watermark waits for the
//! *maximal* ISR: every replica that the controller may already count as in sync.

mod isr;
mod progress;
#[cfg(test)]
mod tests;
mod watermark;

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_base::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, Offset};

pub use isr::{AlterAnswer, AlterOutcome, IsrProposal};
pub use progress::{FollowerFetch, FollowerProgress};

use isr::Pending;

/// What the cluster's metadata says of a partition that this broker leads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Grows with every election.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change of the partition.
    pub partition_epoch: i32,
    /// The brokers that hold a replica, those on their way in or out among them.
    pub replicas: Vec<NodeId>,
    /// The replicas in sync.
    pub isr: Vec<NodeId>,
    /// Replicas on their way in.
    pub adding: Vec<NodeId>,
    /// Replicas on their way out.
    pub removing: Vec<NodeId>,
}

/// Settings that a leader heeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderSettings {
    /// `replica.lag.time.max.ms`: a follower that was not caught up for so long leaves the ISR.
    pub lag_time_max: Duration,
    /// `min.insync.replicas`; never more than the partition has replicas.
    pub min_insync: usize,
}

/// Who may join an ISR: the epoch at which a broker is registered, if it is neither fenced nor shutting down.
pub type ActiveBrokers<'a> = &'a dyn Fn(NodeId) -> Option<BrokerEpoch>;

/// What the leader of one partition knows.
#[derive(Clone, Debug)]
pub struct LeaderState {
    me: NodeId,
    info: PartitionInfo,
    settings: LeaderSettings,
    /// Where this epoch of leadership began in the log.
    epoch_start: Offset,
    log_start: Offset,
    log_end: Offset,
    high_watermark: Offset,
    /// All replicas but this one; no other broker ever gets an entry.
    followers: BTreeMap<NodeId, FollowerProgress>,
    pending: Option<Pending>,
    /// Numbers proposals, so that a late answer is told from that of the current one.
    proposals: u64,
}

/// What newer metadata meant for a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataOutcome {
    /// Older than what is known: ignored.
    Stale,
    /// Taken over. The high watermark, if that moved it.
    Updated(Option<Offset>),
    /// This broker leads again, in a new epoch that begins at that offset: the log has to note it.
    NewEpoch(Offset),
}

/// Why a request that names a leader epoch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// The asker knows an older leader epoch.
    #[error("leader epoch {found} is fenced by {current}")]
    Fenced {
        /// The request's.
        found: LeaderEpoch,
        /// The replica's.
        current: LeaderEpoch,
    },
    /// The asker knows a newer one than this replica.
    #[error("leader epoch {found} is not known here yet, the newest is {current}")]
    Unknown {
        /// The request's.
        found: LeaderEpoch,
        /// The replica's.
        current: LeaderEpoch,
    },
}

impl EpochError {
    /// The code that the asker gets.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Fenced { .. } => ErrorCode::FencedLeaderEpoch,
            Self::Unknown { .. } => ErrorCode::UnknownLeaderEpoch,
        }
    }
}

/// Holds a request's leader epoch (-1: none named) against the replica's own.
pub fn check_epoch(found: LeaderEpoch, current: LeaderEpoch) -> Result<(), EpochError> {
    if found == LeaderEpoch::NONE || found == current {
        return Ok(());
    }
    match found < current {
        true => Err(EpochError::Fenced { found, current }),
        false => Err(EpochError::Unknown { found, current }),
    }
}

/// Why a follower's fetch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FollowerError {
    /// The broker holds no replica of this partition, as far as this leader knows.
    #[error("broker {0} holds no replica of this partition")]
    NotReplica(NodeId),
    /// A fetch of an earlier registration of the broker (KIP-903).
    #[error("broker {id} fetched with broker epoch {found} after {current}")]
    StaleBrokerEpoch {
        /// The follower.
        id: NodeId,
        /// The fetch's.
        found: BrokerEpoch,
        /// The largest one seen.
        current: BrokerEpoch,
    },
    /// The follower knows another leader epoch.
    #[error(transparent)]
    Epoch(#[from] EpochError),
}

impl FollowerError {
    /// The code that the follower gets.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotReplica(_) => ErrorCode::UnknownTopicOrPartition,
            Self::StaleBrokerEpoch { .. } => ErrorCode::NotLeaderOrFollower,
            Self::Epoch(e) => e.code(),
        }
    }
}

/// What a follower's fetch changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// The high watermark, if it moved.
    pub high_watermark: Option<Offset>,
    /// The follower has caught up: propose this to the controller.
    pub proposal: Option<IsrProposal>,
    /// A follower's log end or log start moved: delayed requests may have become complete.
    pub progressed: bool,
}

/// Too few replicas are in sync for acks=all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{insync} replicas are in sync, min.insync.replicas asks for {needed}")]
pub struct NotEnoughReplicas {
    /// The size of the ISR.
    pub insync: usize,
    /// How many are needed.
    pub needed: usize,
}

/// Whether a record that acks=all waits for is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// Not yet.
    Waiting,
    /// Below the high watermark, with enough replicas in sync.
    Done,
    /// Below the high watermark, but the ISR has become too small meanwhile: NOT_ENOUGH_REPLICAS_AFTER_APPEND.
    TooFew(NotEnoughReplicas),
}

impl LeaderState {
    /// Begins to lead. `log_start`, `log_end` and `high_watermark` are those of the local replica; the host notes
    /// in its log that `info.leader_epoch` begins at `log_end`.
    pub fn new(
        me: NodeId,
        info: PartitionInfo,
        settings: LeaderSettings,
        log: LogPosition,
        now: Duration,
    ) -> Self {
        let mut state = Self {
            me,
            info,
            settings,
            epoch_start: log.end,
            log_start: log.start,
            log_end: log.end,
            high_watermark: log.high_watermark.max(log.start).min(log.end),
            followers: BTreeMap::new(),
            pending: None,
            proposals: 0,
        };
        state.reset_followers(now);
        state.advance(now, &|_| None);
        state.check();
        state
    }

    /// Takes over what the metadata says; a newer partition epoch wins over a proposal that is under way. To be
    /// called only while the metadata names this broker as the leader.
    pub fn on_metadata(&mut self, info: PartitionInfo, now: Duration) -> MetadataOutcome {
        let older = info.leader_epoch < self.info.leader_epoch
            || info.partition_epoch < self.info.partition_epoch;
        if older {
            return MetadataOutcome::Stale;
        }
        let new_epoch = info.leader_epoch > self.info.leader_epoch;
        if new_epoch || info.partition_epoch > self.info.partition_epoch {
            self.pending = None;
        }
        self.info = info;
        if new_epoch {
            self.epoch_start = self.log_end;
            self.followers.clear();
            self.reset_followers(now);
            self.advance(now, &|_| None);
            return MetadataOutcome::NewEpoch(self.epoch_start);
        }
        self.reset_followers(now);
        MetadataOutcome::Updated(self.advance(now, &|_| None))
    }

    /// Other settings, from now on. The high watermark, if that moved it.
    pub fn set_settings(&mut self, settings: LeaderSettings, now: Duration) -> Option<Offset> {
        self.settings = settings;
        self.advance(now, &|_| None)
    }

    /// The local log has grown to `log_end`. The high watermark, if that moved it (a leader alone in its ISR).
    pub fn on_local_append(
        &mut self,
        log_end: Offset,
        now: Duration,
        active: ActiveBrokers<'_>,
    ) -> Option<Offset> {
        assert!(log_end >= self.log_end, "a leader's log only grows");
        if log_end > self.log_end {
            // A follower's fetch may wait long: who had everything until now was caught up until now.
            self.followers.values_mut().for_each(|follower| follower.on_growth(self.log_end, now));
        }
        self.log_end = log_end;
        self.advance(now, active)
    }

    /// The local log now begins at `log_start` (retention, DeleteRecords).
    pub fn on_log_start(&mut self, log_start: Offset) {
        assert!(log_start <= self.high_watermark, "what is not committed is not deleted");
        self.log_start = self.log_start.max(log_start);
    }

    /// A follower has fetched: it holds everything below `fetch.offset`. To be called after the fetch was held
    /// against the leader's epochs ([`crate::diverging_epoch`]); a diverging fetch must not come here.
    pub fn on_follower_fetch(
        &mut self,
        fetch: &FollowerFetch,
        now: Duration,
        active: ActiveBrokers<'_>,
    ) -> Result<Fetched, FollowerError> {
        check_epoch(fetch.leader_epoch, self.info.leader_epoch)?;
        let (end, start) = (self.log_end, self.log_start);
        let Some(follower) = self.followers.get_mut(&fetch.id) else {
            return Err(FollowerError::NotReplica(fetch.id));
        };
        let progressed = follower.on_fetch(fetch, end, now)?;
        debug_assert!(start <= end);
        let high_watermark = self.advance(now, active);
        let proposal = self.propose_expansion(fetch.id, now, active);
        Ok(Fetched { high_watermark, proposal, progressed })
    }

    /// Whether acks=all may write now.
    pub fn check_min_insync(&self) -> Result<(), NotEnoughReplicas> {
        let needed = self.effective_min_insync();
        let insync = self.info.isr.len();
        if insync < needed { Err(NotEnoughReplicas { insync, needed }) } else { Ok(()) }
    }

    /// Whether what was appended up to `end` (exclusive) is committed, for acks=all.
    pub fn commit_state(&self, end: Offset) -> Commit {
        if self.high_watermark < end {
            return Commit::Waiting;
        }
        match self.check_min_insync() {
            Ok(()) => Commit::Done,
            Err(too_few) => Commit::TooFew(too_few),
        }
    }

    /// `min.insync.replicas`, or the number of replicas where that is less (but at least 1).
    pub fn effective_min_insync(&self) -> usize {
        self.settings.min_insync.min(self.info.replicas.len()).max(1)
    }

    /// This broker.
    pub const fn me(&self) -> NodeId {
        self.me
    }

    /// What the metadata, or the controller's last answer, says.
    pub const fn info(&self) -> &PartitionInfo {
        &self.info
    }

    /// The epoch of this leadership.
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.info.leader_epoch
    }

    /// Where the epoch of this leadership began.
    pub const fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// Everything below is committed and may be seen by consumers.
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The first offset of the local log.
    pub const fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The end of the local log.
    pub const fn log_end(&self) -> Offset {
        self.log_end
    }

    /// The committed ISR.
    pub fn isr(&self) -> &[NodeId] {
        &self.info.isr
    }

    /// The ISR and, while a proposal is under way, whoever it may add.
    pub fn maximal_isr(&self) -> &[NodeId] {
        self.pending.as_ref().map_or(&self.info.isr, |p| &p.maximal)
    }

    /// Whether fewer replicas than the partition has are in sync.
    pub fn is_under_replicated(&self) -> bool {
        self.info.isr.len() < self.info.replicas.len() - self.info.adding.len()
    }

    /// The followers by id.
    pub fn followers(&self) -> impl Iterator<Item = (NodeId, &FollowerProgress)> {
        self.followers.iter().map(|(&id, progress)| (id, progress))
    }

    /// What is known of one follower.
    pub fn follower(&self, id: NodeId) -> Option<&FollowerProgress> {
        self.followers.get(&id)
    }

    /// Whether a proposal waits for the controller.
    pub const fn is_altering(&self) -> bool {
        self.pending.is_some()
    }

    /// Gives every replica an entry, and none to others. Those in the ISR count as caught up from now on.
    fn reset_followers(&mut self, now: Duration) {
        let Self { me, info, followers, .. } = self;
        followers.retain(|id, _| info.replicas.contains(id));
        for &id in info.replicas.iter().filter(|id| **id != *me) {
            let caught_up = info.isr.contains(&id).then_some(now);
            followers.entry(id).or_insert_with(|| FollowerProgress::new(caught_up));
        }
    }

    fn check(&self) {
        assert!(self.log_start <= self.high_watermark, "log start <= high watermark");
        assert!(self.high_watermark <= self.log_end, "high watermark <= log end");
        assert!(!self.followers.contains_key(&self.me), "a leader does not follow itself");
    }
}

/// Where a local replica's log stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// The first offset.
    pub start: Offset,
    /// The next offset.
    pub end: Offset,
    /// Everything below is known to be committed.
    pub high_watermark: Offset,
}
