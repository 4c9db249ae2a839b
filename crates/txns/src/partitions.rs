//! AddPartitionsToTxn, AddOffsetsToTxn, and the question whether a partition belongs to an open transaction.

use millstream_base::ErrorCode;

use crate::effect::Decided;
use crate::request::{AddPartitions, Producer, VerifyPartitions};
use crate::shard::{Shard, stepped};
use crate::state::TxnState;
use crate::transaction::Transaction;

impl Shard {
    /// Partitions join the producer's transaction; the first ones open it.
    pub fn add_partitions(
        &self,
        now_ms: i64,
        request: &AddPartitions,
    ) -> Decided<Result<(), ErrorCode>> {
        let txn = match self.known(&request.transactional_id) {
            Ok(txn) => txn,
            Err(code) => return Decided::reply(Err(code)),
        };
        // Looked at first: a producer that was told its next id by EndTxn may be here before the old one's end is complete.
        if txn.state.is_prepared() {
            return Decided::reply(Err(ErrorCode::ConcurrentTransactions));
        }
        if let Err(code) = check_producer(txn, request.producer) {
            return Decided::reply(Err(code));
        }
        let is_open = txn.state == TxnState::Ongoing;
        if is_open && request.partitions.iter().all(|added| txn.partitions.contains(added)) {
            return Decided::reply(Ok(()));
        }
        let next = txn.joined(&request.partitions, request.client_version, now_ms);
        stepped(&request.transactional_id, next, Ok(()))
    }

    /// Whether each partition belongs to the producer's open transaction, in their order. TRANSACTION_ABORTABLE for one that does
    /// not: the producer can abort and go on.
    ///
    /// # Errors
    /// The code for all of them.
    pub fn verify_partitions(
        &self,
        request: &VerifyPartitions<'_>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let txn = self.known(request.transactional_id)?;
        check_producer(txn, request.producer)?;
        if txn.state.is_prepared() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let is_open = txn.state == TxnState::Ongoing;
        let code = |partition| match is_open && txn.partitions.contains(partition) {
            true => ErrorCode::None,
            false => ErrorCode::TransactionAbortable,
        };
        Ok(request.partitions.iter().map(code).collect())
    }
}

pub(crate) fn check_producer(txn: &Transaction, producer: Producer) -> Result<(), ErrorCode> {
    if txn.producer_id != producer.id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if txn.epoch != producer.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    Ok(())
}
