//! What becomes of batches that were sent: done, again, split or given up.

use std::sync::Arc;

use millstream_base::{ErrorCode, NodeId, TopicPartition};
use millstream_env::task::Instant;
use millstream_wire::messages::produce::ProduceResponse;

use super::{Sender, Sent};
use crate::ClientError;
use crate::producer::ProduceError;
use crate::producer::answer::{self, Verdict};
use crate::producer::batch::Batch;
use crate::producer::delivery::Outcome;
use crate::producer::queue::{PartitionQueue, Queued as _};

impl Sender {
    /// Sorts the fates of a request's batches.
    pub(super) fn answered(
        &mut self,
        node: NodeId,
        batches: Vec<Sent>,
        answer: Result<ProduceResponse, ClientError>,
    ) {
        let cluster = self.inner.cluster.clone();
        if let Ok(response) = &answer {
            cluster.learn_leaders(&answer::new_leaders(&cluster.metadata(), &batches, response));
        }
        let mut verdicts = answer::verdicts(&self.inner, &batches, answer);
        for (sent, verdict) in batches.into_iter().zip(verdicts.drain(..)) {
            match verdict {
                Verdict::Retry { refresh: true, .. } => {
                    self.failed_at.insert(sent.partition.clone(), node);
                }
                _ => {
                    self.failed_at.remove(&sent.partition);
                }
            }
            self.apply(sent, verdict);
        }
        if !self.failed_at.is_empty() {
            self.follow_leaders();
        }
    }

    fn apply(&mut self, mut sent: Sent, verdict: Verdict) {
        match verdict {
            Verdict::Landed { base_offset, append_time } => {
                self.with_queue(&sent.partition, |queue| queue.landed(sent.numbered.order));
                self.complete(sent.batch, Outcome::Landed { base_offset, append_time });
            }
            Verdict::Retry { error, refresh } => {
                self.refresh_wanted |= refresh;
                self.retry(sent, error);
            }
            Verdict::OutOfSequence(error) => {
                let at = self.backoff_of(&sent.batch);
                let Sent { partition, numbered, mut batch } = sent;
                batch.last_error = Some(error);
                let lost = self
                    .with_queue(&partition, |queue| queue.out_of_sequence(numbered, batch, at))
                    .flatten();
                if let Some(batch) = lost {
                    let error = refused(partition, ErrorCode::OutOfOrderSequenceNumber);
                    self.complete(batch, Outcome::Failed(error));
                }
            }
            Verdict::TooLarge(error) => {
                let (options, serial) = (self.inner.state.lock().options, sent.batch.serial);
                match sent.batch.split(options) {
                    Ok(parts) => {
                        tracing::debug!(partition = %sent.partition, "splitting a too large batch");
                        self.inner.state.lock().split(serial, parts.len());
                        self.with_queue(&sent.partition, |queue| {
                            queue.split(sent.numbered, parts);
                        });
                    }
                    Err(batch) => {
                        sent.batch = *batch;
                        self.fail(sent, error);
                    }
                }
            }
            Verdict::Failed(error) => self.fail(sent, error),
        }
    }

    fn retry(&mut self, mut sent: Sent, error: ClientError) {
        let config = &self.inner.config;
        let at = self.backoff_of(&sent.batch);
        if at >= sent.batch.created() + config.delivery_timeout {
            let failure = ProduceError::TimedOut {
                partition: sent.partition.clone(),
                after: config.delivery_timeout,
                last: Some(Box::new(error)),
            };
            return self.fail(sent, failure);
        }
        tracing::debug!(partition = %sent.partition, %error, "sending a batch again");
        sent.batch.last_error = Some(error);
        self.with_queue(&sent.partition, |queue| queue.retry(sent.numbered, sent.batch, at));
    }

    fn backoff_of(&self, batch: &Batch) -> Instant {
        let cluster = &self.inner.cluster;
        let attempt = batch.attempts.saturating_sub(1);
        Instant::now() + cluster.backoff().before(attempt, cluster.random())
    }

    pub(super) fn fail(&self, sent: Sent, error: ProduceError) {
        self.with_queue(&sent.partition, |queue| queue.gave_up(sent.numbered.order));
        self.complete(sent.batch, Outcome::Failed(error));
    }

    /// Gives up what waits for longer than `delivery.timeout.ms`.
    pub(super) fn expire(&self, now: Instant) {
        let after = self.inner.config.delivery_timeout;
        let mut expired: Vec<(TopicPartition, Batch)> = Vec::new();
        {
            let mut state = self.inner.state.lock();
            for (partition, queue) in &mut state.queues {
                let gone = queue.expire(|batch| batch.created() + after <= now);
                expired.extend(gone.into_iter().map(|batch| (partition.clone(), batch)));
            }
        }
        for (partition, batch) in expired {
            let last = batch.last_error.clone().map(Box::new);
            let error = ProduceError::TimedOut { partition, after, last };
            self.complete(batch, Outcome::Failed(error));
        }
    }

    fn complete(&self, batch: Batch, outcome: Outcome) {
        let (serial, reserved) = (batch.serial, batch.reserved);
        let builder = batch.complete(outcome);
        self.inner.state.lock().done(serial, builder);
        self.inner.finished(reserved);
    }

    pub(super) fn with_queue<T>(
        &self,
        partition: &TopicPartition,
        change: impl FnOnce(&mut PartitionQueue<Batch>) -> T,
    ) -> Option<T> {
        self.inner.state.lock().queues.get_mut(partition).map(change)
    }
}

fn refused(partition: TopicPartition, code: ErrorCode) -> ProduceError {
    ProduceError::Refused { partition, code, message: None, records: Arc::from([]) }
}
