//! Consumer groups as a pure state machine: decide, then replay.
//!
//! Key type: [`Shard`], the state of one `__consumer_offsets` partition: its groups, their committed offsets and
//! their timers. A request comes as a plain struct together with [`Now`]; what comes back is a [`Decided`]: records
//! to append, replies to send once those are committed, and what to undo when the append fails. The host then calls
//! [`Shard::apply`] when the records are written, or [`Shard::abort`]. At start the same records, read from
//! the log, go through [`Shard::load`].
//!
//! Invariants: committed offsets and everything of a consumer-protocol group change only by a record; what a classic
//! group keeps beside its record (who is waiting, pending members, timers) is soft and dies with the coordinator, as in
//! Kafka. Outputs never depend on the order of a hash map, so one input gives one trace.
//!
//! This crate never reads a clock, never draws random numbers, never blocks and holds no lock.

#![deny(clippy::indexing_slicing)]

mod admin;
mod classic;
mod codec;
mod commit;
mod config;
mod consumer;
mod effect;
mod expire;
mod offsets;
mod record;
mod replay;
mod request;
mod shard;
mod timers;

#[cfg(test)]
mod tests;

pub use admin::{
    DescribedConsumer, DescribedConsumerGroup, DescribedGroup, DescribedMember, GroupKind,
    ListedGroup,
};
pub use codec::{DecodeRecordError, EncodeRecordError};
pub use config::{GroupConfig, GroupTimes};
pub use consumer::{
    Assignment, ClassicMetadata, ConsumerHeartbeat, ConsumerHeartbeatReply, EpochAssignment,
    GroupError, MemberState, ResolvedRegex, TopicView, Topics,
};
pub use effect::{Decided, JoinMember, JoinResponse, RequestToken, Response, SyncResponse};
pub use offsets::{
    CommitOffset, CommittedOffset, FetchedOffset, FetchedTopics, OffsetCommit, OffsetFetch,
    TransactionalCommit,
};
pub use record::{
    ClassicMemberRecord, ClassicRecord, ConsumerEpoch, ConsumerMemberRecord, ConsumerPart,
    CurrentAssignment, Record, TargetEpoch,
};
pub use request::{
    ClientInfo, Heartbeat, JoinGroup, LeaveGroup, LeavingMember, Now, Protocol, SyncGroup,
};
pub use shard::{Loaded, Origin, Shard};
