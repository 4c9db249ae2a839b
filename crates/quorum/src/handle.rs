//! The handle through which everyone reads the image and proposes changes.
//!
//! Key type: [`Quorum`]. Commands queue up; whoever puts the first one into an empty queue has the queue worked
//! off elsewhere (see [`Executor`]), and all that came in the meantime share the next write and fsync.

use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use millstream_base::Offset;
use millstream_env::clock::Clock;
use millstream_env::fs::Fs;
use millstream_metadata::decide::{Decision, Refusal, bootstrap_features};
use millstream_metadata::{ClusterImage, ImageDelta};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use crate::METADATA_DIR;
use crate::core::{Committed, Core};
use crate::error::{CommitError, OpenError};
use crate::job::{Job, Pending, Turn};
use crate::options::QuorumOptions;
use crate::status::Leadership;
use crate::transport::Peer;

/// Something to be done that may wait for the disk.
pub type Work = Box<dyn FnOnce() + Send>;

/// Where commands are worked off: given a piece of work, it sees that it is done.
#[derive(Clone)]
pub struct Executor(Arc<dyn Fn(Work) + Send + Sync>);

impl Executor {
    /// Has work done by `run`.
    pub fn new(run: impl Fn(Work) + Send + Sync + 'static) -> Self {
        Self(Arc::new(run))
    }

    /// Does work at once, on the thread that proposes: for tests and tools.
    pub fn inline() -> Self {
        Self::new(|work| work())
    }

    /// Does work on the runtime's threads for what may block.
    pub fn blocking() -> Self {
        Self::new(|work| drop(millstream_env::task::spawn_blocking(work)))
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Executor")
    }
}

/// Someone who acts on every commit.
pub trait ImageListener: Send + Sync {
    /// Called once for every commit, in order, after it is on disk and before its commands are answered and
    /// [`Quorum::image`] shows it: what must be there before a client can know of it is made here. It may block,
    /// and must not call [`Quorum::execute`] and wait.
    fn committed(&self, image: &Arc<ClusterImage>, delta: &ImageDelta);
}

/// The cluster's metadata. Cheap to clone.
#[derive(Clone)]
pub struct Quorum {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) options: QuorumOptions,
    /// This node, and where it is reached.
    pub(crate) peer: Mutex<Peer>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) cluster_id: watch::Sender<Option<Arc<str>>>,
    core: Mutex<Core>,
    queue: Mutex<Queue>,
    image: ArcSwap<ClusterImage>,
    changes: watch::Sender<Arc<ClusterImage>>,
    listeners: RwLock<Vec<Arc<dyn ImageListener>>>,
    pub(crate) clock: Arc<dyn Clock>,
    executor: Executor,
}

#[derive(Default)]
struct Queue {
    jobs: Vec<Box<dyn Job>>,
    /// Somebody is working the queue off.
    busy: bool,
    closed: bool,
}

