//! One transactional id's state and the steps that it can take.
//!
//! Key type: [`Transaction`]. A step takes the state as it is and gives the next; nothing is changed in place, so that a
//! step whose record cannot be written leaves no trace.

use std::collections::BTreeSet;

use crate::request::{Producer, TxnPartition};
use crate::state::TxnState;

/// Stands for "no producer id".
pub(crate) const NO_ID: i64 = -1;
/// Stands for "no epoch".
pub(crate) const NO_EPOCH: i16 = -1;
/// Stands for "not begun".
pub(crate) const NO_TIME: i64 = -1;
/// From this version on the epoch grows with each end (KIP-890 part 2).
pub(crate) const BUMPS_AT_END: i16 = 2;

/// What is known of one transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The producer id in use.
    pub producer_id: i64,
    /// The producer id before the last step; differs when the id was changed because its epochs ran out.
    pub previous_producer_id: i64,
    /// While an end is prepared: the producer id that follows, when the epochs of this one ran out; else -1.
    pub next_producer_id: i64,
    /// The epoch in use.
    pub epoch: i16,
    /// The epoch before, which may repeat its request; -1 when nobody may. Not part of the record.
    pub last_epoch: i16,
    /// How long a transaction may stay open.
    pub timeout_ms: i32,
    /// Where it stands.
    pub state: TxnState,
    /// The partitions of the transaction.
    pub partitions: BTreeSet<TxnPartition>,
    /// When the transaction began; -1 when none did.
    pub start_ms: i64,
    /// When the last step was taken.
    pub last_update_ms: i64,
    /// `transaction.version` of the client that took the last step.
    pub client_version: i16,
}

impl Transaction {
    /// The first record of an id.
    pub(crate) fn new(producer_id: i64, timeout_ms: i32, now_ms: i64) -> Self {
        Self {
            producer_id,
            previous_producer_id: NO_ID,
            next_producer_id: NO_ID,
            epoch: 0,
            last_epoch: NO_EPOCH,
            timeout_ms,
            state: TxnState::Empty,
            partitions: BTreeSet::new(),
            start_ms: NO_TIME,
            last_update_ms: now_ms,
            client_version: 0,
        }
    }

    /// The producer that may use the id.
    pub const fn producer(&self) -> Producer {
        Producer { id: self.producer_id, epoch: self.epoch }
    }

    /// Whether an epoch is the last that a client may use: the largest of all is kept for fencing.
    pub(crate) const fn is_exhausted(epoch: i16) -> bool {
        epoch >= i16::MAX - 1
    }

    /// Whether it is open for longer than its time-out.
    pub(crate) fn is_timed_out(&self, now_ms: i64) -> bool {
        self.state == TxnState::Ongoing
            && self.start_ms.saturating_add(i64::from(self.timeout_ms)) < now_ms
    }

    /// Every step begins so.
    fn step(&self, state: TxnState, now_ms: i64) -> Self {
        Self {
            state,
            previous_producer_id: self.producer_id,
            last_update_ms: now_ms.max(self.last_update_ms),
            ..self.clone()
        }
    }

    /// A new session of a producer: the epoch in use becomes `epoch`.
    pub(crate) fn initialized(
        &self,
        epoch: i16,
        last_epoch: i16,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Self {
        Self {
            epoch,
            last_epoch,
            timeout_ms,
            partitions: BTreeSet::new(),
            start_ms: NO_TIME,
            ..self.step(TxnState::Empty, now_ms)
        }
    }

    /// As [`Self::initialized`], with an unused producer id, because the epochs of the old one ran out.
    pub(crate) fn rotated(
        &self,
        producer_id: i64,
        last_epoch: i16,
        timeout_ms: i32,
        now_ms: i64,
    ) -> Self {
        Self { producer_id, ..self.initialized(0, last_epoch, timeout_ms, now_ms) }
    }

    /// Partitions join the transaction; it begins if none is open.
    pub(crate) fn joined(
        &self,
        partitions: &[TxnPartition],
        client_version: i16,
        now_ms: i64,
    ) -> Self {
        let mut next = Self { client_version, ..self.step(TxnState::Ongoing, now_ms) };
        if self.state.is_idle() {
            next.start_ms = now_ms;
            next.partitions.clear();
        }
        next.partitions.extend(partitions.iter().cloned());
        next
    }

    /// The end is decided. `next_producer_id` when the epochs of this one ran out, else -1.
    pub(crate) fn prepared(
        &self,
        commit: bool,
        client_version: i16,
        next_producer_id: i64,
        now_ms: i64,
    ) -> Self {
        let state = if commit { TxnState::PrepareCommit } else { TxnState::PrepareAbort };
        let mut next = Self { client_version, next_producer_id, ..self.step(state, now_ms) };
        if self.state.is_idle() {
            // Nothing was added: it begins and ends here.
            next.start_ms = now_ms;
            next.partitions.clear();
        }
        if client_version >= BUMPS_AT_END {
            next.last_epoch = self.epoch;
            next.epoch = self.epoch.saturating_add(1);
        }
        next
    }

    /// The coordinator ends an open transaction against its producer's will: the epoch moves by two, so that the
    /// producer cannot take the end for its own.
    pub(crate) fn fenced(&self, now_ms: i64) -> Self {
        let fence =
            Self { epoch: self.epoch.saturating_add(1), last_epoch: NO_EPOCH, ..self.clone() };
        Self {
            previous_producer_id: self.producer_id,
            ..fence.prepared(false, BUMPS_AT_END, NO_ID, now_ms)
        }
    }

    /// All markers are written.
    pub(crate) fn completed(&self, now_ms: i64) -> Self {
        let state = match self.state {
            TxnState::PrepareCommit => TxnState::CompleteCommit,
            _ => TxnState::CompleteAbort,
        };
        let successor = self.successor();
        Self {
            producer_id: successor.id,
            epoch: successor.epoch,
            next_producer_id: NO_ID,
            partitions: BTreeSet::new(),
            ..self.step(state, now_ms)
        }
    }

    /// Who the producer is once the prepared end is complete: what EndTxn v5 tells it.
    pub(crate) const fn successor(&self) -> Producer {
        if self.client_version >= BUMPS_AT_END && self.next_producer_id != NO_ID {
            return Producer { id: self.next_producer_id, epoch: 0 };
        }
        self.producer()
    }
}
