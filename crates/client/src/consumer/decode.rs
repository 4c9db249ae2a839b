//! From a fetch answer's bytes to records.
//!
//! Key type: [`Chunk`], what one fetch brought for one partition, decoded a batch at a time. Keys and values are
//! slices of the answer (or of the decompressed batch). Records before the wanted offset, control records and
//! records of aborted transactions are left out, but the position moves past them.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use millstream_base::{LeaderEpoch, Offset, TimestampMs, TopicPartition};
use millstream_records::{
    BatchError, BatchView, ControlType, DEFAULT_MAX_DECOMPRESSED_BYTES, HEADER_LEN, Records,
    Scratch, TimestampType,
};

use super::ConsumeError;
use crate::Header;

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time; see `timestamp_type`.
    pub timestamp: TimestampMs,
    /// Whether the producer or the broker set the time.
    pub timestamp_type: TimestampType,
    /// The epoch of the leader that appended it.
    pub leader_epoch: LeaderEpoch,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` means deleted.
    pub value: Option<Bytes>,
    /// The headers. A name that is not UTF-8 is shown with replacement characters.
    pub headers: Vec<Header>,
}

/// An aborted transaction within a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Aborted {
    pub(super) producer_id: i64,
    pub(super) first_offset: i64,
}

/// What one fetch brought for one partition and was not decoded yet.
#[derive(Debug)]
pub(super) struct Chunk {
    bytes: Bytes,
    /// Records below this offset are left out.
    from: Offset,
    /// Aborted transactions, the first to begin first; `None` when reading uncommitted.
    aborted: Option<Vec<Aborted>>,
    /// Producers within an aborted transaction at this point.
    aborting: BTreeSet<i64>,
    check_crcs: bool,
    total: usize,
}

/// A batch's records and the offset after the batch.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) records: Vec<ConsumerRecord>,
    pub(super) next: Offset,
}

impl Chunk {
    pub(super) fn new(
        bytes: Bytes,
        from: Offset,
        aborted: Option<Vec<Aborted>>,
        check_crcs: bool,
    ) -> Self {
        let aborted = aborted.map(|mut aborted| {
            aborted.sort_by_key(|txn| std::cmp::Reverse(txn.first_offset));
            aborted
        });
        let total = bytes.len();
        Self { bytes, from, aborted, aborting: BTreeSet::new(), check_crcs, total }
    }

    /// How many bytes the fetch brought: what the chunk counts for until it is done.
    pub(super) const fn total(&self) -> usize {
        self.total
    }

    /// The offset after the last whole batch, from the headers alone. A fetch goes on from there.
    pub(super) fn end(&self) -> Option<Offset> {
        let batches = millstream_records::Batches::new(&self.bytes);
        batches.map_while(Result::ok).last().map(|batch| batch.header().next_offset())
    }

    /// Decodes the next batch; `None` at the end. A batch that the answer cut short ends the chunk.
    pub(super) fn next(
        &mut self,
        partition: &TopicPartition,
        scratch: &mut Scratch,
    ) -> Result<Option<Decoded>, ConsumeError> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let bytes = self.bytes.clone();
        let batch = match BatchView::parse(&bytes) {
            Ok(batch) => batch,
            Err(BatchError::Torn { .. }) if bytes.len() < self.total => {
                self.bytes.clear();
                return Ok(None);
            }
            Err(error) => return Err(self.corrupt(partition, &error)),
        };
        if self.check_crcs {
            batch.check_crc().map_err(|error| self.corrupt(partition, &error))?;
        }
        let next = batch.header().next_offset();
        let records = if self.is_hidden(&batch, scratch) {
            Vec::new()
        } else {
            self.records(&bytes, &batch, partition, scratch)?
        };
        self.bytes = bytes.slice(batch.bytes().len()..);
        self.from = self.from.max(next);
        Ok(Some(Decoded { records, next }))
    }

    /// Whether the batch's records are not for applications: control records, aborted transactions.
    fn is_hidden(&mut self, batch: &BatchView<'_>, scratch: &mut Scratch) -> bool {
        let header = batch.header();
        let (producer, last) = (header.producer_id.0, header.last_offset().0);
        if let Some(aborted) = &mut self.aborted {
            while let Some(txn) = aborted.pop_if(|txn| txn.first_offset <= last) {
                self.aborting.insert(txn.producer_id);
            }
        }
        if header.attributes.is_control() {
            if is_abort_marker(batch, scratch) {
                self.aborting.remove(&producer);
            }
            return true;
        }
        header.attributes.is_transactional() && self.aborting.contains(&producer)
    }

    fn records(
        &self,
        bytes: &Bytes,
        batch: &BatchView<'_>,
        partition: &TopicPartition,
        scratch: &mut Scratch,
    ) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        let header = batch.header();
        let payload: Bytes = if header.attributes.is_uncompressed() {
            bytes.slice(HEADER_LEN..batch.bytes().len())
        } else {
            let plain = batch
                .decompressed(scratch, DEFAULT_MAX_DECOMPRESSED_BYTES)
                .map_err(|error| self.corrupt(partition, &error))?;
            Bytes::copy_from_slice(plain)
        };
        let share = |slice: &[u8]| payload.slice_ref(slice);
        let mut records =
            Vec::with_capacity(header.records_count.unsigned_abs().min(10_000) as usize);
        for record in Records::new(header, &payload) {
            let record = record.map_err(|error| self.corrupt(partition, &error))?;
            if record.offset < self.from {
                continue;
            }
            let headers = record.headers().map(|header| Header {
                key: String::from_utf8_lossy(header.key).into_owned(),
                value: header.value.map(share),
            });
            records.push(ConsumerRecord {
                topic: partition.topic.clone(),
                partition: partition.partition.0,
                offset: record.offset,
                timestamp: record.timestamp,
                timestamp_type: header.attributes.timestamp_type(),
                leader_epoch: header.partition_leader_epoch,
                headers: headers.collect(),
                key: record.key.map(share),
                value: record.value.map(share),
            });
        }
        Ok(records)
    }

    fn corrupt(&self, partition: &TopicPartition, error: &dyn std::fmt::Display) -> ConsumeError {
        ConsumeError::Corrupt {
            partition: partition.clone(),
            offset: self.from,
            message: error.to_string(),
        }
    }
}

fn is_abort_marker(batch: &BatchView<'_>, scratch: &mut Scratch) -> bool {
    let Ok(mut records) = batch.records(scratch) else { return false };
    let first = records.next().and_then(Result::ok);
    first.and_then(|record| ControlType::from_key(record.key?)) == Some(ControlType::Abort)
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
