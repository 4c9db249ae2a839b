//! Reads the protocol's types from one frame. Key type: [`Decoder`].
//!
//! Made for hostile bytes: every length is held against the bytes that are left before anything is
//! allocated, and all arrays of a frame together may take no more memory than [`memory_bound`] says. Strings, bytes and records are slices of the frame. Nothing here panics.

use bytes::Bytes;
use millstream_base::varint::{self, VarintError};
use millstream_base::{ErrorCode, Uuid};

use crate::codec::Element;
use crate::cursor::small;
use crate::{Decode, DecodeError, DecodeErrorKind, Records, Str};

/// How many bytes of memory the arrays of a frame may take: 64 a byte for the first 64 KiB, 16 a byte beyond.
///
/// An array of empty structs takes up to 43 bytes of memory for a byte on the wire; that is honest in a small message. With
/// names of eight letters the most is 16, so a large honest message stays below as well. Both are held by a test.
pub const fn memory_bound(frame_len: usize) -> usize {
    const SMALL: usize = 64 * 1024;
    let small = if frame_len < SMALL { frame_len } else { SMALL };
    1024 + small * 64 + (frame_len - small).saturating_mul(16)
}

/// Takes values from the front of a frame.
#[derive(Debug)]
pub struct Decoder {
    frame: Bytes,
    at: usize,
    /// Values end here: the frame's end, or that of the tagged field being read.
    end: usize,
    /// Bytes that arrays may still take.
    budget: usize,
}

impl Decoder {
    /// A decoder at the start of `frame`, which does not hold the length before it.
    pub fn new(frame: Bytes) -> Self {
        let len = frame.len();
        Self { frame, at: 0, end: len, budget: memory_bound(len) }
    }

    /// The same, but arrays may take no more than `bytes` of memory, however long the frame is.
    #[must_use]
    pub fn with_memory_limit(mut self, bytes: usize) -> Self {
        self.budget = self.budget.min(bytes);
        self
    }

