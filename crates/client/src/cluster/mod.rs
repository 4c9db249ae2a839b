//! A cluster as a client sees it: connections to its brokers, and who leads what.
//!
//! Key type: [`Cluster`]; clones share everything. Calls go to any broker, to the controller, to a node or to
//! a group's coordinator. This module sends each call once; who may repeat a call does so with a
//! [`Retry`](retry::Retry).

mod metadata;
mod pool;
mod retry;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream_base::{ErrorCode, NodeId, TimestampMs};
use millstream_env::clock::{Clock, SystemClock};
use millstream_env::random::{OsRandom, Random};
use millstream_env::task::Instant;
use millstream_wire::messages::find_coordinator::{
    FindCoordinatorRequest, FindCoordinatorResponse,
};
use millstream_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use millstream_wire::{Request, Str};
use parking_lot::Mutex;

pub use metadata::{Broker, ClusterMetadata, PartitionInfo, TopicInfo};
pub(crate) use pool::Lane;
use pool::Pool;
pub(crate) use retry::Retry;

use crate::backoff::Backoff;
use crate::{ClientConfig, ClientError, Connection, ConnectionError};

/// Connections to a cluster and what is known of it.
#[derive(Clone, Debug)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    config: ClientConfig,
    pool: Pool,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    known: Mutex<Known>,
    next_lane: AtomicU64,
    /// One refresh at a time: whoever comes meanwhile shares its outcome.
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Known {
    metadata: Arc<ClusterMetadata>,
    refreshed: Instant,
    /// Topics that somebody asked for: they stay known.
    wanted: BTreeSet<Arc<str>>,
    coordinators: HashMap<String, NodeId>,
}

/// The wildcard of `within`: no other bound than the configuration's.
const USUAL: Option<Duration> = None;

impl Cluster {
    /// Finds the cluster through the bootstrap servers of `config`.
    ///
    /// # Errors
    /// [`ClientError::NoBroker`] when none of them answers.
    pub async fn connect(config: ClientConfig) -> Result<Self, ClientError> {
        if config.bootstrap_servers.is_empty() {
            return Err(ClientError::NoServers);
        }
        let random = OsRandom::new()
            .map_err(|error| ClientError::Invalid(format!("no random numbers: {error}")))?;
        let known = Known {
            metadata: Arc::default(),
            refreshed: Instant::now(),
            wanted: BTreeSet::new(),
            coordinators: HashMap::new(),
        };
        let inner = Inner {
            config,
            pool: Pool::default(),
            clock: SystemClock::new(),
            random,
            known: Mutex::new(known),
            next_lane: AtomicU64::new(0),
            refreshing: tokio::sync::Mutex::new(()),
        };
        let cluster = Self { inner: Arc::new(inner) };
        cluster.refresh().await?;
        Ok(cluster)
    }

    /// The settings.
    pub fn config(&self) -> &ClientConfig {
        &self.inner.config
    }

    /// What is known now.
    pub fn metadata(&self) -> Arc<ClusterMetadata> {
        self.inner.known.lock().metadata.clone()
    }

    /// The wall clock.
    pub(crate) fn now_ms(&self) -> TimestampMs {
        self.inner.clock.now_ms()
    }

    /// A random number.
    pub(crate) fn random(&self) -> u64 {
        self.inner.random.next_u64()
    }

    /// The retries of a call named `what` that may take `within`.
    pub(crate) fn retry(&self, what: impl Into<String>, within: Duration) -> Retry {
        Retry::new(what.into(), within, self.backoff(), self.random())
    }

    pub(crate) fn backoff(&self) -> Backoff {
        let config = &self.inner.config;
        Backoff::new(config.retry_backoff, config.retry_backoff_max)
    }

    /// Whether it is time to ask for the metadata without a cause.
    pub(crate) fn is_metadata_old(&self) -> bool {
        self.inner.known.lock().refreshed.elapsed() >= self.inner.config.metadata_max_age
    }

    /// Asks again for the brokers and for every topic that was asked for before.
    pub async fn refresh(&self) -> Result<Arc<ClusterMetadata>, ClientError> {
        let asked = Instant::now();
        let turn = self.inner.refreshing.lock().await;
        let topics: Vec<Arc<str>> = {
            let known = self.inner.known.lock();
            if known.refreshed > asked {
                // Somebody else did it while this call waited for its turn.
                return Ok(known.metadata.clone());
            }
            known.wanted.iter().cloned().collect()
        };
        let metadata = self.fetch_metadata(Some(&topics), false).await;
        drop(turn);
        metadata
    }

