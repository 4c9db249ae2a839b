//! Appending as the leader, and what becomes of the high watermark then.
//!
//! Key types: [`Appended`], [`AppendFailure`]. With one replica the high watermark follows the log's end, or, where
//! `flush.messages` asks for an fsync, what has been fsynced; with several it waits for those in sync.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, TimestampMs};
use millstream_log::{AppendError, StorageError};
use millstream_partition::AppendOrigin;

use super::acks::{CommitFailure, Durable};
use super::partition::{Inner, Partition, SOME_BYTES};
use super::role::Role;
use super::shared::Shared;

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
    /// Whether other replicas are waited for, not only this one's disk.
    pub waits_for_others: bool,
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

impl Partition {
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
        let mut inner = self.lock();
        self.append_to(&mut inner, batches, origin, required_in_sync, now)
    }

    /// [`Self::append`] of a coordinator, which decided in `epoch`: in another nothing is written.
    pub(crate) fn append_in_epoch(
        self: &Arc<Self>,
        batches: &mut [u8],
        epoch: LeaderEpoch,
        required_in_sync: Option<usize>,
        now: TimestampMs,
    ) -> Result<Appended, AppendFailure> {
        let mut inner = self.lock();
        inner.check_still(Some(epoch))?;
        self.append_to(&mut inner, batches, AppendOrigin::Coordinator, required_in_sync, now)
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
        let Role::Leader(state) = &inner.role else { return Err(AppendFailure::NotLeader) };
        if self.is_gone() {
            return Err(AppendFailure::NotLeader);
        }
        let (epoch, in_sync) = (state.leader_epoch(), state.isr().len());
        let waits_for_others = state.followers().next().is_some();
        // As in Kafka, a topic is never asked for more replicas than it has.
        let replicas = state.info().replicas.len();
        let required = required_in_sync.map(|required| required.min(replicas));
        if let Some(required) = required.filter(|required| in_sync < *required) {
            return Err(AppendFailure::NotEnoughReplicas { in_sync, required });
        }
        let appended = inner.log.append(batches, epoch, origin, now);
        inner.complaint.note(&self.name, &appended, now);
        if matches!(appended, Err(AppendError::Storage(_))) {
            self.resign(inner);
        }
        let appended = appended?;
        if appended.flush_due {
            inner.flush_to = inner.log.end_offset();
            super::flush::start(self, inner);
        } else if !inner.flushing {
            inner.stored(&self.shared, inner.log.end_offset(), batches.len());
        }
        if !appended.duplicate {
            inner.bells.ring();
        }
        let durable = inner.wait_durable(&appended, required_in_sync.is_some());
        Ok(Appended {
            first_offset: appended.first_offset,
            last_offset: appended.last_offset,
            log_start: appended.log_start_offset,
            durable,
            waits_for_others,
        })
    }

    /// Completes when everything below `up_to` is committed, or this broker stops leading the partition; `None` when it is
    /// committed already.
    pub(crate) fn when_committed(&self, up_to: Offset) -> Option<Durable> {
        let mut inner = self.lock();
        if inner.high_watermark >= up_to {
            return None;
        }
        let durable = inner.acks.until_committed(up_to);
        if self.is_gone() || !matches!(inner.role, Role::Leader(_)) {
            inner.acks.fail(&CommitFailure::NotLeader);
        }
        Some(durable)
    }

    /// All below `end` is on disk: readers may see it and producers are told.
    pub(super) fn flushed(&self, inner: &mut Inner, end: Offset) {
        inner.stored(&self.shared, end, SOME_BYTES);
        inner.acks.flushed(end);
    }

    /// No fsync is under way or wanted: what was appended meanwhile without asking for one can be seen.
    pub(super) fn catch_up(&self, inner: &mut Inner) {
        inner.stored(&self.shared, inner.log.end_offset(), SOME_BYTES);
    }
}

impl Inner {
    /// Whether this broker leads in `epoch`, where that matters.
    pub(super) fn check_still(&self, epoch: Option<LeaderEpoch>) -> Result<(), AppendFailure> {
        match &self.role {
            Role::Leader(state) if epoch.is_none_or(|epoch| epoch == state.leader_epoch()) => {
                Ok(())
            }
            Role::Leader(_) | Role::Follower(_) => Err(AppendFailure::NotLeader),
        }
    }

    /// All below `end`, `bytes` more than before, is here as safely as the topic asks.
    fn stored(&mut self, shared: &Shared, end: Offset, bytes: usize) {
        let Role::Leader(state) = &mut self.role else { return };
        let is_alone = state.followers().next().is_none();
        let now = if is_alone { Duration::ZERO } else { shared.now() };
        let end = end.max(state.log_end());
        let moved = state.on_local_append(end, now, &|id| shared.active_epoch(id));
        if let Some(high_watermark) = moved {
            self.high_watermark_moved(high_watermark, bytes);
        }
    }

    /// Lets readers see everything below `to`, `bytes` more than before.
    pub(super) fn high_watermark_moved(&mut self, to: Offset, bytes: usize) {
        let Self { log, role, acks, waiters, bells, .. } = self;
        self.high_watermark = to;
        log.on_high_watermark(to);
        if let Role::Leader(state) = role {
            acks.committed(to, state.check_min_insync().is_ok());
        }
        waiters.readable(i64::try_from(bytes).unwrap_or(i64::MAX));
        bells.note();
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

    /// The disk failed: producers that wait are told so.
    pub(super) fn flush_failed(&mut self, error: &StorageError) {
        self.flush_to = self.log.recovery_point();
        self.acks.fail(&CommitFailure::Storage(error.clone()));
        self.wake_everybody();
    }

    /// Whether an fsync is wanted.
    pub(super) fn wants_flush(&self) -> bool {
        self.log.recovery_point() < self.flush_to.min(self.log.end_offset())
    }
}
