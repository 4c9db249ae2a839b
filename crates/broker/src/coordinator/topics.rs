//! The cluster's topics, and the settings of groups, as the `groups` crate asks for them.

use std::sync::Arc;

use millstream_base::{PartitionIndex, Uuid};
use millstream_config::{BrokerConfig, ConsumerGroupConfig};
use millstream_groups::{GroupTimes, TopicView, Topics};
use millstream_metadata::{ClusterImage, ConfigResource, ConfigResourceType, Topic};

/// One cluster image, numbered, with the broker's settings beneath those of groups.
#[derive(Debug, Default)]
pub(super) struct ImageTopics {
    image: Arc<ClusterImage>,
    config: Arc<BrokerConfig>,
    version: i64,
}

impl ImageTopics {
    pub(super) fn new(
        image: Arc<ClusterImage>,
        config: Arc<BrokerConfig>,
        version: i64,
    ) -> Arc<Self> {
        Arc::new(Self { image, config, version })
    }

    pub(super) const fn number(&self) -> i64 {
        self.version
    }
}

fn view(topic: &Arc<Topic>) -> TopicView {
    TopicView {
        name: Arc::clone(&topic.name),
        id: topic.id,
        partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
    }
}

impl Topics for ImageTopics {
    fn version(&self) -> i64 {
        self.version
    }

    fn by_name(&self, name: &str) -> Option<TopicView> {
        self.image.topics.get(name).map(view)
    }

    fn by_id(&self, id: Uuid) -> Option<TopicView> {
        self.image.topics.get_by_id(id).map(view)
    }

    fn each_name(&self, visit: &mut dyn FnMut(&Arc<str>)) {
        for topic in self.image.topics.iter().filter(|topic| !topic.is_internal()) {
            visit(&topic.name);
        }
    }

    fn own_times(&self, group_id: &str) -> Option<GroupTimes> {
        let resource = ConfigResource::new(ConfigResourceType::Group, group_id);
        let own = self.image.configs.of(&resource);
        if own.is_empty() {
            return None;
        }
        // What cannot be used was stored by a broker of another version; `DescribeConfigs` shows it.
        let (config, _) = ConsumerGroupConfig::resolve_lenient(&own, &self.config);
        Some(GroupTimes {
            session_timeout_ms: config.session_timeout_ms,
            heartbeat_interval_ms: config.heartbeat_interval_ms,
            assignment_interval_ms: config.assignment_interval_ms,
        })
    }

    fn racks(&self, id: Uuid, partition: i32) -> Vec<Arc<str>> {
        let topic = self.image.topics.get_by_id(id);
        let partition = topic.and_then(|topic| topic.partition(PartitionIndex(partition)));
        let replicas = partition.into_iter().flat_map(|partition| &partition.replicas);
        replicas.filter_map(|node| self.image.broker(*node)?.rack.clone()).collect()
    }
}
