//! The producer's settings, under Kafka's names.

use std::time::Duration;

use millstream_records::Compression;

/// Who must have a record before it counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: records are sent and forgotten (`acks=0`).
    None,
    /// The partition's leader (`acks=1`).
    Leader,
    /// Every in-sync replica (`acks=all`).
    All,
}

impl Acks {
    /// The number on the wire.
    pub(super) const fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// How a producer gathers and sends records.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// `acks`.
    pub acks: Acks,
    /// `enable.idempotence`: no retry appends a record twice or out of order. Needs [`Acks::All`]; with other
    /// acks it is off.
    pub idempotent: bool,
    /// `compression.type`.
    pub compression: Compression,
    /// `compression.<codec>.level`; `None` is the codec's default.
    pub compression_level: Option<i32>,
    /// `batch.size` in bytes before compression. Kafka's client has 16 KiB; larger batches cost less.
    pub batch_size: usize,
    /// `linger.ms`: how long a batch that is not full waits for more.
    pub linger: Duration,
    /// `buffer.memory` in bytes: how much may wait for the brokers.
    pub buffer_memory: usize,
    /// `max.block.ms`: how long `send` may wait for metadata or for room.
    pub max_block: Duration,
    /// `max.request.size` in bytes: bounds one record, and one request.
    pub max_request_size: usize,
    /// `max.in.flight.requests.per.connection`: per partition; at most 5 when idempotent.
    pub max_in_flight: usize,
    /// `delivery.timeout.ms`: after this, a record that was not acknowledged has failed.
    pub delivery_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            acks: Acks::All,
            idempotent: true,
            compression: Compression::None,
            compression_level: None,
            batch_size: 128 << 10,
            linger: Duration::from_millis(5),
            buffer_memory: 32 << 20,
            max_block: Duration::from_secs(60),
            max_request_size: 1 << 20,
            max_in_flight: 5,
            delivery_timeout: Duration::from_secs(120),
        }
    }
}

impl ProducerConfig {
    /// Whether batches carry a producer id and sequence numbers.
    pub(super) fn is_idempotent(&self) -> bool {
        self.idempotent && self.acks == Acks::All
    }
}
