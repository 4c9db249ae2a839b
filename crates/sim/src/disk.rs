//! One replica's log on a disk that a crash can tear.
//!
//! Key type: [`SimLog`]. The leader epochs and the producers are those of the product (`EpochCache`,
//! `ProducerTable`); batches are their headers and the number of the write that they hold. What is not synced may be
//! gone after a power loss, from any batch on; what was known only in memory is gone after any crash, and comes back by
//! reading the log, as in the product.

use millstream_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use millstream_partition::{
    AppendOrigin, EpochCache, ProducerBatch, ProducerTable, SequenceError, Verdict,
};

use crate::rng::Rng;

/// A batch as it stands in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The offset of its first record.
    pub base: i64,
    /// How many records it has.
    pub count: i64,
    /// The leader epoch in which it was appended.
    pub epoch: i32,
    /// Which write it is; stands for its bytes.
    pub write: u64,
    /// The idempotent producer, -1 for none.
    pub producer: i64,
    /// The sequence number of its first record.
    pub sequence: i32,
}

impl Batch {
    /// The offset behind its last record.
    pub const fn end(&self) -> i64 {
        self.base + self.count
    }
}

/// What became of a leader's append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It stands there now.
    New(Batch),
    /// It was there already: from the first offset to behind the last.
    Duplicate(i64, i64),
}

/// A log and what of it is on the disk for good.
#[derive(Clone, Debug, Default)]
pub struct SimLog {
    start: i64,
    batches: Vec<Batch>,
    end: i64,
    epochs: EpochCache,
    producers: ProducerTable,
    /// What the producers had written below the first batch.
    snapshot: ProducerTable,
    /// Everything below survives a power loss.
    synced: i64,
    /// The epochs as the checkpoint file has them.
    epochs_on_disk: EpochCache,
}

impl SimLog {
    /// The first offset.
    pub const fn start(&self) -> i64 {
        self.start
    }

    /// The next offset.
    pub const fn end(&self) -> i64 {
        self.end
    }

    /// The leader epochs.
    pub const fn epochs(&self) -> &EpochCache {
        &self.epochs
    }

    /// All batches, the first may begin below the start.
    pub fn batches(&self) -> &[Batch] {
        &self.batches
    }

    /// The batches from the one that holds `offset` on.
    pub fn from(&self, offset: i64) -> &[Batch] {
        let at = self.batches.partition_point(|batch| batch.end() <= offset);
        self.batches.get(at..).unwrap_or_default()
    }

