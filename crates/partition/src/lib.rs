//! One replica's own rules, pure: what a producer may append next, and which leader epoch began where.
//!
//! Key types: [`ProducerTable`] (idempotent and transactional producers, KIP-98, KIP-360, KIP-890) and
//! [`EpochCache`] (leader epochs and their start offsets, KIP-101). Input and `now` come in, decisions go
//! out: no file, clock, lock or async here. The `log` crate stores what these types encode.

mod epochs;
mod producer;

pub use epochs::{CheckpointError, EpochCache, EpochEntry};
pub use producer::{
    AppendOrigin, CompletedTxn, DuplicateBatch, Marker, ProducerBatch, ProducerState,
    ProducerTable, SequenceError, SnapshotError, StoredBatch, Verdict, increment_sequence,
};
