//! What can go wrong with a log, and the code that a client gets for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_base::{ErrorCode, LeaderEpoch, Offset};
use millstream_partition::SequenceError;
use millstream_records::BatchError;

/// The disk did not do what it should, or holds what it should not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// A call failed.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried, for example `write to`.
        what: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's answer.
        source: Arc<io::Error>,
    },
    /// An earlier failure took this log out of service; it stays so until the broker starts again.
    #[error("the log {path} is offline: {reason}")]
    Offline {
        /// The partition's directory.
        path: PathBuf,
        /// The first failure.
        reason: Arc<str>,
    },
    /// A file holds something that this code does not understand.
    #[error("{path}: {problem}")]
    Invalid {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong, and what to do about it.
        problem: String,
    },
}

impl StorageError {
    pub(crate) fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source: Arc::new(source) }
    }

    pub(crate) fn invalid(path: &Path, problem: impl std::fmt::Display) -> Self {
        Self::Invalid { path: path.to_owned(), problem: format!("{problem}") }
    }

    /// The kind of the system's error, `Other` for what is not a system's.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Io { source, .. } => source.kind(),
            Self::Offline { .. } | Self::Invalid { .. } => io::ErrorKind::Other,
        }
    }

    /// Always `KAFKA_STORAGE_ERROR`.
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::KafkaStorageError
    }
}

/// Why batches were not appended. Nothing of the append is stored then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The producer may not write this now.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The bytes are not whole batches.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// More than fits into one segment (`segment.bytes`).
    #[error("{bytes} bytes at once are more than the segment size of {limit}")]
    TooLarge {
        /// Of the append.
        bytes: usize,
        /// `segment.bytes`.
        limit: u32,
    },
    /// Batches that carry offsets already do not follow the log's end.
    #[error("batch at offset {found} does not follow the log's end {expected}")]
    NotNext {
        /// The log's end.
        expected: Offset,
        /// The first batch's base offset.
        found: Offset,
    },
    /// A leader's batch is of an older epoch than the log's last one: the logs have parted, and nobody noticed.
    #[error("batch at offset {offset} is of leader epoch {found}, behind one of epoch {last}")]
    EpochWentBack {
        /// The batch's base offset.
        offset: Offset,
        /// The epoch of the batch before it.
        last: LeaderEpoch,
        /// The batch's.
        found: LeaderEpoch,
    },
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl AppendError {
    /// The code that the client gets.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Sequence(e) => e.code(),
            Self::Batch(_) | Self::NotNext { .. } | Self::EpochWentBack { .. } => {
                ErrorCode::CorruptMessage
            }
            Self::TooLarge { .. } => ErrorCode::RecordListTooLarge,
            Self::Storage(e) => e.code(),
        }
    }
}

/// Why nothing could be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The offset lies outside the log.
    #[error("offset {offset} is outside {start}..={end}")]
    OutOfRange {
        /// The asked offset.
        offset: Offset,
        /// The log's start.
        start: Offset,
        /// The log's end.
        end: Offset,
    },
    /// The stored bytes were damaged; they are not served.
    #[error("{path} at byte {position}: {source}")]
    Corrupt {
        /// The segment's file.
        path: PathBuf,
        /// Where the damaged batch starts.
        position: u64,
        /// What is wrong with it.
        source: BatchError,
    },
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ReadError {
    /// The code that the client gets.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Corrupt { .. } => ErrorCode::CorruptMessage,
            Self::Storage(e) => e.code(),
        }
    }
}
