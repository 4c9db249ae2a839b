//! Making a batch, for clients, for internal topics and for rewriting what compaction leaves.
//!
//! Key type: [`BatchBuilder`]. Records are encoded once, as they come, into one buffer that the next batch uses
//! again; building adds the header (and compresses). Sizes are exact before compression.

use millstream_base::varint;
use millstream_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::attributes::{Attributes, TimestampType};
use crate::bytes_at::put;
use crate::codec::{Codec, Compressor};
use crate::header::{BatchHeader, HEADER_LEN, LENGTH_OVERHEAD, MAGIC, at};
use crate::record::RecordHeader;

/// What a batch has besides its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The epoch of the leader that appends; -1 from a client.
    pub leader_epoch: LeaderEpoch,
    /// The codec and its level.
    pub codec: Codec,
    /// `LogAppendTime` with the time of the append, or `None` for the records' own timestamps.
    pub log_append_time: Option<TimestampMs>,
    /// The time from which tombstones may be dropped, where compaction has set one.
    pub delete_horizon: Option<TimestampMs>,
    /// The producer's id, or none.
    pub producer_id: ProducerId,
    /// The producer's epoch, or none.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record; -1 without a producer id.
    pub base_sequence: i32,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
    /// Whether the batch holds control records.
    pub control: bool,
}

impl Default for BatchOptions {
    /// A plain batch at offset 0: no codec, no producer, the records' own timestamps.
    fn default() -> Self {
        Self {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::NONE,
            codec: Codec::default(),
            log_append_time: None,
            delete_horizon: None,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            transactional: false,
            control: false,
        }
    }
}

/// A record does not fit, or the batch cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A key, a value, a header, the record or the batch has 2 GiB or more, or there are that many records.
    #[error("a batch and everything in it must be smaller than 2 GiB")]
    TooLarge,
    /// Offsets within a batch must grow.
    #[error("offset delta {delta} does not follow {last}")]
    OffsetOrder {
        /// The delta that was to come.
        delta: i32,
        /// The one before it.
        last: i32,
    },
    /// The codec's library failed.
    #[error("compressing the batch failed: {0}")]
    Compress(#[from] std::io::Error),
}

/// Collects records and makes batches of them. Keep it: buffers and codec memory are used again.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    options: BatchOptions,
    records: Vec<u8>,
    count: i32,
    last_offset_delta: Option<i32>,
    /// What timestamps are relative to: the first record's, or the delete horizon.
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    compressor: Compressor,
}

impl BatchBuilder {
    /// A builder for one batch of these options; [`BatchBuilder::reset`] makes it one for the next.
    pub fn new(options: BatchOptions) -> Self {
        let mut builder = Self::default();
        builder.reset(options);
        builder
    }

    /// Drops the records and starts anew; the memory stays.
    pub fn reset(&mut self, options: BatchOptions) {
        self.options = options;
        self.records.clear();
        self.count = 0;
        self.last_offset_delta = None;
        self.base_timestamp = options.delete_horizon.map(|horizon| horizon.0);
        self.max_timestamp = TimestampMs::NONE.0;
    }

    /// The options, for changes until [`BatchBuilder::build`] (an idempotent client learns its sequence late).
    pub const fn options_mut(&mut self) -> &mut BatchOptions {
        &mut self.options
    }

    /// How many records there are.
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// Whether there are no records yet.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The batch's size so far, before compression.
    pub const fn size_bytes(&self) -> usize {
        HEADER_LEN + self.records.len()
    }

    /// What [`BatchBuilder::size_bytes`] would be after this record: exact.
    pub fn size_with(
        &self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> usize {
        let delta = self.next_offset_delta();
        let body = body_len(self.timestamp_delta(timestamp), delta, key, value, headers);
        let prefix = i32::try_from(body).map_or(varint::MAX_LEN_32, varint::len_i32);
        self.size_bytes().saturating_add(prefix).saturating_add(body)
    }

    /// Adds a record at the next offset and says its offset delta.
    ///
    /// # Errors
    /// [`BuildError::TooLarge`]; the batch is then as it was before.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> Result<i32, BuildError> {
        let delta = self.next_offset_delta();
        self.append_at(delta, timestamp, key, value, headers)?;
        Ok(delta)
    }

