//! Kafka's bytes of a consumer-protocol group's records (kinds 3 to 8 and 16).
//!
//! All values are version 0; fields that came after Kafka 4.0 are tagged, so 4.0 reads past them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millstream_wire::stored::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupCurrentMemberAssignmentTopicPartitions as CurrentTopic,
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataKey,
    ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey, ConsumerGroupMetadataValue,
    ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue,
    ConsumerGroupRegularExpressionKey, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMemberTopicPartition as TargetTopic,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataKey,
    ConsumerGroupTargetAssignmentMetadataValue,
};
use millstream_wire::{Decoder, Str};

use super::{DecodeRecordError, EncodeRecordError, pair, read_value};
use crate::consumer::{Assignment, ClassicMetadata, EpochAssignment, MemberState, ResolvedRegex};
use crate::record::{
    ConsumerEpoch, ConsumerMemberRecord, ConsumerPart, CurrentAssignment, TargetEpoch,
};
use crate::request::Protocol;

pub(super) fn encode(
    group_id: &Arc<str>,
    part: &ConsumerPart,
) -> Result<(Bytes, Option<Bytes>), EncodeRecordError> {
    let group = || Str::from(group_id);
    match part {
        ConsumerPart::Epoch(value) => {
            let value = value.map(|it| ConsumerGroupMetadataValue {
                epoch: it.epoch,
                metadata_hash: it.metadata_hash,
            });
            pair(&ConsumerGroupMetadataKey { group_id: group() }, value.map(|it| (it, 0)))
        }
        ConsumerPart::Partitions(value) => {
            let value = value.map(|()| ConsumerGroupPartitionMetadataValue::default());
            pair(&ConsumerGroupPartitionMetadataKey { group_id: group() }, value.map(|it| (it, 0)))
        }
        ConsumerPart::Member(member, value) => {
            let member_id = member.into();
            let key = ConsumerGroupMemberMetadataKey { group_id: group(), member_id };
            pair(&key, value.as_ref().map(|it| (member_value(it), 0)))
        }
        ConsumerPart::TargetEpoch(value) => {
            let value = value.map(|it| ConsumerGroupTargetAssignmentMetadataValue {
                assignment_epoch: it.epoch,
                assignment_timestamp: it.timestamp_ms,
            });
            let key = ConsumerGroupTargetAssignmentMetadataKey { group_id: group() };
            pair(&key, value.map(|it| (it, 0)))
        }
        ConsumerPart::Target(member, value) => {
            let member_id = member.into();
            let key = ConsumerGroupTargetAssignmentMemberKey { group_id: group(), member_id };
            pair(&key, value.as_ref().map(|it| (target_value(it), 0)))
        }
        ConsumerPart::Current(member, value) => {
            let member_id = member.into();
            let key = ConsumerGroupCurrentMemberAssignmentKey { group_id: group(), member_id };
            pair(&key, value.as_ref().map(|it| (current_value(it), 0)))
        }
        ConsumerPart::Regex(regex, value) => {
            let regular_expression = regex.into();
            let key = ConsumerGroupRegularExpressionKey { group_id: group(), regular_expression };
            let value = value.as_ref().map(|it| ConsumerGroupRegularExpressionValue {
                topics: it.topics.iter().map(Str::from).collect(),
                version: it.version,
                timestamp: it.timestamp_ms,
            });
            pair(&key, value.map(|it| (it, 0)))
        }
    }
}

fn member_value(it: &ConsumerMemberRecord) -> ConsumerGroupMemberMetadataValue {
    let protocol = |protocol: &Protocol| ClassicProtocol {
        name: (&protocol.name).into(),
        metadata: protocol.metadata.clone(),
    };
    ConsumerGroupMemberMetadataValue {
        instance_id: it.instance_id.as_ref().map(Str::from),
        rack_id: it.rack.as_ref().map(Str::from),
        client_id: (&it.client_id).into(),
        client_host: (&it.client_host).into(),
        subscribed_topic_names: it.topics.iter().map(Str::from).collect(),
        // Kafka writes an empty expression, not null, for a member without one.
        subscribed_topic_regex: Some(it.regex.as_ref().map(Str::from).unwrap_or_default()),
        rebalance_timeout_ms: it.rebalance_timeout_ms,
        server_assignor: it.assignor.as_ref().map(Str::from),
        classic_member_metadata: it.classic.as_ref().map(|classic| ClassicMemberMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            supported_protocols: classic.protocols.iter().map(protocol).collect(),
        }),
    }
}

fn target_value(it: &Assignment) -> ConsumerGroupTargetAssignmentMemberValue {
    let topic = |(topic_id, partitions): (&_, &BTreeSet<i32>)| TargetTopic {
        topic_id: *topic_id,
        partitions: partitions.iter().copied().collect(),
    };
    ConsumerGroupTargetAssignmentMemberValue { topic_partitions: it.iter().map(topic).collect() }
}

fn current_value(it: &CurrentAssignment) -> ConsumerGroupCurrentMemberAssignmentValue {
    let topics = |of: &EpochAssignment| {
        let topic = |(topic_id, partitions): (&_, &BTreeMap<i32, i32>)| CurrentTopic {
            topic_id: *topic_id,
            partitions: partitions.keys().copied().collect(),
            assignment_epochs: Some(partitions.values().copied().collect()),
        };
        of.iter().map(topic).collect()
    };
    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: it.epoch,
        previous_member_epoch: it.previous_epoch,
        state: it.state.code(),
        assigned_partitions: topics(&it.assigned),
        partitions_pending_revocation: topics(&it.revoking),
    }
}

