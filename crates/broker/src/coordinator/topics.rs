//! The cluster's topics as the `groups` crate asks for them.

use std::sync::Arc;

use millstream_base::{PartitionIndex, Uuid};
use millstream_config::Overrides;
use millstream_groups::{TopicView, Topics};
use millstream_metadata::{ClusterImage, ConfigResource, ConfigResourceType, Topic};

/// One cluster image, numbered.
#[derive(Debug, Default)]
pub(super) struct ImageTopics {
    image: Arc<ClusterImage>,
    version: i64,
}

impl ImageTopics {
    pub(super) fn new(image: Arc<ClusterImage>, version: i64) -> Arc<Self> {
        Arc::new(Self { image, version })
    }

    pub(super) const fn number(&self) -> i64 {
        self.version
    }

    /// What is set for one group.
    pub(super) fn group_settings(&self, group_id: &str) -> Arc<Overrides> {
        self.image.configs.of(&ConfigResource::new(ConfigResourceType::Group, group_id))
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

    fn racks(&self, id: Uuid, partition: i32) -> Vec<Arc<str>> {
        let topic = self.image.topics.get_by_id(id);
        let partition = topic.and_then(|topic| topic.partition(PartitionIndex(partition)));
        let replicas = partition.into_iter().flat_map(|partition| &partition.replicas);
        replicas.filter_map(|node| self.image.broker(*node)?.rack.clone()).collect()
    }
}
