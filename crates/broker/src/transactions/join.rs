//! Whether a partition belongs to a producer's open transaction, or may join it: asked by the leader of a partition before
//! it takes the first record of a transaction (KIP-890).
//!
//! Key types: [`Join`] (the question), [`Joined`] (the answer, at once where nothing needs waiting). The coordinator may be this
//! broker or another. A yes is given only when what it rests on is committed: a partition that a new coordinator does
//! not know of would stay open for ever.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::ErrorCode;
use millstream_env::task;
use millstream_txns::{AddPartitions, Producer, TxnPartition, VerifyPartitions};

use super::host::TransactionCoordinator;
use super::remote::Question;
use super::shard::HostedTxns;
use crate::state_log::Commit;

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
    /// The coordinator is another broker, or has to wait for its replicas, or for the end of the producer's last transaction.
    Later,
}

/// What this broker's own coordinator says, and when that counts.
type Said = Result<(Vec<ErrorCode>, Commit), ErrorCode>;

impl Join {
    /// Asks without waiting.
    pub(crate) fn ask(&self, coordinator: &TransactionCoordinator) -> Joined {
        if coordinator.elsewhere(&self.transactional_id).is_some() {
            return Joined::Later;
        }
        match self.ask_here(coordinator) {
            Ok((_, commit)) if !commit.is_done() => Joined::Later,
            Ok((codes, _)) if self.must_wait(&codes) => Joined::Later,
            Ok((codes, _)) => Joined::Now(codes),
            Err(code) => Joined::Now(self.all(code)),
        }
    }

    /// Asks, and waits: for the answer of another broker, for the commit, and while the producer's last transaction is not
    /// complete (`add.partitions.to.txn.retry.backoff.*`).
    pub(crate) async fn ask_patiently(
        &self,
        coordinator: &TransactionCoordinator,
    ) -> Vec<ErrorCode> {
        let settings = coordinator.settings();
        let ms = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or_default());
        let pause = ms(settings.add_partitions_retry_backoff_ms);
        let mut left = ms(settings.add_partitions_retry_backoff_max_ms);
        loop {
            let codes = self.ask_once(coordinator).await;
            if !self.must_wait(&codes) || left.is_zero() {
                return codes;
            }
            let pause = pause.min(left);
            left -= pause;
            task::sleep(pause).await;
        }
    }

    /// Whether the producer's last transaction has to be complete first.
    fn must_wait(&self, codes: &[ErrorCode]) -> bool {
        self.may_add && codes.contains(&ErrorCode::ConcurrentTransactions)
    }

    async fn ask_once(&self, coordinator: &TransactionCoordinator) -> Vec<ErrorCode> {
        if let Some(leader) = coordinator.elsewhere(&self.transactional_id) {
            let answer = coordinator.question_outbox.post(leader, Question(self.clone())).await;
            return answer.unwrap_or_else(|_| self.all(ErrorCode::NetworkException));
        }
        let said = match self.ask_here(coordinator) {
            Ok((codes, commit)) => commit.done().await.map(|()| codes),
            Err(code) => Err(code),
        };
        said.unwrap_or_else(|code| self.all(code))
    }

    fn ask_here(&self, coordinator: &TransactionCoordinator) -> Said {
        let hosted = coordinator.shard(&self.transactional_id)?;
        if self.may_add { self.add(coordinator, &hosted) } else { self.verify(&hosted) }
    }

    fn add(&self, coordinator: &TransactionCoordinator, hosted: &HostedTxns) -> Said {
        let request = AddPartitions {
            transactional_id: Arc::clone(&self.transactional_id),
            producer: self.producer,
            partitions: self.partitions.clone(),
            client_version: 2,
        };
        let now = coordinator.clock.now_ms();
        let written = hosted.decide(now, |shard| shard.add_partitions(now.get(), &request))?;
        let codes = self.all(written.reply.err().unwrap_or(ErrorCode::None));
        Ok((codes, written.commit))
    }

    fn verify(&self, hosted: &HostedTxns) -> Said {
        let request = VerifyPartitions {
            transactional_id: &self.transactional_id,
            producer: self.producer,
            partitions: &self.partitions,
        };
        let (codes, commit) = hosted.read(|shard| shard.verify_partitions(&request))?;
        Ok((codes.unwrap_or_else(|code| self.all(code)), commit))
    }

    fn all(&self, code: ErrorCode) -> Vec<ErrorCode> {
        vec![code; self.partitions.len()]
    }
}

/// A [`Join`] of another broker's: what this broker's coordinator says, whoever coordinates, and when that counts.
pub(crate) fn answer_here(join: &Join, coordinator: &TransactionCoordinator) -> Said {
    join.ask_here(coordinator)
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
