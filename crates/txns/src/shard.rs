//! The transactional ids of one `__transaction_state` partition, and the calls that the host makes.
//!
//! Key type: [`Shard`]. Calls are made one after the other, each outcome handled before the next (see
//! [`crate::Decided`]). `init`, `partitions`, `end` and `admin` hold the requests.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_base::ErrorCode;

use crate::effect::{Decided, Markers};
use crate::record::{DecodeRecordError, Record};
use crate::request::Producer;
use crate::transaction::Transaction;

/// About as many tombstones go into one batch, so that it stays small.
const MAX_TOMBSTONES: usize = 1_000;

/// The settings that a shard follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnConfig {
    /// `transaction.max.timeout.ms`.
    pub max_timeout_ms: i32,
    /// `transactional.id.expiration.ms`.
    pub id_expiration_ms: i64,
}

impl Default for TxnConfig {
    fn default() -> Self {
        Self { max_timeout_ms: 900_000, id_expiration_ms: 604_800_000 }
    }
}

/// What became of a record that was read from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It is part of the state.
    Applied,
    /// Its kind is none that this version keeps; the number is the kind.
    Skipped(i16),
}

/// The state of one `__transaction_state` partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shard {
    pub(crate) config: TxnConfig,
    pub(crate) txns: BTreeMap<Arc<str>, Transaction>,
}

impl Shard {
    /// An empty shard, to be loaded.
    pub fn new(config: TxnConfig) -> Self {
        Self { config, txns: BTreeMap::new() }
    }

    /// Takes new settings; they count from the next request on.
    pub fn set_config(&mut self, config: TxnConfig) {
        self.config = config;
    }

    /// How many transactional ids there are.
    pub fn len(&self) -> usize {
        self.txns.len()
    }

    /// Whether there is no transactional id.
    pub fn is_empty(&self) -> bool {
        self.txns.is_empty()
    }

    /// What is known of an id.
    pub fn get(&self, transactional_id: &str) -> Option<&Transaction> {
        self.txns.get(transactional_id)
    }

    // --- Loading -----------------------------------------------------------------------------------------------

    /// Replays one record of the log. An error concerns this record alone: go on with the next.
    ///
    /// # Errors
    /// The key or value is not what its kind says.
    pub fn load(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<Loaded, DecodeRecordError> {
        match Record::decode(key, value)? {
            Ok(record) => {
                self.apply([record]);
                Ok(Loaded::Applied)
            }
            Err(kind) => Ok(Loaded::Skipped(kind)),
        }
    }

    /// The log is read: the markers of every transaction whose end was decided, as it is not known whether they were
    /// written.
    pub fn finish_loading(&self) -> Vec<Markers> {
        let prepared = self.txns.iter().filter(|(_, txn)| txn.state.is_prepared());
        prepared.map(|(id, txn)| markers_of(id, txn)).collect()
    }

    // --- After a decision --------------------------------------------------------------------------------------

    /// Records of a decision are in the log: they become state.
    pub fn apply(&mut self, records: impl IntoIterator<Item = Record>) {
        for Record { transactional_id, value } in records {
            match value {
                Some(txn) => {
                    self.txns.insert(transactional_id, *txn);
                }
                None => {
                    self.txns.remove(&transactional_id);
                }
            }
        }
    }

    /// All markers are written: the transaction is complete. The reply says whether that is news.
    pub fn complete(&self, now_ms: i64, written: &Markers) -> Decided<bool> {
        let Some(txn) = self.txns.get(&written.transactional_id) else {
            return Decided::reply(false);
        };
        let is_meant = txn.state.is_prepared()
            && txn.producer() == written.producer
            && (txn.state == crate::TxnState::PrepareCommit) == written.commit;
        if !is_meant {
            return Decided::reply(false);
        }
        stepped(&written.transactional_id, txn.completed(now_ms), true)
    }

    // --- Time --------------------------------------------------------------------------------------------------

    /// Transactions that are open for longer than their time-out.
    pub fn timed_out(&self, now_ms: i64) -> Vec<(Arc<str>, Producer)> {
        let late = self.txns.iter().filter(|(_, txn)| txn.is_timed_out(now_ms));
        late.map(|(id, txn)| (Arc::clone(id), txn.producer())).collect()
    }

    /// Aborts a transaction that [`Self::timed_out`] named, and fences its producer. The reply says whether it was still
    /// to be aborted.
    pub fn abort_timed_out(
        &self,
        now_ms: i64,
        transactional_id: &Arc<str>,
        producer: Producer,
    ) -> Decided<bool> {
        match self.txns.get(transactional_id) {
            Some(txn) if txn.producer() == producer && txn.is_timed_out(now_ms) => {
                ended(transactional_id, txn.fenced(now_ms), true)
            }
            _ => Decided::reply(false),
        }
    }

    /// Forgets ids that did nothing for `transactional.id.expiration.ms`. The reply says whether there are more: then
    /// call again.
    pub fn expire(&self, now_ms: i64) -> Decided<bool> {
        let expired_at = now_ms.saturating_sub(self.config.id_expiration_ms);
        let expired = |txn: &Transaction| txn.state.is_idle() && txn.last_update_ms <= expired_at;
        let mut records = Vec::new();
        for (id, _) in self.txns.iter().filter(|(_, txn)| expired(txn)) {
            if records.len() == MAX_TOMBSTONES {
                return Decided { records, reply: true, markers: None };
            }
            records.push(Record { transactional_id: Arc::clone(id), value: None });
        }
        Decided { records, reply: false, markers: None }
    }

    /// The id's state, or the code for an id that this coordinator does not know.
    pub(crate) fn known(&self, transactional_id: &str) -> Result<&Transaction, ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        self.txns.get(transactional_id).ok_or(ErrorCode::InvalidProducerIdMapping)
    }
}

pub(crate) fn markers_of(transactional_id: &Arc<str>, txn: &Transaction) -> Markers {
    Markers {
        transactional_id: Arc::clone(transactional_id),
        producer: txn.producer(),
        commit: txn.state == crate::TxnState::PrepareCommit,
        version: txn.client_version,
        partitions: txn.partitions.iter().cloned().collect(),
    }
}

/// A step that needs no markers.
pub(crate) fn stepped<R>(transactional_id: &Arc<str>, next: Transaction, reply: R) -> Decided<R> {
    let record =
        Record { transactional_id: Arc::clone(transactional_id), value: Some(Box::new(next)) };
    Decided { records: vec![record], reply, markers: None }
}

/// A step that decides the end.
pub(crate) fn ended<R>(transactional_id: &Arc<str>, next: Transaction, reply: R) -> Decided<R> {
    let markers = Some(markers_of(transactional_id, &next));
    Decided { markers, ..stepped(transactional_id, next, reply) }
}
