//! Why a produced batch is refused, and Kafka's error code for it.
//!
//! Key type: [`ProduceRejection`]. This is the one place where these reasons meet the codes of the wire.

use millstream_base::ErrorCode;

use crate::batch::BatchError;
use crate::builder::BuildError;
use crate::codec::DecompressError;
use crate::record::RecordError;

/// Record errors kept of one batch. One is enough to refuse it; the answer must not be larger than the request.
const MOST_RECORD_ERRORS: usize = 64;

/// Why one record is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRejection {
    /// The record's place in its batch, from 0 (`batch_index` in the answer).
    pub batch_index: i32,
    /// Why, for people.
    pub message: String,
}

/// Why a batch is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProduceRejection {
    /// A partition of a produce request has exactly one batch.
    #[error("a produce request must have exactly one record batch for each partition")]
    BatchCount,
    /// The bytes are no batch.
    #[error("{0}")]
    Batch(#[from] BatchError),
    /// The batch is larger than the topic allows.
    #[error("the record batch has {size} bytes, which is more than max.message.bytes ({max})")]
    TooLarge {
        /// The batch's size, after recompression if that happened.
        size: usize,
        /// The topic's limit.
        max: usize,
    },
    /// The header contradicts itself or asks for what clients may not do.
    #[error("{0}")]
    Header(&'static str),
    /// Records cannot be decompressed.
    #[error("{0}")]
    Decompress(#[from] DecompressError),
    /// Records cannot be read.
    #[error("record {batch_index} cannot be read: {source}")]
    Unreadable {
        /// The record's place in its batch.
        batch_index: i32,
        /// What is wrong with it.
        source: RecordError,
    },
    /// Records break the topic's rules.
    #[error("{}", in_one_line(.invalid_timestamp, .records))]
    Records {
        /// Whether the first of them has a bad timestamp, which has an error code of its own.
        invalid_timestamp: bool,
        /// The records (at most 64).
        records: Vec<RecordRejection>,
    },
    /// The batch could not be written anew.
    #[error("the record batch could not be rewritten: {0}")]
    Rewrite(#[from] BuildError),
}

fn in_one_line(invalid_timestamp: &bool, records: &[RecordRejection]) -> String {
    let kind = if *invalid_timestamp { "invalid timestamps" } else { "errors" };
    let first = records.first().map_or("", |record| record.message.as_str());
    format!("{} records were refused for {kind}, the first: {first}", records.len())
}

impl ProduceRejection {
    /// Kafka's code for this.
    pub const fn code(&self) -> ErrorCode {
        match self {
            // A torn batch is none at all, and an old format is known but not allowed.
            Self::Batch(BatchError::Torn { .. } | BatchError::Magic(0 | 1)) => {
                ErrorCode::InvalidRecord
            }
            Self::Batch(_) => ErrorCode::CorruptMessage,
            Self::Decompress(DecompressError::Unknown(_)) => ErrorCode::UnsupportedCompressionType,
            Self::TooLarge { .. } | Self::Decompress(DecompressError::TooLarge { .. }) => {
                ErrorCode::MessageTooLarge
            }
            Self::Records { invalid_timestamp: true, .. } => ErrorCode::InvalidTimestamp,
            Self::BatchCount
            | Self::Header(_)
            | Self::Decompress(DecompressError::Corrupt { .. })
            | Self::Unreadable { .. }
            | Self::Records { .. } => ErrorCode::InvalidRecord,
            Self::Rewrite(_) => ErrorCode::UnknownServerError,
        }
    }

    /// The records to name in the answer (`record_errors`); empty where the batch as a whole is refused.
    pub fn record_errors(&self) -> &[RecordRejection] {
        match self {
            Self::Records { records, .. } => records,
            _ => &[],
        }
    }
}

/// The refused records of a batch.
#[derive(Default)]
pub(crate) struct RecordErrors {
    records: Vec<RecordRejection>,
    invalid_timestamp: bool,
}

impl RecordErrors {
    #[cold]
    pub(crate) fn keyless(&mut self, index: i32) {
        self.push(index, false, || "a record of a compacted topic must have a key".to_owned());
    }

    #[cold]
    pub(crate) fn timestamp_type(&mut self, index: i32) {
        self.push(index, true, || {
            "a producer must not set the timestamp type to LogAppendTime".to_owned()
        });
    }

    #[cold]
    pub(crate) fn timestamp(&mut self, index: i32, timestamp: i64, (oldest, newest): (i64, i64)) {
        self.push(index, true, || {
            format!("timestamp {timestamp} is out of range: it must be within [{oldest}, {newest}]")
        });
    }

    /// The first error says which code the batch gets.
    fn push(&mut self, batch_index: i32, timestamp: bool, message: impl FnOnce() -> String) {
        if self.records.is_empty() {
            self.invalid_timestamp = timestamp;
        }
        if self.records.len() < MOST_RECORD_ERRORS {
            self.records.push(RecordRejection { batch_index, message: message() });
        }
    }

    pub(crate) fn into_result(self) -> Result<(), ProduceRejection> {
        let Self { records, invalid_timestamp } = self;
        if records.is_empty() {
            return Ok(());
        }
        Err(ProduceRejection::Records { invalid_timestamp, records })
    }
}
