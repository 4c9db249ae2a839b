//! Bringing partitions in line with which brokers are there: leaders, ISR, eligible replicas.
//!
//! Key types: [`Presence`] (which brokers and directories are there, as the image says and as a decision is about to make
//! it) and [`settle`]. A partition is settled when its leader may lead, nobody who is away is in its ISR while others
//! remain, and it has a leader if anyone may be. Fencing, unfencing, stopping, registering, failing directories and
//! unregistering are all: the broker's own record, then settle.
//!
//! A change of very many partitions is made in several batches; each leaves a state that is safe, and what is left is found
//! again by looking, by the next active controller too.

use std::collections::BTreeMap;

use millstream_base::{NodeId, PartitionIndex, Uuid};

use super::Decision;
use super::change::{Election, PartitionChange};
use super::directories::is_reserved_directory;
use super::rules::{ElectionDefaults, Rules};
use crate::image::{BrokerRegistration, ClusterImage, Partition, Topic};
use crate::record::MetadataRecord;

/// The most partitions that one batch changes.
pub const MAX_CHANGES_PER_BATCH: usize = 10_000;

/// What settling came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// How many partitions change.
    pub changed: usize,
    /// There are more than one batch may hold: settle again.
    pub more: bool,
}

/// Which brokers may lead, and where their directories are.
pub(super) struct Presence<'a> {
    brokers: BTreeMap<NodeId, (&'a BrokerRegistration, bool)>,
    /// The directories of one broker as they are about to be.
    directories: Option<(NodeId, &'a [Uuid])>,
    /// A broker about to be registered for the first time.
    newcomer: Option<NodeId>,
    /// A broker that may have lost what it had not on disk.
    lost: Option<NodeId>,
}

impl<'a> Presence<'a> {
    /// As the image says.
    pub(super) fn of(image: &'a ClusterImage) -> Self {
        let brokers = image.brokers.values().map(|b| (b.id, (b.as_ref(), b.is_active())));
        Self { brokers: brokers.collect(), directories: None, newcomer: None, lost: None }
    }

    /// With one broker as it is about to be: there or not.
    pub(super) fn with(mut self, id: NodeId, is_active: bool) -> Self {
        match self.brokers.get_mut(&id) {
            Some(broker) => broker.1 = is_active,
            None => self.newcomer = is_active.then_some(id),
        }
        self
    }

    /// With the directories that a broker is about to have.
    pub(super) const fn with_directories(mut self, id: NodeId, online: &'a [Uuid]) -> Self {
        self.directories = Some((id, online));
        self
    }

    /// With a broker that may have lost records: it leaves ISR and eligible replicas.
    pub(super) const fn with_lost(mut self, id: NodeId) -> Self {
        self.lost = Some(id);
        self
    }

    fn is_active(&self, id: NodeId) -> bool {
        self.brokers.get(&id).map_or(self.newcomer == Some(id), |(_, is_active)| *is_active)
    }

    /// Whether the broker is there and the directory of its replica too.
    pub(super) fn has(&self, id: NodeId, partition: &Partition) -> bool {
        self.is_active(id) && self.is_directory_online(id, partition)
    }

    fn is_directory_online(&self, id: NodeId, partition: &Partition) -> bool {
        let online = match (self.directories, self.brokers.get(&id)) {
            (Some((of, online)), _) if of == id => online,
            (_, Some((broker, _))) => &broker.log_dirs,
            _ => return true,
        };
        let directory = partition.directory_of(id);
        online.is_empty()
            || directory.is_none_or(|dir| is_reserved_directory(dir) || online.contains(&dir))
    }

    /// Whether nothing about the partition is to change, as far as can be told at a glance.
    fn is_settled(&self, partition: &Partition) -> bool {
        partition.leader.is_some()
            && partition.isr.iter().all(|id| self.has(*id, partition) && self.lost != Some(*id))
            && self.lost.is_none_or(|id| !partition.elr.contains(&id))
    }
}

/// Every partition of the image with where it lies.
pub(super) fn all(
    image: &ClusterImage,
) -> impl Iterator<Item = (&Topic, PartitionIndex, &Partition)> {
    image.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|(index, p)| (topic.as_ref(), *index, p.as_ref()))
    })
}

/// The records that settle at most `limit` partitions.
pub(super) fn settle_with(
    image: &ClusterImage,
    defaults: ElectionDefaults,
    presence: &Presence<'_>,
    limit: usize,
) -> Decision<Settled> {
    let rules = Rules::new(image, defaults);
    let unsettled = all(image).filter(|(_, _, partition)| !presence.is_settled(partition));
    let mut records: Vec<MetadataRecord> = Vec::new();
    for (topic, index, partition) in unsettled {
        let Some(record) = one(image, rules, presence, (topic, index, partition)) else { continue };
        if records.len() == limit {
            let reply = Settled { changed: limit, more: true };
            return Decision { records, reply };
        }
        records.push(record);
    }
    let reply = Settled { changed: records.len(), more: false };
    Decision { records, reply }
}

fn one(
    image: &ClusterImage,
    rules: Rules<'_>,
    presence: &Presence<'_>,
    (topic, index, partition): (&Topic, PartitionIndex, &Partition),
) -> Option<MetadataRecord> {
    let stays = |id: &NodeId| presence.has(*id, partition) && presence.lost != Some(*id);
    let isr = partition.isr.iter().copied().filter(stays).collect();
    let unclean = rules.allows_unclean(topic);
    PartitionChange::new(image, rules, topic, index, partition)
        .isr(isr)
        .lost(presence.lost)
        .election(if unclean { Election::Unclean } else { Election::Online })
        .build(|id| presence.has(id, partition))
}

/// Brings at most a batch of partitions in line with the image: what an active controller does when it begins, when a
/// batch was not enough, and from time to time where unclean elections are allowed.
pub fn settle(image: &ClusterImage, defaults: ElectionDefaults) -> Decision<Settled> {
    settle_with(image, defaults, &Presence::of(image), MAX_CHANGES_PER_BATCH)
}

/// Whether `broker` leads any partition.
pub fn leads_any(image: &ClusterImage, broker: NodeId) -> bool {
    all(image).any(|(_, _, partition)| partition.leader == Some(broker))
}
