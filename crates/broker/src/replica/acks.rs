//! Who waits for records to be as safe as they asked for, and what they are told.
//!
//! Key types: [`Acks`] (one a partition), [`Durable`] (what a waiter holds), [`CommitFailure`]. With acks=all a record waits for the high
//! watermark, which passes it only where `flush.messages` has been met as well; with acks=1 it waits for the fsync alone.

use std::collections::VecDeque;

use millstream_base::{ErrorCode, Offset};
use millstream_log::StorageError;
use tokio::sync::oneshot;

/// Completes when records will stay, or with the reason why that is not known.
pub(crate) type Durable = oneshot::Receiver<Result<(), CommitFailure>>;

/// Why it is not known that records which were appended will stay.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CommitFailure {
    /// Another broker leads now; what was not replicated may be cut off.
    #[error("this broker lost the partition before the records were on all in-sync replicas")]
    NotLeader,
    /// They are on all in-sync replicas, and those are fewer than `min.insync.replicas`.
    #[error("the records are stored on fewer replicas than min.insync.replicas")]
    NotEnoughReplicas,
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl CommitFailure {
    /// The code that the producer gets.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::NotEnoughReplicas => ErrorCode::NotEnoughReplicasAfterAppend,
            Self::Storage(failure) => failure.code(),
        }
    }
}

/// Waits for everything below `up_to`.
#[derive(Debug)]
struct Waiter {
    up_to: Offset,
    tell: oneshot::Sender<Result<(), CommitFailure>>,
}

/// Waiters by the offset that they wait for.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiter>,
    /// At this length those are looked for that nobody waits for any more.
    sweep_at: usize,
}

/// So many waiters are never swept.
const FEW: usize = 64;

impl Queue {
    fn wait(&mut self, up_to: Offset) -> Durable {
        let (tell, durable) = oneshot::channel();
        let waiter = Waiter { up_to, tell };
        if self.waiting.len() >= self.sweep_at.max(FEW) {
            // Producers that gave up; what they sent may wait for long, again and again.
            self.waiting.retain(|waiter| !waiter.tell.is_closed());
            self.sweep_at = self.waiting.len().saturating_mul(2);
        }
        // Nearly always the last: only a producer's retry waits for less than those before it.
        match self.waiting.back() {
            Some(last) if last.up_to > up_to => {
                let at = self.waiting.partition_point(|other| other.up_to <= up_to);
                self.waiting.insert(at, waiter);
            }
            _ => self.waiting.push_back(waiter),
        }
        durable
    }

    fn reached(&mut self, end: Offset, outcome: &Result<(), CommitFailure>) {
        while self.waiting.front().is_some_and(|waiter| waiter.up_to <= end) {
            if let Some(waiter) = self.waiting.pop_front() {
                // A producer that is gone does not care.
                let _ = waiter.tell.send(outcome.clone());
            }
        }
        self.shrink();
    }

    fn fail(&mut self, failure: &CommitFailure) {
        for waiter in self.waiting.drain(..) {
            let _ = waiter.tell.send(Err(failure.clone()));
        }
        self.shrink();
    }

    /// An idle partition keeps no memory for waiters.
    fn shrink(&mut self) {
        if self.waiting.is_empty() && self.waiting.capacity() > 16 {
            self.waiting = VecDeque::new();
        }
    }
}

/// All who wait on one partition.
#[derive(Debug, Default)]
pub(super) struct Acks {
    /// For an fsync here.
    flush: Queue,
    /// For the high watermark.
    commit: Queue,
}

impl Acks {
    /// Waits until all below `up_to` is on this disk.
    pub(super) fn until_flushed(&mut self, up_to: Offset) -> Durable {
        self.flush.wait(up_to)
    }

    /// Waits until the high watermark is at `up_to`.
    pub(super) fn until_committed(&mut self, up_to: Offset) -> Durable {
        self.commit.wait(up_to)
    }

    /// All below `end` is on this disk.
    pub(super) fn flushed(&mut self, end: Offset) {
        self.flush.reached(end, &Ok(()));
    }

    /// The high watermark is at `end`; `enough`: whether as many replicas are in sync as the topic asks for.
    pub(super) fn committed(&mut self, end: Offset, enough: bool) {
        if self.commit.waiting.is_empty() {
            return;
        }
        let outcome = if enough { Ok(()) } else { Err(CommitFailure::NotEnoughReplicas) };
        self.commit.reached(end, &outcome);
    }

    /// Nobody will learn more.
    pub(super) fn fail(&mut self, failure: &CommitFailure) {
        self.flush.fail(failure);
        self.commit.fail(failure);
    }

    /// The partition is gone: those who wait find nobody at the other end.
    pub(super) fn clear(&mut self) {
        self.flush.waiting.clear();
        self.commit.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_told_when_its_offset_is_reached() {
        let mut acks = Acks::default();
        let mut late = acks.until_committed(Offset(20));
        let mut early = acks.until_committed(Offset(10));
        acks.committed(Offset(9), true);
        assert!(early.try_recv().is_err());
        acks.committed(Offset(10), true);
        assert!(matches!(early.try_recv(), Ok(Ok(()))));
        assert!(late.try_recv().is_err());
        acks.committed(Offset(20), false);
        let told = late.try_recv().unwrap().unwrap_err();
        assert_eq!(told.code(), ErrorCode::NotEnoughReplicasAfterAppend);
    }

    #[test]
    fn a_lost_leadership_ends_every_wait() {
        let mut acks = Acks::default();
        let mut all = [acks.until_flushed(Offset(1)), acks.until_committed(Offset(1))];
        acks.fail(&CommitFailure::NotLeader);
        for waiting in &mut all {
            let told = waiting.try_recv().unwrap().unwrap_err();
            assert_eq!(told.code(), ErrorCode::NotLeaderOrFollower);
        }
    }
}
