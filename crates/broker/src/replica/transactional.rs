//! What a partition does for transactions: the check before the first record of one, and the marker at its end.
//!
//! Key types: [`Verification`], [`TxnMarker`]. No record of a transaction is appended that the transaction coordinator does not
//! know to be open (KIP-890): a producer's first batch needs a [`Verification`], taken before the coordinator is asked. A marker that
//! comes between the question and the append makes the verification void, under the same lock, so a record can never
//! follow the marker that was to end its transaction.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use millstream_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use millstream_env::{fs, task};
use millstream_log::{AbortedTxn, AppendError, FileRange, ReadError, ReadPlan};
use millstream_partition::AppendOrigin;
use millstream_records::EndTxnMarker;

use super::append::{AppendFailure, Appended};
use super::partition::{Inner, Partition};

/// The end of a producer's transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TxnMarker {
    /// Whose.
    pub producer_id: ProducerId,
    /// The epoch that the marker carries: with version 2 one more than that of the records.
    pub epoch: ProducerEpoch,
    /// The epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
    /// Commit or abort.
    pub commit: bool,
    /// `transaction.version` under which the transaction ended.
    pub version: i16,
}

impl TxnMarker {
    /// From this version on the epoch grows with each end.
    const BUMPS_AT_END: i16 = 2;
}

/// Who appends to a transaction.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Writer {
    /// A client or a coordinator.
    pub origin: AppendOrigin,
    /// The leader epoch in which a coordinator decided: in another nothing is written.
    pub epoch: Option<LeaderEpoch>,
}

/// Producers whose transaction is being verified. Holds an entry for as long as a request is under way.
#[derive(Debug, Default)]
pub(super) struct Verifying {
    last_token: u64,
    by_producer: HashMap<ProducerId, Pending>,
}

#[derive(Debug)]
struct Pending {
    token: u64,
    /// How many requests hold it.
    holders: usize,
}

impl Verifying {
    fn begin(&mut self, producer: ProducerId) -> u64 {
        self.last_token += 1;
        let fresh = Pending { token: self.last_token, holders: 0 };
        let pending = self.by_producer.entry(producer).or_insert(fresh);
        pending.holders += 1;
        pending.token
    }

    fn is_valid(&self, producer: ProducerId, token: u64) -> bool {
        self.by_producer.get(&producer).is_some_and(|pending| pending.token == token)
    }

    fn end(&mut self, producer: ProducerId, token: u64) {
        let Some(pending) = self.by_producer.get_mut(&producer) else { return };
        if pending.token != token {
            return;
        }
        pending.holders -= 1;
        if pending.holders == 0 {
            self.by_producer.remove(&producer);
        }
    }

    /// Nothing that was asked about any producer counts any more.
    pub(super) fn void_all(&mut self) {
        self.by_producer.clear();
    }

    /// The producer's transaction ended: what was asked about it counts no more.
    fn void(&mut self, producer: ProducerId) {
        if !self.by_producer.is_empty() {
            self.by_producer.remove(&producer);
        }
    }
}

/// A question to the coordinator that is under way. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Verification {
    partition: Arc<Partition>,
    producer: ProducerId,
    token: u64,
}

impl Drop for Verification {
    fn drop(&mut self) {
        self.partition.lock().verifying.end(self.producer, self.token);
    }
}

impl Partition {
    /// What has to be taken before the coordinator is asked whether this partition is in a producer's transaction. `None` when
    /// the transaction has records here already: then it is known to be open.
    pub(crate) fn begin_verification(
        self: &Arc<Self>,
        producer: ProducerId,
        epoch: ProducerEpoch,
    ) -> Option<Verification> {
        let mut inner = self.lock();
        if inner.has_open_txn(producer, epoch) {
            return None;
        }
        let token = inner.verifying.begin(producer);
        Some(Verification { partition: Arc::clone(self), producer, token })
    }

