//! Keeps the coordinator in step with the cluster's metadata.

use std::sync::Arc;

use millstream_metadata::{ClusterImage, ConfigResourceType, ImageDelta};
use millstream_quorum::ImageListener;

use super::GroupCoordinator;
use crate::replica::{Lookup, Replicas};
use crate::topic_rules::OFFSETS_TOPIC;

/// Tells the coordinator of every commit. Must be told after the replicas and the broker's settings.
pub(crate) struct FollowMetadata {
    coordinator: Arc<GroupCoordinator>,
    replicas: Arc<Replicas>,
}

impl FollowMetadata {
    /// A listener for `coordinator`, which finds its partitions in `replicas`.
    pub(crate) fn new(coordinator: Arc<GroupCoordinator>, replicas: Arc<Replicas>) -> Arc<Self> {
        Arc::new(Self { coordinator, replicas })
    }

    /// Makes everything what `image` says: at start.
    pub(crate) fn start(&self, image: &Arc<ClusterImage>) {
        self.coordinator.set_topics(image);
        self.refresh(image);
    }

    fn refresh(&self, image: &ClusterImage) {
        self.coordinator.refresh(image, |index| {
            match self.replicas.by_name(OFFSETS_TOPIC, index) {
                Lookup::Here(partition) => Some(partition),
                Lookup::Refused(_) => None,
            }
        });
    }
}

impl ImageListener for FollowMetadata {
    fn committed(&self, image: &Arc<ClusterImage>, delta: &ImageDelta) {
        let topics_changed = !delta.partitions.is_empty()
            || !delta.topics_created.is_empty()
            || !delta.topics_deleted.is_empty();
        let are_set = |kind| delta.configs.iter().any(|it| it.resource_type == kind);
        let broker_changed = are_set(ConfigResourceType::Broker);
        if broker_changed {
            self.coordinator.set_config();
        }
        if topics_changed || broker_changed || are_set(ConfigResourceType::Group) {
            self.coordinator.set_topics(image);
        }
        // After the topics: what a shard reads from its log must not be of topics that it has not heard of.
        let id = image.topics.id_of(OFFSETS_TOPIC);
        let changed = delta.partitions.iter().any(|(topic, _)| Some(*topic) == id);
        let deleted = delta.topics_deleted.values().any(|topic| &*topic.name == OFFSETS_TOPIC);
        if changed || deleted {
            self.refresh(image);
        }
        // A topic that was made anew under its old name starts without offsets.
        let gone: Vec<Arc<str>> =
            delta.topics_deleted.values().map(|topic| Arc::clone(&topic.name)).collect();
        if !gone.is_empty() {
            self.coordinator.forget_topics(&gone);
        }
    }
}