    /// Asks for every topic there is.
    pub async fn refresh_all(&self) -> Result<Arc<ClusterMetadata>, ClientError> {
        self.fetch_metadata(None, false).await
    }

    /// Asks for `topics`, and makes those that are missing if `create` and the cluster allow it.
    async fn fetch_metadata(
        &self,
        topics: Option<&[Arc<str>]>,
        create: bool,
    ) -> Result<Arc<ClusterMetadata>, ClientError> {
        let topic = |name: &Arc<str>| MetadataRequestTopic {
            name: Some(name.into()),
            ..Default::default()
        };
        let build = |version: i16| MetadataRequest {
            topics: match topics {
                Some(topics) => Some(topics.iter().map(topic).collect()),
                // Version 0 has no null: there an empty list asks for all.
                None => (version == 0).then(Vec::new),
            },
            allow_auto_topic_creation: create || version < 4,
            ..MetadataRequest::default()
        };
        let response = self.call_any(build).await?;
        ClientError::check(response.error_code, || "metadata".to_owned())?;
        let mut known = self.inner.known.lock();
        let updated = known.metadata.updated(&response, topics.is_none());
        known.metadata = Arc::new(updated);
        known.refreshed = Instant::now();
        Ok(known.metadata.clone())
    }

    /// The topic with all its partitions, asked for when it is not known yet.
    ///
    /// With `create`, a missing topic is asked for in the way that lets the broker make it
    /// (`auto.create.topics.enable`), and waited for.
    pub async fn topic(
        &self,
        name: &Arc<str>,
        create: bool,
        within: Duration,
    ) -> Result<Arc<TopicInfo>, ClientError> {
        if let Some(topic) = self.metadata().topic(name) {
            return Ok(topic.clone());
        }
        self.fresh_topic(name, create, within).await
    }

    /// The topic as the cluster has it now, whatever was known before.
    pub(crate) async fn fresh_topic(
        &self,
        name: &Arc<str>,
        create: bool,
        within: Duration,
    ) -> Result<Arc<TopicInfo>, ClientError> {
        self.inner.known.lock().wanted.insert(name.clone());
        let mut retry = self.retry(format!("topic `{name}`"), within);
        let mut missing = 0;
        loop {
            let asked = self.fetch_metadata(Some(std::slice::from_ref(name)), create).await;
            let error = match asked {
                Ok(metadata) => match metadata.topic(name) {
                    Some(topic) => return Ok(topic.clone()),
                    None => Self::why_missing(&metadata, name),
                },
                Err(error) => error,
            };
            // A topic that nobody will make does not appear by waiting; a fresh one may take a moment to reach
            // every broker.
            if error.code() == Some(ErrorCode::UnknownTopicOrPartition) {
                missing += 1;
                let patience = if create { 20 } else { 3 };
                if missing >= patience {
                    self.inner.known.lock().wanted.remove(name);
                    return Err(error);
                }
            }
            retry.again(error).await?;
        }
    }

    fn why_missing(metadata: &ClusterMetadata, name: &Arc<str>) -> ClientError {
        let code = metadata.error_of(name).unwrap_or(ErrorCode::UnknownTopicOrPartition);
        let message = (code == ErrorCode::UnknownTopicOrPartition)
            .then(|| "there is no such topic".to_owned());
        ClientError::Broker { code, what: format!("topic `{name}`"), message }
    }

    /// Asks for `topic` too when refreshing, though it may not exist yet.
    pub(crate) fn watch_topic(&self, topic: &Arc<str>) {
        self.inner.known.lock().wanted.insert(topic.clone());
    }

    /// Stops asking for `topic` when refreshing.
    pub(crate) fn forget_topic(&self, topic: &str) {
        self.inner.known.lock().wanted.remove(topic);
    }

