//! The task that sends a producer's batches.
//!
//! Key type: [`Sender`]. Takes what is ready out of the queues, one request a broker at a time with at most one
//! batch of each partition in it, and sorts the answers back in. It ends when the producer is closed and
//! everything has its fate. It never waits for one broker while another could be served.

mod fate;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use millstream_base::{NodeId, TopicPartition};
use millstream_env::task::{Instant, sleep_until};
use millstream_wire::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};

use super::batch::Batch;
use super::queue::{Identity, Numbered, QueueLimits, Readiness};
use super::{Acks, Inner, new_identity};
use crate::backoff::Backoff;
use crate::cluster::{AskedAs, Lane};
use crate::{ClientError, ClusterMetadata, Connection};

/// How long the task sleeps when nothing is due; a wake-up ends it early.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// How long a leader may take to answer before anyone asks whether it still leads.
const PATIENCE: Duration = Duration::from_secs(1);

/// A batch in a request.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) partition: TopicPartition,
    pub(super) numbered: Numbered,
    pub(super) batch: Batch,
}

/// What the task waits for besides new records.
enum Event {
    Answered(NodeId, Vec<Sent>, Result<ProduceResponse, ClientError>),
    Connected(NodeId, Result<Connection, ClientError>),
    Refreshed,
    NewIdentity(Result<Identity, ClientError>),
}

type Pending = Pin<Box<dyn Future<Output = Event> + Send>>;

/// A broker as the task sees it.
#[derive(Default)]
struct Node {
    connection: Option<Connection>,
    connecting: bool,
    in_flight: usize,
    failures: u32,
    not_before: Option<Instant>,
}

/// The task's state.
pub(super) struct Sender {
    inner: Arc<Inner>,
    limits: QueueLimits,
    events: FuturesUnordered<Pending>,
    nodes: HashMap<NodeId, Node>,
    refreshing: bool,
    refresh_wanted: bool,
    next_refresh: Instant,
    /// Where the last try of a partition failed in a way that another leader may mend.
    failed_at: HashMap<TopicPartition, NodeId>,
    /// Refreshes in a row after which some partition still had nobody to send to.
    in_vain: u32,
    asking_identity: bool,
}

