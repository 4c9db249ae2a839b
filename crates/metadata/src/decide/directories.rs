//! AssignReplicasToDirs (API key 73) and the failure of log directories (KIP-858): which directory of a broker has a
//! replica, and who leads when that directory is gone.
//!
//! Kafka reserves a few ids: a replica that is assigned to one of them lies in a directory that nobody has named yet.

use std::collections::BTreeSet;

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, PartitionIndex, Uuid};
use millstream_wire::stored::{BrokerRegistrationChangeRecord, PartitionChangeRecord};

use super::brokers::{after, check_epoch};
use super::rules::ElectionDefaults;
use super::settle::{MAX_CHANGES_PER_BATCH, Presence, Settled, all, settle_with};
use super::{Decision, Refusal};
use crate::image::{ClusterImage, Partition, Topic};
use crate::record::MetadataRecord;

/// Kafka's id for a directory that was lost; named where a broker has no directory left, since an empty list says
/// nothing.
const LOST: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// Ids below this one are reserved.
const RESERVED: u128 = 100;

/// Whether an id stands for no directory of its own: not assigned, lost, or not named by an older release.
pub fn is_reserved_directory(id: Uuid) -> bool {
    u128::from_be_bytes(id.0) < RESERVED
}

impl ClusterImage {
    /// Whether the directory in which `broker` keeps this partition's replica is in service, as far as is known.
    pub fn is_directory_online(&self, broker: NodeId, partition: &Partition) -> bool {
        let Some(id) = partition.directory_of(broker) else { return true };
        let Some(registration) = self.broker(broker) else { return false };
        is_reserved_directory(id)
            || registration.log_dirs.is_empty()
            || registration.log_dirs.contains(&id)
    }
}

/// Notes where replicas of `broker` lie: topic, partition, directory. What is not its own, or is noted so already, is
/// passed over.
pub fn assign_directories(
    image: &ClusterImage,
    broker: NodeId,
    assignments: &[(Uuid, PartitionIndex, Uuid)],
) -> Decision<()> {
    let records = assignments.iter().filter_map(|place| assign(image, broker, *place).ok()?);
    Decision { records: records.collect(), reply: () }
}

/// What became of an AssignReplicasToDirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Assigned {
    /// One for each assignment, in their order.
    pub results: Vec<Result<(), Refusal>>,
    /// A replica lies in a directory that is not in service: somebody else has to lead it (see [`super::settle`]).
    pub needs_settling: bool,
}

/// The same for a broker that asks for it: each assignment is answered.
///
/// # Errors
/// `STALE_BROKER_EPOCH`, `BROKER_ID_NOT_REGISTERED`.
pub fn assign_replicas(
    image: &ClusterImage,
    broker: NodeId,
    epoch: BrokerEpoch,
    assignments: &[(Uuid, PartitionIndex, Uuid)],
) -> Result<Decision<Assigned>, Refusal> {
    check_epoch(image, broker, epoch)?;
    let online = image.broker(broker).map_or(&[][..], |broker| broker.log_dirs.as_slice());
    let (mut records, mut reply) = (Vec::new(), Assigned::default());
    let mut named = BTreeSet::new();
    for (topic_id, index, directory) in assignments {
        let result = if named.insert((*topic_id, *index)) {
            assign(image, broker, (*topic_id, *index, *directory))
        } else {
            let message = format!("partition {index} is named twice");
            Err(Refusal::new(ErrorCode::InvalidRequest, message))
        };
        reply.needs_settling |=
            matches!(result, Ok(Some(_))) && !online.is_empty() && !online.contains(directory);
        reply.results.push(result.map(|record| records.extend(record)));
    }
    Ok(Decision { records, reply })
}

/// The record that notes one replica's directory; none where it is noted so already.
fn assign(
    image: &ClusterImage,
    broker: NodeId,
    (topic_id, index, directory): (Uuid, PartitionIndex, Uuid),
) -> Result<Option<MetadataRecord>, Refusal> {
    let refuse = |code, message: String| Refusal::new(code, message);
    let topic = image.topics.get_by_id(topic_id).ok_or_else(|| {
        refuse(ErrorCode::UnknownTopicId, format!("no topic has the id {topic_id}"))
    })?;
    let partition = topic.partition(index).ok_or_else(|| {
        let message = format!("topic `{}` has no partition {index}", topic.name);
        refuse(ErrorCode::UnknownTopicOrPartition, message)
    })?;
    let at = partition.replicas.iter().position(|id| *id == broker).ok_or_else(|| {
        let message =
            format!("partition {index} of `{}` has no replica on broker {broker}", topic.name);
        refuse(ErrorCode::NotLeaderOrFollower, message)
    })?;
    let mut directories = partition.directories.clone();
    directories.resize(partition.replicas.len(), Uuid::ZERO);
    let Some(place) = directories.get_mut(at).filter(|known| **known != directory) else {
        return Ok(None);
    };
    *place = directory;
    Ok(Some(MetadataRecord::PartitionChange(PartitionChangeRecord {
        partition_id: index.get(),
        topic_id,
        directories: Some(directories),
        ..PartitionChangeRecord::default()
    })))
}

/// Of the directories of `broker` only those in `online` are in service from now on: what it leads in others is led
/// by another replica in sync, or by nobody.
pub fn fail_directories(
    image: &ClusterImage,
    defaults: ElectionDefaults,
    broker: NodeId,
    online: &[Uuid],
) -> Decision<Settled> {
    let nothing = Decision::reply(Settled::default());
    let Some(registration) = image.broker(broker) else { return nothing };
    let online = if online.is_empty() { &[LOST] } else { online };
    if registration.log_dirs == online {
        return nothing;
    }
    let record = MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
        broker_id: broker.get(),
        broker_epoch: registration.epoch.get(),
        log_dirs: online.to_vec(),
        ..BrokerRegistrationChangeRecord::default()
    });
    let presence = Presence::of(image).with_directories(broker, online);
    after(record, settle_with(image, defaults, &presence, MAX_CHANGES_PER_BATCH - 1))
}

/// Lets the epoch of everything that `broker` leads grow. Its log may have lost the records of the old epoch that
/// were not on disk, and an offset and epoch must never name two records.
pub fn lead_anew(image: &ClusterImage, broker: NodeId) -> Vec<MetadataRecord> {
    let again = |(topic, index, _): (&Topic, PartitionIndex, &Partition)| {
        MetadataRecord::PartitionChange(PartitionChangeRecord {
            partition_id: index.get(),
            topic_id: topic.id,
            leader: broker.get(),
            ..PartitionChangeRecord::default()
        })
    };
    all(image).filter(|(_, _, p)| p.leader == Some(broker)).map(again).collect()
}
