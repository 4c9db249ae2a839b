//! All partitions that this broker hosts, found by topic name or id, kept in step with the cluster image.
//!
//! Key type: [`Replicas`]. It is told of every metadata commit before anyone else learns of it, so a topic that a client is told of
//! can be written already. Invariant: a partition is in the map exactly while its log is open.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use millstream_base::{ErrorCode, NodeId, PartitionIndex, TopicPartition, Uuid};
use millstream_config::{BrokerConfig, TopicConfig};
use millstream_log::{Log, LogConfig, StorageError};
use millstream_metadata::{
    ClusterImage, ConfigResource, ConfigResourceType, ImageDelta, Partition as PartitionImage,
    Topic,
};
use millstream_quorum::ImageListener;
use parking_lot::RwLock;
use tracing::{error, info, warn};

use super::logs::{LogState, Logs};
use super::partition::{Leadership, Partition};
use crate::topic_rules;

/// What looking for a partition leads to.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// It is hosted here.
    Here(Arc<Partition>),
    /// It is not, and this is why.
    Refused(ErrorCode),
}

/// A topic of which this broker hosts partitions.
#[derive(Debug)]
struct Hosted {
    name: Arc<str>,
    partitions: RwLock<Vec<Slot>>,
}

/// A partition's place in its topic.
#[derive(Debug, Clone)]
enum Slot {
    Here(Arc<Partition>),
    /// Another broker has it.
    Elsewhere,
    /// Its log cannot be opened.
    Failed,
}

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<Arc<str>, Arc<Hosted>>,
    by_id: HashMap<Uuid, Arc<Hosted>>,
}

/// The partitions hosted here.
#[derive(Debug)]
pub(crate) struct Replicas {
    me: NodeId,
    topics: RwLock<Topics>,
    logs: Arc<Logs>,
    config: Arc<ArcSwap<BrokerConfig>>,
}

impl Replicas {
    /// No partition yet; logs come from `logs`.
    pub(crate) fn new(
        me: NodeId,
        logs: Arc<Logs>,
        config: Arc<ArcSwap<BrokerConfig>>,
    ) -> Arc<Self> {
        Arc::new(Self { me, topics: RwLock::default(), logs, config })
    }