impl Sender {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let config = &inner.config;
        let most = if config.is_idempotent() { 5 } else { usize::MAX };
        let limits = QueueLimits {
            max_in_flight: config.max_in_flight.clamp(1, most),
            linger: config.linger,
        };
        Self {
            limits,
            events: FuturesUnordered::new(),
            nodes: HashMap::new(),
            refreshing: false,
            refresh_wanted: false,
            next_refresh: Instant::now(),
            failed_at: HashMap::new(),
            in_vain: 0,
            asking_identity: false,
            inner,
        }
    }

    /// Runs until the producer is closed and nothing is left.
    pub(super) async fn run(mut self) {
        loop {
            let next = self.send_ready().await;
            if self.is_finished() {
                return;
            }
            let inner = self.inner.clone();
            tokio::select! {
                () = inner.wake.notified() => {}
                Some(event) = self.events.next() => self.handle(event),
                () = sleep_until(next) => {}
            }
            while let Some(Some(event)) = self.events.next().now_or_never() {
                self.handle(event);
            }
        }
    }

    fn is_finished(&self) -> bool {
        let state = self.inner.state.lock();
        state.closed && state.queues.values().all(super::queue::PartitionQueue::is_empty)
    }

    /// Sends all that may be sent now; returns when to look again without a cause.
    async fn send_ready(&mut self) -> Instant {
        let now = Instant::now();
        let (requests, next) = self.collect(now);
        for (node, batches) in requests {
            self.send(node, batches).await;
        }
        self.start_refresh(now);
        self.ask_identity();
        if self.refresh_wanted { next.min(self.next_refresh) } else { next }
    }

    /// Takes ready batches out of the queues, grouped into requests.
    fn collect(&mut self, now: Instant) -> (Vec<(NodeId, Vec<Sent>)>, Instant) {
        let inner = self.inner.clone();
        let metadata = inner.cluster.metadata();
        let mut next = now + NOTHING_DUE;
        let mut by_node: HashMap<NodeId, Vec<TopicPartition>> = HashMap::new();
        let mut leaderless = false;
        {
            let state = inner.state.lock();
            let hurry = state.hurry();
            for (partition, queue) in &state.queues {
                match queue.readiness(now, self.limits, hurry) {
                    Readiness::Idle => {}
                    Readiness::At(at) => next = next.min(at),
                    Readiness::Now => match leader_of(&metadata, partition) {
                        Some(node) => by_node.entry(node).or_default().push(partition.clone()),
                        None => leaderless = true,
                    },
                }
            }
        }
        self.expire(now);
        if leaderless || inner.cluster.is_metadata_old() {
            self.refresh_wanted = true;
        }
        let mut requests = Vec::new();
        for (node, mut partitions) in by_node {
            match self.ready_at(node, now) {
                Some(at) if at > now => next = next.min(at),
                Some(_) => self.fill_requests(node, &mut partitions, now, &mut requests),
                None => {}
            }
        }
        (requests, next)
    }

    /// When `node` takes requests: now, later, or (`None`) after an event.
    fn ready_at(&mut self, node: NodeId, now: Instant) -> Option<Instant> {
        let state = self.nodes.entry(node).or_default();
        let open = state.connection.as_ref().is_some_and(|connection| !connection.is_closed());
        if open {
            return (state.in_flight < self.limits.max_in_flight).then_some(now);
        }
        if state.connecting {
            return None;
        }
        if let Some(at) = state.not_before.filter(|&at| at > now) {
            return Some(at);
        }
        state.connecting = true;
        let cluster = self.inner.cluster.clone();
        self.events.push(Box::pin(async move {
            Event::Connected(node, cluster.connection(node, Lane::General).await)
        }));
        None
    }

    /// Requests of at most `max.request.size` for `node`, as many as it may have in flight.
    fn fill_requests(
        &self,
        node: NodeId,
        partitions: &mut Vec<TopicPartition>,
        now: Instant,
        requests: &mut Vec<(NodeId, Vec<Sent>)>,
    ) {
        let busy = self.nodes.get(&node).map_or(0, |state| state.in_flight);
        let mut state = self.inner.state.lock();
        let hurry = state.hurry();
        for _ in busy..self.limits.max_in_flight {
            let mut sent: Vec<Sent> = Vec::new();
            let mut size = 0;
            partitions.retain(|partition| {
                let Some(queue) = state.queues.get_mut(partition) else { return false };
                if size >= self.inner.config.max_request_size {
                    return true;
                }
                let Some((numbered, batch)) = queue.take(now, self.limits, hurry) else {
                    return false;
                };
                size += batch.size_bytes();
                sent.push(Sent { partition: partition.clone(), numbered, batch });
                true
            });
            if sent.is_empty() {
                return;
            }
            requests.push((node, sent));
        }
    }

    /// Builds and sends one request.
    async fn send(&mut self, node: NodeId, mut batches: Vec<Sent>) {
        let connection = self.nodes.get(&node).and_then(|state| state.connection.clone());
        let Some(connection) = connection else { return self.give_back(batches) };
        let metadata = self.inner.cluster.metadata();
        let mut topics: Vec<TopicProduceData> = Vec::new();
        let mut kept = Vec::with_capacity(batches.len());
        for mut sent in batches.drain(..) {
            sent.batch.attempts += 1;
            match sent.batch.bytes(sent.numbered) {
                Ok(bytes) => add_batch(&mut topics, &metadata, &sent.partition, bytes),
                Err(error) => {
                    self.fail(sent, error);
                    continue;
                }
            }
            kept.push(sent);
        }
        let config = &self.inner.config;
        let within = self.inner.cluster.config().request_timeout.min(config.delivery_timeout);
        let request = ProduceRequest {
            transactional_id: None,
            acks: config.acks.code(),
            timeout_ms: i32::try_from(within.as_millis()).unwrap_or(i32::MAX),
            topic_data: topics,
        };
        // From version 13 on topics go by id alone.
        let by_id = request.topic_data.iter().all(|topic| !topic.topic_id.is_zero());
        let max = if by_id { None } else { Some(12) };
        let begun = match connection.version_of::<ProduceRequest>(max) {
            Ok(version) if config.acks == Acks::None => {
                let sent = connection.send_only(&request, version).await;
                let answer = sent.map(|()| ProduceResponse::default()).map_err(Into::into);
                return self.answered(node, kept, answer);
            }
            Ok(version) => connection.begin(&request, version, within).await,
            Err(error) => Err(error),
        };
        match begun {
            Ok(answer) => {
                self.nodes.entry(node).or_default().in_flight += 1;
                let cluster = self.inner.cluster.clone();
                self.events.push(Box::pin(async move {
                    let partitions: Vec<TopicPartition> =
                        kept.iter().map(|sent| sent.partition.clone()).collect();
                    let place = AskedAs::Leader(node, &partitions);
                    let asked = (&connection, "Produce");
                    let answer = cluster.while_there(asked, place, PATIENCE, answer).await;
                    Event::Answered(node, kept, answer)
                }));
            }
            Err(error) => self.answered(node, kept, Err(error.into())),
        }
    }

    /// Back into the queues, as if nothing had been sent.
    fn give_back(&self, batches: Vec<Sent>) {
        let now = Instant::now();
        let mut state = self.inner.state.lock();
        for sent in batches {
            if let Some(queue) = state.queues.get_mut(&sent.partition) {
                queue.retry(sent.numbered, sent.batch, now);
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Answered(node, batches, answer) => {
                if let Some(state) = self.nodes.get_mut(&node) {
                    state.in_flight -= 1;
                }
                self.answered(node, batches, answer);
            }
            Event::Connected(node, connected) => self.connected(node, connected),
            Event::Refreshed => self.refreshed(),
            Event::NewIdentity(identity) => self.new_identity(identity),
        }
    }

    fn connected(&mut self, node: NodeId, connected: Result<Connection, ClientError>) {
        let random = self.inner.cluster.random();
        let backoff: Backoff = self.inner.cluster.backoff();
        let state = self.nodes.entry(node).or_default();
        state.connecting = false;
        match connected {
            Ok(connection) => {
                state.connection = Some(connection);
                state.failures = 0;
                state.not_before = None;
            }
            Err(error) => {
                tracing::debug!(%node, %error, "cannot connect to a partition leader");
                state.not_before = Some(Instant::now() + backoff.before(state.failures, random));
                state.failures += 1;
                self.refresh_wanted = true;
                self.note_failure(node, &error);
            }
        }
    }

    /// Sends to new leaders at once, and asks again soon while some partition has none that can be reached.
    fn refreshed(&mut self) {
        self.refreshing = false;
        self.follow_leaders();
        let cluster = &self.inner.cluster;
        let metadata = cluster.metadata();
        let is_lost = |partition: &TopicPartition| match leader_of(&metadata, partition) {
            Some(node) => self.nodes.get(&node).is_some_and(|state| state.failures > 0),
            None => true,
        };
        let state = self.inner.state.lock();
        let mut waiting = state.queues.iter().filter(|(_, queue)| !queue.is_empty());
        let in_vain =
            !self.failed_at.is_empty() || waiting.any(|(partition, _)| is_lost(partition));
        drop(state);
        self.in_vain = if in_vain { self.in_vain.saturating_add(1) } else { 0 };
        self.refresh_wanted |= in_vain;
        let backoff: Backoff = cluster.backoff();
        self.next_refresh = Instant::now() + backoff.before(self.in_vain / 8, cluster.random());
    }

    /// Partitions that failed at one leader and have another by now need not wait.
    fn follow_leaders(&mut self) {
        let metadata = self.inner.cluster.metadata();
        let mut state = self.inner.state.lock();
        self.failed_at.retain(|partition, node| {
            let Some(queue) = state.queues.get_mut(partition) else { return false };
            if !queue.is_retrying() {
                return false;
            }
            let is_elsewhere =
                leader_of(&metadata, partition).is_some_and(|leader| leader != *node);
            if is_elsewhere {
                queue.retry_now();
            }
            !is_elsewhere
        });
    }

    /// Remembers why nothing reaches `node`, for the error when the time is up.
    fn note_failure(&self, node: NodeId, error: &ClientError) {
        let metadata = self.inner.cluster.metadata();
        let mut state = self.inner.state.lock();
        for (partition, queue) in &mut state.queues {
            if leader_of(&metadata, partition) == Some(node) {
                queue.for_each_waiting(|batch| batch.last_error = Some(error.clone()));
            }
        }
    }

    fn start_refresh(&mut self, now: Instant) {
        if !self.refresh_wanted || self.refreshing || now < self.next_refresh {
            return;
        }
        self.refresh_wanted = false;
        self.refreshing = true;
        let cluster = self.inner.cluster.clone();
        self.events.push(Box::pin(async move {
            if let Err(error) = cluster.refresh().await {
                tracing::debug!(%error, "cannot refresh the metadata");
            }
            Event::Refreshed
        }));
    }

    /// Asks for another producer id once a partition has used up the epochs of this one.
    fn ask_identity(&mut self) {
        let state = self.inner.state.lock();
        let needed = state.queues.values().any(super::queue::PartitionQueue::needs_identity);
        if !needed || self.asking_identity {
            return;
        }
        self.asking_identity = true;
        let (cluster, within) = (self.inner.cluster.clone(), self.inner.config.max_block);
        self.events.push(Box::pin(async move {
            Event::NewIdentity(new_identity(&cluster, within).await)
        }));
    }

    fn new_identity(&mut self, identity: Result<Identity, ClientError>) {
        self.asking_identity = false;
        match identity {
            Ok(identity) => {
                let mut state = self.inner.state.lock();
                state.identity = Some(identity);
                for queue in state.queues.values_mut().filter(|queue| queue.needs_identity()) {
                    queue.set_identity(identity);
                }
            }
            Err(error) => tracing::warn!(%error, "cannot get another producer id"),
        }
    }
}

/// The leader of a partition, if there is one that can be dialled.
fn leader_of(metadata: &ClusterMetadata, partition: &TopicPartition) -> Option<NodeId> {
    let leader = metadata.partition(&partition.topic, partition.partition.0)?.leader?;
    metadata.broker(leader).map(|broker| broker.id)
}

fn add_batch(
    topics: &mut Vec<TopicProduceData>,
    metadata: &ClusterMetadata,
    partition: &TopicPartition,
    bytes: bytes::Bytes,
) {
    let data = PartitionProduceData { index: partition.partition.0, records: Some(bytes.into()) };
    if let Some(topic) = topics.iter_mut().find(|topic| *topic.name == *partition.topic) {
        topic.partition_data.push(data);
        return;
    }
    topics.push(TopicProduceData {
        name: (&partition.topic).into(),
        topic_id: metadata.topic(&partition.topic).map(|topic| topic.id).unwrap_or_default(),
        partition_data: vec![data],
    });
}
