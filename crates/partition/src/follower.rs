//! A follower's decisions: from where to fetch, where to cut, what the leader's answer means.
//!
//! Key type: [`FollowerState`], one per replica and leader epoch. The host fetches and writes; this decides. A
//! log is cut where the leader's epochs part from its own (KIP-101, KIP-279, KIP-595's fetch with the last fetched
//! epoch), never at the high watermark alone: that one lags behind what the leader has committed.
//!
//! Invariants, asserted: log start <= high watermark <= log end.

use millstream_base::{LeaderEpoch, NodeId, Offset};

use crate::epochs::EpochCache;
use crate::leader::LogPosition;

/// Where a leader's log parts from a follower's: the leader's largest epoch that is not above the follower's last
/// fetched one, and where it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DivergingEpoch {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// Its end in the leader's log.
    pub end_offset: Offset,
}

/// The follower's last fetched epoch means nothing to the leader: OFFSET_OUT_OF_RANGE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("epoch {0} is not in the leader's log")]
pub struct UnknownEpoch(pub LeaderEpoch);

/// The leader's check of a follower's fetch: whether the log that ends at `offset`, with `last_epoch` (-1: empty, or
/// not said) as the epoch of its last batch, is a prefix of a log with these `epochs` that ends at `log_end`.
pub fn diverging_epoch(
    epochs: &EpochCache,
    log_end: Offset,
    offset: Offset,
    last_epoch: LeaderEpoch,
) -> Result<Option<DivergingEpoch>, UnknownEpoch> {
    if last_epoch.get() < 0 {
        return Ok(None);
    }
    let Some((epoch, end_offset)) = epochs.end_offset(last_epoch, log_end) else {
        return Err(UnknownEpoch(last_epoch));
    };
    let parts = epoch < last_epoch || end_offset < offset;
    Ok(parts.then_some(DivergingEpoch { epoch, end_offset }))
}

/// What a follower puts into its next fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPosition {
    /// CurrentLeaderEpoch.
    pub leader_epoch: LeaderEpoch,
    /// FetchOffset: the log's end.
    pub offset: Offset,
    /// LastFetchedEpoch: the epoch of the log's last batch, -1 for none.
    pub last_epoch: LeaderEpoch,
    /// LogStartOffset.
    pub log_start: Offset,
}

/// What to do with the local log before the next fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// Nothing: fetch on from the log's end.
    None,
    /// Cut the log back to this offset, then fetch again.
    TruncateTo(Offset),
    /// Throw everything away and begin at this offset, the leader's log start.
    StartAt(Offset),
}

/// A replica that follows a leader.
#[derive(Clone, Debug)]
pub struct FollowerState {
    leader: NodeId,
    leader_epoch: LeaderEpoch,
    log: LogPosition,
}

impl FollowerState {
    /// Begins to follow `leader` with the local log as it is.
    pub fn new(leader: NodeId, leader_epoch: LeaderEpoch, log: LogPosition) -> Self {
        let high_watermark = log.high_watermark.max(log.start).min(log.end);
        let state = Self { leader, leader_epoch, log: LogPosition { high_watermark, ..log } };
        state.check();
        state
    }

    /// Whom it follows.
    pub const fn leader(&self) -> NodeId {
        self.leader
    }

    /// In which epoch.
    pub const fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Where the local log stands.
    pub const fn position(&self) -> LogPosition {
        self.log
    }

    /// Everything below is known to be committed.
    pub const fn high_watermark(&self) -> Offset {
        self.log.high_watermark
    }

    /// What the next fetch says. `epochs` are those of the local log.
    pub fn next_fetch(&self, epochs: &EpochCache) -> FetchPosition {
        let last = epochs.epoch_of(Offset(self.log.end.get() - 1));
        FetchPosition {
            leader_epoch: self.leader_epoch,
            offset: self.log.end,
            last_epoch: last.unwrap_or(LeaderEpoch::NONE),
            log_start: self.log.start,
        }
    }

    /// Where to cut when the leader answers with a diverging epoch. One cut may not be enough: the next fetch
    /// finds out.
    pub fn on_diverging(&self, diverging: DivergingEpoch, epochs: &EpochCache) -> Repair {
        let end = self.log.end;
        let leader_end = diverging.end_offset.max(Offset::ZERO);
        let to = match epochs.end_offset(diverging.epoch, end) {
            // The leader's epoch is not older than all of ours: cut where ours of that epoch, or of the one
            // before it, ended.
            Some((epoch, our_end)) if epoch == diverging.epoch => our_end.min(leader_end),
            Some((_, our_end)) => our_end,
            None => leader_end,
        };
        match to < end {
            true if to <= self.log.start => Repair::StartAt(to),
            true => Repair::TruncateTo(to),
            false => Repair::None,
        }
    }

    /// What to do after OFFSET_OUT_OF_RANGE, with the leader's log start and log end (ListOffsets -2 and -1 as a
    /// replica).
    pub fn on_out_of_range(&self, leader_start: Offset, leader_end: Offset) -> Repair {
        if leader_end < self.log.end {
            // Only an unclean election makes a leader that has less than a follower and no epoch in common.
            return match leader_end <= self.log.start {
                true => Repair::StartAt(leader_end.max(leader_start)),
                false => Repair::TruncateTo(leader_end),
            };
        }
        match leader_start > self.log.end {
            true => Repair::StartAt(leader_start),
            false => Repair::None,
        }
    }

    /// The local log was cut to, or begun anew at, what it now is.
    pub fn on_truncated(&mut self, start: Offset, end: Offset) {
        self.log.start = start;
        self.log.end = end;
        self.log.high_watermark = self.log.high_watermark.max(start).min(end);
        self.check();
    }

    /// The local log has grown to `end` by the leader's batches, and the leader said what its high watermark and
    /// log start were. What both mean here.
    pub fn on_fetched(
        &mut self,
        end: Offset,
        leader_high_watermark: Offset,
        leader_log_start: Offset,
    ) -> Followed {
        assert!(end >= self.log.end, "a fetch does not shorten the log");
        self.log.end = end;
        let before = self.log;
        let committed = leader_high_watermark.min(end);
        // What was committed once stays so; a new leader's watermark may lag for a moment.
        self.log.high_watermark = self.log.high_watermark.max(committed);
        self.log.start = self.log.start.max(leader_log_start.min(self.log.high_watermark));
        self.check();
        Followed {
            high_watermark: (self.log.high_watermark > before.high_watermark)
                .then_some(self.log.high_watermark),
            log_start: (self.log.start > before.start).then_some(self.log.start),
        }
    }

    /// The local log start moved by itself (a reset of the directory, a repair).
    pub fn on_log_start(&mut self, start: Offset) {
        self.log.start = self.log.start.max(start);
        self.log.high_watermark = self.log.high_watermark.max(self.log.start);
        self.log.end = self.log.end.max(self.log.start);
    }

    fn check(&self) {
        assert!(self.log.start <= self.log.high_watermark, "log start <= high watermark");
        assert!(self.log.high_watermark <= self.log.end, "high watermark <= log end");
    }
}

/// What a fetch moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// The high watermark, if it moved.
    pub high_watermark: Option<Offset>,
    /// The log start, if it moved: the log has to delete what lies before.
    pub log_start: Option<Offset>,
}

#[cfg(test)]
mod tests;
