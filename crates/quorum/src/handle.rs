//! The handle through which everyone reads the image and proposes changes.
//!
//! Key type: [`Quorum`]. Commands queue up; whoever puts the first one into an empty queue has the queue worked
//! off elsewhere (see [`Executor`]), and all that came in the meantime share the next write and fsync.

use std::path::Path;
use std::sync::Arc;

use millstream_base::{LeaderEpoch, Offset};
use millstream_env::clock::Clock;
use millstream_env::fs::Fs;
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::{Decision, Refusal, bootstrap_features};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{oneshot, watch};
use tracing::{error, info, warn};

use crate::METADATA_DIR;
use crate::core::{Committed, Core};
use crate::error::{CommitError, OpenError};
use crate::executor::Executor;
use crate::job::{Job, Pending, Turn};
use crate::options::QuorumOptions;
use crate::publish::{ImageListener, Publisher};
use crate::raft;
use crate::raft::node::Node;
use crate::raft::open::Opening;
use crate::raft::types::epoch_of;
use crate::status::Leadership;
use crate::transport::Peer;

/// The cluster's metadata. Cheap to clone.
#[derive(Clone)]
pub struct Quorum {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) executor: Executor,
    pub(crate) options: QuorumOptions,
    /// This node, and where it is reached.
    pub(crate) address: Mutex<Option<Peer>>,
    pub(crate) leadership: watch::Sender<Leadership>,
    pub(crate) cluster_id: watch::Sender<Option<Arc<str>>>,
    pub(crate) mode: RwLock<Mode>,
    pub(crate) publisher: Arc<Publisher>,
    queue: Mutex<Queue>,
}

/// Who decides.
pub(crate) enum Mode {
    /// This node alone, without asking anyone.
    Alone(Arc<Mutex<Core>>),
    /// The leader of a quorum.
    Quorum(Arc<Node>),
    /// On the way from the one to the other; nothing is decided. After a failure it stays so.
    Between,
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
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over their handles")]
    pub fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        executor: Executor,
        options: &QuorumOptions,
    ) -> Result<Self, OpenError> {
        let directory = options.data_dir.join(METADATA_DIR);
        let address = options.address.clone();
        let address = address.map(|(host, port)| Peer { id: options.node_id, host, port });
        let nobody = Leadership { leader: None, epoch: 0, is_me: false };
        let (leadership, cluster_id) = (watch::Sender::new(nobody), watch::Sender::new(None));
        let shared = |mode, publisher| Shared {
            fs: Arc::clone(&fs),
            clock: Arc::clone(&clock),
            executor: executor.clone(),
            options: options.clone(),
            address: Mutex::new(address.clone()),
            leadership: leadership.clone(),
            cluster_id: cluster_id.clone(),
            mode: RwLock::new(mode),
            publisher,
            queue: Mutex::default(),
        };
        if !options.is_alone() {
            let node = open_node(
                &fs,
                &clock,
                &executor,
                options,
                address.clone(),
                None,
                &leadership,
                &cluster_id,
            )?;
            let publisher = Arc::clone(&node.machine.publisher);
            return Ok(Self { shared: Arc::new(shared(Mode::Quorum(node), publisher)) });
        }
        let promised = raft::vote::read_vote(fs.as_ref(), &directory)?;
        let least = promised.map_or(LeaderEpoch::NONE, |vote| epoch_of(vote.leader_id.term));
        let (core, recovered) =
            Core::open(Arc::clone(&fs), &directory, options.snapshot_after_bytes, least)?;
        if let Some(voters) = core.other_voters(options.node_id) {
            return Err(OpenError::Voters { path: directory, voters });
        }
        if recovered.cut_bytes > 0 {
            warn!(
                directory = %directory.display(),
                bytes = recovered.cut_bytes,
                "cut a torn tail off the metadata log: the last write before the stop was not finished"
            );
        }
        let begin = if core.is_new() { bootstrap_features(&options.features) } else { Vec::new() };
        let begin: Vec<_> = begin.into_iter().chain(core.unfinished()).collect();
        let agreed = core.cluster_id().or_else(|| options.cluster_id.clone());
        let agreed = agreed.or_else(|| options.proposed_cluster_id.clone());
        let agreed = agreed.unwrap_or_else(|| options.directory_id.to_string());
        cluster_id.send_replace(Some(agreed.into()));
        leadership.send_replace(Leadership {
            leader: Some(options.node_id),
            epoch: core.epoch().get(),
            is_me: true,
        });
        let publisher = Arc::new(Publisher::new(Arc::new(core.image().clone())));
        let core = Arc::new(Mutex::new(core));
        let shared = shared(Mode::Alone(Arc::clone(&core)), publisher);
        let quorum = Self { shared: Arc::new(shared) };
        if !begin.is_empty() {
            quorum.begin(&core, Decision { records: begin, reply: () }, &directory)?;
        }
        Ok(quorum)
    }

    /// Writes the first records, on the caller's thread.
    fn begin(
        &self,
        core: &Mutex<Core>,
        decision: Decision<()>,
        directory: &Path,
    ) -> Result<(), OpenError> {
        info!(directory = %directory.display(), "writing the first records of the metadata log");
        let mut outcome = Ok(());
        let job =
            Pending::new(move |_: &ClusterImage, _: &Turn| Ok(decision), |result| outcome = result);
        // `run` consumes the job before it returns, so the borrow of `outcome` has ended.
        self.shared.run(core, vec![Box::new(job)]);
        outcome.map_err(OpenError::Bootstrap)
    }

    /// The image as of the last commit.
    pub fn image(&self) -> Arc<ClusterImage> {
        self.shared.publisher.image()
    }

    /// Every image from now on; a slow receiver sees only the newest.
    pub fn watch(&self) -> watch::Receiver<Arc<ClusterImage>> {
        self.shared.publisher.watch()
    }

    /// Has `listener` called for every commit from now on.
    pub fn add_listener(&self, listener: Arc<dyn ImageListener>) {
        self.shared.publisher.add_listener(listener);
    }

    /// The offset that the next record gets.
    pub fn next_offset(&self) -> Offset {
        self.applied()
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
        self.shared.work();
    }

    /// Has another voter lead, if this node does: for a stop that nobody notices. It follows on from here, and leads no more
    /// before it is opened again. Best called while the others still reach this node.
    pub async fn hand_over(&self) {
        if let Some(node) = self.shared.node() {
            node.hand_over().await;
        }
    }

    /// Takes no more commands; returns when those before it are answered, another node leads if this one did, and this node
    /// takes no further part.
    pub async fn close(&self) {
        let drained = self.execute(|_, _| Ok(Decision::reply(()))).await;
        self.shared.queue.lock().closed = true;
        match drained {
            Ok(()) | Err(CommitError::NotController { .. } | CommitError::Closed) => {}
            Err(error) => warn!(%error, "the metadata log was closed after a failure"),
        }
        let node = self.shared.node();
        if let Some(node) = node {
            node.hand_over().await;
            node.stop().await;
        }
    }
}

