//! Changes of the ISR: what is proposed to the controller, and what its answers mean.
//!
//! Key type: [`IsrProposal`]. The controller decides: a leader shrinks or grows nothing by itself, and counts for
//! the high watermark everybody whom the controller may have accepted already.

use std::time::Duration;

use millstream_base::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, Offset};

use super::{ActiveBrokers, FollowerProgress, LeaderState, MetadataOutcome, PartitionInfo};

/// An AlterPartition to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrProposal {
    /// Tells proposals of one leader apart; goes back into [`LeaderState::on_alter_partition`].
    pub id: u64,
    /// The epoch of the leadership.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that this is based on.
    pub partition_epoch: i32,
    /// The ISR that is proposed, with the broker epoch that each member's fetches carried (-1: not known). The
    /// leader's own is -1 here: the host sets its own.
    pub isr: Vec<(NodeId, BrokerEpoch)>,
}

/// What came of an AlterPartition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterAnswer {
    /// The controller's state of the partition after it.
    Accepted {
        /// The leader epoch.
        leader_epoch: LeaderEpoch,
        /// The partition epoch.
        partition_epoch: i32,
        /// The ISR.
        isr: Vec<NodeId>,
    },
    /// The controller refused it, with this code for the partition or for the request.
    Refused(ErrorCode),
    /// Nobody knows whether it arrived: time-out, lost connection, another controller.
    Unknown,
}

/// What a leader does about an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlterOutcome {
    /// It is in force. The high watermark, if that moved it.
    Applied(Option<Offset>),
    /// Send it again, after a pause.
    Retry(IsrProposal),
    /// It is off the table; the committed ISR counts. The high watermark, if that moved it.
    Dropped(Option<Offset>),
    /// The controller knows something newer: its metadata will say what.
    AwaitMetadata,
    /// The answer is not that of the current proposal.
    Ignored,
}

/// The proposal that is under way.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    proposal: IsrProposal,
    /// Everybody who may be in the ISR by now.
    pub(super) maximal: Vec<NodeId>,
    /// A try of it may still arrive at the controller: how it ended is not known.
    in_doubt: bool,
    /// Refused while in doubt: counts as under way until this time, so that a late first try finds a leader that
    /// waited for everybody.
    held_until: Option<Duration>,
}

impl LeaderState {
    /// Looks for followers that have fallen behind. To be called every half of `replica.lag.time.max.ms`. The
    /// proposal to take them out, unless another is under way.
    pub fn check_lag(&mut self, now: Duration) -> Option<IsrProposal> {
        self.release(now);
        if self.pending.is_some() {
            return None;
        }
        let behind = |id: &NodeId| {
            let progress = self.followers.get(id);
            *id != self.me
                && !progress
                    .is_some_and(|p| p.is_caught_up(self.log_end, now, self.settings.lag_time_max))
        };
        let kept: Vec<NodeId> = self.info.isr.iter().copied().filter(|id| !behind(id)).collect();
        if kept.len() == self.info.isr.len() {
            return None;
        }
        let maximal = self.info.isr.clone();
        Some(self.propose(kept, maximal))
    }

    /// Looks for a follower that is caught up and not in the ISR, although nothing new came from it: another change of the ISR
    /// has landed, or the metadata says that its broker is back. The proposal to take it in, unless another is under way.
    pub fn check_joining(
        &mut self,
        now: Duration,
        active: ActiveBrokers<'_>,
    ) -> Option<IsrProposal> {
        let lag = self.settings.lag_time_max;
        let is_near = |progress: &FollowerProgress| progress.is_caught_up(self.log_end, now, lag);
        let out = self.followers.iter().filter(|(id, _)| !self.info.isr.contains(id));
        let near: Vec<NodeId> = out.filter(|(_, p)| is_near(p)).map(|(id, _)| *id).collect();
        near.into_iter().find_map(|id| self.propose_expansion(id, now, active))
    }

    /// Proposes to take a follower in that has reached the high watermark and the start of this epoch.
    pub(super) fn propose_expansion(
        &mut self,
        id: NodeId,
        now: Duration,
        active: ActiveBrokers<'_>,
    ) -> Option<IsrProposal> {
        self.release(now);
        if self.pending.is_some() || self.info.isr.contains(&id) {
            return None;
        }
        let progress = self.followers.get(&id)?;
        let reached =
            progress.log_end() >= self.high_watermark && progress.log_end() >= self.epoch_start;
        if !reached || !Self::may_join(id, progress, active) {
            return None;
        }
        let mut isr = self.info.isr.clone();
        isr.push(id);
        Some(self.propose(isr.clone(), isr))
    }

