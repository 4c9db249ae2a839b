//! Whether a partition belongs to a producer's open transaction, or may join it: asked by the leader of a partition before
//! it takes the first record of a transaction (KIP-890).
//!
//! Key types: [`Join`] (the question), [`Joined`] (the answer, at once where nothing needs waiting). The coordinator is this
//! broker's own; a question to another goes through [`Join::ask`] too, once there are others.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::ErrorCode;
use millstream_env::task;
use millstream_txns::{AddPartitions, Producer, TxnPartition, VerifyPartitions};

use super::host::TransactionCoordinator;

/// A question about partitions of one producer's transaction.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Whose.
    pub transactional_id: Arc<str>,
    /// Who writes.
    pub producer: Producer,
    /// Where.
    pub partitions: Vec<TxnPartition>,
    /// Whether partitions that are not part of the transaction join it (`transaction.version` 2), or are refused.
    pub may_add: bool,
}

/// The answer: a code for each partition, in their order.
pub(crate) enum Joined {
    /// It is known.
    Now(Vec<ErrorCode>),
    /// The coordinator has to wait for the disk, or for the end of the producer's last transaction.
    Later,
}

impl Join {
    /// Asks without waiting.
    pub(crate) fn ask(&self, coordinator: &TransactionCoordinator) -> Joined {
        if !self.may_add {
            return Joined::Now(self.verify(coordinator));
        }
        match self.add(coordinator) {
            Ok(written) if !written.commit.is_done() => Joined::Later,
            Ok(written) => match written.reply {
                Err(ErrorCode::ConcurrentTransactions) => Joined::Later,
                Ok(()) => Joined::Now(self.all(ErrorCode::None)),
                Err(code) => Joined::Now(self.all(code)),
            },
            Err(code) => Joined::Now(self.all(code)),
        }
    }

    /// Asks, and waits: for the commit, and while the producer's last transaction is not complete
    /// (`add.partitions.to.txn.retry.backoff.*`).
    pub(crate) async fn ask_patiently(
        &self,
        coordinator: &TransactionCoordinator,
    ) -> Vec<ErrorCode> {
        let settings = coordinator.settings();
        let ms = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or_default());
        let pause = ms(settings.add_partitions_retry_backoff_ms);
        let mut left = ms(settings.add_partitions_retry_backoff_max_ms);
        loop {
            let outcome = match self.add(coordinator) {
                Ok(mut written) => match written.commit.done().await {
                    Ok(()) => written.reply,
                    Err(code) => Err(code),
                },
                Err(code) => Err(code),
            };
            match outcome {
                Ok(()) => return self.all(ErrorCode::None),
                Err(ErrorCode::ConcurrentTransactions) if !left.is_zero() => {
                    let pause = pause.min(left);
                    left -= pause;
                    task::sleep(pause).await;
                }
                Err(code) => return self.all(code),
            }
        }
    }

    fn add(
        &self,
        coordinator: &TransactionCoordinator,
    ) -> Result<super::shard::Written<Result<(), ErrorCode>>, ErrorCode> {
        let request = AddPartitions {
            transactional_id: Arc::clone(&self.transactional_id),
            producer: self.producer,
            partitions: self.partitions.clone(),
            client_version: 2,
        };
        coordinator.decide(&self.transactional_id, |shard, now| shard.add_partitions(now, &request))
    }

    fn verify(&self, coordinator: &TransactionCoordinator) -> Vec<ErrorCode> {
        let request = VerifyPartitions {
            transactional_id: &self.transactional_id,
            producer: self.producer,
            partitions: &self.partitions,
        };
        let hosted = coordinator.shard(&self.transactional_id);
        let verified =
            hosted.and_then(|hosted| hosted.read(|shard| shard.verify_partitions(&request)));
        verified.and_then(|codes| codes).unwrap_or_else(|code| self.all(code))
    }

    fn all(&self, code: ErrorCode) -> Vec<ErrorCode> {
        vec![code; self.partitions.len()]
    }
}

/// How the leader of a partition tells a producer what the coordinator said.
pub(crate) const fn in_leaders_words(
    code: ErrorCode,
    knows_abortable: bool,
    may_add: bool,
) -> ErrorCode {
    match code {
        // Producers expect the older name from a partition.
        ErrorCode::ProducerFenced => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if !knows_abortable => ErrorCode::InvalidTxnState,
        // Older producers do not retry these: this is the one that they retry without asking for metadata.
        ErrorCode::ConcurrentTransactions if !may_add => ErrorCode::NotEnoughReplicas,
        ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => ErrorCode::NotEnoughReplicas,
        other => other,
    }
}
