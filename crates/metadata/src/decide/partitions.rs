//! Changes of partitions: leaders, ISR.
//!
//! Key type: [`PartitionUpdate`], which knows one partition's state and writes only what is to change. Leaders
//! come from the ISR alone: the preferred one first, then the order of the replicas.

use millstream_base::{NodeId, PartitionIndex, Uuid};
use millstream_wire::stored::PartitionChangeRecord;

use crate::image::{ClusterImage, Partition};
use crate::record::MetadataRecord;
use crate::snapshot::numbers;

/// A change of one partition in the making.
#[derive(Debug)]
pub struct PartitionUpdate<'a> {
    topic_id: Uuid,
    index: PartitionIndex,
    partition: &'a Partition,
    isr: Vec<NodeId>,
    leader: Option<NodeId>,
}

impl<'a> PartitionUpdate<'a> {
    /// Begins with the state as it is.
    pub fn new(topic_id: Uuid, index: PartitionIndex, partition: &'a Partition) -> Self {
        let (isr, leader) = (partition.isr.clone(), partition.leader);
        Self { topic_id, index, partition, isr, leader }
    }

    /// Takes a replica out of the ISR, unless it is the last one: a partition never forgets who has its records.
    pub fn leave_isr(&mut self, id: NodeId) {
        if self.isr.len() > 1 {
            self.isr.retain(|member| *member != id);
        }
    }

    /// Elects the first replica that is in the ISR and that `may_lead`, or nobody.
    pub fn elect(&mut self, may_lead: impl Fn(NodeId) -> bool) {
        let eligible = |id: &&NodeId| self.isr.contains(id) && may_lead(**id);
        self.leader = self.partition.replicas.iter().find(eligible).copied();
    }

    /// The record that makes the change, if anything changes.
    pub fn record(self) -> Option<MetadataRecord> {
        let mut record = PartitionChangeRecord {
            partition_id: self.index.get(),
            topic_id: self.topic_id,
            ..PartitionChangeRecord::default()
        };
        let shrinks = self.partition.isr.iter().any(|id| !self.isr.contains(id));
        if self.isr != self.partition.isr {
            record.isr = Some(numbers(&self.isr));
        }
        // Naming the leader again lets its epoch grow, which fences a replica that has left the ISR.
        if self.leader != self.partition.leader || shrinks {
            record.leader = self.leader.map_or(-1, NodeId::get);
        }
        let changes = record.isr.is_some() || self.leader != self.partition.leader;
        changes.then_some(MetadataRecord::PartitionChange(record))
    }
}

/// Every partition of the image with where it lies.
pub(super) fn all(
    image: &ClusterImage,
) -> impl Iterator<Item = (Uuid, PartitionIndex, &Partition)> {
    image.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|(index, partition)| (topic.id, *index, partition.as_ref()))
    })
}

/// Gives the partitions that have no leader, and `broker` in their ISR, to it or to an active replica before it.
pub fn elect_leaders_for(image: &ClusterImage, broker: NodeId) -> Vec<MetadataRecord> {
    elect_leaders_where(image, broker, |p| image.is_directory_online(broker, p))
}

/// The same for those partitions alone whose replica on `broker` `is_there`.
pub(super) fn elect_leaders_where(
    image: &ClusterImage,
    broker: NodeId,
    is_there: impl Fn(&Partition) -> bool,
) -> Vec<MetadataRecord> {
    let leaderless = |p: &Partition| p.leader.is_none() && p.isr.contains(&broker) && is_there(p);
    let elect = |(id, index, partition)| {
        let mut update = PartitionUpdate::new(id, index, partition);
        update.elect(|candidate| candidate == broker || image.is_active(candidate));
        update.record()
    };
    all(image).filter(|(_, _, p)| leaderless(p)).filter_map(elect).collect()
}

/// Takes `broker` out of every ISR where others remain, and moves what it leads to one of those, or to nobody.
pub(super) fn leave_partitions(image: &ClusterImage, broker: NodeId) -> Vec<MetadataRecord> {
    let concerned = |p: &Partition| p.leader == Some(broker) || p.isr.contains(&broker);
    let leave = |(id, index, partition): (_, _, &Partition)| {
        let mut update = PartitionUpdate::new(id, index, partition);
        update.leave_isr(broker);
        if partition.leader == Some(broker) {
            update.elect(|candidate| candidate != broker && image.is_active(candidate));
        }
        update.record()
    };
    all(image).filter(|(_, _, p)| concerned(p)).filter_map(leave).collect()
}
