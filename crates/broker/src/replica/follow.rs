//! Following: what a leader's answer does to this replica.
//!
//! Key types: [`FromLeader`], [`FollowFailure`]. The log is cut only where the leader's epochs part from ours, never at the high
//! watermark; batches are stored byte for byte. Whatever comes for an epoch that is over is left out.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use millstream_base::{ErrorCode, LeaderEpoch, Offset, TimestampMs};
use millstream_env::task;
use millstream_log::{AppendError, ReadError, StorageError};
use millstream_partition::{DivergingEpoch, FetchPosition, FollowerState, Repair};
use tracing::{info, warn};

use super::partition::{Inner, Partition, SOME_BYTES};
use super::role::Role;

/// What a leader answered.
#[derive(Debug)]
pub(crate) struct FromLeader<'a> {
    /// The epoch that the fetch named.
    pub epoch: LeaderEpoch,
    /// The offset that it named.
    pub offset: Offset,
    /// Whole batches, but for the last.
    pub records: &'a [u8],
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// The start of the leader's log.
    pub log_start: Offset,
}

/// Why an answer could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowFailure {
    /// The leader or its epoch is another by now; the fetchers are told by metadata.
    #[error("the partition is led by another broker, or in another epoch, by now")]
    Outdated,
    /// The answer is to a question of an earlier moment.
    #[error("the log went on since the fetch")]
    Late,
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl FollowFailure {
    /// What the disk failed at.
    pub(crate) fn storage(&self) -> Option<&StorageError> {
        match self {
            Self::Append(AppendError::Storage(error))
            | Self::Read(ReadError::Storage(error))
            | Self::Storage(error) => Some(error),
            Self::Append(_) | Self::Read(_) | Self::Outdated | Self::Late => None,
        }
    }

    /// Whether the disk is at fault, and trying again soon is of no use.
    pub(crate) fn is_storage(&self) -> bool {
        let code = match self {
            Self::Append(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::Storage(error) => error.code(),
            Self::Outdated | Self::Late => ErrorCode::None,
        };
        code == ErrorCode::KafkaStorageError
    }
}

impl Partition {
    /// What the next fetch from the leader of `epoch` says; `None` when the partition follows nobody in that epoch.
    pub(crate) fn next_fetch(&self, epoch: LeaderEpoch) -> Option<FetchPosition> {
        let mut inner = self.lock();
        inner.sync_start();
        if self.is_gone() || self.lacks_room.load(Ordering::Acquire) {
            return None;
        }
        inner.following(epoch).ok().map(|state| state.next_fetch(inner.log.epochs()))
    }

    /// Takes what the leader has, as far as it is sound. What is left of a batch that was cut comes with the next fetch.
    pub(crate) fn take_fetched(
        self: &Arc<Self>,
        from: &FromLeader<'_>,
        now: TimestampMs,
    ) -> Result<FetchPosition, FollowFailure> {
        let (position, must_flush) = {
            let mut inner = self.lock();
            inner.sync_start();
            let position = inner.following(from.epoch)?.position();
            if self.is_gone() {
                return Err(FollowFailure::Outdated);
            }
            if position.end != from.offset {
                return Err(FollowFailure::Late);
            }
            let stored = inner.store(from, now);
            if stored.as_ref().is_err_and(FollowFailure::is_storage) {
                self.note_no_room();
            }
            let must_flush = stored?;
            (inner.next_fetch(from.epoch)?, must_flush)
        };
        if must_flush {
            // The leader must not count what a crash here could still lose.
            task::block_here(|| self.flush_now())?;
        }
        Ok(position)
    }

    /// Syncs everything, off the async threads and not under the lock.
    fn flush_now(&self) -> Result<(), StorageError> {
        let ticket = self.with_log(millstream_log::Log::prepare_flush)?;
        let Some(ticket) = ticket else { return Ok(()) };
        let outcome = ticket.run();
        self.with_log(|log| log.complete_flush(&ticket, outcome)).map(|_| ())
    }

    /// The leader's log parts from ours: cuts ours.
    pub(crate) fn cut_where_they_part(
        &self,
        epoch: LeaderEpoch,
        diverging: DivergingEpoch,
        now: TimestampMs,
    ) -> Result<FetchPosition, FollowFailure> {
        let repair = {
            let inner = self.lock();
            inner.following(epoch)?.on_diverging(diverging, inner.log.epochs())
        };
        self.repair(epoch, repair, now)
    }

    /// The leader has nothing at our log's end: starts anew within what it has.
    pub(crate) fn start_within(
        &self,
        epoch: LeaderEpoch,
        leader_start: Offset,
        leader_end: Offset,
        now: TimestampMs,
    ) -> Result<FetchPosition, FollowFailure> {
        let repair = self.lock().following(epoch)?.on_out_of_range(leader_start, leader_end);
        self.repair(epoch, repair, now)
    }

    fn repair(
        &self,
        epoch: LeaderEpoch,
        repair: Repair,
        now: TimestampMs,
    ) -> Result<FetchPosition, FollowFailure> {
        if repair == Repair::None {
            return self.next_fetch(epoch).ok_or(FollowFailure::Outdated);
        }
        // Removing files and reading what is left of a segment waits for the disk.
        task::block_here(|| {
            let mut inner = self.lock();
            let before = inner.following(epoch)?.position();
            let on_disk = inner.log.recovery_point();
            match repair {
                Repair::None => {}
                Repair::TruncateTo(offset) => drop(inner.log.truncate_to(offset, now)?),
                Repair::StartAt(offset) => inner.log.truncate_fully_and_start_at(offset, now)?,
            }
            let (start, end) = (inner.log.log_start_offset(), inner.log.end_offset());
            if end < before.high_watermark {
                warn!(partition = %self.name, %epoch, from = %before.end, to = %end, high_watermark = %before.high_watermark,
                    "the log was cut below what was committed: an election of a replica that was not in sync");
            } else {
                info!(partition = %self.name, %epoch, from = %before.end, to = %end, "cut to what the leader has");
            }
            if on_disk > end {
                self.shared.cut_below_checkpoint.store(true, Ordering::Release);
            }
            inner.truncated(start, end);
            inner.next_fetch(epoch)
        })
    }
}

impl Inner {
    fn following(&self, epoch: LeaderEpoch) -> Result<&FollowerState, FollowFailure> {
        match &self.role {
            Role::Follower(state) if state.leader_epoch() == epoch => Ok(state),
            Role::Follower(_) | Role::Leader(_) => Err(FollowFailure::Outdated),
        }
    }

    fn next_fetch(&self, epoch: LeaderEpoch) -> Result<FetchPosition, FollowFailure> {
        Ok(self.following(epoch)?.next_fetch(self.log.epochs()))
    }

    /// Stores records and takes over the leader's high watermark and log start; tells whether they must be synced.
    fn store(&mut self, from: &FromLeader<'_>, now: TimestampMs) -> Result<bool, FollowFailure> {
        let stored = match from.records {
            [] => None,
            records => Some(self.log.append_as_follower(records, now)),
        };
        // A failed write may have stored some of it.
        let end = self.log.end_offset();
        let Role::Follower(state) = &mut self.role else { return Err(FollowFailure::Outdated) };
        let followed = state.on_fetched(end, from.high_watermark, from.log_start);
        if let Some(high_watermark) = followed.high_watermark {
            self.high_watermark_moved(high_watermark, SOME_BYTES);
        }
        if let Some(start) = followed.log_start {
            self.log.delete_records(start)?;
            self.waiters.wake_all();
        }
        Ok(stored.transpose()?.is_some_and(|stored| stored.flush_due))
    }

    fn truncated(&mut self, start: Offset, end: Offset) {
        let Role::Follower(state) = &mut self.role else { return };
        state.on_truncated(start, end);
        self.high_watermark = state.high_watermark();
        self.log.on_high_watermark(self.high_watermark);
        self.flush_to = self.flush_to.min(end);
        self.wake_everybody();
    }
}
