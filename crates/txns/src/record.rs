//! Kafka's bytes of a transactional id's state and back.
//!
//! Key type: [`Record`]. Values are written as version 1 (what Kafka writes with `transaction.version` 2); both are read.
//! Bytes from the log are not trusted: a bad record is an error of its own and harms no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_wire::stored::{
    self, PartitionsSchema, TransactionLogKey, TransactionLogValue, key_to_bytes, value_to_bytes,
};
use millstream_wire::{DecodeError, EncodeError, Str};

use crate::state::TxnState;
use crate::transaction::{NO_EPOCH, Transaction};

/// The one kind of key.
const KIND: i16 = 0;
const VALUE_VERSION: i16 = 1;

/// One record of `__transaction_state`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose.
    pub transactional_id: Arc<str>,
    /// `None` is a tombstone: the id is forgotten.
    pub value: Option<Box<Transaction>>,
}

/// A record in the log that is not what its kind says.
#[derive(Debug, thiserror::Error)]
pub enum DecodeRecordError {
    /// The key cannot be read.
    #[error("the key cannot be read: {0}")]
    Key(#[source] DecodeError),
    /// The value cannot be read.
    #[error("the value for transactional id `{transactional_id}` cannot be read: {cause}")]
    Value {
        /// Whose.
        transactional_id: Arc<str>,
        /// Why.
        #[source]
        cause: DecodeError,
    },
    /// The value says a state that no record can be in.
    #[error("the value for transactional id `{transactional_id}` says state {code}")]
    State {
        /// Whose.
        transactional_id: Arc<str>,
        /// The number that stands there.
        code: i8,
    },
}

/// A record that does not fit Kafka's format, such as an id of more than 32,767 bytes.
#[derive(Debug, thiserror::Error)]
#[error("the record cannot be written: {0}")]
pub struct EncodeRecordError(#[from] EncodeError);

impl Record {
    /// The record's key and value; without a value it is a tombstone.
    ///
    /// # Errors
    /// The id is longer than Kafka's format can say.
    pub fn encode(&self) -> Result<(Bytes, Option<Bytes>), EncodeRecordError> {
        let key = TransactionLogKey { transactional_id: (&self.transactional_id).into() };
        let key = key_to_bytes(&key)?;
        let value = match &self.value {
            Some(txn) => Some(value_to_bytes(&value_of(txn), VALUE_VERSION)?),
            None => None,
        };
        Ok((key, value))
    }

    /// Reads a record; the number of its kind when that is none of ours.
    pub(crate) fn decode(
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Result<Self, i16>, DecodeRecordError> {
        let opened = stored::open_key(Bytes::copy_from_slice(key));
        let (kind, mut d) = opened.map_err(DecodeRecordError::Key)?;
        if kind != KIND {
            return Ok(Err(kind));
        }
        let key: TransactionLogKey = d.read(0).map_err(DecodeRecordError::Key)?;
        let transactional_id: Arc<str> = (&key.transactional_id).into();
        let Some(value) = value else {
            return Ok(Ok(Self { transactional_id, value: None }));
        };
        let read = stored::value_from_bytes(Bytes::copy_from_slice(value));
        let value: TransactionLogValue = read.map_err(|cause| DecodeRecordError::Value {
            transactional_id: Arc::clone(&transactional_id),
            cause,
        })?;
        let state = match TxnState::from_code(value.transaction_status) {
            Some(state) if state.is_idle() || state.is_prepared() => state,
            Some(TxnState::Ongoing) => TxnState::Ongoing,
            _ => {
                let code = value.transaction_status;
                return Err(DecodeRecordError::State { transactional_id, code });
            }
        };
        let value = Some(Box::new(transaction_of(value, state)));
        Ok(Ok(Self { transactional_id, value }))
    }
}

fn value_of(txn: &Transaction) -> TransactionLogValue {
    let mut topics: BTreeMap<&Arc<str>, Vec<i32>> = BTreeMap::new();
    for (topic, partition) in &txn.partitions {
        topics.entry(topic).or_default().push(*partition);
    }
    let topics = topics.into_iter().map(|(topic, partition_ids)| {
        let topic: Str = topic.into();
        PartitionsSchema { topic, partition_ids }
    });
    TransactionLogValue {
        producer_id: txn.producer_id,
        previous_producer_id: txn.previous_producer_id,
        next_producer_id: txn.next_producer_id,
        producer_epoch: txn.epoch,
        transaction_timeout_ms: txn.timeout_ms,
        transaction_status: txn.state as i8,
        // Kafka writes null where no transaction began.
        transaction_partitions: (txn.state != TxnState::Empty).then(|| topics.collect()),
        transaction_last_update_timestamp_ms: txn.last_update_ms,
        transaction_start_timestamp_ms: txn.start_ms,
        client_transaction_version: txn.client_version,
        ..TransactionLogValue::default()
    }
}

fn transaction_of(value: TransactionLogValue, state: TxnState) -> Transaction {
    let partitions = value.transaction_partitions.unwrap_or_default().into_iter();
    let partitions = partitions.flat_map(|topic| {
        let name: Arc<str> = (&topic.topic).into();
        topic.partition_ids.into_iter().map(move |partition| (Arc::clone(&name), partition))
    });
    Transaction {
        producer_id: value.producer_id,
        previous_producer_id: value.previous_producer_id,
        next_producer_id: value.next_producer_id,
        epoch: value.producer_epoch,
        last_epoch: NO_EPOCH,
        timeout_ms: value.transaction_timeout_ms,
        state,
        partitions: partitions.collect(),
        start_ms: value.transaction_start_timestamp_ms,
        last_update_ms: value.transaction_last_update_timestamp_ms,
        client_version: value.client_transaction_version,
    }
}