    /// Appends a batch of a transaction, as [`Partition::append`]. Refused when the transaction has no records here and
    /// nobody asked the coordinator, or it ended since.
    pub(crate) fn append_in_transaction(
        self: &Arc<Self>,
        batch: &mut [u8],
        producer: (ProducerId, ProducerEpoch),
        verification: Option<&Verification>,
        origin: AppendOrigin,
        required_in_sync: Option<usize>,
        now: TimestampMs,
    ) -> Result<Appended, AppendFailure> {
        let writer = Writer { origin, epoch: None };
        self.append_verified(batch, producer, verification, writer, required_in_sync, now)
    }

    /// The same for a writer that may have decided in an epoch of its own.
    pub(crate) fn append_verified(
        self: &Arc<Self>,
        batch: &mut [u8],
        producer: (ProducerId, ProducerEpoch),
        verification: Option<&Verification>,
        writer: Writer,
        required_in_sync: Option<usize>,
        now: TimestampMs,
    ) -> Result<Appended, AppendFailure> {
        let mut inner = self.lock();
        inner.check_still(writer.epoch)?;
        let origin = writer.origin;
        let (id, epoch) = producer;
        let is_verified = verification.is_some_and(|v| inner.verifying.is_valid(id, v.token));
        if !is_verified && !inner.has_open_txn(id, epoch) {
            return Err(AppendFailure::NotInTransaction);
        }
        self.append_to(&mut inner, batch, origin, required_in_sync, now)
    }

    /// Ends a producer's transaction here. `None` when the marker is in the log already.
    pub(crate) fn append_marker(
        self: &Arc<Self>,
        marker: &TxnMarker,
        now: TimestampMs,
    ) -> Result<Option<Appended>, AppendFailure> {
        self.append_marker_in(None, marker, now)
    }

    /// The same for a coordinator that knows itself to lead in `epoch`: in another nothing is written.
    pub(crate) fn append_marker_in(
        self: &Arc<Self>,
        epoch: Option<LeaderEpoch>,
        marker: &TxnMarker,
        now: TimestampMs,
    ) -> Result<Option<Appended>, AppendFailure> {
        let required = usize::try_from(self.config().min_insync_replicas).ok();
        let mut inner = self.lock();
        inner.check_still(epoch)?;
        let id = marker.producer_id;
        inner.verifying.void(id);
        if let Some(state) = inner.log.producers().get(id) {
            let is_open = state.txn_first_offset.is_some();
            if !is_open && state.epoch == marker.epoch && state.coordinator_epoch >= 0 {
                return Ok(None);
            }
            // With version 2 records of the marker's epoch belong to the next transaction (KIP-1228).
            let is_of_next = is_open && state.epoch == marker.epoch;
            if marker.version >= TxnMarker::BUMPS_AT_END && is_of_next {
                let (current, found) = (state.epoch, marker.epoch);
                return Err(AppendFailure::StaleMarker { current, found });
            }
        }
        let record =
            EndTxnMarker { committed: marker.commit, coordinator_epoch: marker.coordinator_epoch };
        let leader_epoch = LeaderEpoch::NONE;
        let mut batch = record
            .batch(id, marker.epoch, Offset::ZERO, leader_epoch, now)
            .map_err(|_| AppendError::TooLarge { bytes: 0, limit: 0 })?;
        let origin = AppendOrigin::Coordinator;
        let appended = self.append_to(&mut inner, &mut batch, origin, required, now)?;
        // The last stable offset may have moved by far more than this batch.
        inner.waiters.wake_all();
        Ok(Some(appended))
    }

    /// The aborted transactions that a reader of `range`, found by `plan`, must know from `from` on. Not under the lock, and
    /// where the disk is needed, not in the way of other connections.
    pub(super) fn aborted(
        &self,
        from: Offset,
        plan: &ReadPlan,
        range: Option<&FileRange>,
    ) -> Result<Vec<AbortedTxn>, ReadError> {
        let Some(range) = range else { return Ok(Vec::new()) };
        match fs::without_waiting(|| plan.aborted(from, range)) {
            Err(ReadError::Storage(e)) if e.kind() == io::ErrorKind::WouldBlock => {
                task::block_here(|| plan.aborted(from, range))
            }
            found => found,
        }
    }
}

