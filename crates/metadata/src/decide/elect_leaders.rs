//! ElectLeaders (API key 43) and the automatic balance: partitions go back to their preferred leader, and partitions
//! without a leader get one from outside the ISR when an operator says so.

use std::collections::BTreeMap;

use millstream_base::{ErrorCode, NodeId, PartitionIndex};

use super::change::{Election, PartitionChange};
use super::rules::{ElectionDefaults, Rules};
use super::settle::{MAX_CHANGES_PER_BATCH, Presence, Settled, all};
use super::{Decision, Refusal};
use crate::image::{ClusterImage, Partition, Topic};
use crate::record::MetadataRecord;

/// Which leader is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionKind {
    /// The first replica.
    Preferred,
    /// Any replica that is there, where there is no leader: records may be lost.
    Unclean,
}

impl ElectionKind {
    /// The kind of a number in the protocol.
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Preferred),
            1 => Some(Self::Unclean),
            _ => None,
        }
    }

    /// Whether the partition has such a leader already.
    fn is_met(self, partition: &Partition) -> bool {
        match self {
            Self::Preferred => {
                partition.leader.is_some()
                    && partition.leader.as_ref() == partition.replicas.first()
            }
            Self::Unclean => partition.leader.is_some(),
        }
    }
}

/// The command.
#[derive(Debug, Clone, PartialEq)]
pub struct ElectLeaders {
    /// Which leader is wanted.
    pub kind: ElectionKind,
    /// For which partitions, at most [`MAX_CHANGES_PER_BATCH`].
    pub partitions: Vec<(String, PartitionIndex)>,
    /// The controller's own settings.
    pub defaults: ElectionDefaults,
}

impl ElectLeaders {
    /// All partitions whose leader is not the one wanted.
    pub fn candidates(image: &ClusterImage, kind: ElectionKind) -> Vec<(String, PartitionIndex)> {
        let lacking = all(image).filter(|(_, _, partition)| !kind.is_met(partition));
        lacking.map(|(topic, index, _)| (topic.name.to_string(), index)).collect()
    }

    /// Decides each partition on its own, in the order of the command.
    pub fn decide(&self, image: &ClusterImage) -> Decision<Vec<Result<(), Refusal>>> {
        let (rules, presence) = (Rules::new(image, self.defaults), Presence::of(image));
        let mut records = Vec::new();
        let mut changed = std::collections::BTreeSet::new();
        let mut reply = Vec::with_capacity(self.partitions.len());
        for (name, index) in &self.partitions {
            if !changed.insert((name.as_str(), *index)) {
                let message = format!("partition {index} of `{name}` is named twice");
                reply.push(Err(Refusal::new(ErrorCode::InvalidRequest, message)));
                continue;
            }
            let elected = self.one(image, rules, &presence, name, *index);
            reply.push(elected.map(|record| records.push(record)));
        }
        Decision { records, reply }
    }

    fn one(
        &self,
        image: &ClusterImage,
        rules: Rules<'_>,
        presence: &Presence<'_>,
        name: &str,
        index: PartitionIndex,
    ) -> Result<MetadataRecord, Refusal> {
        let unknown = |message| Refusal::new(ErrorCode::UnknownTopicOrPartition, message);
        let topic = image.topics.get(name);
        let topic = topic.ok_or_else(|| unknown(format!("topic `{name}` does not exist")))?;
        let partition = topic
            .partition(index)
            .ok_or_else(|| unknown(format!("topic `{name}` has no partition {index}")))?;
        if self.kind.is_met(partition) {
            let message = match self.kind {
                ElectionKind::Preferred => "the preferred replica leads already",
                ElectionKind::Unclean => "the partition has a leader",
            };
            return Err(Refusal::new(ErrorCode::ElectionNotNeeded, message));
        }
        let election = match self.kind {
            ElectionKind::Preferred => Election::Preferred,
            ElectionKind::Unclean => Election::Forced,
        };
        elect(image, rules, presence, (topic, index, partition), election)
            .ok_or_else(|| self.nobody(partition))
    }

    fn nobody(&self, partition: &Partition) -> Refusal {
        match self.kind {
            ElectionKind::Preferred => {
                let first = partition.replicas.first().copied().unwrap_or_default();
                let message = format!(
                    "the preferred replica, on broker {first}, is not in sync or its broker is away: start it and let it catch up"
                );
                Refusal::new(ErrorCode::PreferredLeaderNotAvailable, message)
            }
            ElectionKind::Unclean => {
                let replicas: Vec<_> = partition.replicas.iter().map(NodeId::to_string).collect();
                let message =
                    format!("none of its brokers is there: start one of {}", replicas.join(", "));
                Refusal::new(ErrorCode::EligibleLeadersNotAvailable, message)
            }
        }
    }
}

/// The record that elects, if the election changes anything.
fn elect(
    image: &ClusterImage,
    rules: Rules<'_>,
    presence: &Presence<'_>,
    (topic, index, partition): (&Topic, PartitionIndex, &Partition),
    election: Election,
) -> Option<MetadataRecord> {
    PartitionChange::new(image, rules, topic, index, partition)
        .election(election)
        .build(|id| presence.has(id, partition))
}

/// Brokers that lead less than they should, as the share of the partitions that prefer them, get those back whose
/// preferred replica is in sync. At most `limit` at once, so that clients do not all look for new leaders together.
pub fn balance_leaders(
    image: &ClusterImage,
    defaults: ElectionDefaults,
    imbalance_percent: usize,
    limit: usize,
) -> Decision<Settled> {
    let (rules, presence) = (Rules::new(image, defaults), Presence::of(image));
    let limit = limit.min(MAX_CHANGES_PER_BATCH);
    let mut preferred: BTreeMap<NodeId, (usize, usize)> = BTreeMap::new();
    for (_, _, partition) in all(image) {
        let Some(first) = partition.replicas.first() else { continue };
        let (all, elsewhere) = preferred.entry(*first).or_default();
        *all += 1;
        *elsewhere += usize::from(!ElectionKind::Preferred.is_met(partition));
    }
    let is_uneven = |first: &NodeId| {
        let (all, elsewhere) = preferred.get(first).copied().unwrap_or_default();
        elsewhere * 100 > all * imbalance_percent
    };
    let mut records = Vec::new();
    for (topic, index, partition) in all(image) {
        let Some(first) = partition.replicas.first() else { continue };
        let can_move = !ElectionKind::Preferred.is_met(partition)
            && partition.isr.contains(first)
            && presence.has(*first, partition);
        if !can_move || !is_uneven(first) {
            continue;
        }
        if records.len() == limit {
            return Decision { records, reply: Settled { changed: limit, more: true } };
        }
        records.extend(elect(
            image,
            rules,
            &presence,
            (topic, index, partition),
            Election::Preferred,
        ));
    }
    let reply = Settled { changed: records.len(), more: false };
    Decision { records, reply }
}