    /// Notes that this replica leads in `epoch` from here on.
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        self.epochs.assign(epoch, Offset(self.end));
    }

    /// Appends as the leader of `epoch`.
    pub fn append(&mut self, wanted: Batch, epoch: i32) -> Result<Appended, SequenceError> {
        let batch = Batch { base: self.end, epoch, ..wanted };
        if batch.producer >= 0 {
            let entry = entry(&batch);
            let verdict = self.producers.check(&[], &entry, AppendOrigin::Client)?;
            if let Verdict::Duplicate(first) = verdict {
                let end = first.last_offset.get() + 1;
                return Ok(Appended::Duplicate(first.first_offset.get(), end));
            }
        }
        self.push(batch);
        Ok(Appended::New(batch))
    }

    /// Appends a leader's batches; why not, if they do not fit.
    pub fn append_copies(&mut self, batches: &[Batch]) -> Result<(), String> {
        let first = batches.first();
        if let Some(first) = first.filter(|b| self.start == self.end && b.base < self.end) {
            let start = self.start;
            self.start_at(first.base);
            self.start = start;
        }
        for &batch in batches {
            if batch.base != self.end {
                return Err(format!("batch at {} does not follow {}", batch.base, self.end));
            }
            let last = self.batches.last().map_or(-1, |last| last.epoch);
            if batch.epoch < last {
                return Err(format!("epoch {} behind {last} at {}", batch.epoch, batch.base));
            }
            self.push(batch);
        }
        Ok(())
    }

    fn push(&mut self, batch: Batch) {
        let (epoch, base) = (LeaderEpoch(batch.epoch), Offset(batch.base));
        self.epochs.observe(epoch, base);
        if batch.producer >= 0 {
            self.producers.apply(&entry(&batch));
        }
        self.end = batch.end();
        self.batches.push(batch);
    }

    /// Cuts the log at `offset`; a batch that holds it goes as a whole.
    pub fn truncate_to(&mut self, offset: i64) {
        let kept = self.batches.partition_point(|batch| batch.end() <= offset);
        if kept == self.batches.len() {
            return;
        }
        self.batches.truncate(kept);
        self.end = self.batches.last().map_or(self.start.min(offset), Batch::end);
        self.start = self.start.min(self.end);
        self.synced = self.synced.min(self.end);
        self.epochs.truncate_from_end(Offset(self.end));
        self.rebuild_producers();
    }

    /// Throws everything away and begins at `offset`.
    pub fn start_at(&mut self, offset: i64) {
        *self = Self { start: offset, end: offset, synced: offset, ..Self::default() };
    }

    /// Deletes what lies below `start`.
    pub fn delete_before(&mut self, start: i64) {
        self.start = self.start.max(start);
        let gone = self.batches.partition_point(|batch| batch.end() <= start);
        for batch in self.batches.drain(..gone).filter(|batch| batch.producer >= 0) {
            self.snapshot.apply(&entry(&batch));
        }
        self.epochs.truncate_from_start(Offset(self.start));
    }

    /// Everything is on the disk for good.
    pub fn sync(&mut self) {
        self.synced = self.end;
        self.epochs_on_disk.clone_from(&self.epochs);
    }

    /// The process dies; with `power_loss` the machine does, and what was not synced is lost from any batch on.
    pub fn crash(&mut self, power_loss: bool, rng: &mut Rng) {
        if power_loss {
            let first = self.batches.partition_point(|batch| batch.end() <= self.synced);
            let keep = first as u64 + rng.below((self.batches.len() - first) as u64 + 1);
            self.batches.truncate(usize::try_from(keep).unwrap_or(0));
            self.end = self.batches.last().map_or(self.start, Batch::end).max(self.start);
        }
        // What a start does: epochs from the file, then what the log says.
        self.epochs = std::mem::take(&mut self.epochs_on_disk);
        for batch in &self.batches {
            self.epochs.observe(LeaderEpoch(batch.epoch), Offset(batch.base));
        }
        self.epochs.truncate_from_end(Offset(self.end));
        self.epochs.truncate_from_start(Offset(self.start));
        self.epochs_on_disk.clone_from(&self.epochs);
        self.rebuild_producers();
    }

    fn rebuild_producers(&mut self) {
        self.producers.clone_from(&self.snapshot);
        for batch in self.batches.iter().filter(|batch| batch.producer >= 0) {
            self.producers.apply(&entry(batch));
        }
    }

    /// What is wrong in itself, if anything: gaps, epochs that go back or are not what the cache says.
    pub fn problem(&self) -> Option<String> {
        let mut next = self.batches.first().map_or(self.end, |first| first.base);
        let mut epoch = -1;
        for batch in &self.batches {
            if batch.base != next || batch.epoch < epoch {
                return Some(format!("{batch:?} follows offset {next}, epoch {epoch}"));
            }
            (next, epoch) = (batch.end(), batch.epoch);
            let cached = self.epochs.epoch_of(Offset(batch.base.max(self.start)));
            if cached != Some(LeaderEpoch(epoch)) {
                return Some(format!("{batch:?} is of epoch {cached:?} in the cache"));
            }
        }
        (next != self.end).then(|| format!("the end is {} and not {next}", self.end))
    }
}

fn entry(batch: &Batch) -> ProducerBatch {
    let count = i32::try_from(batch.count).unwrap_or(i32::MAX);
    ProducerBatch {
        producer_id: ProducerId(batch.producer),
        epoch: ProducerEpoch(0),
        base_sequence: batch.sequence,
        last_sequence: millstream_partition::increment_sequence(batch.sequence, count - 1),
        first_offset: Offset(batch.base),
        last_offset: Offset(batch.end() - 1),
        timestamp: TimestampMs(0),
        transactional: false,
    }
}
