//! The records of `__consumer_offsets`, as values.
//!
//! Key type: [`Record`]. `codec` turns them into Kafka's bytes and back; here is only what they say. A `None` value is a
//! tombstone.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::consumer::{Assignment, ClassicMetadata, EpochAssignment, MemberState, ResolvedRegex};
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
    /// Kinds 3 to 8 and 16: a part of a consumer-protocol group.
    Consumer {
        /// Which group.
        group_id: Arc<str>,
        /// Which part of it, with its value.
        part: ConsumerPart,
    },
}

/// A part of a consumer-protocol group that has a record of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsumerPart {
    /// Kind 3: the group's epoch.
    Epoch(Option<ConsumerEpoch>),
    /// Kind 4: partition counts as Kafka 4.0 kept them. Only whether there is one matters.
    Partitions(Option<()>),
    /// Kind 5: what a member said of itself.
    Member(Arc<str>, Option<Box<ConsumerMemberRecord>>),
    /// Kind 6: the epoch of the target assignment.
    TargetEpoch(Option<TargetEpoch>),
    /// Kind 7: what a member shall have.
    Target(Arc<str>, Option<Assignment>),
    /// Kind 8: what a member has.
    Current(Arc<str>, Option<CurrentAssignment>),
    /// Kind 16: what a regular expression matches.
    Regex(Arc<str>, Option<ResolvedRegex>),
}

impl ConsumerPart {
    /// Whether this deletes.
    pub const fn is_tombstone(&self) -> bool {
        matches!(
            self,
            Self::Epoch(None)
                | Self::Partitions(None)
                | Self::Member(_, None)
                | Self::TargetEpoch(None)
                | Self::Target(_, None)
                | Self::Current(_, None)
                | Self::Regex(_, None)
        )
    }
}

/// The value of kind 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerEpoch {
    /// Grows whenever a new assignment is needed.
    pub epoch: i32,
    /// Of the subscribed topics with their partitions; 0 when not known.
    pub metadata_hash: i64,
}

/// The value of kind 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetEpoch {
    /// The group epoch that the assignment was made for.
    pub epoch: i32,
    /// Wall clock of it; 0 when not known.
    pub timestamp_ms: i64,
}

/// The value of kind 5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerMemberRecord {
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// Its rack.
    pub rack: Option<Arc<str>>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Its address.
    pub client_host: Arc<str>,
    /// The topics that it names.
    pub topics: BTreeSet<Arc<str>>,
    /// The expression by which it names more.
    pub regex: Option<Arc<str>>,
    /// How long it has to give partitions back.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it asks for.
    pub assignor: Option<Arc<str>>,
    /// What it has if it speaks the classic protocol.
    pub classic: Option<ClassicMetadata>,
}

/// The value of kind 8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentAssignment {
    /// The member's epoch.
    pub epoch: i32,
    /// The one before.
    pub previous_epoch: i32,
    /// How far it is.
    pub state: MemberState,
    /// What it has.
    pub assigned: EpochAssignment,
    /// What it has to give back.
    pub revoking: EpochAssignment,
}

impl Record {
    /// The group that the record belongs to.
    pub const fn group_id(&self) -> &Arc<str> {
        match self {
            Self::Offset { group_id, .. }
            | Self::Classic { group_id, .. }
            | Self::Consumer { group_id, .. } => group_id,
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
