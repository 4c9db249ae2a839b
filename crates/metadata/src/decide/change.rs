//! A change of one partition in the making: replicas, ISR, eligible leaders, leader and epochs.
//!
//! Key type: [`PartitionChange`]. It is told what is wanted (an ISR, replicas, an election) and works out the one record
//! that does it: a reassignment whose new replicas are all in sync is completed, eligible leader replicas are kept up,
//! a leader that may not lead is replaced. No record comes out when nothing changes.
//!
//! Always so: without eligible leader replicas the ISR is never empty; a leader is in the ISR that is written with it; a
//! leader from outside ISR and eligible replicas comes with the recovery state `Recovering` and is the whole ISR.

use millstream_base::{NodeId, PartitionIndex, Uuid};
use millstream_wire::stored::PartitionChangeRecord;

use super::default_directory;
use super::rules::Rules;
use crate::image::{ClusterImage, LeaderRecoveryState, Partition, Topic};
use crate::record::MetadataRecord;
use crate::snapshot::numbers;

/// How a leader is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Election {
    /// The leader stays if it may lead; else the first replica in sync, or eligible.
    Online,
    /// The first replica leads if it may; else as before.
    Preferred,
    /// As `Online`; where nobody in sync may lead, any replica that is there and is not only on its way in.
    Unclean,
    /// As `Unclean`, and a replica on its way in, which may have nothing, is better than none.
    Forced,
}

/// One partition, where it lies, and what it is to become.
pub(super) struct PartitionChange<'a> {
    image: &'a ClusterImage,
    rules: Rules<'a>,
    topic: &'a Topic,
    index: PartitionIndex,
    old: &'a Partition,
    election: Election,
    replicas: Vec<NodeId>,
    isr: Vec<NodeId>,
    adding: Vec<NodeId>,
    removing: Vec<NodeId>,
    elr: Vec<NodeId>,
    last_known: Vec<NodeId>,
    leader: Option<NodeId>,
    recovery: LeaderRecoveryState,
    lost: Option<NodeId>,
    unclean: bool,
}

impl<'a> PartitionChange<'a> {
    /// Begins with the state as it is. The election is unclean where the topic allows that.
    pub(super) fn new(
        image: &'a ClusterImage,
        rules: Rules<'a>,
        topic: &'a Topic,
        index: PartitionIndex,
        old: &'a Partition,
    ) -> Self {
        Self {
            image,
            rules,
            topic,
            index,
            old,
            election: Election::Online,
            replicas: old.replicas.clone(),
            isr: old.isr.clone(),
            adding: old.adding.clone(),
            removing: old.removing.clone(),
            elr: old.elr.clone(),
            last_known: old.last_known_elr.clone(),
            leader: old.leader,
            recovery: old.leader_recovery_state,
            lost: None,
            unclean: false,
        }
    }

    /// The ISR that is wanted.
    pub(super) fn isr(mut self, isr: Vec<NodeId>) -> Self {
        self.isr = isr;
        self
    }

    /// How the leader is chosen.
    pub(super) const fn election(mut self, election: Election) -> Self {
        self.election = election;
        self
    }

    /// The leader has made the log whole, or still has to.
    pub(super) const fn recovery(mut self, state: LeaderRecoveryState) -> Self {
        self.recovery = state;
        self
    }

    /// The replicas that are wanted, with those among them that are to come and to go.
    pub(super) fn reassign(
        mut self,
        replicas: Vec<NodeId>,
        adding: Vec<NodeId>,
        removing: Vec<NodeId>,
    ) -> Self {
        (self.replicas, self.adding, self.removing) = (replicas, adding, removing);
        self
    }

    /// A replica that may have lost records: it is not eligible to lead because of what it had.
    pub(super) const fn lost(mut self, id: Option<NodeId>) -> Self {
        self.lost = id;
        self
    }

    /// The record that makes the change, if anything changes. `may_lead` says who could lead at all.
    pub(super) fn build(mut self, may_lead: impl Fn(NodeId) -> bool) -> Option<MetadataRecord> {
        self.complete_reassignment();
        self.keep_eligible();
        self.elect(&may_lead);
        if self.isr.is_empty() && !self.rules.keeps_elr() {
            self.isr.clone_from(&self.old.isr);
        }
        if self.unclean || !self.rules.keeps_elr() {
            self.elr.clear();
        }
        self.remember_last_leader();
        self.record()
    }

    /// All new replicas are in sync, and somebody stays: those on their way out leave.
    fn complete_reassignment(&mut self) {
        if self.adding.is_empty() && self.removing.is_empty() {
            return;
        }
        let stays = |id: &NodeId| !self.removing.contains(id);
        let isr: Vec<NodeId> = self.isr.iter().copied().filter(stays).collect();
        let replicas: Vec<NodeId> = self.replicas.iter().copied().filter(stays).collect();
        let is_done = !isr.is_empty() && self.adding.iter().all(|id| isr.contains(id));
        if is_done {
            (self.isr, self.replicas) = (isr, replicas);
            self.adding.clear();
            self.removing.clear();
        }
    }

