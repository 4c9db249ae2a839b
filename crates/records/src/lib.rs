//! Record batch v2: views over bytes, a builder, compression, CRC, and what a broker must refuse.
//!
//! Key types: [`BatchHeader`] (the 61 bytes decoded), [`BatchView`] and [`Batches`] (batches in a slice),
//! [`Records`] (the records of one), [`Validator`] (what a leader does with a produced batch), [`patch`] (a broker's
//! changes in place), [`BatchBuilder`], [`Codec`]. This crate holds no file, socket or clock; bytes
//! that it reads may be anything and never make it panic or allocate beyond the bound that the caller gives.

#![deny(clippy::indexing_slicing)]

mod attributes;
mod batch;
mod builder;
mod bytes_at;
mod codec;
mod control;
mod header;
pub mod patch;
mod record;
mod rejection;
mod rewrite;
mod validate;

pub use attributes::{Attributes, TimestampType};
pub use batch::{BatchError, BatchView, Batches};
pub use builder::{BatchBuilder, BatchOptions, BuildError};
pub use codec::{Codec, Compression, Compressor, DecompressError, Scratch, UnknownCompression};
pub use control::{ControlType, EndTxnMarker, control_batch};
pub use header::{BatchHeader, HEADER_LEN, LENGTH_OVERHEAD, MAGIC, MIN_BATCH_LENGTH};
pub use record::{
    DEFAULT_MAX_DECOMPRESSED_BYTES, Record, RecordError, RecordHeader, RecordHeaders, Records,
    RecordsError,
};
pub use rejection::{ProduceRejection, RecordRejection};
pub use rewrite::{RecompressError, recompress};
pub use validate::{
    Accepted, Origin, ProduceRules, TargetCompression, Validator, validate_produce,
};