    /// Finds a partition by its topic's name.
    pub(crate) fn by_name(&self, topic: &str, index: PartitionIndex) -> Lookup {
        match self.topics.read().by_name.get(topic) {
            Some(hosted) => hosted.slot(index),
            None => Lookup::Refused(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// Finds a partition by its topic's id.
    pub(crate) fn by_id(&self, topic: Uuid, index: PartitionIndex) -> Lookup {
        match self.topics.read().by_id.get(&topic) {
            Some(hosted) => hosted.slot(index),
            None => Lookup::Refused(ErrorCode::UnknownTopicId),
        }
    }

    /// Every hosted partition.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.read();
        topics.by_id.values().flat_map(|hosted| hosted.here()).collect()
    }

    /// The logs' keeper.
    pub(crate) fn logs(&self) -> &Arc<Logs> {
        &self.logs
    }

    /// Hosts everything that `image` gives to this broker, out of the `opened` logs or new ones. Logs that nobody
    /// asked for are returned.
    pub(crate) fn host_all(
        &self,
        image: &ClusterImage,
        mut opened: HashMap<TopicPartition, Log>,
    ) -> HashMap<TopicPartition, Log> {
        for topic in image.topics.iter() {
            for (index, partition) in topic.partitions.iter() {
                let log = opened.remove(&TopicPartition::new(Arc::clone(&topic.name), *index));
                self.host(image, topic, *index, partition, log);
            }
        }
        opened
    }

    fn host(
        &self,
        image: &ClusterImage,
        topic: &Topic,
        index: PartitionIndex,
        partition: &PartitionImage,
        log: Option<Log>,
    ) {
        let slot = if partition.has_replica(self.me) {
            match self.open(image, topic, index, partition, log) {
                Ok(partition) => Slot::Here(partition),
                Err(failure) => {
                    error!(topic = %topic.name, partition = %index, error = %failure,
                        "the partition's log cannot be opened; it is offline");
                    Slot::Failed
                }
            }
        } else {
            Slot::Elsewhere
        };
        self.place(topic, index, slot);
    }

    fn open(
        &self,
        image: &ClusterImage,
        topic: &Topic,
        index: PartitionIndex,
        partition: &PartitionImage,
        log: Option<Log>,
    ) -> Result<Arc<Partition>, StorageError> {
        let name = TopicPartition::new(Arc::clone(&topic.name), index);
        let config = self.topic_config(image, &topic.name);
        let log_config = Arc::new(self.log_config(&config));
        let mut log = match log {
            Some(mut log) => {
                log.set_config(log_config);
                log
            }
            None => self.logs.create(&name, topic.id, log_config)?,
        };
        let leadership = leadership(partition);
        if leadership.leader == self.me {
            log.begin_epoch(leadership.epoch);
        }
        Ok(Partition::new(name, topic.id, self.me, log, leadership, config))
    }

    fn place(&self, topic: &Topic, index: PartitionIndex, slot: Slot) {
        let hosted = {
            let mut topics = self.topics.write();
            let fresh = || {
                let name = Arc::clone(&topic.name);
                Arc::new(Hosted { name, partitions: RwLock::default() })
            };
            let hosted = topics.by_id.entry(topic.id).or_insert_with(fresh).clone();
            topics.by_name.insert(Arc::clone(&topic.name), Arc::clone(&hosted));
            hosted
        };
        let Ok(at) = usize::try_from(index.get()) else { return };
        let mut slots = hosted.partitions.write();
        if slots.len() <= at {
            slots.resize(at + 1, Slot::Elsewhere);
        }
        if let Some(place) = slots.get_mut(at) {
            *place = slot;
        }
    }

    /// The settings of a topic, with those of the broker beneath. Stored settings that cannot be used are named once here.
    fn topic_config(&self, image: &ClusterImage, topic: &str) -> TopicConfig {
        let overrides = image.configs.of_topic(topic);
        let (config, unusable) = TopicConfig::resolve_lenient(&overrides, &self.config.load());
        for problem in unusable {
            warn!(topic, "a stored setting is left out: {problem}");
        }
        config
    }

    fn log_config(&self, config: &TopicConfig) -> LogConfig {
        let expiration_ms = self.config.load().transactions.producer_id_expiration_ms;
        topic_rules::log_config(config, i64::from(expiration_ms))
    }

    fn remove(&self, topic: &Topic) {
        let hosted = {
            let mut topics = self.topics.write();
            let Some(hosted) = topics.by_id.remove(&topic.id) else { return };
            // The name may belong to a topic that was created since.
            if topics.by_name.get(&topic.name).is_some_and(|named| Arc::ptr_eq(named, &hosted)) {
                topics.by_name.remove(&topic.name);
            }
            hosted
        };
        for partition in hosted.here() {
            partition.retire();
            if let Err(failure) = partition.with_log(|log| self.logs.delete(log)) {
                error!(partition = %partition.name, error = %failure, "the log cannot be deleted");
            }
        }
        info!(topic = %topic.name, "deleted");
    }

    fn change(&self, image: &ClusterImage, topic: &Topic, index: PartitionIndex) {
        let Some(partition) = topic.partition(index) else { return };
        match self.by_id(topic.id, index) {
            Lookup::Here(hosted) => hosted.lead(leadership(partition)),
            Lookup::Refused(_) => self.host(image, topic, index, partition, None),
        }
    }

    fn reconfigure(&self, image: &ClusterImage, delta: &ImageDelta) {
        let brokers =
            |resource: &ConfigResource| resource.resource_type == ConfigResourceType::Broker;
        let all = delta.configs.iter().any(brokers);
        let changed = self
            .topics
            .read()
            .by_name
            .values()
            .filter(|hosted| {
                all || delta.configs.contains(&ConfigResource::topic(Arc::clone(&hosted.name)))
            })
            .cloned()
            .collect::<Vec<_>>();
        for hosted in changed {
            let config = self.topic_config(image, &hosted.name);
            for partition in hosted.here() {
                partition.reconfigure(config, self.log_config(&config));
            }
        }
    }

    /// What the checkpoints are to say.
    pub(crate) fn states(&self) -> Vec<LogState> {
        self.all().iter().map(|partition| partition.state()).collect()
    }

    /// Stops serving and closes every log, so that the next start needs no recovery.
    pub(crate) fn close(&self) {
        let mut clean = true;
        for partition in self.all() {
            partition.retire();
            if let Err(failure) = partition.with_log(Log::close) {
                warn!(partition = %partition.name, error = %failure,
                    "the log could not be closed; the next start will check it");
                clean = false;
            }
        }
        let marked = self.logs.checkpoint(&self.states()).and_then(|()| match clean {
            true => self.logs.mark_clean(),
            false => Ok(()),
        });
        if let Err(failure) = marked {
            warn!(error = %failure, "the stop is not marked as clean; the next start will check the logs");
        }
    }
}

impl Hosted {
    fn slot(&self, index: PartitionIndex) -> Lookup {
        let at = usize::try_from(index.get()).ok();
        match at.and_then(|at| self.partitions.read().get(at).cloned()) {
            Some(Slot::Here(partition)) => Lookup::Here(partition),
            Some(Slot::Elsewhere) => Lookup::Refused(ErrorCode::NotLeaderOrFollower),
            Some(Slot::Failed) => Lookup::Refused(ErrorCode::KafkaStorageError),
            None => Lookup::Refused(ErrorCode::UnknownTopicOrPartition),
        }
    }

    fn here(&self) -> Vec<Arc<Partition>> {
        let slots = self.partitions.read();
        let here = slots.iter().filter_map(|slot| match slot {
            Slot::Here(partition) => Some(Arc::clone(partition)),
            Slot::Elsewhere | Slot::Failed => None,
        });
        here.collect()
    }
}

fn leadership(partition: &PartitionImage) -> Leadership {
    Leadership {
        leader: partition.leader.unwrap_or(NodeId(-1)),
        epoch: partition.leader_epoch,
        in_sync: partition.isr.len(),
    }
}

impl ImageListener for Replicas {
    fn committed(&self, image: &Arc<ClusterImage>, delta: &ImageDelta) {
        for topic in delta.topics_deleted.values() {
            self.remove(topic);
        }
        for (id, index) in &delta.partitions {
            if let Some(topic) = image.topics.get_by_id(*id) {
                self.change(image, topic, *index);
            }
        }
        if !delta.configs.is_empty() {
            self.reconfigure(image, delta);
        }
    }
}
