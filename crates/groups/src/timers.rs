//! One ordered queue for all deadlines of a shard; no task and no heap entry per heartbeat.
//!
//! Key type: [`Timers`]. A heartbeat only moves the deadline kept in its member; the member's single queue entry stays
//! where it is and is moved on when it comes due ([`SessionTimer`]). So tens of thousands of heartbeats a second
//! touch no shared structure.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What a deadline is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    /// A classic group waits for its members to join.
    Join(Arc<str>),
    /// A classic group waits for its members to sync.
    Sync(Arc<str>),
    /// A member (group, member) must be heard of.
    Session(Arc<str>, Arc<str>),
    /// A member (group, member) of a consumer-protocol group must do its part of a rebalance.
    Rebalance(Arc<str>, Arc<str>),
    /// Offsets are checked against their retention.
    Retention,
}

/// Deadlines in order, in milliseconds of the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(i64, TimerKey)>,
}

impl Timers {
    pub(crate) fn insert(&mut self, deadline_ms: i64, key: TimerKey) {
        self.queue.insert((deadline_ms, key));
    }

    pub(crate) fn remove(&mut self, deadline_ms: i64, key: TimerKey) {
        self.queue.remove(&(deadline_ms, key));
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<i64> {
        self.queue.first().map(|(deadline, _)| *deadline)
    }

    /// Takes the earliest entry if it is due.
    pub(crate) fn pop_due(&mut self, now_ms: i64) -> Option<(i64, TimerKey)> {
        if self.next()? > now_ms {
            return None;
        }
        self.queue.pop_first()
    }
}

/// A single re-armable deadline with at most one queue entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SessionTimer {
    deadline_ms: i64,
    queued_ms: Option<i64>,
}

impl SessionTimer {
    /// Moves the deadline. Touches the queue only when the entry there would come too late.
    pub(crate) fn arm(
        &mut self,
        deadline_ms: i64,
        timers: &mut Timers,
        key: impl Fn() -> TimerKey,
    ) {
        self.deadline_ms = deadline_ms;
        match self.queued_ms {
            Some(queued) if queued <= deadline_ms => return,
            Some(queued) => timers.remove(queued, key()),
            None => {}
        }
        timers.insert(deadline_ms, key());
        self.queued_ms = Some(deadline_ms);
    }

    /// Whether there is a deadline.
    pub(crate) const fn is_armed(&self) -> bool {
        self.queued_ms.is_some()
    }

    /// Forgets the deadline.
    pub(crate) fn cancel(&mut self, timers: &mut Timers, key: impl FnOnce() -> TimerKey) {
        if let Some(queued) = self.queued_ms.take() {
            timers.remove(queued, key());
        }
    }

    /// The queue entry of `queued_ms` came due: is the deadline really over? Otherwise it is queued again.
    pub(crate) fn fired(
        &mut self,
        queued_ms: i64,
        now_ms: i64,
        timers: &mut Timers,
        key: impl FnOnce() -> TimerKey,
    ) -> bool {
        if self.queued_ms != Some(queued_ms) {
            return false;
        }
        self.queued_ms = None;
        if self.deadline_ms <= now_ms {
            return true;
        }
        timers.insert(self.deadline_ms, key());
        self.queued_ms = Some(self.deadline_ms);
        false
    }
}
