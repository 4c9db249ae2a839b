//! The records of a batch.
//!
//! Key types: [`Record`] (what a reader sees) and [`Records`] (the iterator). Keys, values and headers are slices of
//! the batch, or of the scratch that it was decompressed into; nothing is copied. A record that comes out has been
//! read to its last byte: its headers cannot fail later.

use millstream_base::varint::{self, VarintError};
use millstream_base::{Offset, TimestampMs};

use crate::attributes::TimestampType;
use crate::batch::BatchView;
use crate::codec::{DecompressError, Scratch};
use crate::header::BatchHeader;

/// Most bytes that a compressed batch may have when decompressed, where nothing else is said.
pub const DEFAULT_MAX_DECOMPRESSED_BYTES: usize = 128 << 20;

/// The bytes of a record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The batch ends within a record.
    #[error("the batch ends within a record")]
    Truncated,
    /// A number within the record cannot be read.
    #[error("{0}")]
    Number(#[from] VarintError),
    /// The record's length is negative, or its fields end before or after it.
    #[error("a record's length does not fit its fields")]
    Length,
    /// A key's, value's or header's length is below -1, or a header has no key, or there are fewer than 0 headers.
    #[error("a record has a field with a negative length")]
    NegativeLength,
    /// Bytes are left after the last record that the header counts.
    #[error("{0} bytes follow the last record that the batch's header counts")]
    Trailing(usize),
    /// The batch has fewer records than its header says.
    #[error("the batch's header counts {counted} records, and {found} are there")]
    Missing {
        /// The header's count.
        counted: i32,
        /// How many were read.
        found: i32,
    },
}

/// A batch's records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// The batch cannot be decompressed.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// When the producer made it, or the broker appended it (the batch's attributes say which).
    pub timestamp: TimestampMs,
    /// The key; `None` is null, which is not the empty key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    headers: RecordHeaders<'a>,
}

impl<'a> Record<'a> {
    /// The headers in the producer's order.
    pub const fn headers(&self) -> RecordHeaders<'a> {
        self.headers
    }
}

/// A header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader<'a> {
    /// The name: UTF-8 by convention, which nothing enforces.
    pub key: &'a [u8],
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordHeaders<'a> {
    left: u32,
    bytes: &'a [u8],
}

impl<'a> Iterator for RecordHeaders<'a> {
    type Item = RecordHeader<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        read_header(&mut self.bytes).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for RecordHeaders<'_> {}

/// A record as it stands in the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawRecord<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: RecordHeaders<'a>,
}

impl<'a> RawRecord<'a> {
    /// Reads the record at the front of `bytes` and moves past it.
    #[inline]
    pub(crate) fn read(bytes: &mut &'a [u8]) -> Result<Self, RecordError> {
        let length = usize::try_from(varint::read_i32(bytes)?).map_err(|_| RecordError::Length)?;
        let (mut body, after) = bytes.split_at_checked(length).ok_or(RecordError::Truncated)?;
        *bytes = after;
        Self::read_body(&mut body)
    }

    /// Reads the fields after the length; `body` must end with the record.
    #[inline]
    fn read_body(body: &mut &'a [u8]) -> Result<Self, RecordError> {
        // The record's own attributes have no meaning yet.
        let [_attributes, rest @ ..] = *body else { return Err(RecordError::Length) };
        *body = rest;
        let timestamp_delta = varint::read_i64(body)?;
        let offset_delta = varint::read_i32(body)?;
        let key = read_field(body)?;
        let value = read_field(body)?;
        let headers = read_headers(body)?;
        if !body.is_empty() {
            return Err(RecordError::Length);
        }
        Ok(Self { timestamp_delta, offset_delta, key, value, headers })
    }
}

/// A length and as many bytes; -1 is null.
#[inline]
fn read_field<'a>(body: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    let length = varint::read_i32(body)?;
    let Ok(length) = usize::try_from(length) else {
        return if length == -1 { Ok(None) } else { Err(RecordError::NegativeLength) };
    };
    let (field, after) = body.split_at_checked(length).ok_or(RecordError::Length)?;
    *body = after;
    Ok(Some(field))
}

