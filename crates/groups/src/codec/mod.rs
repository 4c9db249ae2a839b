//! Kafka's bytes of a [`Record`] and back.
//!
//! Key entries: [`Record::encode`] and `decode`. Values are written in the versions that Kafka 4.0 writes or reads (offsets
//! 4 with the topic's id, 3 without, 1 with an explicit expiry; classic groups 3), so that Kafka can take the log over; every
//! version is read. Bytes from the log are not trusted: a bad record is an error of its own and harms no other.

mod consumer;

use std::sync::Arc;

use bytes::Bytes;
use millstream_wire::stored::{
    self, GroupMetadataKey, GroupMetadataValue, LegacyOffsetCommitKey, MemberMetadata,
    OffsetCommitKey, OffsetCommitValue, Stored, key_to_bytes, value_to_bytes,
};
use millstream_wire::{DecodeError, EncodeError, Str};

use crate::offsets::CommittedOffset;
use crate::record::{ClassicMemberRecord, ClassicRecord, Record};

/// A record in the log that is not what its kind says.
#[derive(Debug, thiserror::Error)]
pub enum DecodeRecordError {
    /// The key cannot be read.
    #[error("the key cannot be read: {0}")]
    Key(#[source] DecodeError),
    /// The value cannot be read.
    #[error("the value of a record of kind {kind} for group `{group}` cannot be read: {cause}")]
    Value {
        /// The record's kind.
        kind: i16,
        /// Which group it is of.
        group: Arc<str>,
        /// Why.
        #[source]
        cause: DecodeError,
    },
}

/// A record that does not fit Kafka's format, such as a name of more than 32,767 bytes.
#[derive(Debug, thiserror::Error)]
#[error("the record cannot be written: {0}")]
pub struct EncodeRecordError(#[from] EncodeError);

/// What a key and value say.
pub(crate) enum Decoded {
    /// A record of the state.
    Record(Record),
    /// A kind that is not kept.
    Unknown(i16),
}

/// Offsets without an explicit expiry.
const OFFSET_VERSION: i16 = 3;
/// The one version of the value that can carry the topic's id.
const OFFSET_TOPIC_ID_VERSION: i16 = 4;
/// The one version of the value that can carry an expiry.
const OFFSET_EXPIRY_VERSION: i16 = 1;
const CLASSIC_VERSION: i16 = 3;

impl Record {
    /// The record's key and value; without a value it is a tombstone.
    ///
    /// # Errors
    /// A string or array is longer than Kafka's format can say.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeRecordError> {
        match self {
            Self::Offset { group_id, topic, partition, value } => {
                let key = OffsetCommitKey {
                    group: group_id.into(),
                    topic: topic.into(),
                    partition: *partition,
                };
                pair(&key, value.as_ref().map(offset_value))
            }
            Self::Classic { group_id, value } => {
                let key = GroupMetadataKey { group: group_id.into() };
                let value = value.as_ref().map(|value| (classic_value(value), CLASSIC_VERSION));
                pair(&key, value)
            }
            Self::Consumer { group_id, part } => consumer::encode(group_id, part),
        }
    }
}

fn pair<K: Stored, V: Stored>(
    key: &K,
    value: Option<(V, i16)>,
) -> Result<(Bytes, Option<Bytes>), EncodeRecordError> {
    let key = key_to_bytes(key)?;
    let value = value.map(|(value, version)| value_to_bytes(&value, version)).transpose()?;
    Ok((key, value))
}

fn offset_value(value: &CommittedOffset) -> (OffsetCommitValue, i16) {
    let has_expiry = value.expire_timestamp_ms >= 0;
    let wire = OffsetCommitValue {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: (&*value.metadata).into(),
        commit_timestamp: value.commit_timestamp_ms,
        expire_timestamp: value.expire_timestamp_ms,
        topic_id: value.topic_id,
    };
    let version = match (has_expiry, value.topic_id.is_zero()) {
        (true, _) => OFFSET_EXPIRY_VERSION,
        (false, false) => OFFSET_TOPIC_ID_VERSION,
        (false, true) => OFFSET_VERSION,
    };
    (wire, version)
}

fn classic_value(value: &ClassicRecord) -> GroupMetadataValue {
    let member = |member: &ClassicMemberRecord| MemberMetadata {
        member_id: (&member.member_id).into(),
        group_instance_id: member.instance_id.as_ref().map(Str::from),
        client_id: (&member.client_id).into(),
        client_host: (&member.client_host).into(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
    };
    GroupMetadataValue {
        protocol_type: (&value.protocol_type).into(),
        generation: value.generation,
        protocol: value.protocol.as_ref().map(Str::from),
        leader: value.leader.as_ref().map(Str::from),
        current_state_timestamp: value.state_timestamp_ms,
        members: value.members.iter().map(member).collect(),
    }
}

/// Reads one record of the log.
pub(crate) fn decode(key: &[u8], value: Option<&[u8]>) -> Result<Decoded, DecodeRecordError> {
    let key = Bytes::copy_from_slice(key);
    let (kind, mut d) = stored::open_key(key).map_err(DecodeRecordError::Key)?;
    let record = match kind {
        0 => {
            let key: LegacyOffsetCommitKey = d.read(0).map_err(DecodeRecordError::Key)?;
            offset_record(kind, (&key.group).into(), (&key.topic).into(), key.partition, value)?
        }
        1 => {
            let key: OffsetCommitKey = d.read(0).map_err(DecodeRecordError::Key)?;
            offset_record(kind, (&key.group).into(), (&key.topic).into(), key.partition, value)?
        }
        2 => {
            let key: GroupMetadataKey = d.read(0).map_err(DecodeRecordError::Key)?;
            let group_id: Arc<str> = (&key.group).into();
            let value = read_value::<GroupMetadataValue>(kind, &group_id, value)?;
            Record::Classic { group_id, value: value.map(own_classic) }
        }
        3..=8 | 16 => {
            let (group_id, part) = consumer::decode(kind, d, value)?;
            Record::Consumer { group_id, part }
        }
        other => return Ok(Decoded::Unknown(other)),
    };
    Ok(Decoded::Record(record))
}

fn read_value<V: Stored>(
    kind: i16,
    group: &Arc<str>,
    value: Option<&[u8]>,
) -> Result<Option<V>, DecodeRecordError> {
    let read = |bytes: &[u8]| stored::value_from_bytes(Bytes::copy_from_slice(bytes));
    let failed = |cause| DecodeRecordError::Value { kind, group: Arc::clone(group), cause };
    value.map(read).transpose().map_err(failed)
}

fn offset_record(
    kind: i16,
    group_id: Arc<str>,
    topic: Arc<str>,
    partition: i32,
    value: Option<&[u8]>,
) -> Result<Record, DecodeRecordError> {
    // The old kind's value is version 0 of the newer kind's.
    let value = read_value::<OffsetCommitValue>(kind, &group_id, value)?;
    let value = value.map(|value| CommittedOffset {
        offset: value.offset,
        leader_epoch: value.leader_epoch,
        metadata: value.metadata.as_str().into(),
        topic_id: value.topic_id,
        commit_timestamp_ms: value.commit_timestamp,
        expire_timestamp_ms: value.expire_timestamp,
    });
    Ok(Record::Offset { group_id, topic, partition, value })
}

fn own_classic(value: GroupMetadataValue) -> ClassicRecord {
    let member = |member: MemberMetadata| ClassicMemberRecord {
        member_id: (&member.member_id).into(),
        instance_id: member.group_instance_id.as_ref().map(Arc::from),
        client_id: (&member.client_id).into(),
        client_host: (&member.client_host).into(),
        rebalance_timeout_ms: member.rebalance_timeout,
        session_timeout_ms: member.session_timeout,
        subscription: Bytes::copy_from_slice(&member.subscription),
        assignment: Bytes::copy_from_slice(&member.assignment),
    };
    ClassicRecord {
        protocol_type: (&value.protocol_type).into(),
        generation: value.generation,
        protocol: value.protocol.as_ref().map(Arc::from),
        leader: value.leader.as_ref().map(Arc::from),
        state_timestamp_ms: value.current_state_timestamp,
        members: value.members.into_iter().map(member).collect(),
    }
}
