//! A batch on its way: the records, who waits for them, and the bytes once built.

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::{ProducerEpoch, ProducerId, TimestampMs};
use millstream_env::task::Instant;
use millstream_records::{BatchBuilder, BatchOptions, BatchView, RecordHeader, Scratch};

use super::ProduceError;
use super::delivery::{Delivery, Outcome, Promise};
use super::queue::{Numbered, Queued};
use super::record::ProducerRecord;
use crate::ClientError;

/// Records of one partition that travel together.
#[derive(Debug)]
pub(super) struct Batch {
    builder: Box<BatchBuilder>,
    promise: Arc<Promise>,
    /// Place of the first record in the promise: not 0 for the later parts of a split batch.
    first_place: u32,
    created: Instant,
    full: bool,
    /// Which of the producer's batches this is: parts of a split batch share the number.
    pub(super) serial: u64,
    /// Bytes of `buffer.memory` that it holds.
    pub(super) reserved: usize,
    /// How often it was sent.
    pub(super) attempts: u32,
    /// What failed last.
    pub(super) last_error: Option<ClientError>,
    built: Option<(Numbered, Bytes)>,
}

impl Queued for Batch {
    fn record_count(&self) -> i32 {
        self.builder.count()
    }

    fn is_full(&self) -> bool {
        self.full
    }

    fn created(&self) -> Instant {
        self.created
    }
}

impl Batch {
    pub(super) const fn new(
        builder: Box<BatchBuilder>,
        promise: Arc<Promise>,
        serial: u64,
        created: Instant,
    ) -> Self {
        Self {
            builder,
            promise,
            first_place: 0,
            created,
            full: false,
            serial,
            reserved: 0,
            attempts: 0,
            last_error: None,
            built: None,
        }
    }

    /// Adds a record if the batch stays within `limit`; a batch takes its first record whatever its size.
    pub(super) fn append(
        &mut self,
        record: &ProducerRecord,
        timestamp: TimestampMs,
        limit: usize,
    ) -> Result<Option<Delivery>, ProduceError> {
        let headers: Vec<RecordHeader<'_>> = record
            .headers
            .iter()
            .map(|h| RecordHeader { key: h.key.as_bytes(), value: h.value.as_deref() })
            .collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let size = self.builder.size_with(timestamp, key, value, &headers);
        if size > limit && !self.builder.is_empty() {
            self.full = true;
            return Ok(None);
        }
        self.builder
            .append(timestamp, key, value, &headers)
            .map_err(|error| ProduceError::Build(error.to_string().into()))?;
        self.full = size >= limit;
        Ok(Some(self.promise.add(timestamp)))
    }

    /// The bytes to send under `numbered`; built once unless the number changed.
    pub(super) fn bytes(&mut self, numbered: Numbered) -> Result<Bytes, ProduceError> {
        if let Some((_, bytes)) = self.built.as_ref().filter(|(built, _)| *built == numbered) {
            return Ok(bytes.clone());
        }
        let options = self.builder.options_mut();
        match numbered.identity {
            Some(identity) => {
                options.producer_id = identity.producer_id;
                options.producer_epoch = identity.epoch;
                options.base_sequence = numbered.sequence;
            }
            None => {
                options.producer_id = ProducerId::NONE;
                options.producer_epoch = ProducerEpoch::NONE;
                options.base_sequence = -1;
            }
        }
        let bytes: Bytes = self
            .builder
            .build()
            .map_err(|error| ProduceError::Build(error.to_string().into()))?
            .into();
        self.built = Some((numbered, bytes.clone()));
        Ok(bytes)
    }

    /// The size before compression.
    pub(super) const fn size_bytes(&self) -> usize {
        self.builder.size_bytes()
    }

    /// Tells everyone who waits, and gives the builder back for the next batch.
    pub(super) fn complete(self, outcome: Outcome) -> Box<BatchBuilder> {
        let count = self.builder.count().unsigned_abs();
        self.promise.complete(self.first_place..self.first_place + count, outcome);
        self.builder
    }

