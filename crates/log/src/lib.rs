//! Segments, indexes, recovery, retention and compaction on disk.
//!
//! Key types: [`Log`] (one partition), [`LogDir`] (one directory of them with its checkpoints and lock),
//! [`FileRange`] (bytes to send). Files are Kafka's, so that its tools read them and its directories can be taken
//! over. Synchronous: no tokio, no threads but those of [`LogDir::open_logs`], no clock (callers pass `now`).

mod checked;
mod checkpoint;
mod config;
mod dir;
mod error;
mod home;
mod index;
mod inspect;
mod log;
mod metadata_file;
mod names;
mod open_files;
mod scan;
mod segment;
mod txn_index;

pub use checkpoint::{CheckpointFormatError, OffsetCheckpoint};
pub use config::LogConfig;
pub use dir::{
    CheckpointKind, ClaimOptions, Claimed, FoundPartition, LogDir, LogDirError, OpenedLog, claim,
    claim_to_join,
};
pub use error::{AppendError, ReadError, StorageError};
pub use inspect::{InspectedBatch, SegmentSummary, inspect_segment};
pub use log::{
    Appended, Compacted, CompactionError, CompactionNeed, CompactionOptions, CompactionPlan, Cut,
    DeletedSegments, FileRange, FlushTicket, Log, LogRead, NoPace, OpenOptions, Pace, ReadPlan,
    RecoveryReport, RetentionReason, TimeSearch, TimestampedOffset, WithLog,
};
pub use metadata_file::{MetaProblem, MetaProperties};
pub use millstream_partition::AppendOrigin;
pub use open_files::OpenFiles;
pub use txn_index::AbortedTxn;
