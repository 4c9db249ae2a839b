//! One shard with its partition, its lock and the requests that wait in it.
//!
//! Key type: [`HostedShard`]. Under the lock: decide, append (one write to the page cache), apply. Waiting for the commit,
//! and sending replies to other tasks, never happens under it longer than a channel send takes. What a client is told waits for
//! everything that was written before, whether its own request wrote something or not; only a classic heartbeat, which tells nothing
//! but whether the member is known, does not.

use std::collections::{BTreeSet, HashMap};
use std::mem::take;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, ProducerEpoch, ProducerId, TimestampMs};
use millstream_groups::{Decided, GroupConfig, Now, Origin, Record, RequestToken, Response, Shard};
use millstream_records::BatchBuilder;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use crate::replica::{Partition, TxnMarker, Verification};
use crate::state_log::{self, Batch, Commit, CommitLine, Hosted, LoadReport, State};

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
}

/// A shard that this broker hosts.
#[derive(Debug)]
pub(crate) struct HostedShard {
    pub(super) partition: Arc<Partition>,
    /// The epoch in which this broker leads the partition.
    epoch: LeaderEpoch,
    inner: Mutex<Inner>,
    /// What is written and what of it is committed.
    line: Arc<CommitLine>,
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

/// An answer that may have to wait.
#[derive(Debug)]
pub(crate) struct Written<R> {
    /// The answer, to be sent when `committed` says so.
    pub reply: R,
    /// `None` when it may be sent at once.
    pub committed: Option<Commit>,
}

impl<R> Written<R> {
    /// Waits for the commit.
    pub(crate) async fn committed(self) -> Result<R, ErrorCode> {
        if let Some(committed) = self.committed {
            committed.done().await?;
        }
        Ok(self.reply)
    }
}

impl Hosted for HostedShard {
    fn partition(&self) -> &Arc<Partition> {
        &self.partition
    }

    fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    fn is_loading(&self) -> bool {
        self.inner.lock().state == State::Loading
    }

    fn close(&self) -> usize {
        self.give_up(State::Closed, ErrorCode::NotCoordinator)
    }
}

impl HostedShard {
    /// A shard that is to be loaded. `commit_timeout`: how long a reply waits for its records (`offsets.commit.timeout.ms`).
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
        };
        Arc::new_cyclic(|me: &Weak<Self>| {
            let me = Weak::clone(me);
            let on_loss = move |code| me.upgrade().into_iter().for_each(|shard| shard.lost(code));
            Self {
                partition,
                epoch,
                inner: Mutex::new(inner),
                line: CommitLine::new(commit_timeout, on_loss),
                next_deadline_ms: AtomicI64::new(NEVER),
            }
        })
    }

    fn lock_active(&self) -> Result<MutexGuard<'_, Inner>, ErrorCode> {
        let inner = self.inner.lock();
        match inner.state.refusal() {
            None => Ok(inner),
            Some(code) => Err(code),
        }
    }

    /// Looks at the state; what is seen may be told when it is committed.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Shard) -> R) -> Result<Written<R>, ErrorCode> {
        let inner = self.lock_active()?;
        Ok(Written { reply: look(&inner.shard), committed: self.line.pending() })
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

    /// Writes the end of a transaction, and takes it into account, unless it was written before. What is returned says when
    /// it will stay.
    pub(crate) fn end_transaction(
        &self,
        now: Now,
        marker: &TxnMarker,
    ) -> Result<Commit, ErrorCode> {
        let mut inner = self.lock_active()?;
        let (epoch, wall) = (Some(self.epoch), TimestampMs(now.wall_ms));
        let appended = self.partition.append_marker_in(epoch, marker, wall);
        match appended.map_err(|cause| cause.code())? {
            Some(appended) => {
                inner.shard.end_transaction(marker.producer_id.get(), marker.commit);
                self.line.wrote(appended.last_offset.plus(1), appended.durable);
            }
            // Whoever wrote it may not have waited for it.
            None => {
                let end = self.partition.with_log(|log| log.end_offset());
                self.line.wrote(end, self.partition.when_committed(end));
            }
        }
        Ok(self.line.commit())
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

    /// The log is read: the shard answers from now on, and tells what it read when that is committed.
    pub(super) fn activate(&self, now: Now, shard: Shard, report: &LoadReport) {
        let mut inner = self.inner.lock();
        if inner.state != State::Loading {
            return;
        }
        inner.shard = shard;
        inner.state = State::Active;
        self.line.wrote(report.end, self.partition.when_committed(report.end));
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

    /// What was decided may be lost: nothing more is said from this state. Whoever leads next reads what is left.
    fn lost(&self, code: ErrorCode) {
        if self.inner.lock().state != State::Active {
            return;
        }
        let (partition, epoch) = (&self.partition.name, self.epoch.get());
        if code == ErrorCode::NotCoordinator {
            info!(%partition, epoch, "another broker coordinates the groups of this partition now");
            self.give_up(State::Closed, code);
        } else {
            error!(%partition, epoch, error = %code,
                "what the groups of this partition wrote may be lost: they are given up here");
            self.give_up(State::Failed, code);
        }
    }

    /// Everybody who waits is sent on with `code`. Says how many.
    fn give_up(&self, state: State, code: ErrorCode) -> usize {
        let waiting = {
            let mut inner = self.inner.lock();
            inner.state = state;
            let waiting = inner.waiting.len();
            let replies = inner.shard.unload(code);
            inner.answer(replies);
            inner.waiting.clear();
            self.next_deadline_ms.store(NEVER, Ordering::SeqCst);
            waiting
        };
        self.line.end(code);
        waiting
    }

    fn settle<R>(
        &self,
        inner: &mut Inner,
        decided: Decided<R>,
        now: Now,
        transaction: Option<&InTransaction>,
    ) -> Result<Written<R>, ErrorCode> {
        let origin = match self.write(inner, &decided.records, now, transaction) {
            Ok(origin) => origin,
            Err(code) => {
                let replies = inner.shard.abort(now, decided, code);
                inner.answer(replies);
                return Err(Shard::append_error(code));
            }
        };
        let (reply, replies) = inner.shard.apply(now, decided, origin);
        let committed = self.line.pending();
        match &committed {
            None => inner.answer(replies),
            Some(commit) => inner.answer_when_committed(replies, commit),
        }
        Ok(Written { reply, committed })
    }

    /// One batch, one write; none without records.
    fn write(
        &self,
        inner: &mut Inner,
        records: &[Record],
        now: Now,
        transaction: Option<&InTransaction>,
    ) -> Result<Origin, ErrorCode> {
        if records.is_empty() {
            return Ok(NOWHERE);
        }
        let (partition, epoch) = (&self.partition, self.epoch);
        let batch = Batch { partition, epoch, transaction, now: TimestampMs(now.wall_ms) };
        let records = records.iter().map(Record::encode);
        let appended = state_log::append(&batch, &mut inner.builder, records)?;
        self.line.wrote(appended.last_offset.plus(1), appended.durable);
        let producer_id = transaction.map(|transaction| transaction.producer.0.get());
        Ok(Origin { log_offset: appended.first_offset.get(), producer_id })
    }
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

    /// Answers once everything is committed, or with an error when it will not be.
    fn answer_when_committed(&mut self, replies: Vec<(RequestToken, Response)>, commit: &Commit) {
        let channels = self.channels(replies);
        if channels.is_empty() {
            return;
        }
        commit.clone().then(move |outcome| {
            for (channel, response) in channels {
                let response = match outcome {
                    Ok(()) => response,
                    Err(why) => response.failed(why.code()),
                };
                let _ = channel.send(response);
            }
        });
    }
}
