//! One shard with its partition, its lock and the requests that wait in it.
//!
//! Key type: [`HostedShard`]. Under the lock: decide, append (one write to the page cache), apply. Waiting for the commit,
//! and sending replies to other tasks, never happens under it longer than a channel send takes.

use std::collections::{BTreeSet, HashMap};
use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, ProducerEpoch, ProducerId, TimestampMs};
use millstream_env::task;
use millstream_groups::{
    Decided, EncodeRecordError, GroupConfig, Now, Origin, Record, RequestToken, Response, Shard,
};
use millstream_partition::AppendOrigin;
use millstream_records::{BatchBuilder, BatchOptions};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::replica::{Appended, Partition, TxnMarker, Verification};
use crate::state_log::State;

/// Stands for "no deadline".
pub(super) const NEVER: i64 = i64::MAX;

/// Where records that were never written stand: there are none.
const NOWHERE: Origin = Origin { log_offset: -1, producer_id: None };

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) state: State,
    pub(super) shard: Shard,
    waiting: HashMap<RequestToken, oneshot::Sender<Response>>,
    next_token: u64,
    builder: BatchBuilder,
    /// Topics that were deleted while the log was being read.
    deleted_meanwhile: BTreeSet<Arc<str>>,
    /// `offsets.commit.timeout.ms`.
    commit_timeout: Duration,
}

/// A shard that this broker hosts.
#[derive(Debug)]
pub(crate) struct HostedShard {
    pub(super) partition: Arc<Partition>,
    /// The epoch in which this broker leads the partition.
    pub(super) epoch: LeaderEpoch,
    inner: Mutex<Inner>,
    /// When the shard wants to be called next, on the monotonic clock.
    next_deadline_ms: AtomicI64,
}

/// The transaction that records are part of, and what lets them in.
#[derive(Debug)]
pub(crate) struct InTransaction {
    /// Whose.
    pub producer: (ProducerId, ProducerEpoch),
    /// Needed for the first records of a transaction in a partition.
    pub verification: Option<Verification>,
}

/// A decision whose records are in the log.
#[derive(Debug)]
pub(crate) struct Written<R> {
    /// The answer, to be sent when `committed` says so.
    pub reply: R,
    /// `None` when it may be sent at once.
    pub committed: Option<oneshot::Receiver<Result<(), ErrorCode>>>,
}

impl<R> Written<R> {
    /// Waits for the commit.
    pub(crate) async fn committed(self) -> Result<R, ErrorCode> {
        let Some(committed) = self.committed else { return Ok(self.reply) };
        // The task that waits for the disk is gone only when the broker stops.
        committed.await.unwrap_or(Err(ErrorCode::CoordinatorNotAvailable))?;
        Ok(self.reply)
    }
}

impl HostedShard {
    pub(super) fn new(
        partition: Arc<Partition>,
        epoch: LeaderEpoch,
        config: GroupConfig,
        commit_timeout: Duration,
    ) -> Arc<Self> {
        let inner = Inner {
            state: State::Loading,
            shard: Shard::new(config),
            waiting: HashMap::new(),
            next_token: 0,
            builder: BatchBuilder::default(),
            deleted_meanwhile: BTreeSet::new(),
            commit_timeout,
        };
        Arc::new(Self {
            partition,
            epoch,
            inner: Mutex::new(inner),
            next_deadline_ms: AtomicI64::new(NEVER),
        })
    }