    /// Two batches with half of the records each, for a broker that finds the whole too large. `None` when there
    /// is only one record.
    pub(super) fn split(mut self, options: BatchOptions) -> Result<Vec<Self>, Box<Self>> {
        if self.builder.count() < 2 {
            return Err(Box::new(self));
        }
        let plain = BatchOptions { codec: millstream_records::Codec::default(), ..options };
        *self.builder.options_mut() = plain;
        let Ok(bytes) = self.builder.build() else { return Err(Box::new(self)) };
        let half = self.builder.count() / 2;
        match self.halves(&bytes, half, options) {
            Some(parts) => Ok(parts),
            None => Err(Box::new(self)),
        }
    }

    /// Reads the records back out of `bytes` into two builders.
    fn halves(&self, bytes: &[u8], half: i32, options: BatchOptions) -> Option<Vec<Self>> {
        let mut builders = [(); 2].map(|()| Box::new(BatchBuilder::new(options)));
        let view = BatchView::parse(bytes).ok()?;
        let mut scratch = Scratch::new();
        for (place, record) in (0..).zip(view.records(&mut scratch).ok()?) {
            let record = record.ok()?;
            let headers: Vec<RecordHeader<'_>> = record.headers().collect();
            let builder = builders.get_mut(usize::from(place >= half))?;
            builder.append(record.timestamp, record.key, record.value, &headers).ok()?;
        }
        let [first, second] = builders;
        let second_place = self.first_place + half.unsigned_abs();
        let part = |builder, first_place, reserved| Self {
            builder,
            promise: self.promise.clone(),
            first_place,
            created: self.created,
            full: true,
            serial: self.serial,
            reserved,
            attempts: self.attempts,
            last_error: self.last_error.clone(),
            built: None,
        };
        // The memory is given back with the second half.
        Some(vec![part(first, self.first_place, 0), part(second, second_place, self.reserved)])
    }
}

#[cfg(test)]
mod tests {
    use millstream_base::TopicPartition;

    use super::*;
    use crate::producer::queue::Identity;

    fn batch_of(records: u8) -> (Batch, Vec<Delivery>) {
        let promise = Promise::new(TopicPartition::new("t", 0));
        let builder = Box::new(BatchBuilder::new(BatchOptions::default()));
        let mut batch = Batch::new(builder, promise, 0, Instant::now());
        let add = |n: u8| {
            let record =
                ProducerRecord::to("t").key(vec![n]).value(vec![n; 10]).header("h", vec![n]);
            batch.append(&record, TimestampMs(i64::from(n)), 10_000).unwrap().unwrap()
        };
        let deliveries = (0..records).map(add).collect();
        (batch, deliveries)
    }

    #[test]
    fn a_batch_is_built_anew_only_under_another_number() {
        let (mut batch, _deliveries) = batch_of(2);
        let identity = Identity { producer_id: ProducerId(9), epoch: ProducerEpoch(1) };
        let first = Numbered { order: 0, identity: Some(identity), sequence: 5 };
        let bytes = batch.bytes(first).unwrap();
        assert_eq!(batch.bytes(first).unwrap().as_ptr(), bytes.as_ptr());
        let header = *BatchView::parse(&bytes).unwrap().header();
        assert_eq!((header.producer_id, header.base_sequence), (ProducerId(9), 5));
        let again = batch.bytes(Numbered { sequence: 0, ..first }).unwrap();
        assert_eq!(BatchView::parse(&again).unwrap().header().base_sequence, 0);
    }

    #[test]
    fn halves_keep_order_records_and_who_waits() {
        let (batch, deliveries) = batch_of(5);
        let parts = batch.split(BatchOptions::default()).unwrap();
        let counts: Vec<i32> = parts.iter().map(Queued::record_count).collect();
        assert_eq!(counts, [2, 3]);
        for (base, part) in [(100, 0), (200, 1)].into_iter().zip(parts).map(|((b, _), p)| (b, p)) {
            let landed = Outcome::Landed {
                base_offset: Some(millstream_base::Offset(base)),
                append_time: None,
            };
            part.complete(landed);
        }
        let offsets: Vec<i64> =
            deliveries.iter().map(|d| d.peek().unwrap().unwrap().offset.unwrap().0).collect();
        assert_eq!(offsets, [100, 101, 200, 201, 202]);
    }

    #[test]
    fn one_record_cannot_be_split() {
        let (batch, _deliveries) = batch_of(1);
        assert!(batch.split(BatchOptions::default()).is_err());
    }
}
