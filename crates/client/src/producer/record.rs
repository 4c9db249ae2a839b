//! A record on its way to a topic.

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::TimestampMs;

/// A name and a value beside a record. Names may repeat; a value may be null.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// The name.
    pub key: String,
    /// The value.
    pub value: Option<Bytes>,
}

/// A record to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerRecord {
    /// Where to.
    pub topic: Arc<str>,
    /// The partition; `None` lets the key decide, or without a key the producer.
    pub partition: Option<i32>,
    /// The key: records of one key stay in order on one partition.
    pub key: Option<Bytes>,
    /// The value; `None` deletes the key on a compacted topic.
    pub value: Option<Bytes>,
    /// Headers, in order.
    pub headers: Vec<Header>,
    /// When it happened; `None` means now.
    pub timestamp: Option<TimestampMs>,
}

impl ProducerRecord {
    /// An empty record for `topic`.
    pub fn to(topic: impl Into<Arc<str>>) -> Self {
        Self {
            topic: topic.into(),
            partition: None,
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: None,
        }
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// With this value.
    #[must_use]
    pub fn value(mut self, value: impl Into<Bytes>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, key: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push(Header { key: key.into(), value: Some(value.into()) });
        self
    }

    /// To this partition.
    #[must_use]
    pub const fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With this timestamp.
    #[must_use]
    pub const fn timestamp(mut self, timestamp: TimestampMs) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// An upper bound of what the record takes in a batch before compression.
    pub(super) fn size_bytes(&self) -> usize {
        // Length, attributes, timestamp and offset deltas, key and value lengths, header count: at most 36.
        let headers: usize = self
            .headers
            .iter()
            .map(|header| 10 + header.key.len() + header.value.as_ref().map_or(0, Bytes::len))
            .sum();
        36 + self.key.as_ref().map_or(0, Bytes::len)
            + self.value.as_ref().map_or(0, Bytes::len)
            + headers
    }
}
