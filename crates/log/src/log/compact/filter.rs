//! What stays of one batch.
//!
//! Key type: [`Filter`]. A batch of which all stays is copied as it is. Otherwise it is made anew with the same base
//! and last offset, producer, sequence, epoch and codec. Tombstones, and markers of transactions without records,
//! first get a delete horizon (KIP-534) and go when that is over.

use millstream_base::{Offset, TimestampMs};
use millstream_records::{
    BatchBuilder, BatchHeader, BatchOptions, BatchView, EndTxnMarker, RecordHeader, Scratch,
    TimestampType,
};

use super::map::OffsetMap;
use super::txns::Transactions;
use super::{ActiveProducer, CompactionError, CompactionPlan};
use crate::txn_index::AbortedTxn;

/// Where the CRC and what it covers begin, and the last offset delta.
const CRC_AT: usize = 17;
const COVERED_FROM: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;

/// What becomes of a batch.
#[derive(Debug)]
pub(super) enum Fate {
    /// It stays as it is.
    Keep,
    /// These bytes take its place.
    Rewrite(Vec<u8>),
    /// Nothing of it stays.
    Drop,
}

/// Decides batch by batch, in offset order.
pub(super) struct Filter<'a> {
    plan: &'a CompactionPlan,
    map: &'a OffsetMap,
    /// Offsets from here on are not in the map.
    map_end: i64,
    transactions: Transactions,
    now: TimestampMs,
    max_batch_bytes: usize,
    scratch: Scratch,
    builder: BatchBuilder,
    /// Aborted transactions whose markers were kept since the last [`Filter::take_aborted`].
    aborted: Vec<AbortedTxn>,
    pub(super) records_read: u64,
    pub(super) records_kept: u64,
}

/// How a batch as a whole is looked at.
struct Judgement {
    /// None of its records stay, whatever their keys.
    discard: bool,
    /// It needs a delete horizon although it holds no tombstone.
    empty_marker: bool,
    /// Its header stays even when no record does.
    keep_empty: bool,
}

impl<'a> Filter<'a> {
    pub(super) fn new(
        plan: &'a CompactionPlan,
        map: &'a OffsetMap,
        map_end: i64,
        now: TimestampMs,
        max_batch_bytes: usize,
    ) -> Self {
        Self {
            plan,
            map,
            map_end,
            transactions: Transactions::new(&plan.aborted),
            now,
            max_batch_bytes,
            scratch: Scratch::default(),
            builder: BatchBuilder::default(),
            aborted: Vec::new(),
            records_read: 0,
            records_kept: 0,
        }
    }

    /// The aborted transactions whose markers went into the output.
    pub(super) fn take_aborted(&mut self) -> Vec<AbortedTxn> {
        std::mem::take(&mut self.aborted)
    }

    /// Decides about the next batch.
    pub(super) fn batch(&mut self, view: &BatchView<'_>) -> Result<Fate, CompactionError> {
        let header = *view.header();
        let mut scratch = std::mem::take(&mut self.scratch);
        let judgement = self.judge(view, &mut scratch);
        let fate = judgement.and_then(|judged| self.records(view, &header, &judged, &mut scratch));
        self.scratch = scratch;
        fate
    }

    fn judge(
        &mut self,
        view: &BatchView<'_>,
        scratch: &mut Scratch,
    ) -> Result<Judgement, CompactionError> {
        let header = view.header();
        let keep_empty =
            self.is_last_of_producer(header) || header.next_offset().get() == self.plan.end;
        if !header.attributes.is_control() {
            let discard = self.transactions.data(header);
            return Ok(Judgement { discard, empty_marker: false, keep_empty });
        }
        let marker = marker(view, scratch)?;
        let fate = self.transactions.marker(header, marker);
        self.aborted.extend(fate.aborts);
        let discard = fate.may_go && horizon(header).is_some_and(|at| at <= self.now);
        Ok(Judgement { discard, empty_marker: fate.may_go, keep_empty })
    }

