//! What each producer wrote last, and what it may write next.
//!
//! Key type: [`ProducerTable`]. Checking changes nothing; [`ProducerTable::apply`] follows once the bytes are
//! written, so a failed write leaves the table as it was. A producer's last five batches are remembered, so a
//! retry is answered with the offsets of the first try.

mod rules;
mod snapshot;
mod state;

use std::collections::BTreeMap;

use millstream_base::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs};

pub use rules::increment_sequence;
pub use snapshot::SnapshotError;
pub use state::{ProducerState, StoredBatch};

/// Who appends; decides how strictly sequences are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A client's produce request: everything is checked.
    Client,
    /// A coordinator of this broker (offsets, transaction markers): epochs are checked, sequences are not.
    Coordinator,
    /// A copy of what the leader accepted, or a replay of this log: nothing is refused.
    Replication,
}

/// What the table needs of one data batch of an idempotent producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerBatch {
    /// The producer; >= 0.
    pub producer_id: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub base_sequence: i32,
    /// The sequence of the last record, see [`increment_sequence`].
    pub last_sequence: i32,
    /// The offset of the first record; not looked at by [`ProducerTable::check`].
    pub first_offset: Offset,
    /// The offset of the last record; not looked at by [`ProducerTable::check`].
    pub last_offset: Offset,
    /// When it was appended (or, on replay, its largest timestamp): starts the expiry.
    pub timestamp: TimestampMs,
    /// Whether it belongs to a transaction.
    pub transactional: bool,
}

/// A transaction marker (control batch).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The producer whose transaction ends.
    pub producer_id: ProducerId,
    /// Its epoch (with KIP-890 part 2 one more than that of the data).
    pub epoch: ProducerEpoch,
    /// The epoch of the coordinator that wrote the marker.
    pub coordinator_epoch: i32,
    /// The marker's offset; not looked at by [`ProducerTable::check_marker`].
    pub offset: Offset,
    /// When it was appended.
    pub timestamp: TimestampMs,
    /// Commit or abort.
    pub commit: bool,
}

/// A transaction that a marker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedTxn {
    /// Whose.
    pub producer_id: ProducerId,
    /// Its first record here.
    pub first_offset: Offset,
    /// The marker's offset.
    pub last_offset: Offset,
    /// Whether it was aborted.
    pub aborted: bool,
    /// The last stable offset once this one is over: what an entry of the transaction index holds.
    pub last_stable_offset: Offset,
}

/// Where the first try of a repeated batch was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DuplicateBatch {
    /// The offset of its first record.
    pub first_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// When it was appended.
    pub timestamp: TimestampMs,
}

/// What to do with a batch that may be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    New,
    /// It is stored already: answer with these offsets and append nothing.
    Duplicate(DuplicateBatch),
}

/// Why a batch may not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// A gap or a step back.
    #[error(
        "producer {producer_id} epoch {epoch}: sequence {found} does not follow {last} (-1: none yet)"
    )]
    OutOfOrder {
        /// The producer.
        producer_id: ProducerId,
        /// The batch's epoch.
        epoch: ProducerEpoch,
        /// The last sequence that was accepted.
        last: i32,
        /// The batch's first sequence.
        found: i32,
    },
    /// A newer instance of this producer has written already.
    #[error("producer {producer_id}: epoch {found} is fenced by epoch {current}")]
    InvalidEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// The largest epoch seen.
        current: ProducerEpoch,
        /// The batch's epoch.
        found: ProducerEpoch,
    },
    /// A batch outside any transaction while one of this producer is open here.
    #[error("producer {producer_id} wrote outside its open transaction")]
    InvalidTxnState {
        /// The producer.
        producer_id: ProducerId,
    },
    /// A marker from a coordinator that has been replaced.
    #[error(
        "marker for producer {producer_id} from coordinator epoch {found}, fenced by {current}"
    )]
    CoordinatorFenced {
        /// The producer.
        producer_id: ProducerId,
        /// The largest coordinator epoch seen.
        current: i32,
        /// The marker's.
        found: i32,
    },
}

impl SequenceError {
    /// The code that the client gets.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
            Self::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        }
    }
}

/// A transaction that ended but whose marker a high watermark has not passed yet.
#[derive(Clone, Copy, Debug)]
struct Unreplicated {
    last_offset: Offset,
}

/// The producers of one partition.
#[derive(Clone, Debug, Default)]
pub struct ProducerTable {
    producers: BTreeMap<ProducerId, ProducerState>,
    /// First offset of each open transaction.
    open: BTreeMap<Offset, ProducerId>,
    /// First offset of each ended transaction whose marker may not be replicated yet.
    unreplicated: BTreeMap<Offset, Unreplicated>,
}

impl ProducerTable {
    /// No producer.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many producers are remembered.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// What is remembered of one producer.
    pub fn get(&self, id: ProducerId) -> Option<&ProducerState> {
        self.producers.get(&id)
    }

