//! Changes of the ISR: followers that fell behind, and what the controller says to what was proposed.

use std::sync::Arc;

use millstream_partition::{AlterAnswer, AlterOutcome, IsrProposal};

use super::partition::{Partition, SOME_BYTES};
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
    pub(crate) fn isr_answered(&self, id: u64, answer: AlterAnswer) -> Option<IsrProposal> {
        let mut inner = self.lock();
        let Role::Leader(state) = &mut inner.role else { return None };
        match state.on_alter_partition(id, answer, self.shared.now()) {
            AlterOutcome::Applied(moved) | AlterOutcome::Dropped(moved) => {
                if let Some(high_watermark) = moved {
                    inner.high_watermark_moved(high_watermark, SOME_BYTES);
                }
                None
            }
            AlterOutcome::Retry(proposal) => Some(proposal),
            AlterOutcome::AwaitMetadata | AlterOutcome::Ignored => None,
        }
    }
}