    /// The last batch of a producer stays, so that its sequence is known after a restart without snapshot.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let known = self.plan.producers.get(&header.producer_id);
        header.has_producer_id()
            && known.is_some_and(|ActiveProducer { epoch, last_offset }| match last_offset {
                Some(offset) => *offset == header.last_offset(),
                None => header.attributes.is_control() && *epoch == header.producer_epoch,
            })
    }

    fn records(
        &mut self,
        view: &BatchView<'_>,
        header: &BatchHeader,
        judged: &Judgement,
        scratch: &mut Scratch,
    ) -> Result<Fate, CompactionError> {
        let problem = |e: &dyn std::fmt::Display| CompactionError::Batch {
            offset: header.base_offset,
            problem: e.to_string(),
        };
        let kept_before = self.records_kept;
        let (mut all, mut tombstones) = (true, false);
        let records =
            view.records_within(scratch, self.max_batch_bytes).map_err(|e| problem(&e))?;
        let mut kept = Vec::new();
        for record in records {
            let record = record.map_err(|e| problem(&e))?;
            self.records_read += 1;
            let stays = !judged.discard
                && (header.attributes.is_control()
                    || self.stays(header, record.offset, record.key, record.value.is_some()));
            if stays {
                self.records_kept += 1;
                tombstones |= record.value.is_none() && !header.attributes.is_control();
                kept.push(record);
            } else {
                all = false;
            }
        }
        let needs_horizon = horizon(header).is_none() && (tombstones || judged.empty_marker);
        if self.records_kept == kept_before {
            return Ok(match (judged.keep_empty, header.records_count) {
                (false, _) => Fate::Drop,
                (true, 0) => Fate::Keep,
                (true, _) => Fate::Rewrite(empty_batch(header)),
            });
        }
        if all && !needs_horizon {
            return Ok(Fate::Keep);
        }
        let new_horizon = self.now.get().saturating_add(self.plan.config.delete_retention_ms);
        let delete_horizon = match horizon(header) {
            None if needs_horizon => Some(TimestampMs(new_horizon)),
            known => known,
        };
        self.builder.reset(options(header, delete_horizon).map_err(|e| problem(&e))?);
        let mut headers: Vec<RecordHeader<'_>> = Vec::new();
        for record in &kept {
            headers.clear();
            headers.extend(record.headers());
            let delta = i32::try_from(record.offset.since(header.base_offset)).unwrap_or(i32::MAX);
            self.builder
                .append_at(delta, record.timestamp, record.key, record.value, &headers)
                .map_err(|e| problem(&e))?;
        }
        let mut bytes = self.builder.build().map_err(|e| problem(&e))?;
        set_last_offset_delta(&mut bytes, header.last_offset_delta);
        Ok(Fate::Rewrite(bytes))
    }

    /// Whether a data record stays.
    fn stays(&self, header: &BatchHeader, offset: Offset, key: Option<&[u8]>, value: bool) -> bool {
        if offset.get() >= self.map_end {
            return true;
        }
        let Some(key) = key else { return false };
        let latest = offset.get() >= self.map.get(key);
        let tombstone_over = !value && horizon(header).is_some_and(|at| at <= self.now);
        latest && !tombstone_over
    }
}

/// The marker in a control batch.
pub(super) fn marker(
    view: &BatchView<'_>,
    scratch: &mut Scratch,
) -> Result<Option<EndTxnMarker>, CompactionError> {
    let problem = |e: &dyn std::fmt::Display| CompactionError::Batch {
        offset: view.header().base_offset,
        problem: e.to_string(),
    };
    let mut records = view.records(scratch).map_err(|e| problem(&e))?;
    match records.next() {
        None => Ok(None),
        Some(Ok(record)) => Ok(EndTxnMarker::read(record.key, record.value)),
        Some(Err(e)) => Err(problem(&e)),
    }
}

/// From when on the tombstones of a batch may go.
fn horizon(header: &BatchHeader) -> Option<TimestampMs> {
    header.attributes.has_delete_horizon().then_some(header.base_timestamp)
}

/// The options of a batch that takes the place of `header`'s.
fn options(
    header: &BatchHeader,
    delete_horizon: Option<TimestampMs>,
) -> Result<BatchOptions, millstream_records::UnknownCompression> {
    let log_append_time = match header.attributes.timestamp_type() {
        TimestampType::LogAppendTime => Some(header.max_timestamp),
        TimestampType::CreateTime => None,
    };
    Ok(BatchOptions {
        base_offset: header.base_offset,
        leader_epoch: header.partition_leader_epoch,
        codec: header.attributes.compression()?.into(),
        log_append_time,
        delete_horizon,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        transactional: header.attributes.is_transactional(),
        control: header.attributes.is_control(),
    })
}

/// The header alone, without records.
fn empty_batch(header: &BatchHeader) -> Vec<u8> {
    let attributes = header
        .attributes
        .with_compression(millstream_records::Compression::None)
        .with_delete_horizon(false);
    let empty = BatchHeader {
        batch_length: millstream_records::MIN_BATCH_LENGTH,
        attributes,
        base_timestamp: TimestampMs::NONE,
        records_count: 0,
        ..*header
    };
    let mut bytes = empty.encode().to_vec();
    set_last_offset_delta(&mut bytes, header.last_offset_delta);
    bytes
}

/// Sets the last offset delta and computes the CRC anew.
fn set_last_offset_delta(batch: &mut [u8], delta: i32) {
    if let Some(place) = batch.get_mut(LAST_OFFSET_DELTA_AT..LAST_OFFSET_DELTA_AT + 4) {
        place.copy_from_slice(&delta.to_be_bytes());
    }
    let crc = crc32c::crc32c(batch.get(COVERED_FROM..).unwrap_or_default());
    if let Some(place) = batch.get_mut(CRC_AT..CRC_AT + 4) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
}
