//! What a shard has written, what of it is committed, and who waits for the difference.
//!
//! Key types: [`CommitLine`] (one a shard), [`Commit`] (a place on it). A reply waits for everything that was written
//! before it, whether it wrote something itself or not: nobody is told of a state that could be lost. Commits come in the
//! order of the log, so one queue and one task a shard do, and the task is there only while something is written and not
//! committed.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use millstream_base::{ErrorCode, Offset};
use millstream_env::task::{self, Instant};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::replica::{CommitFailure, Durable};

/// Why it is not known that something is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotCommitted {
    /// Not in time. It is in the log and may be committed later.
    Late,
    /// The shard is given up.
    Over(ErrorCode),
}

impl NotCommitted {
    /// What a client is told: to ask again, here or elsewhere.
    pub(crate) const fn code(self) -> ErrorCode {
        match self {
            Self::Late => ErrorCode::CoordinatorNotAvailable,
            Self::Over(code) => code,
        }
    }
}

/// How a wait ended.
pub(crate) type Outcome = Result<(), NotCommitted>;
type Tell = Box<dyn FnOnce(Outcome) + Send>;

struct Waiting {
    up_to: Offset,
    until: Instant,
    tell: Tell,
}

struct Line {
    /// One past the last record that has to be waited for.
    written: Offset,
    /// All below is committed.
    committed: Offset,
    over: Option<ErrorCode>,
    /// In the order of `up_to` and of `until`.
    waiting: VecDeque<Waiting>,
    /// What the partition says of each write, in the order of the log.
    writes: VecDeque<(Offset, Durable)>,
    /// Whether a task looks after `writes`.
    driven: bool,
    patience: Duration,
}

/// What a shard has written, and how far that is committed.
pub(crate) struct CommitLine {
    line: Mutex<Line>,
    /// Told, once, when what was written may be lost.
    on_loss: Box<dyn Fn(ErrorCode) + Send + Sync>,
}

impl std::fmt::Debug for CommitLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = self.line.lock();
        f.debug_struct("CommitLine")
            .field("written", &line.written)
            .field("committed", &line.committed)
            .field("over", &line.over)
            .finish_non_exhaustive()
    }
}

/// A place on a [`CommitLine`]. Complete when everything written before it is committed.
#[derive(Clone, Debug)]
pub(crate) struct Commit {
    line: Arc<CommitLine>,
    up_to: Offset,
}

impl CommitLine {
    /// Nothing is written. Who waits longer than `patience` is told so. `on_loss` hears when what was written may be lost.
    pub(crate) fn new(
        patience: Duration,
        on_loss: impl Fn(ErrorCode) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let line = Line {
            written: Offset::ZERO,
            committed: Offset::ZERO,
            over: None,
            waiting: VecDeque::new(),
            writes: VecDeque::new(),
            driven: false,
            patience,
        };
        Arc::new(Self { line: Mutex::new(line), on_loss: Box::new(on_loss) })
    }

    /// Everything below `end` is in the log; it is committed when `durable` says so, or already.
    pub(crate) fn wrote(self: &Arc<Self>, end: Offset, durable: Option<Durable>) {
        let Some(durable) = durable else { return };
        let mut line = self.line.lock();
        if line.over.is_some() {
            return;
        }
        line.written = line.written.max(end);
        line.writes.push_back((end, durable));
        if !line.driven {
            line.driven = true;
            task::spawn(drive(Arc::clone(self)));
        }
    }

    /// Where the line ends now.
    pub(crate) fn commit(self: &Arc<Self>) -> Commit {
        Commit { line: Arc::clone(self), up_to: self.line.lock().written }
    }

    /// Where the line ends now; `None` when everything is committed.
    pub(crate) fn pending(self: &Arc<Self>) -> Option<Commit> {
        let line = self.line.lock();
        let is_pending = line.over.is_some() || line.committed < line.written;
        let up_to = line.written;
        drop(line);
        is_pending.then(|| Commit { line: Arc::clone(self), up_to })
    }

    /// The shard is given up: nobody learns more.
    pub(crate) fn end(&self, code: ErrorCode) {
        let waiting = {
            let mut line = self.line.lock();
            line.over.get_or_insert(code);
            line.writes.clear();
            std::mem::take(&mut line.waiting)
        };
        for waiting in waiting {
            (waiting.tell)(Err(NotCommitted::Over(code)));
        }
    }

