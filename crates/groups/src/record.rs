//! The records of `__consumer_offsets`, as values.
//!
//! Key type: [`Record`]. `codec` turns them into Kafka's bytes and back; here is only what they say. A `None` value is a
//! tombstone.

use std::sync::Arc;

use bytes::Bytes;

use crate::offsets::CommittedOffset;

/// One record: a key and its value, or the key's tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Kinds 0 and 1: a committed offset.
    Offset {
        /// Which group.
        group_id: Arc<str>,
        /// Which topic.
        topic: Arc<str>,
        /// Which partition of it.
        partition: i32,
        /// `None` deletes it.
        value: Option<CommittedOffset>,
    },
    /// Kind 2: a classic group's last stable (or empty) generation.
    Classic {
        /// Which group.
        group_id: Arc<str>,
        /// `None` deletes the group.
        value: Option<ClassicRecord>,
    },
}

impl Record {
    /// The group that the record belongs to.
    pub const fn group_id(&self) -> &Arc<str> {
        match self {
            Self::Offset { group_id, .. } | Self::Classic { group_id, .. } => group_id,
        }
    }
}

/// The value of a classic group's record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicRecord {
    /// Empty for a group that never had a member.
    pub protocol_type: Arc<str>,
    /// Grows with every rebalance.
    pub generation: i32,
    /// The protocol that was voted for.
    pub protocol: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: Option<Arc<str>>,
    /// When the group reached its state; -1 when not known.
    pub state_timestamp_ms: i64,
    /// In order of member id.
    pub members: Vec<ClassicMemberRecord>,
}

/// One member of a [`ClassicRecord`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMemberRecord {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Its address.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it; -1 when an old record lacks it.
    pub rebalance_timeout_ms: i32,
    /// After how long without a heartbeat it is dead.
    pub session_timeout_ms: i32,
    /// Its metadata for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}
