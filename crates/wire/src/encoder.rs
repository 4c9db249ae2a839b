//! Writes the protocol's types into one growing buffer. Key type: [`Encoder`].
//!
//! Several frames can follow each other in one encoder. Bytes that come from elsewhere (a file range)
//! are not written: a [`Cut`] says where they belong, and every length already counts them.

use bytes::Bytes;
use millstream_base::{Uuid, varint};

use crate::codec::Element;
use crate::{Encode, EncodeError, Records, Str};

/// A place in an encoder's buffer where bytes from elsewhere have to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// They go before the byte at this position of the buffer.
    pub at: usize,
    /// How many they are.
    pub len: u32,
}

/// A frame that was begun; give it back to [`Encoder::finish_frame`] or [`Encoder::abandon_frame`].
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct FrameMark {
    start: usize,
    cuts: usize,
    external: usize,
}

/// A tagged field that was begun.
#[derive(Clone, Copy)]
pub(crate) struct TagMark {
    start: usize,
    external: usize,
}

/// Appends values to a buffer that can be used again and again.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: Vec<u8>,
    cuts: Vec<Cut>,
    /// The sum of the cuts' lengths.
    external: usize,
}

impl Encoder {
    /// An encoder with an empty buffer.
    pub const fn new() -> Self {
        Self { buffer: Vec::new(), cuts: Vec::new(), external: 0 }
    }