    /// Calls `tell` when everything below `up_to` is committed, or will not be.
    fn when(&self, up_to: Offset, tell: Tell) {
        let mut line = self.line.lock();
        let outcome = match line.over {
            Some(code) => Err(NotCommitted::Over(code)),
            None if line.committed >= up_to => Ok(()),
            None => {
                let until = Instant::now() + line.patience;
                let at = line.waiting.partition_point(|other| other.up_to <= up_to);
                line.waiting.insert(at, Waiting { up_to, until, tell });
                return;
            }
        };
        drop(line);
        tell(outcome);
    }

    fn advance(&self, end: Offset) {
        let done: Vec<Waiting> = {
            let mut line = self.line.lock();
            line.committed = line.committed.max(end);
            let count = line.waiting.partition_point(|waiting| waiting.up_to <= end);
            line.waiting.drain(..count).collect()
        };
        for waiting in done {
            (waiting.tell)(Ok(()));
        }
    }

    /// Tells those who waited long enough.
    fn give_up_waiting(&self) {
        let now = Instant::now();
        let late: Vec<Waiting> = {
            let mut line = self.line.lock();
            let (late, waiting) =
                std::mem::take(&mut line.waiting).into_iter().partition(|it| it.until <= now);
            line.waiting = waiting;
            late.into()
        };
        for waiting in late {
            (waiting.tell)(Err(NotCommitted::Late));
        }
    }

    fn is_over(&self) -> bool {
        self.line.lock().over.is_some()
    }

    /// The next write to look after. Without one, whoever writes next has to start the task again.
    fn next_write(&self) -> Option<(Offset, Durable)> {
        let mut line = self.line.lock();
        let next = line.writes.pop_front();
        line.driven = next.is_some();
        next
    }

    /// When somebody will have waited long enough.
    fn next_deadline(&self) -> Instant {
        let line = self.line.lock();
        let next = line.waiting.iter().map(|waiting| waiting.until).min();
        next.unwrap_or_else(|| Instant::now() + line.patience)
    }

    fn lose(&self, code: ErrorCode) {
        // The shard first: who is told that it is over must not find it as it was.
        (self.on_loss)(code);
        self.end(code);
    }
}

/// Looks after all that is written and not committed.
async fn drive(line: Arc<CommitLine>) {
    while let Some((end, mut durable)) = line.next_write() {
        let outcome = loop {
            let until = line.next_deadline();
            match task::timeout_at(until, &mut durable).await {
                Ok(outcome) => break outcome,
                Err(_) if line.is_over() => return,
                Err(_) => line.give_up_waiting(),
            }
        };
        match outcome {
            // All in-sync replicas have it, few as they are: it is committed.
            Ok(Ok(()) | Err(CommitFailure::NotEnoughReplicas)) => line.advance(end),
            Ok(Err(CommitFailure::Storage(_))) => line.lose(ErrorCode::CoordinatorNotAvailable),
            // Another broker leads, or the partition is gone.
            Ok(Err(CommitFailure::NotLeader)) | Err(_) => line.lose(ErrorCode::NotCoordinator),
        }
    }
}

impl Commit {
    /// Whether everything is committed.
    pub(crate) fn is_done(&self) -> bool {
        let line = self.line.line.lock();
        line.over.is_none() && line.committed >= self.up_to
    }

    /// Waits until everything is committed, for as long as replies wait; the error is what a client is told.
    pub(crate) async fn done(&self) -> Result<(), ErrorCode> {
        self.wait().await.map_err(NotCommitted::code)
    }

    fn wait(&self) -> Done {
        let (tell, done) = oneshot::channel();
        let tell: Tell = Box::new(move |outcome| {
            // Who asked may have given up.
            let _ = tell.send(outcome);
        });
        self.line.when(self.up_to, tell);
        Done(done)
    }

    /// Waits until everything is committed, however long that takes; the error says that the shard is given up.
    pub(crate) async fn done_at_last(&self) -> Result<(), ErrorCode> {
        loop {
            match self.wait().await {
                Ok(()) => return Ok(()),
                Err(NotCommitted::Late) => {}
                Err(NotCommitted::Over(code)) => return Err(code),
            }
        }
    }

    /// Calls `tell` with how it ended, for as long as replies wait.
    pub(crate) fn then(self, tell: impl FnOnce(Outcome) + Send + 'static) {
        self.line.when(self.up_to, Box::new(tell));
    }
}

/// A wait.
#[derive(Debug)]
struct Done(oneshot::Receiver<Outcome>);