impl Quorum {
    /// Opens the log in the data directory, replays it, and begins it if it is new. The directory must be
    /// this node's, and locked by the caller (`millstream_log::claim`).
    pub fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        executor: Executor,
        options: &QuorumOptions,
    ) -> Result<Self, OpenError> {
        let directory = options.data_dir.join(METADATA_DIR);
        let (core, recovered) = Core::open(fs, &directory, options.snapshot_after_bytes)?;
        if recovered.cut_bytes > 0 {
            warn!(
                directory = %directory.display(),
                bytes = recovered.cut_bytes,
                "cut a torn tail off the metadata log: the last write before the stop was not finished"
            );
        }
        let begin = if core.is_new() { bootstrap_features(&options.features) } else { Vec::new() };
        let begin: Vec<_> = begin.into_iter().chain(core.unfinished()).collect();
        let image = Arc::new(core.image().clone());
        let id = options.node_id;
        let (host, port) = options.address.clone().unwrap_or_default();
        let leader = Leadership { leader: Some(id), epoch: core.epoch().get(), is_me: true };
        let cluster_id = options.cluster_id.as_ref().or(options.proposed_cluster_id.as_ref());
        let cluster_id = cluster_id.cloned().unwrap_or_else(|| options.directory_id.to_string());
        let shared = Shared {
            options: options.clone(),
            peer: Mutex::new(Peer { id, host, port }),
            leadership: watch::Sender::new(leader),
            cluster_id: watch::Sender::new(Some(cluster_id.into())),
            core: Mutex::new(core),
            queue: Mutex::default(),
            changes: watch::Sender::new(Arc::clone(&image)),
            image: ArcSwap::new(image),
            listeners: RwLock::default(),
            clock,
            executor,
        };
        let quorum = Self { shared: Arc::new(shared) };
        if !begin.is_empty() {
            quorum.begin(Decision { records: begin, reply: () }, &directory)?;
        }
        Ok(quorum)
    }

    /// Writes the first records, on the caller's thread.
    fn begin(&self, decision: Decision<()>, directory: &Path) -> Result<(), OpenError> {
        info!(directory = %directory.display(), "writing the first records of the metadata log");
        let mut outcome = Ok(());
        let job =
            Pending::new(move |_: &ClusterImage, _: &Turn| Ok(decision), |result| outcome = result);
        // `run` consumes the job before it returns, so the borrow of `outcome` has ended.
        self.shared.run(vec![Box::new(job)]);
        outcome.map_err(OpenError::Bootstrap)
    }

    /// The image as of the last commit.
    pub fn image(&self) -> Arc<ClusterImage> {
        self.shared.image.load_full()
    }

    /// Every image from now on; a slow receiver sees only the newest.
    pub fn watch(&self) -> watch::Receiver<Arc<ClusterImage>> {
        self.shared.changes.subscribe()
    }

    /// Has `listener` called for every commit from now on.
    pub fn add_listener(&self, listener: Arc<dyn ImageListener>) {
        self.shared.listeners.write().push(listener);
    }

    /// The offset that the next record gets.
    pub fn next_offset(&self) -> Offset {
        self.shared.core.lock().next_offset()
    }

    /// Decides a command against the newest state and answers once its records are durable and replayed. Also an
    /// answer without records waits for those before it, so that it never tells of what may yet be lost.
    pub async fn execute<R, D>(&self, decide: D) -> Result<R, CommitError>
    where
        R: Send + 'static,
        D: FnOnce(&ClusterImage, &Turn) -> Result<Decision<R>, Refusal> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.submit(decide, |result| drop(answer.send(result)));
        answered.await.unwrap_or(Err(CommitError::Closed))
    }

    /// As [`Quorum::execute`], with a function to be called with the answer. It must not block.
    pub fn submit<R, D, A>(&self, decide: D, answer: A)
    where
        R: Send + 'static,
        D: FnOnce(&ClusterImage, &Turn) -> Result<Decision<R>, Refusal> + Send + 'static,
        A: FnOnce(Result<R, CommitError>) + Send + 'static,
    {
        let job: Box<dyn Job> = Box::new(Pending::new(decide, answer));
        let mut queue = self.shared.queue.lock();
        if queue.closed {
            drop(queue);
            job.finish(Err(CommitError::Closed));
            return;
        }
        queue.jobs.push(job);
        if std::mem::replace(&mut queue.busy, true) {
            return;
        }
        drop(queue);
        let shared = Arc::clone(&self.shared);
        (self.shared.executor.0)(Box::new(move || shared.work_off()));
    }

    /// Takes no more commands; returns when those before it are answered.
    pub async fn close(&self) {
        let drained = self.execute(|_, _| Ok(Decision::reply(()))).await;
        self.shared.queue.lock().closed = true;
        if let Err(error) = drained {
            warn!(%error, "the metadata log was closed after a failure");
        }
    }
}

impl Shared {
    /// Works the queue off until it is empty.
    fn work_off(&self) {
        let mut watchdog = Watchdog { shared: self, finished: false };
        loop {
            let jobs = {
                let mut queue = self.queue.lock();
                if queue.jobs.is_empty() {
                    queue.busy = false;
                    watchdog.finished = true;
                    return;
                }
                std::mem::take(&mut queue.jobs)
            };
            self.run(jobs);
        }
    }

    fn run<'a>(&self, jobs: Vec<Box<dyn Job + 'a>>) {
        let mut core = self.core.lock();
        core.run(jobs, self.clock.now_ms(), |committed| self.publish(&committed));
        match core.snapshot_if_due(self.clock.now_ms()) {
            Ok(true) => info!(offset = %core.next_offset(), "wrote a snapshot of the metadata"),
            Ok(false) => {}
            Err(error) => warn!(%error, "a snapshot of the metadata could not be written"),
        }
    }

    fn publish(&self, committed: &Committed) {
        for listener in self.listeners.read().iter() {
            listener.committed(&committed.image, &committed.delta);
        }
        self.image.store(Arc::clone(&committed.image));
        self.changes.send_replace(Arc::clone(&committed.image));
    }
}

/// Closes the log when a decision or a listener panics: callers then get an error instead of waiting for ever.
struct Watchdog<'a> {
    shared: &'a Shared,
    finished: bool,
}

impl Drop for Watchdog<'_> {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        error!("working on a metadata change panicked: no more changes are taken until a restart");
        let mut queue = self.shared.queue.lock();
        queue.closed = true;
        let left = std::mem::take(&mut queue.jobs);
        drop(queue);
        left.into_iter().for_each(|job| job.finish(Err(CommitError::Closed)));
    }
}

impl std::fmt::Debug for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quorum").field("topics", &self.image().topics.len()).finish_non_exhaustive()
    }
}