    fn lock_active(&self) -> Result<MutexGuard<'_, Inner>, ErrorCode> {
        let inner = self.inner.lock();
        match inner.state.refusal() {
            None => Ok(inner),
            Some(code) => Err(code),
        }
    }

    /// Looks at the state.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Shard) -> R) -> Result<R, ErrorCode> {
        Ok(look(&self.lock_active()?.shard))
    }

    /// Runs what never writes and never waits (a heartbeat).
    pub(crate) fn touch<R>(&self, run: impl FnOnce(&mut Shard) -> R) -> Result<R, ErrorCode> {
        let mut inner = self.lock_active()?;
        let result = run(&mut inner.shard);
        self.note_deadline(&inner);
        Ok(result)
    }

    /// Decides, and writes what was decided.
    pub(crate) fn decide<R>(
        &self,
        now: Now,
        decide: impl FnOnce(&mut Shard) -> Decided<R>,
    ) -> Result<Written<R>, ErrorCode> {
        self.decide_within(now, None, decide)
    }

    /// [`Self::decide`], where the records are part of a transaction: they count when it commits.
    pub(crate) fn decide_within<R>(
        &self,
        now: Now,
        transaction: Option<&InTransaction>,
        decide: impl FnOnce(&mut Shard) -> Decided<R>,
    ) -> Result<Written<R>, ErrorCode> {
        let mut inner = self.lock_active()?;
        let decided = decide(&mut inner.shard);
        let outcome = self.settle(&mut inner, decided, now, transaction);
        self.note_deadline(&inner);
        outcome
    }

    /// Writes the end of a transaction, and takes it into account. `None` when it was written before.
    pub(crate) fn end_transaction(
        &self,
        now: Now,
        marker: &TxnMarker,
    ) -> Result<Option<Appended>, ErrorCode> {
        let mut inner = self.lock_active()?;
        let appended = self.partition.append_marker(marker, TimestampMs(now.wall_ms));
        let appended = appended.map_err(|cause| cause.code())?;
        if appended.is_some() {
            inner.shard.end_transaction(marker.producer_id.get(), marker.commit);
        }
        Ok(appended)
    }

    /// Decides a request whose answer may come later; gives the place where it will come.
    pub(crate) fn park(
        &self,
        now: Now,
        decide: impl FnOnce(&mut Shard, RequestToken) -> Decided<()>,
    ) -> Result<oneshot::Receiver<Response>, ErrorCode> {
        let mut inner = self.lock_active()?;
        inner.next_token += 1;
        let token = RequestToken(inner.next_token);
        let (tell, answer) = oneshot::channel();
        inner.waiting.insert(token, tell);
        let decided = decide(&mut inner.shard, token);
        // A failed append is told through the same channel.
        let _ = self.settle(&mut inner, decided, now, None);
        self.note_deadline(&inner);
        Ok(answer)
    }

    /// Handles every deadline that has passed.
    pub(super) fn fire_due(&self, now: Now) {
        loop {
            let mut inner = self.inner.lock();
            if inner.state != State::Active {
                self.next_deadline_ms.store(NEVER, Ordering::SeqCst);
                return;
            }
            let Some(decided) = inner.shard.on_timer(now) else {
                self.note_deadline(&inner);
                return;
            };
            if let Err(code) = self.settle(&mut inner, decided, now, None) {
                warn!(
                    partition = %self.partition.name,
                    error = %code,
                    "what a group's timer decided could not be written"
                );
            }
        }
    }

    /// The next deadline, on the monotonic clock.
    pub(super) fn next_deadline_ms(&self) -> i64 {
        self.next_deadline_ms.load(Ordering::SeqCst)
    }

    fn note_deadline(&self, inner: &Inner) {
        let next = inner.shard.next_deadline().unwrap_or(NEVER);
        self.next_deadline_ms.store(next, Ordering::SeqCst);
    }

    /// The log is read: the shard answers from now on.
    pub(super) fn activate(&self, now: Now, shard: Shard) {
        let mut inner = self.inner.lock();
        if inner.state != State::Loading {
            return;
        }
        inner.shard = shard;
        inner.state = State::Active;
        let decided = inner.shard.finish_loading(now);
        if let Err(code) = self.settle(&mut inner, decided, now, None) {
            warn!(partition = %self.partition.name, error = %code, "a loaded group could not be written");
        }
        let deleted: Vec<Arc<str>> = take(&mut inner.deleted_meanwhile).into_iter().collect();
        let forgotten = self
            .settle_parts(&mut inner, now, |shard| shard.forget_topics(&deleted))
            .and_then(|_| self.settle_parts(&mut inner, now, Shard::forget_unknown_topics));
        if let Err(code) = forgotten {
            // The retention check tries again.
            let partition = &self.partition.name;
            warn!(%partition, error = %code, "offsets of deleted topics could not be deleted");
        }
        self.note_deadline(&inner);
    }

    /// Decides, and writes what was decided, until a reply says that there is no more of it. Nobody comes in between.
    pub(crate) fn decide_in_parts<R>(
        &self,
        now: Now,
        decide: impl Fn(&mut Shard) -> Decided<Option<R>>,
    ) -> Result<Written<R>, ErrorCode> {
        let mut inner = self.lock_active()?;
        let outcome = self.settle_parts(&mut inner, now, decide);
        self.note_deadline(&inner);
        outcome
    }

    fn settle_parts<R>(
        &self,
        inner: &mut Inner,
        now: Now,
        decide: impl Fn(&mut Shard) -> Decided<Option<R>>,
    ) -> Result<Written<R>, ErrorCode> {
        loop {
            let decided = decide(&mut inner.shard);
            let Written { reply, committed } = self.settle(inner, decided, now, None)?;
            // When the last part is committed, so are those before it.
            if let Some(reply) = reply {
                return Ok(Written { reply, committed });
            }
        }
    }

    /// Topics are gone, and with them their offsets. Says whether there are more to delete: then call again. A shard
    /// that loads does it when it is done.
    pub(super) fn forget_topics(&self, now: Now, topics: &[Arc<str>]) -> Result<bool, ErrorCode> {
        {
            let mut inner = self.inner.lock();
            if inner.state == State::Loading {
                inner.deleted_meanwhile.extend(topics.iter().cloned());
                return Ok(false);
            }
        }
        Ok(self.decide(now, |shard| shard.forget_topics(topics))?.reply.is_none())
    }

    /// The log cannot be read.
    pub(super) fn fail(&self) {
        let mut inner = self.inner.lock();
        if inner.state == State::Loading {
            inner.state = State::Failed;
        }
    }

    /// This broker does not lead the partition any more: everybody who waits is sent on. Says how many.
    pub(super) fn close(&self, now: Now) -> usize {
        let mut inner = self.inner.lock();
        inner.state = State::Closed;
        let waiting = inner.waiting.len();
        let replies = inner.shard.unload(now);
        inner.answer(replies);
        inner.waiting.clear();
        self.next_deadline_ms.store(NEVER, Ordering::SeqCst);
        waiting
    }

    fn settle<R>(
        &self,
        inner: &mut Inner,
        decided: Decided<R>,
        now: Now,
        transaction: Option<&InTransaction>,
    ) -> Result<Written<R>, ErrorCode> {
        if decided.records.is_empty() {
            let (reply, replies) = inner.shard.apply(now, decided, NOWHERE);
            inner.answer(replies);
            return Ok(Written { reply, committed: None });
        }
        match self.append(&mut inner.builder, &decided.records, now, transaction) {
            Ok(appended) => {
                let producer_id = transaction.map(|transaction| transaction.producer.0.get());
                let origin = Origin { log_offset: appended.first_offset.get(), producer_id };
                let (reply, replies) = inner.shard.apply(now, decided, origin);
                let committed = inner.answer_when_committed(replies, appended);
                Ok(Written { reply, committed })
            }
            Err(code) => {
                let replies = inner.shard.abort(now, decided, code);
                inner.answer(replies);
                Err(Shard::append_error(code))
            }
        }
    }

    /// One batch, one write.
    fn append(
        &self,
        builder: &mut BatchBuilder,
        records: &[Record],
        now: Now,
        transaction: Option<&InTransaction>,
    ) -> Result<Appended, ErrorCode> {
        let config = self.partition.config();
        builder.reset(options(transaction));
        let wall = TimestampMs(now.wall_ms);
        for record in records {
            let (key, value) = record.encode().map_err(|cause| too_long(&cause))?;
            builder
                .append(wall, Some(&key), value.as_deref(), &[])
                .map_err(|_| ErrorCode::RecordListTooLarge)?;
        }
        let limit = usize::try_from(config.max_message_bytes).unwrap_or_default();
        if builder.size_bytes() > limit {
            return Err(ErrorCode::RecordListTooLarge);
        }
        let mut batch = builder.build().map_err(|_| ErrorCode::RecordListTooLarge)?;
        let required = usize::try_from(config.min_insync_replicas).ok();
        let origin = AppendOrigin::Coordinator;
        let appended = match transaction {
            None => self.partition.append(&mut batch, origin, required, wall),
            Some(InTransaction { producer, verification }) => self.partition.append_in_transaction(
                &mut batch,
                *producer,
                verification.as_ref(),
                origin,
                required,
                wall,
            ),
        };
        appended.map_err(|cause| {
            error!(partition = %self.partition.name, %cause, "group state could not be written");
            cause.code()
        })
    }
}

