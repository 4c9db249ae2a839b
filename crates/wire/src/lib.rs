//! The Kafka protocol: every message in every version, generated from the table in `protocol/`, and
//! frames around them. No sockets.
//!
//! # Where things are
//! - [`messages`]: one module for each API, named after it: `messages::list_offsets::{ListOffsetsRequest,
//!   ListOffsetsResponse, ListOffsetsTopic, ...}`. Structs keep the table's names; a name that is in the request and in the
//!   response gets `Request` or `Response` before it. Fields are the table's in snake case (`type` is `r#type`).
//! - [`stored`]: records that lie in logs, and the consumer protocol's embedded messages.
//! - [`header`], [`frame`]: request and response headers and whole frames.
//! - [`ApiKey`]: the APIs, their versions and header versions.
//! - [`produce_view`]: a produce request read in place; [`frame::RequestHeaderView`] a header.
//!
//! The generated code is meant to be read: it lies in the build's `OUT_DIR`, for example
//! `target/debug/build/millstream-wire-*/out/messages/list_offsets.rs` (`stored.rs`, `api_key.rs` beside it). A struct looks so:
//!
//! ```ignore
//! pub struct ListOffsetsPartition {
//!     /// `PartitionIndex`: versions 1-11.
//!     pub partition_index: i32,
//!     /// `CurrentLeaderEpoch`: versions 4-11, default `-1`, ignorable.
//!     pub current_leader_epoch: i32,
//!     /// `Timestamp`: versions 1-11.
//!     pub timestamp: i64,
//! }
//! ```
//!
//! # Types
//! `string` is [`Str`], `bytes` is [`bytes::Bytes`], an array is a `Vec`, `uuid` is [`millstream_base::Uuid`], `records` is
//! [`Records`], what may be null in some version is an `Option`. `Default` gives the table's defaults; mind that a nullable
//! field whose default is not null defaults to `Some` of something empty, as in Kafka.
//!
//! # Example
//! ```
//! use millstream_wire::messages::list_offsets::*;
//! use millstream_wire::{Decoder, Encode, Encoder};
//!
//! let partition = ListOffsetsPartition { partition_index: 3, timestamp: -1, ..Default::default() };
//! let topic = ListOffsetsTopic { name: "orders".into(), partitions: vec![partition] };
//! let request = ListOffsetsRequest { topics: vec![topic], ..Default::default() };
//! let mut e = Encoder::new();
//! request.encode(&mut e, 7)?;
//! let mut d = Decoder::new(e.into_bytes());
//! assert_eq!(d.read::<ListOffsetsRequest>(7)?, request);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Always so
//! Decoding never panics and never allocates more than the frame justifies (see [`Decoder`]). Encoding a value that a version
//! cannot carry is an error unless the table calls the field ignorable.

#![deny(clippy::indexing_slicing)]

mod api_key;
mod codec;
mod cursor;
mod decoder;
mod encoder;
mod error;
pub mod frame;
pub mod produce_view;
mod records;
mod str;

pub use api_key::ApiKey;
pub use codec::{Decode, Element, Encode, Request};
pub use cursor::Span;
pub use decoder::{Decoder, memory_bound};
pub use encoder::{Cut, Encoder, FrameMark};
pub use error::{DecodeError, DecodeErrorKind, EncodeError};
pub use records::Records;
pub use str::{NotUtf8, Str};

/// What generated code names.
mod prelude {
    pub(crate) use bytes::Bytes;
    pub(crate) use millstream_base::Uuid;

    pub(crate) use crate::codec::{check_decode, check_encode, required};
    pub(crate) use crate::{
        Decode, DecodeError, Decoder, Encode, EncodeError, Encoder, Records, Str,
    };
}

/// Requests and responses, one module for each API. Generated.
#[allow(unused_imports, clippy::field_reassign_with_default)]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

/// Request and response headers. Generated.
#[allow(unused_imports, clippy::field_reassign_with_default)]
pub mod header {
    include!(concat!(env!("OUT_DIR"), "/header.rs"));
}

#[allow(clippy::field_reassign_with_default)]
pub mod stored;
#[cfg(feature = "testing")]
#[allow(clippy::field_reassign_with_default)]
pub mod testing;
