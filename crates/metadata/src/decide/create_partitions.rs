//! CreatePartitions (API key 37): more partitions for topics that exist.

use std::collections::BTreeSet;

use millstream_base::{ErrorCode, NodeId, PartitionIndex};

use super::{
    Decision, MAX_PARTITIONS_PER_REQUEST, Refusal, candidates, check_assignment, count,
    new_partition,
};
use crate::image::{ClusterImage, Topic};
use crate::placement::place;
use crate::record::MetadataRecord;
use crate::snapshot::partition_record;

/// More partitions for one topic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MorePartitions {
    /// The topic.
    pub name: String,
    /// How many partitions it shall have in all.
    pub count: i32,
    /// Replicas of the new partitions in order; `None` to let the controller place them.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// The command.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CreatePartitions {
    /// The topics.
    pub topics: Vec<MorePartitions>,
    /// Only say what would happen.
    pub validate_only: bool,
    /// Where placement starts.
    pub seed: u64,
}

impl CreatePartitions {
    /// Decides each topic on its own. The reply has one entry for each distinct name, in the order of the
    /// request.
    pub fn decide(&self, image: &ClusterImage) -> Decision<Vec<(String, Result<(), Refusal>)>> {
        let named = count(self.topics.iter().map(|topic| topic.name.as_str()));
        let mut records = Vec::new();
        let mut reply = Vec::new();
        let mut answered = BTreeSet::new();
        for topic in &self.topics {
            if !answered.insert(topic.name.as_str()) {
                continue;
            }
            let result = if named.get(topic.name.as_str()).is_some_and(|times| *times > 1) {
                let message = format!("topic `{}` is named more than once", topic.name);
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            } else {
                let room = MAX_PARTITIONS_PER_REQUEST.saturating_sub(records.len());
                self.one(image, topic, room).map(|added| records.extend(added))
            };
            reply.push((topic.name.clone(), result));
        }
        if self.validate_only {
            records.clear();
        }
        Decision { records, reply }
    }

    fn one(
        &self,
        image: &ClusterImage,
        more: &MorePartitions,
        room: usize,
    ) -> Result<Vec<MetadataRecord>, Refusal> {
        let name = &more.name;
        let topic = image.topics.get(name).ok_or_else(|| {
            let message = format!("topic `{name}` does not exist");
            Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
        })?;
        let existing = topic.partitions.len();
        let added = usize::try_from(more.count).unwrap_or(0).saturating_sub(existing);
        if added == 0 {
            let message = format!(
                "topic `{name}` has {existing} partitions; {} would not be more",
                more.count
            );
            return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
        }
        if added > room {
            let message =
                format!("one request may add at most {MAX_PARTITIONS_PER_REQUEST} partitions");
            return Err(Refusal::new(ErrorCode::PolicyViolation, message));
        }
        let factor = topic.partitions.values().next().map_or(1, |p| p.replicas.len());
        let (rows, unavailable) = match &more.assignments {
            Some(rows) => {
                (assigned(image, rows, added, factor)?, ErrorCode::InvalidReplicaAssignment)
            }
            None => {
                let start = placement_start(image, topic, self.seed);
                let rows = place(&candidates(image), start, existing, added, factor);
                let code = ErrorCode::InvalidReplicationFactor;
                (rows.map_err(|error| Refusal::new(code, error.to_string()))?, code)
            }
        };
        let mut records = Vec::with_capacity(rows.len());
        for (row, index) in rows.into_iter().zip(existing..) {
            let index = PartitionIndex(i32::try_from(index).unwrap_or(i32::MAX));
            let partition = new_partition(image, row).ok_or_else(|| {
                let message = format!("all brokers for partition {index} are fenced or stopping");
                Refusal::new(unavailable, message)
            })?;
            records.push(partition_record(topic.id, index, &partition));
        }
        Ok(records)
    }
}

/// The seed under which partition 0 of the topic lies where it lies, so that the walk goes on where it ended;
/// the given seed when no such place can be found.
fn placement_start(image: &ClusterImage, topic: &Topic, seed: u64) -> u64 {
    let brokers = candidates(image);
    let first = topic.partitions.values().next().map(|p| &p.replicas);
    let lies_there = |start: &u64| {
        place(&brokers, *start, 0, 1, 1).ok().and_then(|rows| rows.first().cloned())
            == first.and_then(|replicas| replicas.first().map(|id| vec![*id]))
    };
    (0..brokers.len() as u64).find(lies_there).unwrap_or(seed)
}

fn assigned(
    image: &ClusterImage,
    rows: &[Vec<NodeId>],
    added: usize,
    factor: usize,
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    if rows.len() != added {
        let message = format!(
            "{added} partitions would be added, but the manual assignment is for {}",
            rows.len()
        );
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    for row in rows {
        check_assignment(image, row, Some(factor))?;
    }
    Ok(rows.to_vec())
}
