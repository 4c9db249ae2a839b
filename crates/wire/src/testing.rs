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
    /// The number of elements of every array, by how deep it stands; without it the bytes decide.
    widths: Option<&'a [usize]>,
    depth: usize,
    /// With `widths`: every string and all bytes.
    text: &'a str,
}

/// What a [`Gen`] can make.
pub trait Arbitrary: Sized {
    /// A value that `version` can carry.
    fn arbitrary(g: &mut Gen<'_>, version: i16) -> Self;
}

impl<'a> Gen<'a> {
    /// A generator that uses up `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, widths: None, depth: 0, text: "" }
    }

    /// A generator of smallest values, but with `text` in all strings and bytes, and `widths[d]` elements in the arrays that
    /// stand `d` deep (none below): the messages whose memory is largest against their bytes.
    pub const fn wide(widths: &'a [usize], text: &'a str) -> Self {
        Self { bytes: &[], widths: Some(widths), depth: 0, text }
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
        if self.widths.is_some() {
            return self.text.as_bytes().to_vec();
        }
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
        if g.byte().is_multiple_of(4) { Self::ZERO } else { Self(g.chunk()) }
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
        if let Some(widths) = g.widths {
            let count = widths.get(g.depth).copied().unwrap_or(0);
            g.depth += 1;
            let values = (0..count).map(|_| g.any(version)).collect();
            g.depth -= 1;
            return values;
        }
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

/// What a fuzzer runs: `data` as a frame, as each view of a produce request, as one message in one version, and as the
/// seed of a valid message that is then cut and changed. Asserts what must always hold; nothing may panic otherwise.
pub fn fuzz_one(data: &[u8]) {
    let (&[a, b, c], rest) = data.split_first_chunk::<3>().unwrap_or((&[0, 0, 0], data));
    let index = usize::from(u16::from_be_bytes([a, b])) % CASES.len();
    let Some(case) = CASES.get(index) else { return };
    let version = case.min + i16::from(c) % (case.max - case.min + 1);

    fuzz_header(rest);
    for version in crate::ApiKey::Produce.min()..=crate::ApiKey::Produce.max() {
        same_produce(rest, version);
    }
    fuzz_decode(case, version, rest);

    let valid = (case.generate)(&mut Gen::new(rest), version);
    let Ok(valid) = valid else { return assert!(valid.is_ok(), "{}: {valid:?}", case.name) };
    let mut changed = valid.to_vec();
    let cut = rest.iter().fold(0usize, |sum, &byte| sum.wrapping_mul(31) + usize::from(byte));
    if !changed.is_empty() {
        let at = cut % changed.len();
        let decoded = (case.decode)(valid.slice(..at), version);
        assert!(decoded.is_err(), "{} version {version} cut at {at}: {valid:?}", case.name);
        if let Some(byte) = changed.get_mut(at) {
            *byte = byte.wrapping_add(c | 1);
        }
    }
    fuzz_decode(case, version, &changed);
    if case.name == "ProduceRequest" {
        same_produce(&valid, version);
        same_produce(&changed, version);
    }
}

/// What can be decoded can be encoded, and comes to rest.
fn fuzz_decode(case: &Case, version: i16, bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if (case.decode)(bytes.clone(), version).is_err() {
        return;
    }
    let once = (case.recode)(bytes, version);
    let twice = once.clone().and_then(|bytes| (case.recode)(bytes, version));
    assert!(once.is_ok() && once == twice, "{} version {version}: {once:?}", case.name);
}

/// Both ways to read a request header agree.
fn fuzz_header(bytes: &[u8]) {
    use crate::frame::{RequestHeaderView, read_request_header};
    let mut d = Decoder::new(Bytes::copy_from_slice(bytes));
    match (RequestHeaderView::parse(bytes), read_request_header(&mut d)) {
        (Ok(view), Ok((key, header))) => {
            assert_eq!((view.key, view.len), (key, d.position()));
            assert_eq!(view.version, header.request_api_version);
            assert_eq!(view.correlation_id, header.correlation_id);
            assert_eq!(view.client_id, header.client_id.as_deref());
        }
        (view, full) => assert!(view.is_err() && full.is_err(), "{view:?}, {:?}", full.err()),
    }
}

/// The view of a produce request finds what the generic decoder finds.
pub fn same_produce(body: &[u8], version: i16) {
    use crate::messages::produce::ProduceRequest;
    use crate::produce_view::ProduceView;
    let mut parts = Vec::new();
    let mut d = Decoder::new(Bytes::copy_from_slice(body));
    let full = d.read::<ProduceRequest>(version);
    let (view, full) = match (ProduceView::parse(body, version, &mut parts), full) {
        (Ok(view), Ok(full)) => (view, full),
        (view, full) => return assert!(view.is_err() && full.is_err(), "{view:?}, {full:?}"),
    };
    assert_eq!(view.transactional_id, full.transactional_id.as_deref());
    assert_eq!((view.acks, view.timeout_ms), (full.acks, full.timeout_ms));
    let mut rest = parts.iter();
    for (entry, topic) in full.topic_data.iter().enumerate() {
        for partition in &topic.partition_data {
            let part = rest.next();
            let Some(part) = part else { return assert!(part.is_some(), "a part is missing") };
            assert_eq!((part.topic_entry as usize, part.index), (entry, partition.index));
            assert_eq!(part.topic_name(body).unwrap_or_default(), topic.name.as_str());
            assert_eq!(part.topic_id().unwrap_or_default(), topic.topic_id);
            let records = partition.records.as_ref().and_then(Records::as_bytes);
            assert_eq!(part.records.map(|span| span.of(body)), records.map(AsRef::as_ref));
        }
    }
    assert_eq!(rest.next(), None);
}
