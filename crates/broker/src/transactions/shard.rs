//! One partition of `__transaction_state` in service: its state, the lock around it, and what is not committed yet.
//!
//! Key types: [`HostedTxns`], [`Written`]. Under the lock: decide, append (one write to the page cache), apply. Waiting for
//! the commit happens outside. A reply waits for everything that was written before it, so nobody is told of a state that
//! could be lost.

use std::sync::{Arc, Weak};
use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, TimestampMs};
use millstream_records::BatchBuilder;
use millstream_txns::{Decided, Markers, Record, Shard, TxnConfig};
use parking_lot::{Mutex, MutexGuard};
use tracing::{error, info};

use crate::replica::Partition;
use crate::state_log::{self, Batch, Commit, CommitLine, Hosted, LoadReport, State};

/// How long a reply waits for its records to be committed.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Inner {
    state: State,
    shard: Shard,
    builder: BatchBuilder,
}

/// A shard that this broker hosts.
#[derive(Debug)]
pub(crate) struct HostedTxns {
    pub(super) partition: Arc<Partition>,
    /// The epoch in which this broker leads the partition: the coordinator's epoch.
    pub(super) epoch: LeaderEpoch,
    inner: Mutex<Inner>,
    /// What is written and what of it is committed.
    line: Arc<CommitLine>,
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

impl Hosted for HostedTxns {
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
        self.give_up(State::Closed, ErrorCode::NotCoordinator);
        0
    }
}

impl HostedTxns {
    pub(super) fn new(partition: Arc<Partition>, epoch: LeaderEpoch) -> Arc<Self> {
        let inner = Inner {
            state: State::Loading,
            shard: Shard::default(),
            builder: BatchBuilder::default(),
        };
        Arc::new_cyclic(|me: &Weak<Self>| {
            let me = Weak::clone(me);
            let on_loss = move |code| me.upgrade().into_iter().for_each(|shard| shard.lost(code));
            let line = CommitLine::new(PATIENCE, on_loss);
            Self { partition, epoch, inner: Mutex::new(inner), line }
        })
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

    /// Looks at the state without waiting: for what is asked again before it counts.
    pub(super) fn peek<R>(&self, look: impl FnOnce(&Shard) -> R) -> Result<R, ErrorCode> {
        Ok(look(&self.lock_active()?.shard))
    }

    /// Looks at the state; what is seen may be told when it is committed.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Shard) -> R) -> Result<(R, Commit), ErrorCode> {
        let inner = self.lock_active()?;
        Ok((look(&inner.shard), self.line.commit()))
    }

    /// Decides, and writes what was decided.
    pub(crate) fn decide<R>(
        &self,
        now: TimestampMs,
        decide: impl FnOnce(&Shard) -> Decided<R>,
    ) -> Result<Written<R>, ErrorCode> {
        let mut inner = self.lock_active()?;
        let Decided { records, reply, markers } = decide(&inner.shard);
        if !records.is_empty() {
            self.append(&mut inner.builder, &records, now)?;
            inner.shard.apply(records);
        }
        Ok(Written { reply, markers, commit: self.line.commit() })
    }

    fn append(
        &self,
        builder: &mut BatchBuilder,
        records: &[Record],
        now: TimestampMs,
    ) -> Result<(), ErrorCode> {
        let (partition, epoch) = (&self.partition, self.epoch);
        let batch = Batch { partition, epoch, transaction: None, now };
        let appended = state_log::append(&batch, builder, records.iter().map(Record::encode));
        let appended = appended.map_err(millstream_groups::Shard::append_error)?;
        self.line.wrote(appended.last_offset.plus(1), appended.durable);
        Ok(())
    }

    /// The log is read: the shard answers from now on, and tells what it read when that is committed. Gives the ends that were
    /// decided before, whose markers may be written then too.
    pub(super) fn activate(
        &self,
        shard: Shard,
        report: &LoadReport,
    ) -> Option<(Vec<Markers>, Commit)> {
        let mut inner = self.inner.lock();
        if inner.state != State::Loading {
            return None;
        }
        inner.shard = shard;
        inner.state = State::Active;
        self.line.wrote(report.end, self.partition.when_committed(report.end));
        Some((inner.shard.finish_loading(), self.line.commit()))
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

    /// What was decided may be lost: nothing more is said from this state. Whoever leads next reads what is left.
    fn lost(&self, code: ErrorCode) {
        if self.inner.lock().state != State::Active {
            return;
        }
        let (partition, epoch) = (&self.partition.name, self.epoch.get());
        if code == ErrorCode::NotCoordinator {
            info!(%partition, epoch, "another broker coordinates the transactions of this partition now");
            self.give_up(State::Closed, code);
        } else {
            error!(%partition, epoch, error = %code,
                "what the transactions of this partition wrote may be lost: they are given up here");
            self.give_up(State::Failed, code);
        }
    }

    fn give_up(&self, state: State, code: ErrorCode) {
        {
            let mut inner = self.inner.lock();
            inner.state = state;
            inner.shard = Shard::default();
        }
        self.line.end(code);
    }
}
