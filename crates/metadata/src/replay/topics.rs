//! Records of topics and partitions.

use std::sync::Arc;

use millstream_base::{LeaderEpoch, NodeId, PartitionIndex, Uuid};
use millstream_wire::stored::{
    ClearElrRecord, PartitionChangeRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
};

use super::ReplayError;
use crate::delta::ImageDelta;
use crate::image::{ClusterImage, ConfigResource, LeaderRecoveryState, Partition};

/// In a change of a partition: the leader stays.
const NO_LEADER_CHANGE: i32 = -2;
/// In a change of a partition: the recovery state stays.
const NO_RECOVERY_CHANGE: i8 = -1;

/// Kafka's id for "held by some directory, nobody has said which": what a record too old to name directories means.
const DIRECTORY_MIGRATING: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);

pub(super) fn topic(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &TopicRecord,
) -> Result<(), ReplayError> {
    if !image.topics.add_topic(Arc::from(&*r.name), r.topic_id) {
        return Err(ReplayError::TopicExists { name: r.name.to_string(), id: r.topic_id });
    }
    delta.topics_created.insert(r.topic_id);
    Ok(())
}

pub(super) fn partition(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &PartitionRecord,
) -> Result<(), ReplayError> {
    let index = PartitionIndex(r.partition_id);
    let directories = if r.directories.is_empty() {
        vec![DIRECTORY_MIGRATING; r.replicas.len()]
    } else {
        r.directories.clone()
    };
    let partition = Partition {
        replicas: nodes(&r.replicas),
        directories,
        isr: nodes(&r.isr),
        removing: nodes(&r.removing_replicas),
        adding: nodes(&r.adding_replicas),
        elr: nodes(r.eligible_leader_replicas.as_deref().unwrap_or_default()),
        last_known_elr: nodes(r.last_known_elr.as_deref().unwrap_or_default()),
        leader: leader(r.leader),
        leader_recovery_state: recovery("PartitionRecord", r.leader_recovery_state)?,
        leader_epoch: LeaderEpoch(r.leader_epoch),
        partition_epoch: r.partition_epoch,
    };
    if !image.topics.put_partition(r.topic_id, index, partition) {
        return Err(ReplayError::UnknownTopicId(r.topic_id));
    }
    delta.partitions.insert((r.topic_id, index));
    Ok(())
}

pub(super) fn partition_change(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &PartitionChangeRecord,
) -> Result<(), ReplayError> {
    let index = PartitionIndex(r.partition_id);
    let partition = image
        .topics
        .partition_mut(r.topic_id, index)
        .ok_or(ReplayError::UnknownPartition(r.topic_id, index))?;
    change_partition(partition, r)?;
    delta.partitions.insert((r.topic_id, index));
    Ok(())
}

/// What a record changes about its partition. On an error the partition is as before.
pub(crate) fn change_partition(
    partition: &mut Partition,
    r: &PartitionChangeRecord,
) -> Result<(), ReplayError> {
    if r.leader_recovery_state != NO_RECOVERY_CHANGE {
        partition.leader_recovery_state =
            recovery("PartitionChangeRecord", r.leader_recovery_state)?;
    }
    if let Some(replicas) = &r.replicas {
        let replicas = nodes(replicas);
        partition.directories =
            replicas.iter().map(|id| partition.directory_of(*id).unwrap_or(Uuid::ZERO)).collect();
        partition.replicas = replicas;
    }
    if let Some(directories) = &r.directories {
        partition.directories.clone_from(directories);
    }
    let lists = [
        (&r.isr, &mut partition.isr),
        (&r.removing_replicas, &mut partition.removing),
        (&r.adding_replicas, &mut partition.adding),
        (&r.eligible_leader_replicas, &mut partition.elr),
        (&r.last_known_elr, &mut partition.last_known_elr),
    ];
    for (new, current) in lists {
        if let Some(new) = new {
            *current = nodes(new);
        }
    }
    if r.leader != NO_LEADER_CHANGE {
        partition.leader = leader(r.leader);
        partition.leader_epoch = LeaderEpoch(partition.leader_epoch.get().saturating_add(1));
    }
    partition.partition_epoch = partition.partition_epoch.saturating_add(1);
    Ok(())
}

/// A topic takes its settings with it.
pub(super) fn remove_topic(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &RemoveTopicRecord,
) -> Result<(), ReplayError> {
    let topic =
        image.topics.remove_topic(r.topic_id).ok_or(ReplayError::UnknownTopicId(r.topic_id))?;
    let resource = ConfigResource::topic(Arc::clone(&topic.name));
    if image.configs.remove_resource(&resource) {
        delta.configs.insert(resource);
    }
    delta.topic_deleted(topic);
    Ok(())
}

/// Forgets the eligible leader replicas of one topic, or of all when the name is empty.
pub(super) fn clear_elr(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &ClearElrRecord,
) -> Result<(), ReplayError> {
    let name: &str = &r.topic_name;
    if !name.is_empty() && image.topics.get(name).is_none() {
        return Err(ReplayError::UnknownTopic(name.to_owned()));
    }
    let wanted = image.topics.iter().filter(|t| name.is_empty() || t.name.as_ref() == name);
    let with_elr: Vec<(Uuid, PartitionIndex)> = wanted
        .flat_map(|topic| topic.partitions.iter().map(move |(index, p)| (topic.id, *index, p)))
        .filter(|(_, _, p)| !p.elr.is_empty() || !p.last_known_elr.is_empty())
        .map(|(id, index, _)| (id, index))
        .collect();
    for (id, index) in with_elr {
        if let Some(partition) = image.topics.partition_mut(id, index) {
            partition.elr.clear();
            partition.last_known_elr.clear();
            delta.partitions.insert((id, index));
        }
    }
    Ok(())
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn leader(id: i32) -> Option<NodeId> {
    (id >= 0).then_some(NodeId(id))
}

fn recovery(kind: &'static str, code: i8) -> Result<LeaderRecoveryState, ReplayError> {
    LeaderRecoveryState::from_code(code).ok_or(ReplayError::BadValue {
        kind,
        field: "leader recovery state",
        value: code.into(),
    })
}
