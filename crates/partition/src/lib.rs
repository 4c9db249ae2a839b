//! One replica's own rules, pure: leading, following, and what a producer may append next.
//!
//! Key types: [`LeaderState`] (followers' progress, ISR, high watermark), [`FollowerState`] (from where to fetch,
//! where to cut), [`ProducerTable`] (idempotent and transactional producers, KIP-98, KIP-360, KIP-890) and
//! [`EpochCache`] (leader epochs and their start offsets, KIP-101). Input and `now` come in, decisions go
//! out: no file, clock, lock or async here. The `log` crate stores what these types encode.

mod epochs;
mod follower;
mod leader;
mod producer;

pub use epochs::{CheckpointError, EpochCache, EpochEntry};
pub use follower::{
    DivergingEpoch, FetchPosition, Followed, FollowerState, Repair, UnknownEpoch, diverging_epoch,
};
pub use leader::{
    ActiveBrokers, AlterAnswer, AlterOutcome, Commit, EpochError, Fetched, FollowerError,
    FollowerFetch, FollowerProgress, IsrProposal, LeaderSettings, LeaderState, LogPosition,
    MetadataOutcome, NotEnoughReplicas, PartitionInfo, check_epoch,
};
pub use producer::{
    AppendOrigin, CompletedTxn, DuplicateBatch, Marker, ProducerBatch, ProducerState,
    ProducerTable, SequenceError, SnapshotError, StoredBatch, Verdict, increment_sequence,
};
