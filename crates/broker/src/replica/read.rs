//! Reading for fetches: of consumers, up to the high watermark or the last stable offset, and of followers, up to the log's end.
//!
//! Key types: [`FetchRead`], [`FetchRefused`], [`Reader`]. A follower's fetch also says how far it has come: that is noted under the
//! same lock that finds what it gets next.

use std::io;
use std::sync::Arc;

use millstream_base::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, Offset};
use millstream_env::{fs, task};
use millstream_log::{AbortedTxn, FileRange, LogRead, ReadError, ReadPlan};
use millstream_partition::{
    DivergingEpoch, FollowerError, FollowerFetch, check_epoch, diverging_epoch,
};

use super::bells::Bell;
use super::partition::{Inner, Partition, SOME_BYTES};
use super::role::Role;
use super::waiter::FetchWaiter;
use crate::fetch::Wanted;

/// Which records a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// All below the high watermark.
    ReadUncommitted,
    /// All below the last stable offset.
    ReadCommitted,
}

/// A consumer, as far as a partition must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reader {
    /// What it may see.
    pub isolation: Isolation,
    /// Whether it may read from a follower (KIP-392: fetches from version 11 on).
    pub from_follower: bool,
}

/// A follower that fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Follower {
    /// The broker.
    pub id: NodeId,
    /// The epoch at which it is registered; -1 when it does not say.
    pub broker_epoch: BrokerEpoch,
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
    /// The log's end.
    pub log_end: Offset,
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
    Follower(#[from] FollowerError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl FetchRefused {
    /// The code that the reader gets.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::Fenced(code) => *code,
            Self::Follower(error) => error.code(),
            Self::Read(error) => error.code(),
        }
    }
}

impl Partition {
    /// Reads for a consumer: a range of a file from the wanted offset up to what the reader may see.
    pub(crate) fn read(
        &self,
        wanted: &Wanted,
        max_bytes: u32,
        reader: Reader,
        at_least_one: bool,
    ) -> Result<FetchRead, FetchRefused> {
        let isolation = reader.isolation;
        let (mut found, plan) = {
            let inner = self.lock();
            self.check_readable(&inner, wanted.current_leader_epoch, reader.from_follower)?;
            let mut found = inner.ends();
            found.diverging = inner.diverging(wanted);
            if found.diverging.is_some() {
                return Ok(found);
            }
            let is_ahead = wanted.offset > found.log_end;
            if is_ahead && matches!(inner.role, Role::Follower(_)) {
                // It may be there in a moment: the leader has it, or had.
                return Err(FetchRefused::Fenced(ErrorCode::OffsetNotAvailable));
            }
            let bound = match isolation {
                Isolation::ReadUncommitted => found.high_watermark,
                Isolation::ReadCommitted => found.last_stable,
            };
            (found, inner.log.plan_read(wanted.offset, bound, max_bytes, at_least_one)?)
        };
        found.range = resolve(&plan)?.range;
        if isolation == Isolation::ReadCommitted {
            found.aborted = Some(self.aborted(wanted.offset, &plan, found.range.as_ref())?);
        }
        Ok(found)
    }

    /// Reads for a follower, up to the log's end, and notes how far it has come.
    ///
    /// `may_read`: whether records may be handed out now; asked with whether the follower is in sync.
    pub(crate) fn read_for_follower(
        self: &Arc<Self>,
        follower: Follower,
        wanted: &Wanted,
        max_bytes: u32,
        at_least_one: bool,
        bell: &Arc<Bell>,
        may_read: impl FnOnce(bool) -> bool,
    ) -> Result<FetchRead, FetchRefused> {
        let (mut found, plan) = {
            let mut inner = self.lock();
            inner.bells.looked(bell);
            self.check_readable(&inner, wanted.current_leader_epoch, false)?;
            let (epochs, end) = (inner.log.epochs(), inner.log.end_offset());
            let diverging = diverging_epoch(epochs, end, wanted.offset, wanted.last_fetched_epoch);
            let Ok(diverging) = diverging else {
                return Err(FetchRefused::Fenced(ErrorCode::OffsetOutOfRange));
            };
            if let Some(DivergingEpoch { epoch, end_offset }) = diverging {
                let diverging = Some((epoch, end_offset));
                return Ok(FetchRead { diverging, ..inner.ends() });
            }
            let start = inner.log.log_start_offset();
            if wanted.offset < start || wanted.offset > end {
                return Err(ReadError::OutOfRange { offset: wanted.offset, start, end }.into());
            }
            let in_sync = self.note_follower(&mut inner, follower, wanted)?;
            let found = inner.ends();
            if !may_read(in_sync) {
                return Ok(found);
            }
            (found, inner.log.plan_read(wanted.offset, end, max_bytes, at_least_one)?)
        };
        found.range = resolve(&plan)?.range;
        Ok(found)
    }

