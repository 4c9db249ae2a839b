//! Leading or following: what a partition is here, and how newer metadata changes it.
//!
//! Key types: [`Role`], [`Duty`] (what the fetchers have to do about it). A change is a few assignments under the partition's lock:
//! thousands of partitions change hands at once when a broker dies.

use std::sync::Arc;

use millstream_base::{LeaderEpoch, NodeId, Offset};
use millstream_metadata::Partition as PartitionImage;
use millstream_partition::{
    FollowerState, LeaderSettings, LeaderState, LogPosition, MetadataOutcome, PartitionInfo,
};

use super::acks::CommitFailure;
use super::partition::{Inner, Partition};
use super::shared::Shared;

/// Nobody.
const NO_LEADER: NodeId = NodeId(-1);

/// What this broker is to a partition.
#[derive(Debug)]
pub(super) enum Role {
    Leader(Box<LeaderState>),
    /// Follows somebody, or waits for a leader.
    Follower(FollowerState),
}

/// Who leads the partition and which replicas are in sync, as far as this broker knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Leadership {
    /// The leader; -1 when there is none.
    pub leader: NodeId,
    /// Its epoch.
    pub epoch: LeaderEpoch,
    /// How many replicas are in sync; known to the leader alone, 0 elsewhere.
    pub in_sync: usize,
}

/// What the fetchers have to do about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Nothing: this broker leads it, or nobody does.
    Rest,
    /// Fetch from that broker in that epoch.
    Follow(NodeId, LeaderEpoch),
}

impl Role {
    /// The role that metadata gives to broker `me`.
    pub(super) fn new(
        shared: &Shared,
        image: &PartitionImage,
        min_insync: usize,
        log: LogPosition,
    ) -> Self {
        let leader = image.leader.unwrap_or(NO_LEADER);
        if leader != shared.me {
            return Self::Follower(FollowerState::new(leader, image.leader_epoch, log));
        }
        let settings = LeaderSettings { lag_time_max: shared.lag_time_max(), min_insync };
        let state = LeaderState::new(shared.me, info(image), settings, log, shared.now());
        Self::Leader(Box::new(state))
    }

    pub(super) fn leadership(&self) -> Leadership {
        match self {
            Self::Leader(state) => Leadership {
                leader: state.me(),
                epoch: state.leader_epoch(),
                in_sync: state.isr().len(),
            },
            Self::Follower(state) => {
                Leadership { leader: state.leader(), epoch: state.leader_epoch(), in_sync: 0 }
            }
        }
    }

    pub(super) fn high_watermark(&self) -> Offset {
        match self {
            Self::Leader(state) => state.high_watermark(),
            Self::Follower(state) => state.high_watermark(),
        }
    }

    pub(super) fn duty(&self) -> Duty {
        match self {
            Self::Follower(state) if state.leader() >= NodeId(0) => {
                Duty::Follow(state.leader(), state.leader_epoch())
            }
            Self::Leader(_) | Self::Follower(_) => Duty::Rest,
        }
    }
}

/// What the leader's core wants to know of a partition.
fn info(image: &PartitionImage) -> PartitionInfo {
    PartitionInfo {
        leader_epoch: image.leader_epoch,
        partition_epoch: image.partition_epoch,
        replicas: image.replicas.clone(),
        isr: image.isr.clone(),
        adding: image.adding.clone(),
        removing: image.removing.clone(),
    }
}

impl Partition {
    /// Takes over what the metadata says now; tells what the fetchers have to do.
    pub(crate) fn follow_metadata(self: &Arc<Self>, image: &PartitionImage) -> Duty {
        let min_insync = self.min_insync();
        let mut inner = self.lock();
        if image.leader == Some(self.shared.me) {
            self.lead(&mut inner, image, min_insync);
        } else {
            self.follow(&mut inner, image);
        }
        inner.role.duty()
    }

    fn lead(self: &Arc<Self>, inner: &mut Inner, image: &PartitionImage, min_insync: usize) {
        inner.sync_start();
        let now = self.shared.now();
        let before = inner.high_watermark;
        let moved = match &mut inner.role {
            Role::Leader(state) => match state.on_metadata(info(image), now) {
                MetadataOutcome::Stale => return,
                MetadataOutcome::Updated(high_watermark) => high_watermark,
                MetadataOutcome::NewEpoch(_) => {
                    inner.log.begin_epoch(image.leader_epoch);
                    Some(state.high_watermark())
                }
            },
            Role::Follower(state) if image.leader_epoch < state.leader_epoch() => return,
            Role::Follower(_) => {
                inner.log.begin_epoch(image.leader_epoch);
                inner.role = Role::new(&self.shared, image, min_insync, inner.position());
                inner.wake_everybody();
                Some(inner.role.high_watermark())
            }
        };
        if let Some(high_watermark) = moved.filter(|moved| *moved > before) {
            inner.high_watermark_moved(high_watermark, super::partition::SOME_BYTES);
        }
        self.propose_joining(inner);
    }

    fn follow(&self, inner: &mut Inner, image: &PartitionImage) {
        inner.sync_start();
        let known = inner.role.leadership();
        let leader = image.leader.unwrap_or(NO_LEADER);
        if image.leader_epoch < known.epoch {
            return;
        }
        if known.leader == leader && known.epoch == image.leader_epoch {
            return;
        }
        if matches!(inner.role, Role::Leader(_)) {
            inner.acks.fail(&CommitFailure::NotLeader);
            inner.starts.clear();
            inner.verifying.void_all();
        }
        let position = inner.position();
        inner.role = Role::Follower(FollowerState::new(leader, image.leader_epoch, position));
        inner.wake_everybody();
    }

    /// Who leads, and in which epoch.
    pub(crate) fn leadership(&self) -> Leadership {
        self.lock().role.leadership()
    }

    /// What the fetchers have to do.
    pub(crate) fn duty(&self) -> Duty {
        self.lock().role.duty()
    }
}

impl Inner {
    /// Where the log stands.
    pub(super) fn position(&self) -> LogPosition {
        LogPosition {
            start: self.log.log_start_offset(),
            end: self.log.end_offset(),
            high_watermark: self.high_watermark,
        }
    }

    /// Retention and DeleteRecords move the log's start without asking.
    pub(super) fn sync_start(&mut self) {
        let start = self.log.log_start_offset();
        match &mut self.role {
            Role::Leader(state) if state.log_start() < start => state.on_log_start(start),
            Role::Follower(state) if state.position().start < start => {
                state.on_log_start(start);
                self.high_watermark = state.high_watermark();
            }
            Role::Leader(_) | Role::Follower(_) => {}
        }
    }
}
