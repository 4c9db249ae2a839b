//! Metadata records in and out of record batches.
//!
//! Key function pair: [`Encoder::append`] and [`records_of`]. One command's records are one uncompressed batch without
//! keys, as Kafka writes them; control batches (the quorum's own) are passed over when reading.

use bytes::Bytes;
use millstream_base::{LeaderEpoch, Offset, TimestampMs};
use millstream_metadata::{MetadataRecord, decode_record, encode_record};
use millstream_records::{BatchBuilder, BatchOptions, BatchView, Scratch};
use millstream_wire::DecodeError;

use std::sync::Arc;

use crate::error::CommitError;

/// Makes batches; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    builder: BatchBuilder,
}

impl Encoder {
    /// Appends one batch with `records` to `out`.
    pub(crate) fn append(
        &mut self,
        records: &[MetadataRecord],
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        out: &mut Vec<u8>,
    ) -> Result<(), CommitError> {
        self.append_values(&encode_values(records)?, base_offset, leader_epoch, now, out)
    }

    /// As [`Encoder::append`], with records that are encoded already.
    pub(crate) fn append_values(
        &mut self,
        values: &[Bytes],
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
        out: &mut Vec<u8>,
    ) -> Result<(), CommitError> {
        let options = BatchOptions { base_offset, leader_epoch, ..BatchOptions::default() };
        self.builder.reset(options);
        for value in values {
            let added = self.builder.append(now, None, Some(value), &[]);
            added.map_err(|_| CommitError::TooLarge)?;
        }
        self.builder.build_into(out).map(|_| ()).map_err(|_| CommitError::TooLarge)
    }
}

/// Records as they stand in a batch.
pub(crate) fn encode_values(records: &[MetadataRecord]) -> Result<Vec<Bytes>, CommitError> {
    let encode = |record| encode_record(record).map_err(|e| CommitError::Encode(Arc::new(e)));
    records.iter().map(encode).collect()
}

/// Why a batch's records cannot be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The batch itself is damaged.
    Batch(String),
    /// One record's value is.
    Record(Offset, DecodeError),
}

/// The metadata records of a batch whose CRC was checked, with their offsets.
pub(crate) fn records_of(
    batch: &BatchView<'_>,
    scratch: &mut Scratch,
) -> Result<Vec<(Offset, MetadataRecord)>, ReadError> {
    if batch.header().attributes.is_control() {
        return Ok(Vec::new());
    }
    let damaged = |e: &dyn std::fmt::Display| ReadError::Batch(e.to_string());
    let records = batch.records(scratch).map_err(|e| damaged(&e))?;
    let mut read = Vec::new();
    for record in records {
        let record = record.map_err(|e| damaged(&e))?;
        let Some(value) = record.value else {
            return Err(ReadError::Batch(format!("the record at {} has no value", record.offset)));
        };
        let decoded = decode_record(Bytes::copy_from_slice(value));
        read.push((record.offset, decoded.map_err(|e| ReadError::Record(record.offset, e))?));
    }
    Ok(read)
}