    /// The follower holds everything below the offset that it wants. Tells whether it is in sync.
    fn note_follower(
        self: &Arc<Self>,
        inner: &mut Inner,
        follower: Follower,
        wanted: &Wanted,
    ) -> Result<bool, FetchRefused> {
        inner.sync_start();
        let Role::Leader(state) = &mut inner.role else {
            return Err(FetchRefused::Fenced(ErrorCode::NotLeaderOrFollower));
        };
        let fetch = FollowerFetch {
            id: follower.id,
            broker_epoch: follower.broker_epoch,
            leader_epoch: wanted.current_leader_epoch,
            offset: wanted.offset,
            log_start: wanted.log_start,
        };
        let active = |id| self.shared.active_epoch(id);
        let fetched = state.on_follower_fetch(&fetch, self.shared.now(), &active)?;
        let in_sync = state.isr().contains(&follower.id);
        if fetched.progressed && !inner.starts.is_empty() {
            let low = state.low_watermark(&active);
            inner.starts.reached(low);
        }
        if let Some(proposal) = fetched.proposal {
            self.shared.proposals.submit(Arc::clone(self), proposal);
        }
        if let Some(high_watermark) = fetched.high_watermark {
            inner.high_watermark_moved(high_watermark, SOME_BYTES);
        }
        Ok(in_sync)
    }

    /// Checks the leader epoch that a client believes in (KIP-320), and that this broker leads.
    pub(crate) fn check_leader(&self, believed: LeaderEpoch) -> Result<(), FetchRefused> {
        self.check_readable(&self.lock(), believed, false)
    }

    fn check_readable(
        &self,
        inner: &Inner,
        believed: LeaderEpoch,
        from_follower: bool,
    ) -> Result<(), FetchRefused> {
        let current = inner.role.leadership().epoch;
        check_epoch(believed, current).map_err(|error| FetchRefused::Fenced(error.code()))?;
        if self.is_gone() {
            return Err(FetchRefused::Fenced(ErrorCode::UnknownTopicOrPartition));
        }
        if inner.log.offline_reason().is_some() {
            return Err(FetchRefused::Fenced(ErrorCode::KafkaStorageError));
        }
        if !from_follower && matches!(inner.role, Role::Follower(_)) {
            return Err(FetchRefused::Fenced(ErrorCode::NotLeaderOrFollower));
        }
        Ok(())
    }

    /// The end of what a reader may see.
    pub(crate) fn visible_end(&self, isolation: Isolation) -> Offset {
        self.lock().visible_end(isolation)
    }

    /// The same for clients that ask where the log ends: `None` while a new leader does not know yet what was committed
    /// before it came (KIP-207).
    pub(crate) fn known_end(&self, isolation: Isolation) -> Option<(Offset, LeaderEpoch)> {
        let inner = self.lock();
        let Role::Leader(state) = &inner.role else { return None };
        let is_known = state.high_watermark() >= state.epoch_start();
        is_known.then(|| (inner.visible_end(isolation), state.leader_epoch()))
    }

    /// Registers a waiting fetch that has seen everything below `seen`. False when there is more by now:
    /// the fetch must look again instead of waiting.
    pub(crate) fn wait(
        &self,
        waiter: &Arc<FetchWaiter>,
        seen: Offset,
        isolation: Isolation,
    ) -> bool {
        let mut inner = self.lock();
        if inner.visible_end(isolation) > seen || self.is_gone() {
            return false;
        }
        inner.waiters.add(waiter);
        true
    }

    /// Takes a waiting fetch out.
    pub(crate) fn stop_waiting(&self, waiter: &Arc<FetchWaiter>) {
        self.lock().waiters.remove(waiter);
    }

    /// Lets a follower's session know of news from now on.
    pub(crate) fn watch(&self, bell: &Arc<Bell>, place: u32) {
        self.lock().bells.add(bell, place);
    }

    /// The session wants no news any more.
    pub(crate) fn stop_watching(&self, bell: &Arc<Bell>) {
        self.lock().bells.remove(bell);
    }

    /// Which in-sync replicas a consumer could read `offset` from (KIP-392), by how far they are; `None` when this broker does
    /// not lead.
    pub(crate) fn replicas_with(&self, offset: Offset) -> Option<Vec<(NodeId, Offset)>> {
        let inner = self.lock();
        let Role::Leader(state) = &inner.role else { return None };
        let holds = state.followers().filter(|(id, progress)| {
            state.isr().contains(id)
                && (progress.log_start()..=progress.log_end()).contains(&offset)
                && progress.log_start() >= Offset::ZERO
        });
        Some(holds.map(|(id, progress)| (id, progress.log_end())).collect())
    }
}

impl Inner {
    fn visible_end(&self, isolation: Isolation) -> Offset {
        match isolation {
            Isolation::ReadUncommitted => self.high_watermark,
            Isolation::ReadCommitted => self.last_stable(),
        }
    }

    fn ends(&self) -> FetchRead {
        FetchRead {
            high_watermark: self.high_watermark,
            last_stable: self.last_stable(),
            log_start: self.log.log_start_offset(),
            log_end: self.log.end_offset(),
            range: None,
            diverging: None,
            aborted: None,
        }
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

/// Looking up the place may touch index files, and the first look at records checks them: not under the lock,
/// and where the disk is needed, not in the way of other connections.
fn resolve(plan: &ReadPlan) -> Result<LogRead, ReadError> {
    match fs::without_waiting(|| plan.resolve()) {
        Err(ReadError::Storage(e)) if e.kind() == io::ErrorKind::WouldBlock => {
            task::block_here(|| plan.resolve())
        }
        resolved => resolved,
    }
}
