//! Arbitrary messages and the list of all messages, for tests and the fuzz target; behind the feature
//! `testing`. Key types: [`Gen`], [`Case`].
//!
//! A [`Gen`] turns any bytes into a valid message, so that a property test can shrink bytes and a fuzzer can
//! mutate them.

use bytes::Bytes;
use millstream_base::Uuid;

use crate::{Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, Records, Str};

include!(concat!(env!("OUT_DIR"), "/testing.rs"));

/// Makes values out of bytes; when they run out, every further value is the smallest.
#[derive(Debug)]
pub struct Gen<'a> {
    bytes: &'a [u8],
}

/// What a [`Gen`] can make.
pub trait Arbitrary: Sized {
    /// A value that `version` can carry.
    fn arbitrary(g: &mut Gen<'_>, version: i16) -> Self;
}

impl<'a> Gen<'a> {
    /// A generator that uses up `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn chunk<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// Bytes of a length that is mostly small, and at times too long for a one-byte length.
    fn blob(&mut self) -> Vec<u8> {
        let len = match self.byte() {
            long @ 250.. => 100 + usize::from(long),
            short => usize::from(short % 9),
        };
        (0..len).map(|_| self.byte()).collect()
    }

    /// Any value.
    pub fn any<T: Arbitrary>(&mut self, version: i16) -> T {
        T::arbitrary(self, version)
    }

    /// A value, or null where `may_be_null`.
    pub fn nullable<T: Arbitrary>(&mut self, may_be_null: bool, version: i16) -> Option<T> {
        if may_be_null && self.byte() % 4 == 1 { None } else { Some(self.any(version)) }
    }
}

macro_rules! arbitrary_numbers {
    ($($ty:ty),*) => {$(
        impl Arbitrary for $ty {
            fn arbitrary(g: &mut Gen<'_>, _version: i16) -> Self {
                match g.byte() % 8 {
                    0 => 0,
                    1 => <$ty>::MAX,
                    2 => <$ty>::MIN,
                    3 => (0 as $ty).wrapping_sub(1),
                    _ => <$ty>::from_be_bytes(g.chunk()),
                }
            }
        }
    )*};
}

arbitrary_numbers!(i8, i16, u16, i32, u32, i64);

impl Arbitrary for f64 {
    fn arbitrary(g: &mut Gen<'_>, version: i16) -> Self {
        // Not from raw bits: NaN does not equal itself.
        Self::from(i32::arbitrary(g, version)) / 8.0
    }
}

impl Arbitrary for bool {
    fn arbitrary(g: &mut Gen<'_>, _version: i16) -> Self {
        g.byte() % 2 == 1
    }
}

impl Arbitrary for Uuid {
    fn arbitrary(g: &mut Gen<'_>, _version: i16) -> Self {
        if g.byte() % 4 == 0 { Self::ZERO } else { Self(g.chunk()) }
    }
}

impl Arbitrary for Str {
    fn arbitrary(g: &mut Gen<'_>, _version: i16) -> Self {
        Self::from(String::from_utf8_lossy(&g.blob()).as_ref())
    }
}

impl Arbitrary for Bytes {
    fn arbitrary(g: &mut Gen<'_>, _version: i16) -> Self {
        g.blob().into()
    }
}

impl Arbitrary for Records {
    fn arbitrary(g: &mut Gen<'_>, version: i16) -> Self {
        Self::Bytes(g.any(version))
    }
}

impl<T: Arbitrary> Arbitrary for Vec<T> {
    fn arbitrary(g: &mut Gen<'_>, version: i16) -> Self {
        let count = match g.byte() {
            255 => 150,
            few => few % 4,
        };
        (0..count).map_while(|_| (!g.bytes.is_empty()).then(|| g.any(version))).collect()
    }
}

/// One message of the table, with its type left out.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The message's name.
    pub name: &'static str,
    /// `request`, `response`, `header`, `metadata`, ...
    pub kind: &'static str,
    /// The API key or the record type.
    pub key: Option<i16>,
    /// The first version.
    pub min: i16,
    /// The last version.
    pub max: i16,
    /// The bytes of an arbitrary message.
    pub generate: fn(&mut Gen<'_>, i16) -> Result<Bytes, EncodeError>,
    /// Encodes an arbitrary message, decodes it, and says what differs.
    pub round_trip: fn(&mut Gen<'_>, i16) -> Result<(), String>,
    /// Decodes and drops the message; gives the number of bytes left over.
    pub decode: fn(Bytes, i16) -> Result<usize, DecodeError>,
    /// Decodes and gives the debug text.
    pub debug: fn(Bytes, i16) -> Result<String, DecodeError>,
    /// Decodes and encodes again.
    pub recode: fn(Bytes, i16) -> Result<Bytes, String>,
}

impl Case {
    const fn of<T: Arbitrary + Encode + Decode + PartialEq + std::fmt::Debug>(
        name: &'static str,
        kind: &'static str,
        key: Option<i16>,
        min: i16,
        max: i16,
    ) -> Self {
        Self {
            name,
            kind,
            key,
            min,
            max,
            generate: |g, version| to_bytes(&T::arbitrary(g, version), version),
            round_trip: |g, version| round_trip(&T::arbitrary(g, version), version),
            decode: |bytes, version| {
                let mut d = Decoder::new(bytes);
                d.read::<T>(version).map(|_| d.remaining())
            },
            debug: |bytes, version| {
                Decoder::new(bytes).read(version).map(|value: T| format!("{value:?}"))
            },
            recode: |bytes, version| {
                let value: T = Decoder::new(bytes).read(version).map_err(|e| e.to_string())?;
                to_bytes(&value, version).map_err(|e| e.to_string())
            },
        }
    }

    /// The case of a message.
    pub fn find(name: &str) -> Option<&'static Self> {
        CASES.iter().find(|case| case.name == name)
    }
}

fn to_bytes(value: &impl Encode, version: i16) -> Result<Bytes, EncodeError> {
    let mut e = Encoder::new();
    value.encode(&mut e, version)?;
    Ok(e.into_bytes())
}

fn round_trip<T>(value: &T, version: i16) -> Result<(), String>
where
    T: Encode + Decode + PartialEq + std::fmt::Debug,
{
    let bytes = to_bytes(value, version).map_err(|error| error.to_string())?;
    let mut d = Decoder::new(bytes.clone());
    let back: T = d.read(version).map_err(|error| format!("{error}: {value:?} as {bytes:?}"))?;
    if back != *value {
        return Err(format!("{value:?} came back as {back:?}"));
    }
    if d.remaining() > 0 {
        return Err(format!("{} bytes left over after {value:?}", d.remaining()));
    }
    Ok(())
}