impl Future for Done {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome> {
        let told = Pin::new(&mut self.0).poll(context);
        told.map(|told| told.unwrap_or(Err(NotCommitted::Over(ErrorCode::NotCoordinator))))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI16, Ordering};

    use millstream_log::StorageError;

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(40);

    struct Lab {
        line: Arc<CommitLine>,
        lost: Arc<AtomicI16>,
    }

    impl Lab {
        fn new() -> Self {
            let lost = Arc::new(AtomicI16::new(0));
            let note = Arc::clone(&lost);
            let line = CommitLine::new(PATIENCE, move |code| {
                note.store(code.code(), Ordering::SeqCst);
            });
            Self { line, lost }
        }

        fn write(&self, end: i64) -> oneshot::Sender<Result<(), CommitFailure>> {
            let (tell, durable) = oneshot::channel();
            self.line.wrote(Offset(end), Some(durable));
            tell
        }
    }

    #[tokio::test]
    async fn a_reply_waits_for_all_that_was_written_before_it() {
        let lab = Lab::new();
        assert!(lab.line.pending().is_none());
        lab.line.wrote(Offset(3), None);
        assert!(lab.line.pending().is_none(), "committed at once");
        let (first, second) = (lab.write(5), lab.write(8));
        let commit = lab.line.pending().unwrap();
        // A write that need not be waited for still stands behind those that must.
        lab.line.wrote(Offset(9), None);
        assert!(!lab.line.commit().is_done());
        first.send(Ok(())).unwrap();
        task::sleep(Duration::from_millis(5)).await;
        assert!(!commit.is_done());
        second.send(Ok(())).unwrap();
        assert_eq!(commit.done().await, Ok(()));
        assert!(commit.is_done() && lab.line.pending().is_none());
    }

    #[tokio::test]
    async fn who_waits_too_long_is_told_and_the_rest_goes_on() {
        let lab = Lab::new();
        let tell = lab.write(1);
        let commit = lab.line.commit();
        assert_eq!(commit.done().await, Err(ErrorCode::CoordinatorNotAvailable));
        assert_eq!(lab.lost.load(Ordering::SeqCst), 0, "it may yet be committed");
        let patient = commit.clone();
        let at_last = task::spawn(async move { patient.done_at_last().await });
        task::sleep(PATIENCE * 2).await;
        tell.send(Ok(())).unwrap();
        assert_eq!(at_last.await.unwrap(), Ok(()));
        assert_eq!(commit.done().await, Ok(()));
    }

    #[tokio::test]
    async fn a_lost_leadership_ends_the_shard_before_anybody_is_told() {
        let lab = Lab::new();
        let (first, second) = (lab.write(1), lab.write(2));
        let commit = lab.line.commit();
        let lost = Arc::clone(&lab.lost);
        let (tell, told) = oneshot::channel();
        commit.clone().then(move |outcome| {
            tell.send((outcome, lost.load(Ordering::SeqCst))).unwrap();
        });
        first.send(Err(CommitFailure::NotLeader)).unwrap();
        let code = ErrorCode::NotCoordinator;
        assert_eq!(told.await.unwrap(), (Err(NotCommitted::Over(code)), code.code()));
        // What comes later changes nothing.
        drop(second);
        assert_eq!(commit.done().await, Err(code));
        assert_eq!(lab.line.pending().unwrap().done().await, Err(code));
    }

    #[tokio::test]
    async fn few_replicas_are_enough_and_a_broken_disk_is_not() {
        let lab = Lab::new();
        lab.write(1).send(Err(CommitFailure::NotEnoughReplicas)).unwrap();
        assert_eq!(lab.line.commit().done().await, Ok(()), "all that are in sync have it");
        let broken = StorageError::Invalid { path: "p".into(), problem: "broken".to_owned() };
        lab.write(2).send(Err(CommitFailure::Storage(broken))).unwrap();
        let code = ErrorCode::CoordinatorNotAvailable;
        assert_eq!(lab.line.commit().done_at_last().await, Err(code));
        assert_eq!(lab.lost.load(Ordering::SeqCst), code.code());
    }

    #[tokio::test]
    async fn a_closed_line_keeps_no_task() {
        let lab = Lab::new();
        let tell = lab.write(1);
        lab.line.end(ErrorCode::NotCoordinator);
        assert_eq!(lab.line.commit().done().await, Err(ErrorCode::NotCoordinator));
        task::sleep(PATIENCE * 3).await;
        assert!(tell.is_closed(), "nobody looks after a write of a closed shard");
        assert_eq!(lab.lost.load(Ordering::SeqCst), 0);
    }
}
