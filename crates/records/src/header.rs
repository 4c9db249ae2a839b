//! The 61 bytes before a batch's records, decoded.
//!
//! Key type: [`BatchHeader`]. It reads what stands there; whether that makes sense is [`BatchHeader::parse`]'s
//! (length and magic), [`crate::BatchView::check_crc`]'s and the produce validation's to say. The CRC covers the
//! bytes from the attributes to the end, so that a broker can set base offset and leader epoch without a new one.

use millstream_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::attributes::Attributes;
use crate::batch::BatchError;
use crate::bytes_at::{array, put};

/// The size of a batch's header.
pub const HEADER_LEN: usize = 61;
/// The bytes up to and including the batch length, which that length does not count.
pub const LENGTH_OVERHEAD: usize = 12;
/// The smallest batch length: a header without records.
pub const MIN_BATCH_LENGTH: i32 = (HEADER_LEN - LENGTH_OVERHEAD) as i32;
/// The one batch format that Millstream reads and writes.
pub const MAGIC: i8 = 2;

/// Where each field starts.
pub(crate) mod at {
    pub(crate) const BASE_OFFSET: usize = 0;
    pub(crate) const BATCH_LENGTH: usize = 8;
    pub(crate) const LEADER_EPOCH: usize = 12;
    pub(crate) const MAGIC: usize = 16;
    pub(crate) const CRC: usize = 17;
    pub(crate) const ATTRIBUTES: usize = 21;
    pub(crate) const LAST_OFFSET_DELTA: usize = 23;
    pub(crate) const BASE_TIMESTAMP: usize = 27;
    pub(crate) const MAX_TIMESTAMP: usize = 35;
    pub(crate) const PRODUCER_ID: usize = 43;
    pub(crate) const PRODUCER_EPOCH: usize = 51;
    pub(crate) const BASE_SEQUENCE: usize = 53;
    pub(crate) const RECORDS_COUNT: usize = 57;
}

/// The header of a record batch v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record (of the first one ever, where compaction took it).
    pub base_offset: Offset,
    /// The bytes that follow this field.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch.
    pub partition_leader_epoch: LeaderEpoch,
    /// The format; always [`MAGIC`] in a parsed header.
    pub magic: i8,
    /// CRC32C over everything from the attributes on.
    pub crc: u32,
    /// Codec, timestamp type and flags.
    pub attributes: Attributes,
    /// The last record's offset less the base offset.
    pub last_offset_delta: i32,
    /// What the records' timestamps are relative to (or the delete horizon, see the attributes).
    pub base_timestamp: TimestampMs,
    /// The largest timestamp of the records.
    pub max_timestamp: TimestampMs,
    /// The producer's id, or none.
    pub producer_id: ProducerId,
    /// The producer's epoch, or none.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record; -1 without a producer id.
    pub base_sequence: i32,
    /// How many records there are.
    pub records_count: i32,
}

impl BatchHeader {
    /// Decodes the header at the front of `bytes`, which need not hold the whole batch.
    ///
    /// # Errors
    /// [`BatchError::Torn`] for fewer than 61 bytes, [`BatchError::Length`] and [`BatchError::Magic`] for a header
    /// that cannot be one of a v2 batch.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        if bytes.len() > at::MAGIC {
            let magic = i8::from_be_bytes(array(bytes, at::MAGIC));
            if magic != MAGIC {
                return Err(BatchError::Magic(magic));
            }
        }
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else {
            return Err(BatchError::Torn { needed: HEADER_LEN, have: bytes.len() });
        };
        let header = Self::decode(bytes);
        if header.batch_length < MIN_BATCH_LENGTH {
            return Err(BatchError::Length(header.batch_length));
        }
        Ok(header)
    }

    /// Reads the fields, whatever they say.
    #[inline]
    fn decode(bytes: &[u8; HEADER_LEN]) -> Self {
        Self {
            base_offset: Offset(i64::from_be_bytes(array(bytes, at::BASE_OFFSET))),
            batch_length: i32::from_be_bytes(array(bytes, at::BATCH_LENGTH)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(array(bytes, at::LEADER_EPOCH))),
            magic: i8::from_be_bytes(array(bytes, at::MAGIC)),
            crc: u32::from_be_bytes(array(bytes, at::CRC)),
            attributes: Attributes(i16::from_be_bytes(array(bytes, at::ATTRIBUTES))),
            last_offset_delta: i32::from_be_bytes(array(bytes, at::LAST_OFFSET_DELTA)),
            base_timestamp: TimestampMs(i64::from_be_bytes(array(bytes, at::BASE_TIMESTAMP))),
            max_timestamp: TimestampMs(i64::from_be_bytes(array(bytes, at::MAX_TIMESTAMP))),
            producer_id: ProducerId(i64::from_be_bytes(array(bytes, at::PRODUCER_ID))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(array(bytes, at::PRODUCER_EPOCH))),
            base_sequence: i32::from_be_bytes(array(bytes, at::BASE_SEQUENCE)),
            records_count: i32::from_be_bytes(array(bytes, at::RECORDS_COUNT)),
        }
    }

    /// The header's bytes. The CRC is written as it stands in `self`.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        put(&mut bytes, at::BASE_OFFSET, self.base_offset.0.to_be_bytes());
        put(&mut bytes, at::BATCH_LENGTH, self.batch_length.to_be_bytes());
        put(&mut bytes, at::LEADER_EPOCH, self.partition_leader_epoch.0.to_be_bytes());
        put(&mut bytes, at::MAGIC, self.magic.to_be_bytes());
        put(&mut bytes, at::CRC, self.crc.to_be_bytes());
        put(&mut bytes, at::ATTRIBUTES, self.attributes.0.to_be_bytes());
        put(&mut bytes, at::LAST_OFFSET_DELTA, self.last_offset_delta.to_be_bytes());
        put(&mut bytes, at::BASE_TIMESTAMP, self.base_timestamp.0.to_be_bytes());
        put(&mut bytes, at::MAX_TIMESTAMP, self.max_timestamp.0.to_be_bytes());
        put(&mut bytes, at::PRODUCER_ID, self.producer_id.0.to_be_bytes());
        put(&mut bytes, at::PRODUCER_EPOCH, self.producer_epoch.0.to_be_bytes());
        put(&mut bytes, at::BASE_SEQUENCE, self.base_sequence.to_be_bytes());
        put(&mut bytes, at::RECORDS_COUNT, self.records_count.to_be_bytes());
        bytes
    }

    /// The offset of the last record. Saturates on a hostile header.
    #[inline]
    pub const fn last_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64)
    }

    /// The offset after the last record.
    #[inline]
    pub const fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// The whole batch, header included, in bytes.
    #[inline]
    pub const fn size_bytes(&self) -> usize {
        // A parsed header has a positive length; a negative one of a hand-made header counts as nothing.
        let length = if self.batch_length < 0 { 0 } else { self.batch_length as usize };
        LENGTH_OVERHEAD + length
    }

    /// The last record's sequence number, which wraps from the largest to 0; -1 without a producer id.
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        ((self.base_sequence as i64 + self.last_offset_delta as i64) & i32::MAX as i64) as i32
    }

    /// Whether an idempotent or transactional producer wrote the batch.
    #[inline]
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id.0 > ProducerId::NONE.0
    }
}
