//! Changes of the ISR: followers that fell behind, and what the controller says to what was proposed.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use millstream_base::{BrokerEpoch, NodeId};
use millstream_partition::{AlterAnswer, AlterOutcome, IsrProposal, PartitionInfo};

use super::partition::{Inner, Partition, SOME_BYTES};
use super::role::Role;

impl Partition {
    /// Looks for followers that have fallen behind, and proposes to go on without them.
    pub(crate) fn check_lag(self: &Arc<Self>) {
        let mut inner = self.lock();
        let Role::Leader(state) = &mut inner.role else { return };
        if let Some(proposal) = state.check_lag(self.shared.now()) {
            self.shared.proposals.submit(Arc::clone(self), proposal);
        }
    }

    /// Looks for followers that are caught up and not in sync: their broker is back, or another change has landed.
    pub(crate) fn check_joining(self: &Arc<Self>) {
        let mut inner = self.lock();
        self.propose_joining(&mut inner);
    }

    pub(super) fn propose_joining(self: &Arc<Self>, inner: &mut Inner) {
        let Role::Leader(state) = &mut inner.role else { return };
        if state.isr().len() >= state.info().replicas.len() || state.is_altering() {
            return;
        }
        let active = |id| self.shared.active_epoch(id);
        if let Some(proposal) = state.check_joining(self.shared.now(), &active) {
            self.shared.proposals.submit(Arc::clone(self), proposal);
        }
    }

    /// The disk fails under the leader: where others are in sync, one of them is to lead.
    pub(super) fn resign(self: &Arc<Self>, inner: &Inner) {
        let Role::Leader(state) = &inner.role else { return };
        if state.info().isr.len() > 1 {
            self.note_no_room();
            self.shared.resigning.submit(Arc::clone(self));
        }
    }

    /// The disk took no more: as a follower this replica fetches nothing, and so is not in sync, until it would again.
    pub(super) fn note_no_room(self: &Arc<Self>) {
        if !self.lacks_room.swap(true, Ordering::AcqRel) {
            let key = (self.topic_id, self.index());
            self.shared.without_room.lock().insert(key, Arc::clone(self));
        }
    }

    /// The disk takes bytes again.
    pub(crate) fn has_room_again(&self) {
        self.lacks_room.store(false, Ordering::Release);
        self.shared.without_room.lock().remove(&(self.topic_id, self.index()));
    }

    /// What metadata says of the partition, and those that could lead in place of this broker. `None` when it does not lead, or
    /// nobody else is in sync.
    pub(crate) fn resignation(&self) -> Option<(PartitionInfo, Vec<(NodeId, BrokerEpoch)>)> {
        let inner = self.lock();
        let Role::Leader(state) = &inner.role else { return None };
        let info = state.info().clone();
        let others = info.isr.iter().filter(|id| **id != self.shared.me);
        let active = |id: &NodeId| self.shared.active_epoch(*id).map(|epoch| (*id, epoch));
        let others: Vec<_> = others.filter_map(active).collect();
        (!others.is_empty() && !self.is_gone()).then_some((info, others))
    }

    /// Whether that proposal is still under way here.
    pub(crate) fn still_proposes(&self, proposal: &IsrProposal) -> bool {
        match &self.lock().role {
            Role::Leader(state) => {
                !self.is_gone()
                    && state.is_altering()
                    && state.leader_epoch() == proposal.leader_epoch
            }
            Role::Follower(_) => false,
        }
    }

    /// The controller's answer to a proposal. What must be asked again, if anything.
    pub(crate) fn isr_answered(
        self: &Arc<Self>,
        id: u64,
        answer: AlterAnswer,
    ) -> Option<IsrProposal> {
        let mut inner = self.lock();
        let Role::Leader(state) = &mut inner.role else { return None };
        let outcome = state.on_alter_partition(id, answer, self.shared.now());
        let is_dropped = matches!(outcome, AlterOutcome::Dropped(_));
        match outcome {
            AlterOutcome::Applied(moved) | AlterOutcome::Dropped(moved) => {
                if let Some(high_watermark) = moved {
                    inner.high_watermark_moved(high_watermark, SOME_BYTES);
                }
                // What was refused is not asked again at once.
                if !is_dropped {
                    self.propose_joining(&mut inner);
                }
                None
            }
            AlterOutcome::Retry(proposal) => Some(proposal),
            AlterOutcome::AwaitMetadata | AlterOutcome::Ignored => None,
        }
    }
}
