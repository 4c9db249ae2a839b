//! Why records could not be read.
//!
//! Key type: [`ConsumeError`].

use millstream_base::{ErrorCode, Offset, TopicPartition};

use crate::ClientError;

/// Reading failed in a way that waiting does not mend.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsumeError {
    /// A call on the cluster failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The offset is not there (deleted, or not yet written), and the policy is [`super::OffsetReset::None`].
    #[error("{partition} has no offset {offset}, and `auto.offset.reset` is none")]
    OffsetOutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset that was asked for.
        offset: Offset,
    },
    /// The group has committed nothing there, and the policy is [`super::OffsetReset::None`].
    #[error("the group has no committed offset for {partition}, and `auto.offset.reset` is none")]
    NoCommittedOffset {
        /// The partition.
        partition: TopicPartition,
    },
    /// The broker sent bytes that are not sound record batches.
    #[error("{partition} holds unreadable records at offset {offset}: {message}")]
    Corrupt {
        /// The partition.
        partition: TopicPartition,
        /// Where to go on, or to skip from with `seek`.
        offset: Offset,
        /// What is wrong.
        message: String,
    },
    /// The partition is not assigned to this consumer.
    #[error("{0} is not assigned to this consumer")]
    NotAssigned(TopicPartition),
    /// The call needs `group.id`.
    #[error("this needs a group: set `group.id`")]
    NoGroup,
    /// Manual assignment and subscription exclude each other.
    #[error("a consumer either subscribes to topics or is assigned partitions, not both")]
    Mixed,
    /// The member was pushed out of the group while it committed; what it read may go to another.
    #[error("the group gave these partitions to others before the commit: {0}")]
    CommitFailed(ClientError),
}

impl ConsumeError {
    /// Kafka's error code, where there is one.
    pub const fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Client(error) | Self::CommitFailed(error) => error.code(),
            Self::OffsetOutOfRange { .. } => Some(ErrorCode::OffsetOutOfRange),
            Self::Corrupt { .. } => Some(ErrorCode::CorruptMessage),
            _ => None,
        }
    }
}
