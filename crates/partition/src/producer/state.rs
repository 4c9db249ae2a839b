//! One producer's memory: its epoch, its last five batches, its open transaction.

use millstream_base::{Offset, ProducerEpoch, TimestampMs};

use super::{DuplicateBatch, ProducerBatch};

/// Kafka remembers as many batches as a client may have in flight.
pub(super) const REMEMBERED: usize = 5;

/// A batch that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredBatch {
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// Last offset minus first offset.
    pub offset_delta: i32,
    /// When it was appended.
    pub timestamp: TimestampMs,
}

impl StoredBatch {
    const NONE: Self = Self {
        last_sequence: -1,
        last_offset: Offset::NONE,
        offset_delta: 0,
        timestamp: TimestampMs::NONE,
    };

    fn of(batch: &ProducerBatch) -> Self {
        let delta = batch.last_offset.since(batch.first_offset);
        Self {
            last_sequence: batch.last_sequence,
            last_offset: batch.last_offset,
            offset_delta: i32::try_from(delta).unwrap_or(i32::MAX),
            timestamp: batch.timestamp,
        }
    }

    /// The sequence of its first record.
    pub fn base_sequence(&self) -> i32 {
        let first = i64::from(self.last_sequence) - i64::from(self.offset_delta);
        let wrapped = if first < 0 { first + i64::from(i32::MAX) + 1 } else { first };
        i32::try_from(wrapped).unwrap_or(i32::MAX)
    }

    /// The offset of its first record.
    pub fn first_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

/// What is remembered of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    /// Its epoch; -1 when only a snapshot without batches told of it.
    pub epoch: ProducerEpoch,
    /// The coordinator epoch of its last marker; -1 for none.
    pub coordinator_epoch: i32,
    /// When it last wrote.
    pub timestamp: TimestampMs,
    /// Where its open transaction began here.
    pub txn_first_offset: Option<Offset>,
    /// The first `len` are set, oldest first.
    pub(super) batches: [StoredBatch; REMEMBERED],
    pub(super) len: u8,
}

impl Default for ProducerState {
    fn default() -> Self {
        Self {
            epoch: ProducerEpoch::NONE,
            coordinator_epoch: -1,
            timestamp: TimestampMs::NONE,
            txn_first_offset: None,
            batches: [StoredBatch::NONE; REMEMBERED],
            len: 0,
        }
    }
}

impl ProducerState {
    /// The remembered batches, oldest first.
    pub fn batches(&self) -> &[StoredBatch] {
        self.batches.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The newest batch.
    pub fn last(&self) -> Option<&StoredBatch> {
        self.batches().last()
    }

    /// The last sequence of this epoch; -1 for none.
    pub fn last_sequence(&self) -> i32 {
        self.last().map_or(-1, |b| b.last_sequence)
    }

    /// The offset of the last record; -1 for none.
    pub fn last_offset(&self) -> Offset {
        self.last().map_or(Offset::NONE, |b| b.last_offset)
    }

    /// A new epoch begins with no sequence.
    pub(super) fn set_epoch(&mut self, epoch: ProducerEpoch) {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.len = 0;
        }
    }

    pub(super) fn push(&mut self, batch: &ProducerBatch) {
        self.set_epoch(batch.epoch);
        self.push_stored(StoredBatch::of(batch));
        self.timestamp = self.timestamp.max(batch.timestamp);
    }

    /// The batch comes before the oldest that is remembered, if there is room and it does.
    pub(super) fn push_earlier(&mut self, batch: &ProducerBatch) {
        let len = usize::from(self.len);
        let Some(oldest) = self.batches().first() else { return };
        let is_earlier = batch.last_offset < oldest.first_offset();
        if batch.epoch == self.epoch && is_earlier && len < REMEMBERED {
            self.batches.rotate_right(1);
            self.batches[0] = StoredBatch::of(batch);
            self.len += 1;
        }
    }

    pub(super) fn push_stored(&mut self, batch: StoredBatch) {
        let len = usize::from(self.len);
        if len == REMEMBERED {
            self.batches.rotate_left(1);
            self.batches[REMEMBERED - 1] = batch;
        } else {
            self.batches[len] = batch;
            self.len += 1;
        }
    }

    /// The stored batch with exactly these sequences, if `batch` is of this epoch.
    pub(super) fn duplicate_of(&self, batch: &ProducerBatch) -> Option<DuplicateBatch> {
        if batch.epoch != self.epoch {
            return None;
        }
        let same = |stored: &&StoredBatch| {
            stored.last_sequence == batch.last_sequence
                && stored.base_sequence() == batch.base_sequence
        };
        self.batches().iter().rev().find(same).map(|stored| DuplicateBatch {
            first_offset: stored.first_offset(),
            last_offset: stored.last_offset,
            timestamp: stored.timestamp,
        })
    }
}
