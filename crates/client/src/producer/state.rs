//! What `send` and the sending task share, under one lock.
//!
//! Key type: [`State`]. Nothing here waits; building and compressing batches happens outside of the lock.

use std::collections::{BTreeMap, HashMap};

use millstream_base::{TimestampMs, TopicPartition};
use millstream_env::task::Instant;
use millstream_records::{BatchBuilder, BatchOptions, Codec};

use super::batch::Batch;
use super::delivery::{Delivery, Promise};
use super::queue::{Identity, PartitionQueue};
use super::record::ProducerRecord;
use super::{ProduceError, ProducerConfig};
use crate::partitioner::StickyPartitions;

/// How many used builders are kept for the next batches.
const SPARE_BUILDERS: usize = 32;

/// The batches of all partitions.
#[derive(Debug)]
pub(super) struct State {
    pub(super) queues: HashMap<TopicPartition, PartitionQueue<Batch>>,
    pub(super) sticky: StickyPartitions,
    /// How many callers wait in `flush`.
    pub(super) flushing: usize,
    /// How many callers wait for room.
    pub(super) starving: usize,
    pub(super) closed: bool,
    pub(super) identity: Option<Identity>,
    /// Batches whose fate is open, by serial, with how many parts each has.
    live: BTreeMap<u64, usize>,
    serial: u64,
    /// Boxed, as batches move through queues and the builders are large.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<BatchBuilder>>,
    batch_size: usize,
    pub(super) options: BatchOptions,
}

impl State {
    pub(super) fn new(config: &ProducerConfig, identity: Option<Identity>) -> Self {
        let codec = Codec { compression: config.compression, level: config.compression_level };
        Self {
            queues: HashMap::new(),
            sticky: StickyPartitions::new(config.batch_size),
            flushing: 0,
            starving: 0,
            closed: false,
            identity,
            live: BTreeMap::new(),
            serial: 0,
            spare: Vec::new(),
            batch_size: config.batch_size,
            options: BatchOptions { codec, ..BatchOptions::default() },
        }
    }

    /// Whether batches are sent without lingering.
    pub(super) const fn hurry(&self) -> bool {
        self.flushing > 0 || self.starving > 0 || self.closed
    }

    /// The serial that the next batch will have.
    pub(super) const fn next_serial(&self) -> u64 {
        self.serial
    }

    /// Whether every batch with a lower serial is done.
    pub(super) fn all_done_before(&self, serial: u64) -> bool {
        self.live.keys().next().is_none_or(|&oldest| oldest >= serial)
    }

    /// Puts `record` into a batch. Also tells whether the sending task has to look.
    pub(super) fn append(
        &mut self,
        record: &ProducerRecord,
        partition: i32,
        timestamp: TimestampMs,
        size: usize,
    ) -> Result<(Delivery, bool), ProduceError> {
        if self.closed {
            return Err(ProduceError::Closed);
        }
        let topic_partition = TopicPartition::new(record.topic.clone(), partition);
        let queue = self
            .queues
            .entry(topic_partition.clone())
            .or_insert_with(|| PartitionQueue::new(self.identity));
        if let Some(batch) = queue.filling()
            && let Some(delivery) = batch.append(record, timestamp, self.batch_size)?
        {
            batch.reserved += size;
            return Ok((delivery, super::queue::Queued::is_full(batch)));
        }
        let builder = match self.spare.pop() {
            Some(mut builder) => {
                builder.reset(self.options);
                builder
            }
            None => Box::new(BatchBuilder::new(self.options)),
        };
        let promise = Promise::new(topic_partition);
        let mut batch = Batch::new(builder, promise, self.serial, Instant::now());
        let appended = batch.append(record, timestamp, self.batch_size)?;
        // A batch always takes its first record.
        let delivery =
            appended.ok_or_else(|| ProduceError::Build("an empty batch is full".into()))?;
        batch.reserved = size;
        self.live.insert(self.serial, 1);
        self.serial += 1;
        queue.push(batch);
        Ok((delivery, true))
    }

    /// A batch became `parts` batches.
    pub(super) fn split(&mut self, serial: u64, parts: usize) {
        if let Some(count) = self.live.get_mut(&serial) {
            *count += parts.saturating_sub(1);
        }
    }

    /// A batch is done; its builder serves again.
    pub(super) fn done(&mut self, serial: u64, builder: Box<BatchBuilder>) {
        if let Some(count) = self.live.get_mut(&serial) {
            *count -= 1;
            if *count == 0 {
                self.live.remove(&serial);
            }
        }
        if self.spare.len() < SPARE_BUILDERS {
            self.spare.push(builder);
        }
    }
}