    /// Adds a record at `offset_delta` from the base offset; gaps are what compaction leaves.
    ///
    /// # Errors
    /// [`BuildError::OffsetOrder`] unless deltas grow, [`BuildError::TooLarge`]; the batch is then as before.
    pub fn append_at(
        &mut self,
        offset_delta: i32,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> Result<(), BuildError> {
        let last = self.last_offset_delta.unwrap_or(-1);
        if offset_delta <= last {
            // The largest delta has no successor.
            let full = last == i32::MAX;
            let order = BuildError::OffsetOrder { delta: offset_delta, last };
            return Err(if full { BuildError::TooLarge } else { order });
        }
        let timestamp_delta = self.timestamp_delta(timestamp);
        let body = body_len(timestamp_delta, offset_delta, key, value, headers);
        let body = i32::try_from(body).map_err(|_| BuildError::TooLarge)?;
        let size = self.size_bytes().saturating_add(body as usize + varint::MAX_LEN_32);
        if i32::try_from(size).is_err() {
            return Err(BuildError::TooLarge);
        }
        let out = &mut self.records;
        varint::write_i32(out, body);
        out.push(0);
        varint::write_i64(out, timestamp_delta);
        varint::write_i32(out, offset_delta);
        write_field(out, key);
        write_field(out, value);
        varint::write_i32(out, headers.len() as i32);
        for header in headers {
            write_field(out, Some(header.key));
            write_field(out, header.value);
        }
        self.base_timestamp.get_or_insert(timestamp.0);
        self.max_timestamp = self.max_timestamp.max(timestamp.0);
        self.last_offset_delta = Some(offset_delta);
        self.count += 1;
        Ok(())
    }

    /// The batch, on its own. The records stay until [`BatchBuilder::reset`].
    ///
    /// # Errors
    /// Those of [`BatchBuilder::build_into`].
    pub fn build(&mut self) -> Result<Vec<u8>, BuildError> {
        let mut out = Vec::with_capacity(self.size_bytes());
        self.build_into(&mut out)?;
        Ok(out)
    }

    /// Appends the batch to `out` and says its header. The records stay until [`BatchBuilder::reset`].
    ///
    /// # Errors
    /// [`BuildError::Compress`], and [`BuildError::TooLarge`] when compressing made it so; `out` is then as before.
    pub fn build_into(&mut self, out: &mut Vec<u8>) -> Result<BatchHeader, BuildError> {
        let header = self.header();
        assemble(header, &self.records, self.options.codec, &mut self.compressor, out)
    }

    /// The header but for length and CRC.
    fn header(&self) -> BatchHeader {
        let options = &self.options;
        let (timestamp_type, max_timestamp) = match options.log_append_time {
            Some(now) => (TimestampType::LogAppendTime, now),
            None => (TimestampType::CreateTime, TimestampMs(self.max_timestamp)),
        };
        BatchHeader {
            base_offset: options.base_offset,
            batch_length: 0,
            partition_leader_epoch: options.leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: Attributes::default()
                .with_timestamp_type(timestamp_type)
                .with_transactional(options.transactional)
                .with_control(options.control)
                .with_delete_horizon(options.delete_horizon.is_some()),
            last_offset_delta: self.last_offset_delta.unwrap_or(0),
            base_timestamp: self.base_timestamp.map_or(TimestampMs::NONE, TimestampMs),
            max_timestamp,
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            records_count: self.count,
        }
    }

    fn next_offset_delta(&self) -> i32 {
        self.last_offset_delta.map_or(0, |last| last.saturating_add(1))
    }

    fn timestamp_delta(&self, timestamp: TimestampMs) -> i64 {
        timestamp.0.wrapping_sub(self.base_timestamp.unwrap_or(timestamp.0))
    }
}

/// Appends a batch to `out`: `header` with codec, length and CRC set, and `payload` compressed.
pub(crate) fn assemble(
    mut header: BatchHeader,
    payload: &[u8],
    codec: Codec,
    compressor: &mut Compressor,
    out: &mut Vec<u8>,
) -> Result<BatchHeader, BuildError> {
    let start = out.len();
    header.attributes = header.attributes.with_compression(codec.compression);
    header.crc = 0;
    out.extend_from_slice(&header.encode());
    if let Err(error) = compressor.compress(codec, payload, out) {
        out.truncate(start);
        return Err(error.into());
    }
    let Ok(batch_length) = i32::try_from(out.len() - start - LENGTH_OVERHEAD) else {
        out.truncate(start);
        return Err(BuildError::TooLarge);
    };
    header.batch_length = batch_length;
    let batch = out.get_mut(start..).unwrap_or_default();
    put(batch, at::BATCH_LENGTH, batch_length.to_be_bytes());
    header.crc = crc32c::crc32c(batch.get(at::ATTRIBUTES..).unwrap_or_default());
    put(batch, at::CRC, header.crc.to_be_bytes());
    Ok(header)
}

/// The size of a record without its length. A field of 2 GiB or more makes it larger than any record may be.
fn body_len(
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: &[RecordHeader<'_>],
) -> usize {
    let fixed = 1 + varint::len_i64(timestamp_delta) + varint::len_i32(offset_delta);
    let count = i32::try_from(headers.len()).map_or(usize::MAX, varint::len_i32);
    headers
        .iter()
        .map(|header| field_len(Some(header.key)).saturating_add(field_len(header.value)))
        .fold(fixed, usize::saturating_add)
        .saturating_add(count)
        .saturating_add(field_len(key))
        .saturating_add(field_len(value))
}

fn field_len(field: Option<&[u8]>) -> usize {
    field.map_or(1, |field| {
        let prefix = i32::try_from(field.len()).map_or(usize::MAX, varint::len_i32);
        prefix.saturating_add(field.len())
    })
}

/// A length and the bytes; the length has been checked with the record's.
fn write_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    let Some(field) = field else { return varint::write_i32(out, -1) };
    varint::write_i32(out, field.len() as i32);
    out.extend_from_slice(field);
}