    /// The leader of a partition as far as known.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        self.metadata().partition(topic, partition)?.leader
    }

    /// A number for the lanes of one consumer.
    pub(crate) fn lane_number(&self) -> u64 {
        self.inner.next_lane.fetch_add(1, Ordering::Relaxed)
    }

    /// Closes the connections of a lane that nobody needs any more.
    pub(crate) fn close_lane(&self, lane: Lane) {
        self.inner.pool.remove(lane);
    }

    /// Closes the connections; calls that follow make new ones.
    pub fn close(&self) {
        self.inner.pool.clear();
    }

    // ---- calls ----

    /// Sends a request to whichever broker answers.
    pub async fn call_any<R: Request>(
        &self,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let connection = self.any().await?;
        Self::call_over(&connection, None, USUAL, build).await
    }

    /// Sends a request to the controller, or the broker that stands for it.
    pub async fn call_controller<R: Request>(
        &self,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        match self.metadata().controller {
            Some(node) => self.call_node(node, build).await,
            None => self.call_any(build).await,
        }
    }

    /// Sends a request to a node.
    pub async fn call_node<R: Request>(
        &self,
        node: NodeId,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let connection = self.connection(node, Lane::General).await?;
        Self::call_over(&connection, None, USUAL, build).await
    }

    /// Sends a request over `connection` in the highest common version, at most `max`.
    pub(crate) async fn call_over<R: Request>(
        connection: &Connection,
        max: Option<i16>,
        within: Option<Duration>,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let version = connection.version_of::<R>(max)?;
        Ok(connection.call(&build(version), version, within).await?)
    }

    /// The connection to a node.
    pub(crate) async fn connection(
        &self,
        node: NodeId,
        lane: Lane,
    ) -> Result<Connection, ClientError> {
        let metadata = self.metadata();
        let Some(broker) = metadata.broker(node) else {
            let what = format!("broker {node}");
            return Err(ClientError::Broker {
                code: ErrorCode::ReplicaNotAvailable,
                what,
                message: Some("not in the cluster's metadata".to_owned()),
            });
        };
        Ok(self.inner.pool.get(&broker.address(), lane, &self.inner.config).await?)
    }

    /// A connection to some broker: an open one, else the first that answers.
    async fn any(&self) -> Result<Connection, ClientError> {
        if let Some(open) = self.inner.pool.any_open() {
            return Ok(open);
        }
        let config = &self.inner.config;
        let mut candidates: Vec<String> = self.metadata().brokers().map(Broker::address).collect();
        for server in &config.bootstrap_servers {
            if !candidates.contains(server) {
                candidates.push(server.clone());
            }
        }
        let mut last: Option<ConnectionError> = None;
        for candidate in &candidates {
            match self.inner.pool.get(candidate, Lane::General, config).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        let servers = candidates.join(", ");
        Err(last.map_or(ClientError::NoServers, |source| {
            // With one address, that connection's own error says it all.
            if candidates.len() == 1 {
                return ClientError::Connection(source);
            }
            ClientError::NoBroker { servers, source }
        }))
    }

    // ---- coordinators ----

    /// The broker that coordinates `group`, as far as known.
    pub(crate) async fn coordinator(&self, group: &str) -> Result<NodeId, ClientError> {
        if let Some(&node) = self.inner.known.lock().coordinators.get(group) {
            return Ok(node);
        }
        let build = |version: i16| {
            let mut request = FindCoordinatorRequest::default();
            if version >= 4 {
                request.coordinator_keys = vec![group.into()];
            } else {
                request.key = group.into();
            }
            request
        };
        let found = Coordinator::of(self.call_any(build).await?, group)?;
        if self.metadata().broker(found.node).is_none() {
            self.refresh().await?;
        }
        self.inner.known.lock().coordinators.insert(group.to_owned(), found.node);
        Ok(found.node)
    }

    /// Sends a request about `group` to its coordinator. The caller tells
    /// [`Cluster::note_coordinator_error`] of errors within the answer.
    pub(crate) async fn call_coordinator<R: Request>(
        &self,
        group: &str,
        lane: Lane,
        within: Option<Duration>,
        build: impl Fn(i16) -> R,
    ) -> Result<R::Response, ClientError> {
        let node = self.coordinator(group).await?;
        let called = match self.connection(node, lane).await {
            Ok(connection) => Self::call_over(&connection, None, within, build).await,
            Err(error) => Err(error),
        };
        called.inspect_err(|error| self.note_coordinator_error(group, error))
    }

    /// Forgets who coordinates `group` if `error` says that this changed.
    pub(crate) fn note_coordinator_error(&self, group: &str, error: &ClientError) {
        let moved = matches!(
            error.code(),
            Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable)
        ) || matches!(error, ClientError::Connection(_));
        if moved {
            self.inner.known.lock().coordinators.remove(group);
        }
    }
}

struct Coordinator {
    node: NodeId,
}

impl Coordinator {
    fn of(response: FindCoordinatorResponse, group: &str) -> Result<Self, ClientError> {
        let what = || format!("coordinator of group `{group}`");
        let (code, message, node) = match response.coordinators.into_iter().next() {
            Some(first) => (first.error_code, first.error_message, first.node_id),
            None => (response.error_code, response.error_message, response.node_id),
        };
        ClientError::check_with(code, message.as_ref().map(Str::as_str), what)?;
        Ok(Self { node: NodeId(node) })
    }
}
