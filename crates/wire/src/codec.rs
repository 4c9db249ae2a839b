//! The traits that every generated struct has. Key traits: [`Encode`], [`Decode`], [`Request`].

use bytes::Bytes;
use millstream_base::Uuid;

use crate::{ApiKey, DecodeError, DecodeErrorKind, Decoder, EncodeError, Encoder, Str};

/// A struct that can be written in the protocol's form.
pub trait Encode {
    /// Appends the struct as `version` has it.
    ///
    /// On an error what was appended so far stays in the encoder; the frame helpers cut it off.
    fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError>;
}

/// A struct that can be read from the protocol's form.
pub trait Decode: Sized {
    /// The struct's name, for errors.
    const NAME: &'static str;
    /// The least bytes that a value takes in any version: bounds how many can be in a frame.
    const MIN_BYTES: usize;

    /// Takes the struct from the front of what is left. Use [`Decoder::read`], which names the struct
    /// in errors.
    fn decode(d: &mut Decoder, version: i16) -> Result<Self, DecodeError>;
}

/// A request of an API.
pub trait Request: Encode + Decode {
    /// The API.
    const KEY: ApiKey;
    /// The first version.
    const MIN: i16;
    /// The last stable version.
    const MAX: i16;
    /// What answers it.
    type Response: Encode + Decode;
}

/// What an array can hold: structs and the protocol's plain types.
pub trait Element: Sized {
    /// The least bytes of one element in any version.
    const MIN_BYTES: usize;

    /// Appends one element.
    fn put(&self, e: &mut Encoder, flex: bool, version: i16) -> Result<(), EncodeError>;

    /// Takes one element.
    fn take(d: &mut Decoder, flex: bool, version: i16) -> Result<Self, DecodeError>;
}

impl<T: Encode + Decode> Element for T {
    const MIN_BYTES: usize = T::MIN_BYTES;

    fn put(&self, e: &mut Encoder, _flex: bool, version: i16) -> Result<(), EncodeError> {
        self.encode(e, version)
    }

    fn take(d: &mut Decoder, _flex: bool, version: i16) -> Result<Self, DecodeError> {
        d.read(version)
    }
}

macro_rules! plain_elements {
    ($($ty:ty, $method:ident, $bytes:literal;)*) => {$(
        impl Element for $ty {
            const MIN_BYTES: usize = $bytes;

            #[inline]
            fn put(&self, e: &mut Encoder, _flex: bool, _version: i16) -> Result<(), EncodeError> {
                e.$method(*self);
                Ok(())
            }

            #[inline]
            fn take(d: &mut Decoder, _flex: bool, _version: i16) -> Result<Self, DecodeError> {
                d.$method()
            }
        }
    )*};
}

plain_elements! {
    i8, i8, 1;
    i16, i16, 2;
    i32, i32, 4;
    i64, i64, 8;
    Uuid, uuid, 16;
}

impl Element for Str {
    const MIN_BYTES: usize = 1;

    fn put(&self, e: &mut Encoder, flex: bool, _version: i16) -> Result<(), EncodeError> {
        e.string(self, flex)
    }

    fn take(d: &mut Decoder, flex: bool, _version: i16) -> Result<Self, DecodeError> {
        d.string(flex)
    }
}

impl Element for Bytes {
    const MIN_BYTES: usize = 1;

    fn put(&self, e: &mut Encoder, flex: bool, _version: i16) -> Result<(), EncodeError> {
        e.bytes(self, flex)
    }

    fn take(d: &mut Decoder, flex: bool, _version: i16) -> Result<Self, DecodeError> {
        d.bytes(flex)
    }
}

/// Refuses to write a version that a message does not have.
pub(crate) fn check_encode(
    message: &'static str,
    version: i16,
    min: i16,
    max: i16,
) -> Result<(), EncodeError> {
    if (min..=max).contains(&version) {
        return Ok(());
    }
    Err(EncodeError::UnsupportedVersion { message, version, min, max })
}

/// Refuses to read a version that a message does not have.
pub(crate) fn check_decode(
    message: &'static str,
    version: i16,
    min: i16,
    max: i16,
) -> Result<(), DecodeError> {
    if (min..=max).contains(&version) {
        return Ok(());
    }
    let kind = DecodeErrorKind::UnsupportedVersion { version, min, max };
    Err(DecodeError { kind, context: message, offset: 0 })
}

/// The value of a field that may be null in other versions, but not in this one.
pub(crate) fn required<'a, T>(
    value: Option<&'a T>,
    field: &'static str,
    version: i16,
) -> Result<&'a T, EncodeError> {
    value.ok_or(EncodeError::NullNotAllowed { field, version })
}
