//! AlterPartitionReassignments and ListPartitionReassignments (API keys 45 and 46, KIP-455): replicas move to other
//! brokers.
//!
//! Key type: [`AlterReassignments`]. A partition that moves has its old and its new replicas at once; when all new ones
//! are in sync the old ones leave (see [`super::change`]). Until then the move can be cancelled, or aimed elsewhere.

use std::collections::BTreeSet;

use millstream_base::{ErrorCode, NodeId, PartitionIndex};

use super::change::{Election, PartitionChange};
use super::rules::{ElectionDefaults, Rules};
use super::settle::{Presence, all};
use super::{Decision, Refusal, check_assignment};
use crate::image::{ClusterImage, Partition, Topic};
use crate::record::MetadataRecord;

/// Where one partition is to lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub index: PartitionIndex,
    /// Its replicas, the preferred leader first; `None` to cancel a move.
    pub replicas: Option<Vec<NodeId>>,
}

/// The command.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterReassignments {
    /// The partitions, at most [`super::MAX_CHANGES_PER_BATCH`].
    pub partitions: Vec<Reassignment>,
    /// Whether a partition may get more or fewer replicas than it has.
    pub allow_factor_change: bool,
    /// The controller's own settings.
    pub defaults: ElectionDefaults,
}

/// A partition on the move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ongoing {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub index: PartitionIndex,
    /// All its replicas, new and old.
    pub replicas: Vec<NodeId>,
    /// Those that are new.
    pub adding: Vec<NodeId>,
    /// Those that will leave.
    pub removing: Vec<NodeId>,
}

impl AlterReassignments {
    /// Decides each partition on its own, in the order of the command.
    pub fn decide(&self, image: &ClusterImage) -> Decision<Vec<Result<(), Refusal>>> {
        let (rules, presence) = (Rules::new(image, self.defaults), Presence::of(image));
        let mut records = Vec::new();
        let mut named = BTreeSet::new();
        let mut reply = Vec::with_capacity(self.partitions.len());
        for wanted in &self.partitions {
            if !named.insert((wanted.topic.as_str(), wanted.index)) {
                let message = format!("partition {} is named twice", wanted.index);
                reply.push(Err(Refusal::new(ErrorCode::InvalidRequest, message)));
                continue;
            }
            let decided = self.one(image, rules, &presence, wanted);
            reply.push(decided.map(|record| records.extend(record)));
        }
        Decision { records, reply }
    }

    fn one(
        &self,
        image: &ClusterImage,
        rules: Rules<'_>,
        presence: &Presence<'_>,
        wanted: &Reassignment,
    ) -> Result<Option<MetadataRecord>, Refusal> {
        let Reassignment { topic: name, index, replicas } = wanted;
        let unknown = |message| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
        let topic = image.topics.get(name);
        let topic = topic.ok_or_else(|| unknown(format!("topic `{name}` does not exist")))?;
        let old = topic
            .partition(*index)
            .ok_or_else(|| unknown(format!("topic `{name}` has no partition {index}")))?;
        let change = PartitionChange::new(image, rules, topic, *index, old);
        let change = match replicas {
            Some(target) => {
                check_assignment(image, target, None)?;
                self.check_factor(old, target)?;
                move_to(change, old, target)
            }
            None => cancel(change, old, rules.allows_unclean(topic), |id| presence.has(id, old))?,
        };
        Ok(change.build(|id| presence.has(id, old)))
    }

    fn check_factor(&self, old: &Partition, target: &[NodeId]) -> Result<(), Refusal> {
        let now = old.replicas.iter().filter(|id| !old.removing.contains(id)).count();
        if self.allow_factor_change || now == target.len() {
            return Ok(());
        }
        let message = format!(
            "the replication factor would change from {now} to {}, which the request does not allow",
            target.len()
        );
        Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message))
    }
}

/// New replicas first, in the order wanted; those on their way out after them. One that was on its way in, is wanted no
/// more and has not caught up is of no use to anyone, and goes at once.
fn move_to<'a>(
    change: PartitionChange<'a>,
    old: &Partition,
    target: &[NodeId],
) -> PartitionChange<'a> {
    let is_of_use = |id: &NodeId| !old.adding.contains(id) || has_records(old, id);
    let leaves = |id: &NodeId| !target.contains(id) && is_of_use(id);
    let removing: Vec<NodeId> = old.replicas.iter().copied().filter(leaves).collect();
    let is_new = |id: &NodeId| !old.replicas.contains(id) || old.adding.contains(id);
    let adding = target.iter().copied().filter(is_new).collect();
    let replicas = target.iter().chain(&removing).copied().collect();
    change.reassign(replicas, adding, removing)
}

/// Whether a replica counts: in sync, eligible, or the last leader of a partition that lost all of those.
fn has_records(old: &Partition, id: &NodeId) -> bool {
    [&old.isr, &old.elr, &old.last_known_elr].iter().any(|list| list.contains(id))
}

/// Takes out what was to come and keeps what was to go.
fn cancel<'a>(
    change: PartitionChange<'a>,
    old: &Partition,
    unclean: bool,
    is_there: impl Fn(NodeId) -> bool,
) -> Result<PartitionChange<'a>, Refusal> {
    if !old.is_reassigning() {
        let message = "no reassignment of this partition is under way".to_owned();
        return Err(Refusal::new(ErrorCode::NoReassignmentInProgress, message));
    }
    let stays = |id: &NodeId| !old.adding.contains(id);
    let replicas: Vec<NodeId> = old.replicas.iter().copied().filter(stays).collect();
    let isr: Vec<NodeId> = old.isr.iter().copied().filter(stays).collect();
    // The only one that certainly has everything may be on its way in.
    let leaves_none = !replicas.iter().any(|id| has_records(old, id))
        && old.replicas.iter().any(|id| has_records(old, id));
    let can_do_without = unclean && replicas.iter().any(|id| is_there(*id));
    if replicas.is_empty() || (leaves_none && !can_do_without) {
        let message = "none of the replicas that would stay is in sync, so that a cancel would lose records: let the move end, or allow unclean.leader.election.enable for the topic";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    let election = if unclean { Election::Unclean } else { Election::Online };
    Ok(change.isr(isr).reassign(replicas, Vec::new(), Vec::new()).election(election))
}

/// The partitions on the move: all, or of those named.
pub fn list_reassignments(
    image: &ClusterImage,
    named: Option<&[(String, Vec<PartitionIndex>)]>,
) -> Vec<Ongoing> {
    let ongoing = |topic: &Topic, index: PartitionIndex, partition: &Partition| {
        partition.is_reassigning().then(|| Ongoing {
            topic: topic.name.to_string(),
            index,
            replicas: partition.replicas.clone(),
            adding: partition.adding.clone(),
            removing: partition.removing.clone(),
        })
    };
    let Some(named) = named else {
        return all(image).filter_map(|(topic, index, p)| ongoing(topic, index, p)).collect();
    };
    let mut found = Vec::new();
    for (name, indexes) in named {
        let Some(topic) = image.topics.get(name) else { continue };
        let indexes: BTreeSet<PartitionIndex> = indexes.iter().copied().collect();
        let partitions =
            indexes.iter().filter_map(|index| Some((*index, topic.partition(*index)?)));
        found.extend(partitions.filter_map(|(index, partition)| ongoing(topic, index, partition)));
    }
    found
}
