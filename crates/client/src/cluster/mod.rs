//! A cluster as a client sees it: connections to its brokers, and who leads what.
//!
//! Key type: [`Cluster`]; clones share everything. Calls go to any broker, to the controller, to a node or to
//! a group's coordinator. Each call is sent once; who may repeat a call does so with a [`Retry`](retry::Retry).
//! Only the question for metadata goes to a second broker when the first is slow.

mod calls;
mod coordinators;
mod metadata;
mod pool;
mod retry;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use millstream_base::{ErrorCode, NodeId, TimestampMs};
use millstream_env::clock::{Clock, SystemClock};
use millstream_env::random::{OsRandom, Random};
use millstream_env::task::{self, Instant};
use millstream_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use parking_lot::Mutex;

pub(crate) use calls::AskedAs;
pub(crate) use metadata::NewLeader;
pub use metadata::{Broker, ClusterMetadata, PartitionInfo, TopicInfo};
pub(crate) use pool::Lane;
use pool::Pool;
pub(crate) use retry::Retry;

use crate::backoff::Backoff;
use crate::{ClientConfig, ClientError};

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
    /// A node could not be reached since the last answer about the metadata.
    suspicious: AtomicBool,
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
            suspicious: AtomicBool::new(false),
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
        // By a task of its own: a caller that is not polled for a while must not keep the turn from the others.
        let cluster = self.clone();
        let refreshed = task::spawn(async move { cluster.refresh_in_turn().await });
        refreshed.await.unwrap_or(Err(ClientError::NoServers))
    }

    async fn refresh_in_turn(&self) -> Result<Arc<ClusterMetadata>, ClientError> {
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
        let response = self.call_quickest(build).await?;
        if let Err(error) = ClientError::check(response.error_code, || "metadata".to_owned()) {
            self.start_anew_if_told(&error);
            return Err(error);
        }
        self.inner.suspicious.store(false, Ordering::Relaxed);
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

    /// Takes over what a broker said about leaders within another answer (KIP-951). `true` when that was news.
    pub(crate) fn learn_leaders(&self, leaders: &[NewLeader]) -> bool {
        if leaders.is_empty() {
            return false;
        }
        let mut known = self.inner.known.lock();
        let Some(updated) = known.metadata.with_leaders(leaders) else { return false };
        known.metadata = Arc::new(updated);
        true
    }

    /// Forgets the brokers, so that the bootstrap servers are asked, when a broker says that this is due (KIP-1102).
    fn start_anew_if_told(&self, error: &ClientError) {
        if error.code() != Some(ErrorCode::RebootstrapRequired) {
            return;
        }
        tracing::info!("told to look for the cluster anew at the bootstrap servers");
        self.inner.known.lock().metadata = Arc::default();
        self.inner.pool.clear();
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
}