    /// An encoder with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self::with_buffer(Vec::with_capacity(capacity))
    }

    /// An encoder that appends to `buffer`.
    pub const fn with_buffer(buffer: Vec<u8>) -> Self {
        Self { buffer, cuts: Vec::new(), external: 0 }
    }

    /// What was written, without the bytes that come from elsewhere.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// Where bytes from elsewhere belong, in the order of the buffer.
    pub fn cuts(&self) -> &[Cut] {
        &self.cuts
    }

    /// How many bytes will be sent: the buffer and what comes from elsewhere.
    pub fn total_len(&self) -> usize {
        self.buffer.len() + self.external
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.cuts.clear();
        self.external = 0;
    }

    /// The buffer.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The buffer and the cuts.
    pub fn into_parts(self) -> (Vec<u8>, Vec<Cut>) {
        (self.buffer, self.cuts)
    }

    /// The buffer as shared bytes.
    pub fn into_bytes(self) -> Bytes {
        self.buffer.into()
    }

    // ---- frames ----

    /// Leaves room for a frame's length.
    pub fn start_frame(&mut self) -> FrameMark {
        let mark =
            FrameMark { start: self.buffer.len(), cuts: self.cuts.len(), external: self.external };
        self.i32(0);
        mark
    }

    /// Writes the frame's length into the room left for it. Returns the whole frame's length with
    /// those four bytes.
    pub fn finish_frame(&mut self, mark: FrameMark) -> Result<usize, EncodeError> {
        let total = self.buffer.len() - mark.start + (self.external - mark.external);
        let body = total - 4;
        let Ok(length) = i32::try_from(body) else {
            self.abandon_frame(mark);
            return Err(EncodeError::TooLong { len: body });
        };
        if let Some(place) =
            self.buffer.get_mut(mark.start..).and_then(<[u8]>::first_chunk_mut::<4>)
        {
            *place = length.to_be_bytes();
        }
        Ok(total)
    }

    /// Forgets everything from the frame's start on.
    pub fn abandon_frame(&mut self, mark: FrameMark) {
        self.buffer.truncate(mark.start);
        self.cuts.truncate(mark.cuts);
        self.external = mark.external;
    }

    // ---- plain types ----

    /// A `bool`: one byte, 0 or 1.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.buffer.push(u8::from(value));
    }

    /// An `int8`.
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// An `int16`.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// A `uint16`.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// An `int32`.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// A `uint32`.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// An `int64`.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// A `float64`.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.buffer.extend_from_slice(&value.to_be_bytes());
    }

    /// A `uuid`: 16 bytes.
    #[inline]
    pub fn uuid(&mut self, value: Uuid) {
        self.buffer.extend_from_slice(value.as_bytes());
    }

    /// An unsigned variable-length integer.
    #[inline]
    pub fn varint(&mut self, value: u32) {
        varint::write_u32(&mut self.buffer, value);
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    // ---- types with a length ----

    /// The length of bytes, records or an array.
    fn length(&mut self, len: usize, flex: bool) -> Result<(), EncodeError> {
        let length = i32::try_from(len).map_err(|_| EncodeError::TooLong { len })?;
        if flex {
            self.varint(length.unsigned_abs() + 1);
        } else {
            self.i32(length);
        }
        Ok(())
    }

    /// The length of bytes, records or an array that is null.
    fn null(&mut self, flex: bool) {
        if flex {
            self.varint(0);
        } else {
            self.i32(-1);
        }
    }

    /// A `string`.
    pub fn string(&mut self, value: &Str, flex: bool) -> Result<(), EncodeError> {
        let len = value.len();
        if flex {
            self.length(len, true)?;
        } else {
            self.i16(i16::try_from(len).map_err(|_| EncodeError::TooLong { len })?);
        }
        self.buffer.extend_from_slice(value.as_bytes());
        Ok(())
    }

    /// A `string` that may be null.
    pub fn nullable_string(&mut self, value: Option<&Str>, flex: bool) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.string(value, flex)?,
            None if flex => self.null(true),
            None => self.i16(-1),
        }
        Ok(())
    }

    /// `bytes`.
    pub fn bytes(&mut self, value: &Bytes, flex: bool) -> Result<(), EncodeError> {
        self.length(value.len(), flex)?;
        self.buffer.extend_from_slice(value);
        Ok(())
    }

    /// `bytes` that may be null.
    pub fn nullable_bytes(&mut self, value: Option<&Bytes>, flex: bool) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.bytes(value, flex)?,
            None => self.null(flex),
        }
        Ok(())
    }

    /// `records`: their length, and the bytes or a cut.
    pub fn records(&mut self, value: &Records, flex: bool) -> Result<(), EncodeError> {
        self.length(value.len(), flex)?;
        match value {
            Records::Bytes(bytes) => self.buffer.extend_from_slice(bytes),
            Records::External { len: 0 } => {}
            Records::External { len } => {
                self.cuts.push(Cut { at: self.buffer.len(), len: *len });
                self.external += *len as usize;
            }
        }
        Ok(())
    }

    /// `records` that may be null.
    pub fn nullable_records(
        &mut self,
        value: Option<&Records>,
        flex: bool,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => self.records(value, flex)?,
            None => self.null(flex),
        }
        Ok(())
    }

    /// An array.
    pub fn array<T: Element>(
        &mut self,
        values: &[T],
        flex: bool,
        version: i16,
    ) -> Result<(), EncodeError> {
        self.length(values.len(), flex)?;
        values.iter().try_for_each(|value| value.put(self, flex, version))
    }

    /// An array that may be null.
    pub fn nullable_array<T: Element>(
        &mut self,
        values: Option<&[T]>,
        flex: bool,
        version: i16,
    ) -> Result<(), EncodeError> {
        match values {
            Some(values) => self.array(values, flex, version)?,
            None => self.null(flex),
        }
        Ok(())
    }

    /// A struct that may be null: a byte that says whether it follows, and the struct.
    pub fn nullable_struct<T: Encode>(
        &mut self,
        value: Option<&T>,
        version: i16,
    ) -> Result<(), EncodeError> {
        let Some(value) = value else {
            self.i8(-1);
            return Ok(());
        };
        self.i8(1);
        value.encode(self, version)
    }

    // ---- tagged fields ----

    /// Ends a struct that has no tagged fields.
    #[inline]
    pub(crate) fn no_tags(&mut self) {
        self.buffer.push(0);
    }

    /// Begins the tagged fields: their number, which [`Encoder::tag`] counts up. Returns its place.
    ///
    /// One byte holds it: the table has nowhere near 128 tags in a struct.
    pub(crate) fn tags(&mut self) -> usize {
        self.buffer.push(0);
        self.buffer.len() - 1
    }

    /// Begins one tagged field.
    pub(crate) fn tag(&mut self, tags: usize, tag: u32) -> TagMark {
        if let Some(count) = self.buffer.get_mut(tags) {
            *count += 1;
        }
        self.varint(tag);
        TagMark { start: self.buffer.len(), external: self.external }
    }

    /// Ends one tagged field: puts its size before it. The field moves up by the size's one or two
    /// bytes, which is cheaper than to measure every field beforehand: few are ever written.
    pub(crate) fn end_tag(&mut self, mark: TagMark) -> Result<(), EncodeError> {
        let len = self.buffer.len() - mark.start + (self.external - mark.external);
        let size = u32::try_from(len).map_err(|_| EncodeError::TooLong { len })?;
        let shift = varint::len_u32(size);
        let end = self.buffer.len();
        self.varint(size);
        if let Some(field) = self.buffer.get_mut(mark.start..) {
            field.rotate_right(shift);
        }
        debug_assert_eq!(self.buffer.len(), end + shift);
        for cut in self.cuts.iter_mut().rev().take_while(|cut| cut.at >= mark.start) {
            cut.at += shift;
        }
        Ok(())
    }
}
