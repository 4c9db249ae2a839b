//! Why a record was not delivered.
//!
//! Key type: [`ProduceError`]. Cheap to clone: one failure answers every record of a batch.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, TopicPartition};

use crate::ClientError;

/// A record was not delivered, or nobody knows whether it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProduceError {
    /// The topic's partitions could not be learnt.
    #[error("cannot learn the partitions of topic `{topic}`: {source}")]
    Metadata {
        /// The topic.
        topic: Arc<str>,
        /// What failed.
        source: ClientError,
    },
    /// The record names a partition that the topic lacks.
    #[error("topic `{topic}` has {count} partitions, so there is no partition {partition}")]
    NoSuchPartition {
        /// The topic.
        topic: Arc<str>,
        /// What was asked for.
        partition: i32,
        /// How many there are.
        count: i32,
    },
    /// One record is larger than `max.request.size`.
    #[error(
        "the record has {size_bytes} bytes, more than the {limit_bytes} that one request may have \
         (`max.request.size`)"
    )]
    TooLarge {
        /// The record's size as it would stand in a batch.
        size_bytes: usize,
        /// The bound.
        limit_bytes: usize,
    },
    /// No room in `buffer.memory` in time.
    #[error(
        "no room for the record within {after:?}: {limit_bytes} bytes (`buffer.memory`) wait for the brokers"
    )]
    BufferFull {
        /// How long was waited (`max.block.ms`).
        after: Duration,
        /// The bound.
        limit_bytes: usize,
    },
    /// The broker refused the batch.
    #[error("{partition} refused the record: {}", refusal(*.code, .message.as_deref()))]
    Refused {
        /// The partition.
        partition: TopicPartition,
        /// Kafka's error code.
        code: ErrorCode,
        /// The broker's own words.
        message: Option<Arc<str>>,
        /// Which records were at fault and why, by place in the batch; empty when all were.
        records: Arc<[(u32, Option<Arc<str>>)]>,
    },
    /// `delivery.timeout.ms` passed. The record may have been appended.
    #[error("{partition} did not acknowledge the record within {after:?}{}", last_failure(.last.as_deref()))]
    TimedOut {
        /// The partition.
        partition: TopicPartition,
        /// `delivery.timeout.ms`.
        after: Duration,
        /// What failed last.
        last: Option<Box<ClientError>>,
    },
    /// The batch could not be built or sent for a reason that no retry mends.
    #[error("cannot send the batch to {partition}: {source}")]
    Send {
        /// The partition.
        partition: TopicPartition,
        /// What failed.
        source: Box<ClientError>,
    },
    /// The batch could not be built.
    #[error("cannot build a batch: {0}")]
    Build(Arc<str>),
    /// The producer was closed.
    #[error("the producer is closed")]
    Closed,
}

fn refusal(code: ErrorCode, message: Option<&str>) -> String {
    match message {
        Some(message) if !message.is_empty() => format!("{message} ({code})"),
        _ => code.name().to_owned(),
    }
}

fn last_failure(last: Option<&ClientError>) -> String {
    last.map_or_else(String::new, |last| format!("; the last failure was: {last}"))
}

impl ProduceError {
    /// The error of the record at `place` within the batch: its own message where the broker gave one.
    pub(super) fn for_place(&self, place: u32) -> Self {
        let Self::Refused { partition, code, records, .. } = self else { return self.clone() };
        if records.is_empty() {
            return self.clone();
        }
        let message = match records.iter().find(|(at_fault, _)| *at_fault == place) {
            Some((_, Some(own))) => own.clone(),
            Some((_, None)) => return self.clone(),
            None => "another record of the same batch was invalid; send this one again".into(),
        };
        Self::Refused {
            partition: partition.clone(),
            code: *code,
            message: Some(message),
            records: Arc::from([]),
        }
    }

    /// Kafka's error code, where a broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Metadata { source, .. } => source.code(),
            Self::Send { source, .. } => source.code(),
            Self::TimedOut { last: Some(last), .. } => last.code(),
            _ => None,
        }
    }
}