    /// All producers, in the order of their ids (DescribeProducers).
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &ProducerState)> {
        self.producers.iter().map(|(&id, state)| (id, state))
    }

    /// Whether `batch` may be appended. `staged` holds the batches of the same append that were checked
    /// before it and are not applied yet, oldest first.
    pub fn check(
        &self,
        staged: &[ProducerBatch],
        batch: &ProducerBatch,
        origin: AppendOrigin,
    ) -> Result<Verdict, SequenceError> {
        let state = self.producers.get(&batch.producer_id);
        rules::check(state, staged, batch, origin)
    }

    /// Takes a batch into the table, after its bytes were written.
    pub fn apply(&mut self, batch: &ProducerBatch) {
        let state = self.producers.entry(batch.producer_id).or_default();
        state.push(batch);
        if batch.transactional && state.txn_first_offset.is_none() {
            state.txn_first_offset = Some(batch.first_offset);
            self.open.insert(batch.first_offset, batch.producer_id);
        }
    }

    /// Takes a batch that was stored before all that are remembered of its producer: a snapshot holds the last one
    /// alone. To be called from the newest batch to the oldest; what is known already, or of another epoch, is left out.
    pub fn remember_earlier(&mut self, batch: &ProducerBatch) {
        if let Some(state) = self.producers.get_mut(&batch.producer_id) {
            state.push_earlier(batch);
        }
    }

    /// Whether a marker may be appended.
    pub fn check_marker(&self, marker: &Marker, origin: AppendOrigin) -> Result<(), SequenceError> {
        if origin == AppendOrigin::Replication {
            return Ok(());
        }
        let Some(state) = self.producers.get(&marker.producer_id) else { return Ok(()) };
        if marker.epoch < state.epoch {
            return Err(SequenceError::InvalidEpoch {
                producer_id: marker.producer_id,
                current: state.epoch,
                found: marker.epoch,
            });
        }
        if marker.coordinator_epoch < state.coordinator_epoch {
            return Err(SequenceError::CoordinatorFenced {
                producer_id: marker.producer_id,
                current: state.coordinator_epoch,
                found: marker.coordinator_epoch,
            });
        }
        Ok(())
    }

    /// Takes a marker into the table; the transaction that it ended, if one was open here.
    pub fn apply_marker(&mut self, marker: &Marker) -> Option<CompletedTxn> {
        let state = self.producers.entry(marker.producer_id).or_default();
        state.set_epoch(marker.epoch);
        state.coordinator_epoch = state.coordinator_epoch.max(marker.coordinator_epoch);
        state.timestamp = state.timestamp.max(marker.timestamp);
        let first_offset = state.txn_first_offset.take()?;
        self.open.remove(&first_offset);
        self.unreplicated.insert(first_offset, Unreplicated { last_offset: marker.offset });
        let oldest_open = self.open.keys().next().copied();
        Some(CompletedTxn {
            producer_id: marker.producer_id,
            first_offset,
            last_offset: marker.offset,
            aborted: !marker.commit,
            last_stable_offset: oldest_open.unwrap_or(marker.offset.plus(1)),
        })
    }

    /// The first offset of the oldest transaction that is open, or ended by a marker at or above the high
    /// watermark that [`Self::on_high_watermark`] was last told. The last stable offset is the smaller of
    /// this and the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let open = self.open.keys().next().copied();
        let ended = self.unreplicated.keys().next().copied();
        match (open, ended) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Forgets ended transactions whose marker lies below the high watermark.
    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, txn| txn.last_offset >= high_watermark);
        }
    }

    /// Whether a transaction of `id` is open here.
    pub fn has_open_txn(&self, id: ProducerId) -> bool {
        self.producers.get(&id).is_some_and(|state| state.txn_first_offset.is_some())
    }

    /// Forgets producers that wrote nothing for `expiration_ms`, unless their transaction is open; tells how
    /// many.
    pub fn expire(&mut self, now: TimestampMs, expiration_ms: i64) -> usize {
        let before = self.producers.len();
        self.producers.retain(|_, state| {
            state.txn_first_offset.is_some()
                || now.get().saturating_sub(state.timestamp.get()) < expiration_ms
        });
        before - self.producers.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.producers.clear();
        self.open.clear();
        self.unreplicated.clear();
    }

    /// Kafka's producer snapshot (version 1). Order: by producer id, so that equal tables give equal bytes.
    pub fn to_snapshot(&self) -> Vec<u8> {
        snapshot::encode(&self.producers)
    }

    /// Reads a snapshot. Of each producer its last batch comes back.
    pub fn from_snapshot(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let producers = snapshot::decode(bytes)?;
        let open = producers
            .iter()
            .filter_map(|(&id, state)| Some((state.txn_first_offset?, id)))
            .collect();
        Ok(Self { producers, open, unreplicated: BTreeMap::new() })
    }
}

#[cfg(test)]
mod tests;