type Part = (Arc<str>, ConsumerPart);

pub(super) fn decode(
    kind: i16,
    mut d: Decoder,
    value: Option<&[u8]>,
) -> Result<Part, DecodeRecordError> {
    let key = DecodeRecordError::Key;
    match kind {
        3 => {
            let id: ConsumerGroupMetadataKey = d.read(0).map_err(key)?;
            let group: Arc<str> = (&id.group_id).into();
            let value = read_value::<ConsumerGroupMetadataValue>(kind, &group, value)?;
            let value =
                value.map(|it| ConsumerEpoch { epoch: it.epoch, metadata_hash: it.metadata_hash });
            Ok((group, ConsumerPart::Epoch(value)))
        }
        4 => {
            let id: ConsumerGroupPartitionMetadataKey = d.read(0).map_err(key)?;
            let group: Arc<str> = (&id.group_id).into();
            Ok((group, ConsumerPart::Partitions(value.map(|_| ()))))
        }
        5 => {
            let id: ConsumerGroupMemberMetadataKey = d.read(0).map_err(key)?;
            let group: Arc<str> = (&id.group_id).into();
            let value = read_value::<ConsumerGroupMemberMetadataValue>(kind, &group, value)?;
            let value = value.map(|it| Box::new(own_member(&it)));
            Ok((group, ConsumerPart::Member((&id.member_id).into(), value)))
        }
        6 => {
            let id: ConsumerGroupTargetAssignmentMetadataKey = d.read(0).map_err(key)?;
            let group: Arc<str> = (&id.group_id).into();
            let value =
                read_value::<ConsumerGroupTargetAssignmentMetadataValue>(kind, &group, value)?;
            let value = value.map(|it| TargetEpoch {
                epoch: it.assignment_epoch,
                timestamp_ms: it.assignment_timestamp,
            });
            Ok((group, ConsumerPart::TargetEpoch(value)))
        }
        7 => {
            let id: ConsumerGroupTargetAssignmentMemberKey = d.read(0).map_err(key)?;
            let group: Arc<str> = (&id.group_id).into();
            let value =
                read_value::<ConsumerGroupTargetAssignmentMemberValue>(kind, &group, value)?;
            Ok((group, ConsumerPart::Target((&id.member_id).into(), value.map(own_target))))
        }
        8 => {
            let id: ConsumerGroupCurrentMemberAssignmentKey = d.read(0).map_err(key)?;
            let group: Arc<str> = (&id.group_id).into();
            let value =
                read_value::<ConsumerGroupCurrentMemberAssignmentValue>(kind, &group, value)?;
            let value = value.map(|it| own_current(&it));
            Ok((group, ConsumerPart::Current((&id.member_id).into(), value)))
        }
        _ => {
            let id: ConsumerGroupRegularExpressionKey = d.read(0).map_err(key)?;
            let group: Arc<str> = (&id.group_id).into();
            let value = read_value::<ConsumerGroupRegularExpressionValue>(kind, &group, value)?;
            let value = value.map(|it| ResolvedRegex {
                topics: it.topics.iter().map(Arc::from).collect(),
                version: it.version,
                timestamp_ms: it.timestamp,
            });
            Ok((group, ConsumerPart::Regex((&id.regular_expression).into(), value)))
        }
    }
}

fn own_member(it: &ConsumerGroupMemberMetadataValue) -> ConsumerMemberRecord {
    let protocol = |protocol: &ClassicProtocol| Protocol {
        name: (&protocol.name).into(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    ConsumerMemberRecord {
        instance_id: it.instance_id.as_ref().map(Arc::from),
        rack: it.rack_id.as_ref().map(Arc::from),
        client_id: (&it.client_id).into(),
        client_host: (&it.client_host).into(),
        topics: it.subscribed_topic_names.iter().map(Arc::from).collect(),
        regex: it.subscribed_topic_regex.as_ref().filter(|it| !it.is_empty()).map(Arc::from),
        rebalance_timeout_ms: it.rebalance_timeout_ms,
        assignor: it.server_assignor.as_ref().map(Arc::from),
        classic: it.classic_member_metadata.as_ref().map(|classic| ClassicMetadata {
            session_timeout_ms: classic.session_timeout_ms,
            protocols: classic.supported_protocols.iter().map(protocol).collect(),
        }),
    }
}

fn own_target(it: ConsumerGroupTargetAssignmentMemberValue) -> Assignment {
    let topic = |topic: TargetTopic| (topic.topic_id, topic.partitions.into_iter().collect());
    it.topic_partitions.into_iter().map(topic).collect()
}

fn own_current(it: &ConsumerGroupCurrentMemberAssignmentValue) -> CurrentAssignment {
    let topics = |topics: &[CurrentTopic]| {
        let topic = |topic: &CurrentTopic| {
            // Kafka 4.0 keeps no epochs: the member's own is the youngest that they can be.
            let epochs = topic.assignment_epochs.as_deref().unwrap_or_default().iter().copied();
            let epochs = epochs.chain(std::iter::repeat(it.member_epoch));
            (topic.topic_id, topic.partitions.iter().copied().zip(epochs).collect())
        };
        topics.iter().map(topic).collect()
    };
    CurrentAssignment {
        epoch: it.member_epoch,
        previous_epoch: it.previous_member_epoch,
        state: MemberState::from_code(it.state),
        assigned: topics(&it.assigned_partitions),
        revoking: topics(&it.partitions_pending_revocation),
    }
}
