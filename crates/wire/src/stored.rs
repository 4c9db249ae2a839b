//! Records that are stored: cluster metadata, coordinators' keys and values, control records, the
//! consumer protocol's embedded messages. The structs are generated.
//!
//! Key and value of a coordinator's record start with an int16: the key's is the record's type, the value's its
//! version. A metadata record starts with a frame version, its type and its version as variable-length integers.

include!(concat!(env!("OUT_DIR"), "/stored.rs"));
include!(concat!(env!("OUT_DIR"), "/stored_types.rs"));

use crate::DecodeErrorKind;

/// A record or embedded message with versions of its own.
pub trait Stored: Encode + Decode {
    /// The number of the record's type where it has one.
    const TYPE: Option<i16>;
    /// The first version.
    const MIN: i16;
    /// The last version.
    const MAX: i16;
}

/// The version of the frame around metadata records.
const METADATA_FRAME_VERSION: u32 = 1;

/// The bytes of a coordinator's key: its type and its fields.
pub fn key_to_bytes<K: Stored>(key: &K) -> Result<Bytes, EncodeError> {
    with_prefix(K::TYPE.unwrap_or(K::MIN), key, K::MIN)
}

/// The bytes of a coordinator's value, or of a consumer protocol message: its version and its fields.
pub fn value_to_bytes<V: Stored>(value: &V, version: i16) -> Result<Bytes, EncodeError> {
    with_prefix(version, value, version)
}

fn with_prefix(prefix: i16, body: &impl Encode, version: i16) -> Result<Bytes, EncodeError> {
    let mut e = Encoder::with_capacity(64);
    e.i16(prefix);
    body.encode(&mut e, version)?;
    Ok(e.into_bytes())
}

/// The type of a coordinator's key; its fields follow in the decoder: `d.read::<OffsetCommitKey>(0)`.
pub fn open_key(bytes: Bytes) -> Result<(i16, Decoder), DecodeError> {
    let mut d = Decoder::new(bytes);
    Ok((d.i16()?, d))
}

/// A coordinator's value or a consumer protocol message. A newer version than this table's is an error.
pub fn value_from_bytes<V: Stored>(bytes: Bytes) -> Result<V, DecodeError> {
    let mut d = Decoder::new(bytes);
    let version = d.i16()?;
    d.read(version)
}

/// A consumer protocol message from a client: read as this table's newest version when it is newer, as every
/// version only appends fields.
pub fn embedded_from_bytes<V: Stored>(bytes: Bytes) -> Result<V, DecodeError> {
    let mut d = Decoder::new(bytes);
    let version = d.i16()?;
    d.read(version.min(V::MAX))
}

impl MetadataRecord {
    /// Appends the record with its frame.
    pub fn encode(&self, e: &mut Encoder, version: i16) -> Result<(), EncodeError> {
        e.varint(METADATA_FRAME_VERSION);
        e.varint(u32::from(self.record_type().unsigned_abs()));
        e.varint(u32::from(version.unsigned_abs()));
        self.encode_body(e, version)
    }

    /// Takes a record with its frame. An unknown type or version is an error.
    pub fn decode(d: &mut Decoder) -> Result<Self, DecodeError> {
        let frame = d.varint()?;
        if frame != METADATA_FRAME_VERSION {
            return Err(d.error(DecodeErrorKind::UnknownFrameVersion(frame)));
        }
        let record_type = i16::try_from(d.varint()?).unwrap_or(i16::MAX);
        let version = i16::try_from(d.varint()?).unwrap_or(i16::MAX);
        match Self::decode_body(d, record_type, version)? {
            Some(record) => Ok(record),
            None => Err(d.error(DecodeErrorKind::UnknownRecordType(record_type))),
        }
    }
}
