//! A group changes its protocol while its members stay.
//!
//! Up: the first member that speaks the consumer protocol turns a classic group of consumers into a consumer group; the
//! others go on with JoinGroup, SyncGroup and Heartbeat. Down: when the last consumer-protocol member is gone and
//! classic ones are left, the group is classic again.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_wire::Str;
use millstream_wire::stored::{
    ConsumerProtocolAssignment, ConsumerProtocolAssignmentTopicPartition as AssignedTopic,
    ConsumerProtocolSubscription, embedded_from_bytes, value_to_bytes,
};

use super::state::{
    Assignment, ClassicMetadata, ConsumerGroup, ConsumerMember, EpochAssignment, MemberState,
};
use super::topics::Topics;
use crate::classic::{CONSUMER, ClassicGroup, Member};
use crate::record::{
    ClassicMemberRecord, ClassicRecord, ConsumerEpoch, ConsumerPart, Record, TargetEpoch,
};
use crate::request::Protocol;
use crate::timers::Timers;

/// What a classic consumer says when it joins.
pub(crate) fn subscription(protocols: &[Protocol]) -> Option<ConsumerProtocolSubscription> {
    embedded_from_bytes(protocols.first()?.metadata.clone()).ok()
}

/// Partitions by topic name, as ids; topics that are gone are left out.
pub(crate) fn to_ids<'a>(
    named: impl Iterator<Item = (&'a Str, &'a Vec<i32>)>,
    topics: &dyn Topics,
) -> Assignment {
    let mut assignment = Assignment::new();
    for (name, partitions) in named {
        if let Some(topic) = topics.by_name(name) {
            assignment.entry(topic.id).or_default().extend(partitions);
        }
    }
    assignment
}

/// What a classic member gets by SyncGroup, in the version of the protocol that it speaks.
pub(crate) fn assignment_bytes(member: &ConsumerMember, topics: &dyn Topics) -> Bytes {
    let assigned = member.assigned.iter().filter_map(|(id, partitions)| {
        let topic = topics.by_id(*id)?;
        let partitions = partitions.keys().copied().collect();
        Some(AssignedTopic { topic: (&topic.name).into(), partitions })
    });
    let mut assigned: Vec<AssignedTopic> = assigned.collect();
    assigned.sort_by(|a, b| a.topic.cmp(&b.topic));
    let value = ConsumerProtocolAssignment { assigned_partitions: assigned, user_data: None };
    let classic = member.classic.as_ref();
    let metadata = classic.and_then(|it| it.protocols.first()).map(|it| &it.metadata);
    let version =
        metadata.and_then(|bytes| bytes.first_chunk::<2>()).map(|it| i16::from_be_bytes(*it));
    value_to_bytes(&value, version.unwrap_or(0).clamp(0, 3)).unwrap_or_default()
}

/// The consumer group that a classic group becomes, and the records that make it. `None` when its members' metadata
/// cannot be read.
pub(crate) fn from_classic(
    classic: &ClassicGroup,
    topics: &dyn Topics,
) -> Option<(ConsumerGroup, Vec<Record>)> {
    let mut group = ConsumerGroup::new(Arc::clone(&classic.id));
    let generation = classic.generation;
    let mut parts = Vec::new();
    for member in classic.members.values() {
        let member = upgraded(member, generation, topics)?;
        let target = super::heartbeat::plain(&member.assigned);
        let id = || Arc::clone(&member.id);
        parts.push(ConsumerPart::Member(id(), Some(Box::new(member.to_record()))));
        parts.push(ConsumerPart::Target(id(), Some(target)));
        parts.push(ConsumerPart::Current(id(), Some(member.to_current())));
    }
    let epoch = ConsumerEpoch { epoch: generation, metadata_hash: 0 };
    parts.insert(0, ConsumerPart::Epoch(Some(epoch)));
    let target = TargetEpoch { epoch: generation, timestamp_ms: 0 };
    parts.push(ConsumerPart::TargetEpoch(Some(target)));
    let mut records = vec![Record::Classic { group_id: Arc::clone(&classic.id), value: None }];
    let mut unused = Timers::default();
    for part in parts {
        group.replay(&part, &mut unused);
        records.push(group.record(part));
    }
    Some((group, records))
}

fn upgraded(member: &Member, generation: i32, topics: &dyn Topics) -> Option<ConsumerMember> {
    let said = subscription(&member.protocols)?;
    let assigned = if member.assignment.is_empty() {
        Assignment::new()
    } else {
        let read: ConsumerProtocolAssignment =
            embedded_from_bytes(member.assignment.clone()).ok()?;
        to_ids(read.assigned_partitions.iter().map(|it| (&it.topic, &it.partitions)), topics)
    };
    let with_epoch = |(topic, partitions): (_, std::collections::BTreeSet<i32>)| {
        (topic, partitions.into_iter().map(|it| (it, generation)).collect())
    };
    Some(ConsumerMember {
        instance_id: member.instance_id.clone(),
        rack: said.rack_id.as_ref().map(Arc::from),
        client: member.client.clone(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        topics: said.topics.iter().map(Arc::from).collect(),
        classic: Some(ClassicMetadata {
            session_timeout_ms: member.session_timeout_ms,
            protocols: member.protocols.clone(),
        }),
        epoch: generation,
        previous_epoch: generation,
        state: MemberState::Stable,
        assigned: assigned.into_iter().map(with_epoch).collect(),
        revoking: EpochAssignment::new(),
        ..ConsumerMember::new(Arc::clone(&member.id))
    })
}

/// The records that turn the group into a classic one of these members, all of which speak the classic protocol.
pub(crate) fn to_classic(
    group: &ConsumerGroup,
    members: &[ConsumerMember],
    epoch: i32,
    state_timestamp_ms: i64,
    topics: &dyn Topics,
) -> Vec<Record> {
    let protocol = common_protocol(members);
    let member = |member: &ConsumerMember| {
        let classic = member.classic.as_ref();
        let mut protocols = classic.into_iter().flat_map(|it| &it.protocols);
        let chosen = protocols.find(|it| Some(&it.name) == protocol.as_ref());
        ClassicMemberRecord {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client.id),
            client_host: Arc::clone(&member.client.host),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: classic.map_or(0, |it| it.session_timeout_ms),
            subscription: chosen.map(|it| it.metadata.clone()).unwrap_or_default(),
            assignment: assignment_bytes(member, topics),
        }
    };
    let value = ClassicRecord {
        protocol_type: CONSUMER.into(),
        generation: epoch,
        protocol: protocol.clone(),
        leader: members.first().map(|member| Arc::clone(&member.id)),
        state_timestamp_ms,
        members: members.iter().map(member).collect(),
    };
    let mut records = group.tombstones();
    records.push(Record::Classic { group_id: Arc::clone(&group.id), value: Some(value) });
    records
}

/// The protocol that all support; where there are several, the one that comes first for most.
fn common_protocol(members: &[ConsumerMember]) -> Option<Arc<str>> {
    let mut supported: BTreeMap<&Arc<str>, (usize, usize)> = BTreeMap::new();
    for classic in members.iter().filter_map(|member| member.classic.as_ref()) {
        for (at, protocol) in classic.protocols.iter().enumerate() {
            let entry = supported.entry(&protocol.name).or_default();
            entry.0 += 1;
            entry.1 += usize::from(at == 0);
        }
    }
    let best = supported.into_iter().max_by_key(|(_, votes)| *votes);
    best.map(|(name, _)| Arc::clone(name))
}
