//! Reads plain types from borrowed bytes without allocating. Key type: [`Cursor`].
//!
//! The small sibling of [`Decoder`](crate::Decoder) for what is read in place on every request; the same checks hold.

use millstream_base::Uuid;
use millstream_base::varint::{self, VarintError};

use crate::{DecodeError, DecodeErrorKind};

/// A part of the bytes that a view was made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Where it begins.
    pub const fn start(self) -> usize {
        self.start as usize
    }

    /// Where it ends.
    pub const fn end(self) -> usize {
        self.start as usize + self.len as usize
    }

    /// How many bytes it has.
    pub const fn len(self) -> usize {
        self.len as usize
    }

    /// Whether it has none.
    pub const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The range of indices.
    pub const fn range(self) -> std::ops::Range<usize> {
        self.start()..self.end()
    }

    /// The bytes, out of those that the view was made of; empty when `bytes` is shorter than those.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }
}

/// Takes values from the front of borrowed bytes.
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    context: &'static str,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8], context: &'static str) -> Self {
        Self { bytes, at: 0, context }
    }

    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    #[inline]
    fn left(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    #[cold]
    pub(crate) fn error(&self, kind: DecodeErrorKind) -> DecodeError {
        DecodeError { kind, context: self.context, offset: small(self.at) }
    }

    #[cold]
    fn truncated(&self, needed: usize) -> DecodeError {
        let remaining = small(self.left().len());
        self.error(DecodeErrorKind::Truncated { needed: small(needed), remaining })
    }

    #[inline]
    fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(chunk) = self.left().first_chunk::<N>() else { return Err(self.truncated(N)) };
        self.at += N;
        Ok(*chunk)
    }

    #[inline]
    pub(crate) fn i16(&mut self) -> Result<i16, DecodeError> {
        self.chunk().map(i16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn i32(&mut self) -> Result<i32, DecodeError> {
        self.chunk().map(i32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.chunk().map(Uuid)
    }

    #[inline]
    fn varint(&mut self) -> Result<u32, DecodeError> {
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

    fn length(&self, number: i32) -> Result<Option<u32>, DecodeError> {
        match number {
            -1 => Ok(None),
            0.. => Ok(Some(number.unsigned_abs())),
            _ => Err(self.error(DecodeErrorKind::NegativeLength(number))),
        }
    }

    /// The length of bytes, records or an array; `None` is null.
    pub(crate) fn long_length(&mut self, flex: bool) -> Result<Option<u32>, DecodeError> {
        if flex {
            return Ok(self.varint()?.checked_sub(1));
        }
        let number = self.i32()?;
        self.length(number)
    }

    /// The number of an array's elements, each of which takes `min` bytes at least.
    pub(crate) fn array_length(&mut self, flex: bool, min: usize) -> Result<u32, DecodeError> {
        let Some(count) = self.long_length(flex)? else {
            return Err(self.error(DecodeErrorKind::NullNotAllowed));
        };
        let remaining = self.left().len();
        if (count as usize).saturating_mul(min) > remaining {
            let remaining = small(remaining);
            return Err(self.error(DecodeErrorKind::TooManyElements { count, remaining }));
        }
        Ok(count)
    }

    fn span(&mut self, len: u32) -> Result<Span, DecodeError> {
        let left = self.left().len();
        match u32::try_from(self.at) {
            Ok(start) if len as usize <= left => {
                self.at += len as usize;
                Ok(Span { start, len })
            }
            _ => Err(self.truncated(len as usize)),
        }
    }

    /// `bytes` or `records` that may be null.
    pub(crate) fn nullable_bytes(&mut self, flex: bool) -> Result<Option<Span>, DecodeError> {
        self.long_length(flex)?.map(|len| self.span(len)).transpose()
    }

    /// A `string` that may be null; its bytes are UTF-8.
    pub(crate) fn nullable_string(
        &mut self,
        flex: bool,
    ) -> Result<Option<(Span, &'a str)>, DecodeError> {
        let len = if flex {
            self.varint()?.checked_sub(1)
        } else {
            let number = self.i16()?;
            self.length(i32::from(number))?
        };
        let Some(len) = len else { return Ok(None) };
        let span = self.span(len)?;
        match std::str::from_utf8(span.of(self.bytes)) {
            Ok(text) => Ok(Some((span, text))),
            Err(_) => Err(self.error(DecodeErrorKind::NotUtf8)),
        }
    }

    /// A `string`.
    pub(crate) fn string(&mut self, flex: bool) -> Result<(Span, &'a str), DecodeError> {
        let value = self.nullable_string(flex)?;
        value.ok_or_else(|| self.error(DecodeErrorKind::NullNotAllowed))
    }

    /// Passes over the tagged fields of a struct.
    pub(crate) fn skip_tags(&mut self) -> Result<(), DecodeError> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.span(size)?;
        }
        Ok(())
    }
}

/// A length for an error message; frames are smaller than 4 GiB.
pub(crate) fn small(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