    fn propose(&mut self, isr: Vec<NodeId>, maximal: Vec<NodeId>) -> IsrProposal {
        assert!(isr.contains(&self.me), "a leader never leaves its own ISR");
        self.proposals += 1;
        let epoch_of =
            |id| self.followers.get(&id).map_or(BrokerEpoch(-1), FollowerProgress::broker_epoch);
        let proposal = IsrProposal {
            id: self.proposals,
            leader_epoch: self.info.leader_epoch,
            partition_epoch: self.info.partition_epoch,
            isr: isr.into_iter().map(|id| (id, epoch_of(id))).collect(),
        };
        let pending =
            Pending { proposal: proposal.clone(), maximal, in_doubt: false, held_until: None };
        self.pending = Some(pending);
        proposal
    }

    /// The controller's answer to the proposal of that number.
    pub fn on_alter_partition(
        &mut self,
        id: u64,
        answer: AlterAnswer,
        now: Duration,
    ) -> AlterOutcome {
        let Some(pending) = self.pending.as_mut().filter(|p| p.proposal.id == id) else {
            return AlterOutcome::Ignored;
        };
        match answer {
            AlterAnswer::Unknown => {
                pending.in_doubt = true;
                AlterOutcome::Retry(pending.proposal.clone())
            }
            AlterAnswer::Accepted { leader_epoch, partition_epoch, isr } => {
                self.on_accepted(leader_epoch, partition_epoch, isr, now)
            }
            AlterAnswer::Refused(code) => self.on_refused(code, now),
        }
    }

    fn on_accepted(
        &mut self,
        leader_epoch: LeaderEpoch,
        partition_epoch: i32,
        isr: Vec<NodeId>,
        now: Duration,
    ) -> AlterOutcome {
        if leader_epoch != self.info.leader_epoch || !isr.contains(&self.me) {
            return AlterOutcome::AwaitMetadata;
        }
        let info = PartitionInfo { partition_epoch, isr, ..self.info.clone() };
        match self.on_metadata(info, now) {
            MetadataOutcome::Updated(high_watermark) => {
                self.pending = None;
                AlterOutcome::Applied(high_watermark.or_else(|| self.advance(now, &|_| None)))
            }
            MetadataOutcome::Stale | MetadataOutcome::NewEpoch(_) => AlterOutcome::AwaitMetadata,
        }
    }

    fn on_refused(&mut self, code: ErrorCode, now: Duration) -> AlterOutcome {
        match code {
            // Refused for good, and nothing newer is on its way.
            ErrorCode::IneligibleReplica
            | ErrorCode::OperationNotAttempted
            | ErrorCode::InvalidRequest => self.drop_proposal(now),
            ErrorCode::FencedLeaderEpoch
            | ErrorCode::InvalidUpdateVersion
            | ErrorCode::NewLeaderElected
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId => AlterOutcome::AwaitMetadata,
            code => match &mut self.pending {
                Some(pending) => {
                    let refused = [ErrorCode::NotController, ErrorCode::StaleBrokerEpoch];
                    pending.in_doubt |= !refused.contains(&code);
                    AlterOutcome::Retry(pending.proposal.clone())
                }
                None => AlterOutcome::Ignored,
            },
        }
    }

    /// Back to the committed ISR, at once where no try of the proposal can still arrive.
    fn drop_proposal(&mut self, now: Duration) -> AlterOutcome {
        match &mut self.pending {
            Some(pending) if pending.in_doubt => {
                pending.held_until = Some(now + self.settings.lag_time_max);
                AlterOutcome::AwaitMetadata
            }
            _ => {
                self.pending = None;
                AlterOutcome::Dropped(self.advance(now, &|_| None))
            }
        }
    }

    /// Lets go of a refused proposal of which no late try is to be feared any more.
    fn release(&mut self, now: Duration) {
        let held = self.pending.as_ref().and_then(|p| p.held_until);
        if held.is_some_and(|until| now >= until) {
            self.pending = None;
        }
    }
}
