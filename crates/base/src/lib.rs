//! Ids, offsets and epochs as newtypes, and Kafka's table of error codes.
//!
//! Key types: [`Offset`], [`LeaderEpoch`], [`Uuid`], [`ErrorCode`]. This crate holds values only: no I/O, no
//! clock, no protocol. Every other crate stands on it.

mod error_code;
mod ids;
mod uuid;
pub mod varint;

pub use error_code::ErrorCode;
pub use ids::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId,
    TimestampMs, TopicPartition,
};
pub use uuid::{ParseUuidError, Uuid};
