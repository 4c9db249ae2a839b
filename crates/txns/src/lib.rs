//! The transaction coordinator as a pure state machine: decide, then replay.
//!
//! Key type: [`Shard`], the transactional ids of one `__transaction_state` partition. A request comes as a plain struct
//! together with the wall clock; what comes back is a [`Decided`]: records to append, a reply to send once they are
//! committed, and the [`Markers`] that must then be written to the partitions of a transaction that ended. The host calls
//! [`Shard::apply`] when the records are written and throws the decision away when they could not be. At start the same
//! records, read from the log, go through [`Shard::load`]; [`Shard::finish_loading`] gives the markers that were not known
//! to be written.
//!
//! Invariants: state changes only by a record; a transaction whose end was decided ends that way and no other, whatever
//! restarts between; of all that use a transactional id, only the one with the newest epoch can go on.
//!
//! What Kafka's record cannot carry (the epoch before the current one, which lets a producer repeat InitProducerId) is
//! soft and dies with the coordinator, as in Kafka.

#![deny(clippy::indexing_slicing)]

mod admin;
mod effect;
mod end;
mod init;
mod partitions;
mod record;
mod request;
mod shard;
mod state;
mod transaction;

#[cfg(test)]
mod tests;

pub use admin::{DescribedTxn, ListFilter, ListedTxn};
pub use effect::{Decided, Markers};
pub use record::{DecodeRecordError, EncodeRecordError, Record};
pub use request::{
    AddPartitions, EndTxn, InitProducerId, InitRefused, Producer, TxnPartition, VerifyPartitions,
};
pub use shard::{Loaded, Shard, TxnConfig};
pub use state::TxnState;
pub use transaction::Transaction;
