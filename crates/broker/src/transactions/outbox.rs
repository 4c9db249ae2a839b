//! What is to be sent to other brokers, gathered: while one request to a broker is under way, what comes meanwhile goes with
//! the next. So a broker that answers slowly is asked for much at once, and none that answers quickly waits.
//!
//! Key types: [`Outbox`], [`Post`] (one kind of thing to send).

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, OnceLock, Weak};

use millstream_base::{ErrorCode, NodeId};
use millstream_env::task;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::broker::Broker;
use crate::cluster::Peers;

/// As many go with one request at most.
const MOST: usize = 500;

/// Something to be sent to a broker, several with one request. The answer is a code for each of its partitions, in order.
pub(super) trait Post: Send + Sync + Sized + 'static {
    /// Sends all; as many answers, in order.
    fn send(peers: &Peers, to: NodeId, all: Vec<Self>) -> impl Future<Output = Vec<Codes>> + Send;
}

/// A code for each partition.
pub(super) type Codes = Vec<ErrorCode>;

/// What waits for one broker.
#[derive(Debug)]
struct Queue<P> {
    waiting: Vec<(P, oneshot::Sender<Codes>)>,
    /// Whether a task sends.
    busy: bool,
}

/// What is to be sent to other brokers.
#[derive(Debug)]
pub(super) struct Outbox<P> {
    /// Not held: the broker holds this.
    broker: OnceLock<Weak<Broker>>,
    queues: Mutex<HashMap<NodeId, Queue<P>>>,
}

impl<P: Post> Outbox<P> {
    /// An empty one.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { broker: OnceLock::new(), queues: Mutex::default() })
    }

    /// The broker, by which others are reached.
    pub(super) fn set_broker(&self, broker: Weak<Broker>) {
        // Set once, before anything is sent.
        let _ = self.broker.set(broker);
    }

    /// Sends something with the next request. Dropping what is returned does not take it back.
    pub(super) fn post(self: &Arc<Self>, to: NodeId, post: P) -> oneshot::Receiver<Codes> {
        let (tell, answer) = oneshot::channel();
        let mut queues = self.queues.lock();
        let queue = queues.entry(to).or_insert_with(|| Queue { waiting: Vec::new(), busy: false });
        queue.waiting.push((post, tell));
        if !queue.busy {
            queue.busy = true;
            task::spawn(Arc::clone(self).run(to));
        }
        answer
    }

    async fn run(self: Arc<Self>, to: NodeId) {
        while let Some(batch) = self.take(to) {
            let (posts, tells): (Vec<P>, Vec<_>) = batch.into_iter().unzip();
            let broker = self.broker.get().and_then(Weak::upgrade);
            // Without a broker nobody waits for an answer any more.
            let Some(peers) = broker.map(|broker| broker.peers().clone()) else { return };
            let answers = P::send(&peers, to, posts).await;
            for (tell, codes) in tells.into_iter().zip(answers) {
                // Who asked may have given up.
                let _ = tell.send(codes);
            }
        }
    }

    /// The next batch. Without one, whoever posts next starts the task again.
    fn take(&self, to: NodeId) -> Option<Vec<(P, oneshot::Sender<Codes>)>> {
        let mut queues = self.queues.lock();
        let queue = queues.get_mut(&to)?;
        if queue.waiting.is_empty() {
            queues.remove(&to);
            return None;
        }
        let count = queue.waiting.len().min(MOST);
        Some(queue.waiting.drain(..count).collect())
    }
}