fn options(transaction: Option<&InTransaction>) -> BatchOptions {
    let Some(transaction) = transaction else { return BatchOptions::default() };
    let (producer_id, producer_epoch) = transaction.producer;
    BatchOptions { producer_id, producer_epoch, transactional: true, ..BatchOptions::default() }
}

impl Inner {
    fn answer(&mut self, replies: Vec<(RequestToken, Response)>) {
        for (tell, response) in self.channels(replies) {
            // A client that hung up does not care.
            let _ = tell.send(response);
        }
    }

    fn channels(
        &mut self,
        replies: Vec<(RequestToken, Response)>,
    ) -> Vec<(oneshot::Sender<Response>, Response)> {
        let channel = |(token, response)| Some((self.waiting.remove(&token)?, response));
        replies.into_iter().filter_map(channel).collect()
    }

    /// Answers once the records are committed, or with an error when they will not be.
    fn answer_when_committed(
        &mut self,
        replies: Vec<(RequestToken, Response)>,
        appended: Appended,
    ) -> Option<oneshot::Receiver<Result<(), ErrorCode>>> {
        let Some(durable) = appended.durable else {
            self.answer(replies);
            return None;
        };
        let channels = self.channels(replies);
        let (tell, committed) = oneshot::channel();
        let commit_timeout = self.commit_timeout;
        task::spawn(async move {
            let outcome = match task::timeout(commit_timeout, durable).await {
                Ok(Ok(Ok(()))) => Ok(()),
                Ok(Ok(Err(_)) | Err(_)) => Err(ErrorCode::NotCoordinator),
                Err(_) => Err(ErrorCode::CoordinatorNotAvailable),
            };
            for (channel, response) in channels {
                let response = match outcome {
                    Ok(()) => response,
                    Err(code) => response.failed(code),
                };
                let _ = channel.send(response);
            }
            let _ = tell.send(outcome);
        });
        Some(committed)
    }
}

fn too_long(cause: &EncodeRecordError) -> ErrorCode {
    warn!(%cause, "a group's record does not fit Kafka's format");
    ErrorCode::InvalidRequest
}