#[inline]
fn read_headers<'a>(body: &mut &'a [u8]) -> Result<RecordHeaders<'a>, RecordError> {
    let count = varint::read_i32(body)?;
    let left = u32::try_from(count).map_err(|_| RecordError::NegativeLength)?;
    let bytes = *body;
    for _ in 0..left {
        // Each header takes two bytes at least, so a count that lies ends at the end of the record.
        read_header(body)?;
    }
    Ok(RecordHeaders { left, bytes })
}

fn read_header<'a>(body: &mut &'a [u8]) -> Result<RecordHeader<'a>, RecordError> {
    let key = read_field(body)?.ok_or(RecordError::NegativeLength)?;
    let value = read_field(body)?;
    Ok(RecordHeader { key, value })
}

/// The records of one batch in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    rest: &'a [u8],
    found: i32,
    done: bool,
}

impl<'a> Records<'a> {
    /// The records in `payload`, which is what follows `header`, decompressed.
    pub const fn new(header: &BatchHeader, payload: &'a [u8]) -> Self {
        Self { header: *header, rest: payload, found: 0, done: false }
    }

    /// The error of the end, if there is one.
    fn end(&self) -> Option<RecordError> {
        let counted = self.header.records_count;
        if self.found < counted {
            return Some(RecordError::Missing { counted, found: self.found });
        }
        (!self.rest.is_empty()).then_some(RecordError::Trailing(self.rest.len()))
    }

    fn record(&self, raw: &RawRecord<'a>) -> Record<'a> {
        let timestamp = match self.header.attributes.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            TimestampType::CreateTime => {
                TimestampMs(self.header.base_timestamp.0.wrapping_add(raw.timestamp_delta))
            }
        };
        Record {
            offset: self.header.base_offset.plus(i64::from(raw.offset_delta)),
            timestamp,
            key: raw.key,
            value: raw.value,
            headers: raw.headers,
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        if self.found >= self.header.records_count || self.rest.is_empty() {
            self.done = true;
            return self.end().map(Err);
        }
        let raw = RawRecord::read(&mut self.rest);
        self.found += 1;
        self.done = raw.is_err();
        Some(raw.map(|raw| self.record(&raw)))
    }
}

impl std::iter::FusedIterator for Records<'_> {}

impl<'a> BatchView<'a> {
    /// The records' bytes: as they stand there, or decompressed into `scratch` (at most `limit` bytes).
    ///
    /// # Errors
    /// Those of [`Scratch::decompress`], and [`DecompressError::Unknown`] for a codec that does not exist.
    pub fn decompressed<'s>(
        &self,
        scratch: &'s mut Scratch,
        limit: usize,
    ) -> Result<&'s [u8], DecompressError>
    where
        'a: 's,
    {
        let compression = self.header().attributes.compression()?;
        if self.header().records_count == 0 {
            // Compaction may leave a batch without records, whose codec then says nothing.
            return Ok(&[]);
        }
        scratch.decompress(compression, self.payload(), limit)
    }

    /// The records in order; compressed ones are decompressed into `scratch`, at most
    /// [`DEFAULT_MAX_DECOMPRESSED_BYTES`] of them.
    ///
    /// # Errors
    /// Those of [`BatchView::decompressed`].
    pub fn records<'s>(&self, scratch: &'s mut Scratch) -> Result<Records<'s>, DecompressError>
    where
        'a: 's,
    {
        self.records_within(scratch, DEFAULT_MAX_DECOMPRESSED_BYTES)
    }

    /// [`BatchView::records`] with another bound.
    ///
    /// # Errors
    /// Those of [`BatchView::decompressed`].
    pub fn records_within<'s>(
        &self,
        scratch: &'s mut Scratch,
        limit: usize,
    ) -> Result<Records<'s>, DecompressError>
    where
        'a: 's,
    {
        let payload = self.decompressed(scratch, limit)?;
        Ok(Records::new(self.header(), payload))
    }
}