/// Opens this node as one of a quorum.
#[expect(clippy::too_many_arguments, reason = "the parts of a handle that is being made")]
pub(crate) fn open_node(
    fs: &Arc<dyn Fs>,
    clock: &Arc<dyn Clock>,
    executor: &Executor,
    options: &QuorumOptions,
    address: Option<Peer>,
    publisher: Option<Arc<Publisher>>,
    leadership: &watch::Sender<Leadership>,
    cluster_id: &watch::Sender<Option<Arc<str>>>,
) -> Result<Arc<Node>, OpenError> {
    let opening = Opening {
        fs: Arc::clone(fs),
        clock: Arc::clone(clock),
        executor: executor.clone(),
        options: options.clone(),
        address,
    };
    let publisher = |image| publisher.unwrap_or_else(|| Arc::new(Publisher::new(image)));
    raft::open::open(opening, publisher, leadership.clone(), cluster_id.clone())
}

impl Shared {
    /// This node of a quorum, if it is one.
    pub(crate) fn node(&self) -> Option<Arc<Node>> {
        match &*self.mode.read() {
            Mode::Quorum(node) => Some(Arc::clone(node)),
            Mode::Alone(_) | Mode::Between => None,
        }
    }

    /// Has the queue worked off, by who holds `busy`.
    pub(crate) fn work(self: &Arc<Self>) {
        let (core, node) = match &*self.mode.read() {
            Mode::Alone(core) => (Some(Arc::clone(core)), None),
            Mode::Quorum(node) => (None, Some(Arc::clone(node))),
            // Whoever ends it calls again.
            Mode::Between => return,
        };
        if let Some(core) = core {
            let shared = Arc::clone(self);
            self.executor.submit(Box::new(move || shared.work_off(&core)));
        }
        let Some(node) = node else { return };
        if node.running().is_some() {
            node.jobs.notify_one();
            return;
        }
        let error = node.not_controller();
        while let Some(jobs) = self.next_jobs() {
            raft::propose::refuse(jobs, &error);
        }
    }

    /// The commands that wait; `None` when there are none, and then nobody works on the queue any more.
    pub(crate) fn next_jobs(&self) -> Option<Vec<Box<dyn Job>>> {
        let mut queue = self.queue.lock();
        if queue.jobs.is_empty() {
            queue.busy = false;
            return None;
        }
        Some(std::mem::take(&mut queue.jobs))
    }

    /// Takes no more commands and tells those that wait.
    pub(crate) fn shut(&self) {
        let mut queue = self.queue.lock();
        queue.closed = true;
        let left = std::mem::take(&mut queue.jobs);
        drop(queue);
        left.into_iter().for_each(|job| job.finish(Err(CommitError::Closed)));
    }

    /// Puts commands back that were not decided yet.
    pub(crate) fn put_back(&self, mut jobs: Vec<Box<dyn Job>>) {
        let mut queue = self.queue.lock();
        jobs.append(&mut queue.jobs);
        queue.jobs = jobs;
    }

    /// Works the queue off until it is empty.
    fn work_off(self: &Arc<Self>, core: &Mutex<Core>) {
        let mut watchdog = Watchdog { shared: self, finished: false };
        loop {
            if !matches!(*self.mode.read(), Mode::Alone(_)) {
                // The node has joined others meanwhile.
                watchdog.finished = true;
                self.work();
                return;
            }
            let Some(jobs) = self.next_jobs() else {
                watchdog.finished = true;
                return;
            };
            self.run(core, jobs);
        }
    }

    fn run<'a>(&self, core: &Mutex<Core>, jobs: Vec<Box<dyn Job + 'a>>) {
        let mut core = core.lock();
        let publish =
            |committed: Committed| self.publisher.publish(&committed.image, &committed.delta);
        core.run(jobs, self.clock.now_ms(), publish);
        match core.snapshot_if_due(self.clock.now_ms()) {
            Ok(true) => info!(offset = %core.next_offset(), "wrote a snapshot of the metadata"),
            Ok(false) => {}
            Err(error) => warn!(%error, "a snapshot of the metadata could not be written"),
        }
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
        self.shared.shut();
    }
}

impl std::fmt::Debug for Quorum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quorum").field("topics", &self.image().topics.len()).finish_non_exhaustive()
    }
}
