//! One partition of `__transaction_state` in service: its state, the lock around it, and what is not committed yet.
//!
//! Key types: [`HostedTxns`], [`Written`]. Under the lock: decide, append (one write to the page cache), apply. Waiting for
//! the commit happens outside. A reply waits for everything that was written before it, so nobody is told of a state that
//! could be lost.

use std::sync::Arc;

use millstream_base::{ErrorCode, LeaderEpoch, TimestampMs};
use millstream_env::task;
use millstream_partition::AppendOrigin;
use millstream_records::{BatchBuilder, BatchOptions};
use millstream_txns::{Decided, Markers, Record, Shard, TxnConfig};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;
use tracing::{error, warn};

use crate::replica::{Appended, Durable, Partition};
use crate::state_log::State;

#[derive(Debug)]
struct Inner {
    state: State,
    shard: Shard,
    builder: BatchBuilder,
    /// The last record that somebody has to wait for.
    pending: i64,
}

/// How far the log is committed; `Err` when it will not be.
type Progress = Result<i64, ErrorCode>;

/// A shard that this broker hosts.
#[derive(Debug)]
pub(crate) struct HostedTxns {
    pub(super) partition: Arc<Partition>,
    /// The epoch in which this broker leads the partition: the coordinator's epoch.
    pub(super) epoch: LeaderEpoch,
    inner: Mutex<Inner>,
    committed: watch::Sender<Progress>,
}

/// A place in the log that has to be committed.
#[derive(Debug, Clone)]
pub(crate) struct Commit {
    up_to: i64,
    committed: watch::Receiver<Progress>,
}

impl Commit {
    /// Whether it is.
    pub(crate) fn is_done(&self) -> bool {
        matches!(*self.committed.borrow(), Ok(end) if end >= self.up_to)
    }

    /// Waits until it is.
    pub(crate) async fn done(&mut self) -> Result<(), ErrorCode> {
        let up_to = self.up_to;
        let enough = |progress: &Progress| progress.map_or(true, |end| end >= up_to);
        match self.committed.wait_for(enough).await {
            Ok(progress) => progress.map(|_| ()),
            // The shard is gone.
            Err(_) => Err(ErrorCode::NotCoordinator),
        }
    }
}

/// A decision whose records are in the log.
#[derive(Debug)]
pub(crate) struct Written<R> {
    /// The answer, to be sent when it is committed.
    pub reply: R,
    /// A transaction whose end was decided; its markers may be written when it is committed.
    pub markers: Option<Markers>,
    /// What the reply and the markers wait for.
    pub commit: Commit,
}

impl HostedTxns {
    pub(super) fn new(partition: Arc<Partition>, epoch: LeaderEpoch) -> Arc<Self> {
        let inner = Inner {
            state: State::Loading,
            shard: Shard::default(),
            builder: BatchBuilder::default(),
            pending: -1,
        };
        let (committed, _) = watch::channel(Ok(-1));
        Arc::new(Self { partition, epoch, inner: Mutex::new(inner), committed })
    }

    fn lock_active(&self) -> Result<MutexGuard<'_, Inner>, ErrorCode> {
        let inner = self.inner.lock();
        match inner.state.refusal() {
            None => Ok(inner),
            Some(code) => Err(code),
        }
    }

    /// Whether the shard answers, or will.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.inner.lock().state, State::Loading | State::Active)
    }

    /// Looks at the state.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Shard) -> R) -> Result<R, ErrorCode> {
        Ok(look(&self.lock_active()?.shard))
    }

    /// Decides, and writes what was decided.
    pub(crate) fn decide<R>(
        self: &Arc<Self>,
        now: TimestampMs,
        decide: impl FnOnce(&Shard) -> Decided<R>,
    ) -> Result<Written<R>, ErrorCode> {
        let mut inner = self.lock_active()?;
        let Decided { records, reply, markers } = decide(&inner.shard);
        if !records.is_empty() {
            let appended = self.append(&mut inner.builder, &records, now)?;
            inner.shard.apply(records);
            self.note_appended(&mut inner, appended);
        }
        let commit = Commit { up_to: inner.pending, committed: self.committed.subscribe() };
        Ok(Written { reply, markers, commit })
    }

    fn note_appended(self: &Arc<Self>, inner: &mut Inner, appended: Appended) {
        let Some(durable) = appended.durable else { return };
        let last = appended.last_offset.get();
        inner.pending = last;
        let hosted = Arc::clone(self);
        task::spawn(async move { hosted.wait_durable(durable, last).await });
    }

    async fn wait_durable(&self, durable: Durable, last: i64) {
        if let Ok(Ok(())) = durable.await {
            self.committed.send_modify(|progress| {
                *progress = progress.map(|end| end.max(last));
            });
            return;
        }
        // What was applied may be lost: nothing more is said from this state.
        error!(partition = %self.partition.name, "transaction state could not be written");
        self.inner.lock().state = State::Failed;
        self.committed.send_modify(|progress| {
            *progress = Err(ErrorCode::CoordinatorNotAvailable);
        });
    }

    /// One batch, one write.
    fn append(
        &self,
        builder: &mut BatchBuilder,
        records: &[Record],
        now: TimestampMs,
    ) -> Result<Appended, ErrorCode> {
        let config = self.partition.config();
        builder.reset(BatchOptions::default());
        for record in records {
            let (key, value) = record.encode().map_err(|cause| {
                warn!(%cause, "the state of a transaction does not fit Kafka's format");
                ErrorCode::InvalidRequest
            })?;
            builder
                .append(now, Some(&key), value.as_deref(), &[])
                .map_err(|_| ErrorCode::RecordListTooLarge)?;
        }
        let mut batch = builder.build().map_err(|_| ErrorCode::RecordListTooLarge)?;
        let required = usize::try_from(config.min_insync_replicas).ok();
        let origin = AppendOrigin::Coordinator;
        self.partition.append(&mut batch, origin, required, now).map_err(|cause| {
            warn!(partition = %self.partition.name, %cause, "transaction state could not be written");
            in_coordinators_words(cause.code())
        })
    }

    /// The log is read: the shard answers from now on. Gives the ends that were decided before.
    pub(super) fn activate(&self, shard: Shard) -> Vec<Markers> {
        let mut inner = self.inner.lock();
        if inner.state != State::Loading {
            return Vec::new();
        }
        inner.shard = shard;
        inner.state = State::Active;
        inner.shard.finish_loading()
    }

    /// New settings.
    pub(super) fn set_config(&self, config: TxnConfig) {
        self.inner.lock().shard.set_config(config);
    }

    /// The log cannot be read.
    pub(super) fn fail(&self) {
        let mut inner = self.inner.lock();
        if inner.state == State::Loading {
            inner.state = State::Failed;
        }
    }

    /// This broker does not lead the partition any more.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.state = State::Closed;
        inner.shard = Shard::default();
        drop(inner);
        self.committed.send_modify(|progress| {
            *progress = progress.and(Err(ErrorCode::NotCoordinator));
        });
    }
}

/// A producer retries against the coordinator, so errors of the partition are told in the coordinator's words.
const fn in_coordinators_words(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::RecordListTooLarge
        | ErrorCode::MessageTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}
