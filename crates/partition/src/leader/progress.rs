//! How far one follower has come.
//!
//! Key type: [`FollowerProgress`]. "Caught up" has Kafka's meaning: the follower had, at that time, everything
//! that the leader had.

use std::time::Duration;

use millstream_base::{BrokerEpoch, LeaderEpoch, NodeId, Offset};

use super::FollowerError;

/// What a follower's fetch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    /// The follower.
    pub id: NodeId,
    /// The epoch of its registration; -1 when it does not say.
    pub broker_epoch: BrokerEpoch,
    /// The leader epoch that it knows; -1 when it does not say.
    pub leader_epoch: LeaderEpoch,
    /// The offset that it wants: everything below is in its log.
    pub offset: Offset,
    /// Where its log begins.
    pub log_start: Offset,
}

/// What the leader knows of one follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerProgress {
    log_end: Offset,
    log_start: Offset,
    broker_epoch: BrokerEpoch,
    last_fetch: Option<LastFetch>,
    caught_up: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LastFetch {
    at: Duration,
    /// The leader's log end at that time.
    leader_end: Offset,
}

impl FollowerProgress {
    /// Nothing is known yet; `caught_up` is set for members of the ISR.
    pub(super) const fn new(caught_up: Option<Duration>) -> Self {
        Self {
            log_end: Offset::NONE,
            log_start: Offset::NONE,
            broker_epoch: BrokerEpoch(-1),
            last_fetch: None,
            caught_up,
        }
    }

    /// Takes a fetch into account; tells whether the follower's log start or end moved.
    pub(super) fn on_fetch(
        &mut self,
        fetch: &FollowerFetch,
        leader_end: Offset,
        now: Duration,
    ) -> Result<bool, FollowerError> {
        if fetch.broker_epoch.get() >= 0 && fetch.broker_epoch < self.broker_epoch {
            let (id, found, current) = (fetch.id, fetch.broker_epoch, self.broker_epoch);
            return Err(FollowerError::StaleBrokerEpoch { id, found, current });
        }
        let last = self.last_fetch;
        if fetch.offset >= leader_end {
            self.caught_up = Some(now);
        } else if let Some(last) = last.filter(|last| fetch.offset >= last.leader_end) {
            // It now has all that there was when it fetched before: it was caught up then.
            self.caught_up = self.caught_up.max(Some(last.at));
        }
        let progressed = self.log_end != fetch.offset || self.log_start != fetch.log_start;
        self.log_end = fetch.offset;
        self.log_start = fetch.log_start;
        self.broker_epoch = self.broker_epoch.max(fetch.broker_epoch);
        self.last_fetch = Some(LastFetch { at: now, leader_end });
        Ok(progressed)
    }

    /// The leader's log, which ended at `leader_end` until now, grows.
    pub(super) fn on_growth(&mut self, leader_end: Offset, now: Duration) {
        if self.log_end >= leader_end && self.caught_up.is_some() {
            self.caught_up = self.caught_up.max(Some(now));
        }
    }

    /// Whether it has all of a log that ends at `leader_end`, or had all there was at most `lag` ago.
    pub fn is_caught_up(&self, leader_end: Offset, now: Duration, lag: Duration) -> bool {
        self.log_end == leader_end || self.caught_up.is_some_and(|at| now.saturating_sub(at) <= lag)
    }

    /// The end of its log; -1 while it has not fetched in this epoch.
    pub const fn log_end(&self) -> Offset {
        self.log_end
    }

    /// The start of its log; -1 while it has not fetched in this epoch.
    pub const fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The epoch of its registration; -1 while it is not known.
    pub const fn broker_epoch(&self) -> BrokerEpoch {
        self.broker_epoch
    }

    /// When it last fetched.
    pub fn last_fetch(&self) -> Option<Duration> {
        self.last_fetch.map(|last| last.at)
    }

    /// When it last had everything that the leader had.
    pub const fn last_caught_up(&self) -> Option<Duration> {
        self.caught_up
    }
}
