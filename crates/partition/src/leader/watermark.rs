//! When the high watermark moves.

use std::time::Duration;

use millstream_base::{NodeId, Offset};

use super::{ActiveBrokers, FollowerProgress, LeaderState};

impl LeaderState {
    /// Moves the high watermark to the smallest log end of the maximal ISR, if that is further on. A follower
    /// that is caught up by time and may join is waited for too, so that it can join at all under load. Below
    /// `min.insync.replicas` nothing is committed (KIP-966).
    pub(super) fn advance(&mut self, now: Duration, active: ActiveBrokers<'_>) -> Option<Offset> {
        if self.check_min_insync().is_err() {
            return None;
        }
        let counts = |id: NodeId, progress: &FollowerProgress| {
            self.maximal_isr().contains(&id) || self.is_joining(id, progress, now, active)
        };
        let counted = self.followers.iter().filter(|(id, progress)| counts(**id, progress));
        let slowest = counted.map(|(_, progress)| progress.log_end()).min();
        let reached = slowest.map_or(self.log_end, |end| end.min(self.log_end));
        if reached <= self.high_watermark {
            return None;
        }
        self.high_watermark = reached;
        self.check();
        Some(reached)
    }

    /// The log start that every live replica has reached: what DeleteRecords waits for.
    pub fn low_watermark(&self, active: ActiveBrokers<'_>) -> Offset {
        let live = self.followers.iter().filter(|(id, _)| active(**id).is_some());
        live.map(|(_, progress)| progress.log_start()).fold(self.log_start, Offset::min)
    }

    fn is_joining(
        &self,
        id: NodeId,
        progress: &FollowerProgress,
        now: Duration,
        active: ActiveBrokers<'_>,
    ) -> bool {
        progress.is_caught_up(self.log_end, now, self.settings.lag_time_max)
            && progress.log_end() >= Offset::ZERO
            && Self::may_join(id, progress, active)
    }

    /// Whether the controller would take this follower, as far as this broker's metadata tells (KIP-903).
    pub(super) fn may_join(
        id: NodeId,
        progress: &FollowerProgress,
        active: ActiveBrokers<'_>,
    ) -> bool {
        let known = progress.broker_epoch();
        active(id).is_some_and(|epoch| known.get() < 0 || known == epoch)
    }
}