impl Inner {
    /// Whether a transaction of this very epoch has records here.
    fn has_open_txn(&self, producer: ProducerId, epoch: ProducerEpoch) -> bool {
        let state = self.log.producers().get(producer);
        state.is_some_and(|state| state.txn_first_offset.is_some() && state.epoch == epoch)
    }
}

#[cfg(test)]
mod tests {
    use millstream_base::ErrorCode;
    use millstream_records::{BatchBuilder, BatchOptions};

    use super::super::testing;
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_000);
    const PRODUCER: (ProducerId, ProducerEpoch) = (ProducerId(7), ProducerEpoch(0));

    fn partition(dir: &tempfile::TempDir) -> Arc<Partition> {
        testing::Cluster::new(1).partition(1, dir.path())
    }

    fn append(
        partition: &Arc<Partition>,
        sequence: i32,
        verification: Option<&Verification>,
    ) -> Result<Appended, ErrorCode> {
        let mut builder = BatchBuilder::new(BatchOptions {
            producer_id: PRODUCER.0,
            producer_epoch: PRODUCER.1,
            base_sequence: sequence,
            transactional: true,
            ..BatchOptions::default()
        });
        builder.append(NOW, None, Some(b"v"), &[]).unwrap();
        let mut batch = builder.build().unwrap();
        let origin = AppendOrigin::Client;
        let appended =
            partition.append_in_transaction(&mut batch, PRODUCER, verification, origin, None, NOW);
        appended.map_err(|failure| failure.code())
    }

    fn marker(epoch: i16, version: i16) -> TxnMarker {
        let epoch = ProducerEpoch(epoch);
        TxnMarker { producer_id: PRODUCER.0, epoch, coordinator_epoch: 0, commit: true, version }
    }

    #[test]
    fn a_marker_voids_what_was_asked_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let partition = partition(&dir);
        let begin = || partition.begin_verification(PRODUCER.0, PRODUCER.1);
        assert_eq!(append(&partition, 0, None).unwrap_err(), ErrorCode::InvalidTxnState);
        let asked = begin();
        assert!(asked.is_some());
        // The coordinator has said yes; then the transaction ends before the record comes.
        assert!(partition.append_marker(&marker(0, 0), NOW).unwrap().is_some());
        let late = append(&partition, 0, asked.as_ref());
        assert_eq!(late.unwrap_err(), ErrorCode::InvalidTxnState);
        // The same where the marker is in the log already and is not written again.
        let asked = begin();
        assert!(partition.append_marker(&marker(0, 0), NOW).unwrap().is_none());
        let late = append(&partition, 0, asked.as_ref());
        assert_eq!(late.unwrap_err(), ErrorCode::InvalidTxnState);
        // Asked anew, it is let in; then nothing need be asked until the end.
        let asked = begin();
        append(&partition, 0, asked.as_ref()).unwrap();
        assert!(begin().is_none());
        append(&partition, 1, None).unwrap();
        drop(asked);
        assert!(partition.append_marker(&marker(0, 0), NOW).unwrap().is_some());
        assert!(begin().is_some());
        assert!(partition.lock().verifying.by_producer.is_empty(), "tokens end with requests");
    }

    #[test]
    fn a_late_marker_does_not_end_the_next_transaction() {
        let dir = tempfile::tempdir().unwrap();
        let partition = partition(&dir);
        let asked = partition.begin_verification(PRODUCER.0, PRODUCER.1);
        append(&partition, 0, asked.as_ref()).unwrap();
        // With version 2 the end of records of epoch 0 carries epoch 1.
        let stale = partition.append_marker(&marker(0, 2), NOW).unwrap_err();
        assert_eq!(stale.code(), ErrorCode::InvalidProducerEpoch);
        assert!(partition.append_marker(&marker(1, 2), NOW).unwrap().is_some());
        assert!(partition.append_marker(&marker(1, 2), NOW).unwrap().is_none(), "once");
        assert!(partition.append_marker(&marker(0, 2), NOW).is_err(), "an older end");
    }
}