    /// How many bytes are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// How many bytes were taken.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Goes back to a place that [`Decoder::position`] gave.
    pub(crate) fn rewind(&mut self, position: usize) {
        self.at = position.min(self.at);
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The rest of the frame, shared.
    pub fn rest(&self) -> Bytes {
        self.frame.slice(self.at..self.end)
    }

    /// Ends the reading; bytes that are left over are an error.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(DecodeErrorKind::TrailingBytes(small(left)))),
        }
    }

    /// A whole struct; an error names it.
    pub fn read<T: Decode>(&mut self, version: i16) -> Result<T, DecodeError> {
        T::decode(self, version).map_err(|error| error.within(T::NAME))
    }

    #[cold]
    pub(crate) fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { kind, context: "", offset: small(self.at) }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        let remaining = small(self.remaining());
        self.error(DecodeErrorKind::Truncated { needed: small(needed), remaining })
    }

    /// What is left, as a slice.
    #[inline]
    fn left(&self) -> &[u8] {
        self.frame.get(self.at..self.end).unwrap_or_default()
    }

    /// The next `N` bytes.
    #[inline]
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(chunk) = self.left().first_chunk::<N>() else { return Err(self.truncated(N)) };
        let chunk = *chunk;
        self.at += N;
        Ok(chunk)
    }

    /// The next `len` bytes, shared with the frame.
    fn slice(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.remaining() {
            return Err(self.truncated(len));
        }
        let slice = self.frame.slice(self.at..self.at + len);
        self.at += len;
        Ok(slice)
    }

    // ---- plain types ----

    /// A `bool`: anything but 0 is true, as Kafka reads it.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.chunk().map(|[byte]| byte != 0)
    }

    /// An `int8`.
    #[inline]
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.chunk().map(i8::from_be_bytes)
    }

    /// An `int16`.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.chunk().map(i16::from_be_bytes)
    }

    /// A `uint16`.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.chunk().map(u16::from_be_bytes)
    }

    /// An `int32`.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.chunk().map(i32::from_be_bytes)
    }

    /// A `uint32`.
    #[inline]
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.chunk().map(u32::from_be_bytes)
    }

    /// An `int64`.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.chunk().map(i64::from_be_bytes)
    }

    /// A `float64`.
    #[inline]
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.chunk().map(f64::from_be_bytes)
    }

    /// A `uuid`.
    #[inline]
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.chunk().map(Uuid)
    }

    /// An unsigned variable-length integer.
    #[inline]
    pub fn varint(&mut self) -> Result<u32, DecodeError> {
        let mut left = self.left();
        let before = left.len();
        match varint::read_u32(&mut left) {
            Ok(value) => {
                self.at += before - left.len();
                Ok(value)
            }
            Err(VarintError::Truncated) => Err(self.truncated(before + 1)),
            Err(error) => Err(self.error(DecodeErrorKind::Varint(error))),
        }
    }

    // ---- types with a length ----

    /// A length that `number` says; -1 is null.
    fn length(&self, number: i32) -> Result<Option<usize>, DecodeError> {
        match number {
            -1 => Ok(None),
            0.. => Ok(Some(number.unsigned_abs() as usize)),
            _ => Err(self.error(DecodeErrorKind::NegativeLength(number))),
        }
    }

    /// The length of a compact type: one more than the length, 0 is null.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok(self.varint()?.checked_sub(1).map(|len| len as usize))
    }

    /// The length of bytes, records or an array.
    fn long_length(&mut self, flex: bool) -> Result<Option<usize>, DecodeError> {
        if flex {
            return self.compact_length();
        }
        let number = self.i32()?;
        self.length(number)
    }

    fn not_null<T>(&self, value: Option<T>) -> Result<T, DecodeError> {
        value.ok_or_else(|| self.error(DecodeErrorKind::NullNotAllowed))
    }

    /// A `string`.
    pub fn string(&mut self, flex: bool) -> Result<Str, DecodeError> {
        let value = self.nullable_string(flex)?;
        self.not_null(value)
    }

    /// A `string` that may be null.
    pub fn nullable_string(&mut self, flex: bool) -> Result<Option<Str>, DecodeError> {
        let len = if flex {
            self.compact_length()?
        } else {
            let number = self.i16()?;
            self.length(i32::from(number))?
        };
        let Some(len) = len else { return Ok(None) };
        let bytes = self.slice(len)?;
        match Str::try_from(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(self.error(DecodeErrorKind::NotUtf8)),
        }
    }

    /// `bytes`.
    pub fn bytes(&mut self, flex: bool) -> Result<Bytes, DecodeError> {
        let value = self.nullable_bytes(flex)?;
        self.not_null(value)
    }

    /// `bytes` that may be null.
    pub fn nullable_bytes(&mut self, flex: bool) -> Result<Option<Bytes>, DecodeError> {
        self.long_length(flex)?.map(|len| self.slice(len)).transpose()
    }

    /// `records`.
    pub fn records(&mut self, flex: bool) -> Result<Records, DecodeError> {
        self.bytes(flex).map(Records::Bytes)
    }

    /// `records` that may be null.
    pub fn nullable_records(&mut self, flex: bool) -> Result<Option<Records>, DecodeError> {
        Ok(self.nullable_bytes(flex)?.map(Records::Bytes))
    }

    /// An array.
    pub fn array<T: Element>(&mut self, flex: bool, version: i16) -> Result<Vec<T>, DecodeError> {
        let value = self.nullable_array(flex, version)?;
        self.not_null(value)
    }

    /// An array that may be null.
    pub fn nullable_array<T: Element>(
        &mut self,
        flex: bool,
        version: i16,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.long_length(flex)? else { return Ok(None) };
        self.admit(count, T::MIN_BYTES, size_of::<T>())?;
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(T::take(self, flex, version)?);
        }
        Ok(Some(values))
    }

    /// Checks that `count` elements can be in the bytes left, and takes their memory off the budget.
    fn admit(&mut self, count: usize, min: usize, size: usize) -> Result<(), DecodeError> {
        let remaining = self.remaining();
        if count.saturating_mul(min) > remaining {
            let kind = DecodeErrorKind::TooManyElements {
                count: small(count),
                remaining: small(remaining),
            };
            return Err(self.error(kind));
        }
        match self.budget.checked_sub(count.saturating_mul(size)) {
            Some(budget) => self.budget = budget,
            None => return Err(self.error(DecodeErrorKind::OverBudget)),
        }
        Ok(())
    }

    /// A struct that may be null: a negative byte says that it is.
    pub fn nullable_struct<T: Decode>(&mut self, version: i16) -> Result<Option<T>, DecodeError> {
        if self.i8()? < 0 { Ok(None) } else { self.read(version).map(Some) }
    }

    /// The same as a tagged field: there the byte is 0 for null.
    pub(crate) fn nullable_tagged_struct<T: Decode>(
        &mut self,
        version: i16,
    ) -> Result<Option<T>, DecodeError> {
        if self.varint()? == 0 { Ok(None) } else { self.read(version).map(Some) }
    }

    // ---- tagged fields ----

    /// Passes over all tagged fields of a struct that knows none.
    #[inline]
    pub(crate) fn skip_tags(&mut self) -> Result<(), DecodeError> {
        self.tags(&mut |_, _| Ok(false))
    }

    /// Gives each tagged field to `read`, which returns whether it knows the tag. A field that it
    /// knows must be as long as it says; others are passed over.
    pub(crate) fn tags(
        &mut self,
        read: &mut dyn FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        // No bound on the number is needed: each takes two bytes at least, and nothing is kept.
        for _ in 0..self.varint()? {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            if size > self.remaining() {
                return Err(self.truncated(size));
            }
            let field_end = self.at + size;
            let end = std::mem::replace(&mut self.end, field_end);
            let known = read(self, tag)?;
            if known && self.at != field_end {
                return Err(self.error(DecodeErrorKind::TagSize(small(field_end - self.at))));
            }
            self.at = field_end;
            self.end = end;
        }
        Ok(())
    }
}

impl From<&DecodeError> for ErrorCode {
    fn from(error: &DecodeError) -> Self {
        match error.kind {
            DecodeErrorKind::UnsupportedVersion { .. } => Self::UnsupportedVersion,
            _ => Self::InvalidRequest,
        }
    }
}