    /// Who leaves an ISR that is too small for new commits still has all that is committed, and may lead later.
    fn keep_eligible(&mut self) {
        self.elr.retain(|id| self.replicas.contains(id));
        if !self.rules.keeps_elr() {
            return;
        }
        if self.is_isr_enough() {
            self.elr.clear();
            return;
        }
        let left = self.old.isr.iter().copied().filter(|id| self.replicas.contains(id));
        for id in left {
            if !self.elr.contains(&id) {
                self.elr.push(id);
            }
        }
        let (isr, lost) = (&self.isr, self.lost);
        self.elr.retain(|id| !isr.contains(id) && lost != Some(*id));
        self.elr.sort_unstable();
    }

    fn is_isr_enough(&self) -> bool {
        self.isr.len() >= self.rules.min_isr(self.topic, self.replicas.len())
    }

    fn elect(&mut self, may_lead: &dyn Fn(NodeId) -> bool) {
        let in_sync = |id: NodeId| self.isr.contains(&id) && may_lead(id);
        let preferred = self.replicas.first().copied().filter(|id| in_sync(*id));
        let chosen = match self.election {
            Election::Preferred if preferred.is_some() => preferred,
            _ => self.old.leader.filter(|id| in_sync(*id)),
        };
        let first =
            |is_fit: &dyn Fn(NodeId) -> bool| self.replicas.iter().copied().find(|id| is_fit(*id));
        if let Some(leader) = chosen.or_else(|| first(&in_sync)) {
            self.leader = Some(leader);
            return;
        }
        if let Some(leader) = first(&|id| self.elr.contains(&id) && may_lead(id)) {
            self.lead_from_eligible(leader);
            return;
        }
        let last = self.last_known_leader().filter(|id| may_lead(*id));
        let any_old = || first(&|id| !self.adding.contains(&id) && may_lead(id));
        let any = || match self.election {
            Election::Unclean => any_old(),
            Election::Forced => any_old().or_else(|| first(&may_lead)),
            Election::Online | Election::Preferred => None,
        };
        self.leader = last.or_else(any);
        if let Some(leader) = self.leader {
            self.unclean = true;
            self.isr = vec![leader];
            self.recovery = LeaderRecoveryState::Recovering;
        }
    }

    /// An eligible replica has all committed records, so nothing is lost; those that were in sync and are away are
    /// eligible beside it.
    fn lead_from_eligible(&mut self, leader: NodeId) {
        let away = self.isr.iter().copied().filter(|id| !self.elr.contains(id));
        let away: Vec<NodeId> = away.collect();
        self.elr.extend(away);
        self.elr.retain(|id| *id != leader);
        self.elr.sort_unstable();
        self.isr = vec![leader];
        self.leader = Some(leader);
        if self.is_isr_enough() {
            self.elr.clear();
        }
    }

    /// Where everybody that had all records may have lost some, the last leader is the best guess.
    fn last_known_leader(&self) -> Option<NodeId> {
        let nobody = self.rules.keeps_elr() && self.isr.is_empty() && self.elr.is_empty();
        let [last] = self.old.last_known_elr.as_slice() else { return None };
        (nobody && self.replicas.contains(last)).then_some(*last)
    }

    fn remember_last_leader(&mut self) {
        if self.leader.is_some() || !self.rules.keeps_elr() {
            self.last_known.clear();
        } else if self.isr.is_empty()
            && self.last_known.len() != 1
            && let Some(leader) = self.old.leader
        {
            self.last_known = vec![leader];
        }
    }

    fn record(self) -> Option<MetadataRecord> {
        let old = self.old;
        let listed = |new: &[NodeId], old: &[NodeId]| (new != old).then(|| numbers(new));
        let loses_replica = old.replicas.iter().any(|id| !self.replicas.contains(id));
        // Naming the leader again lets its epoch grow, so that a replica which is gone is refused everywhere.
        let names_leader = self.leader != old.leader || (loses_replica && self.leader.is_some());
        let is_new_recovery = self.recovery != old.leader_recovery_state;
        let record = PartitionChangeRecord {
            partition_id: self.index.get(),
            topic_id: self.topic.id,
            isr: listed(&self.isr, &old.isr),
            leader: if names_leader { self.leader.map_or(-1, NodeId::get) } else { UNCHANGED },
            replicas: listed(&self.replicas, &old.replicas),
            removing_replicas: listed(&self.removing, &old.removing),
            adding_replicas: listed(&self.adding, &old.adding),
            leader_recovery_state: if is_new_recovery { self.recovery.code() } else { -1 },
            directories: (self.replicas != old.replicas).then(|| self.directories()),
            eligible_leader_replicas: listed(&self.elr, &old.elr),
            last_known_elr: listed(&self.last_known, &old.last_known_elr),
        };
        let changes = record.isr.is_some()
            || names_leader
            || is_new_recovery
            || record.replicas.is_some()
            || record.removing_replicas.is_some()
            || record.adding_replicas.is_some()
            || record.eligible_leader_replicas.is_some()
            || record.last_known_elr.is_some();
        changes.then_some(MetadataRecord::PartitionChange(record))
    }

    /// Where each replica lies: those that stay where they were.
    fn directories(&self) -> Vec<Uuid> {
        let directory = |id: &NodeId| {
            let known = self.old.directory_of(*id);
            known.unwrap_or_else(|| default_directory(self.image, *id))
        };
        self.replicas.iter().map(directory).collect()
    }
}

/// In a change of a partition: the leader stays.
const UNCHANGED: i32 = -2;
