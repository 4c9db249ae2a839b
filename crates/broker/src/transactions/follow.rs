//! Keeps the coordinator in step with the cluster's metadata.

use std::sync::Arc;

use millstream_metadata::{ClusterImage, ImageDelta};
use millstream_quorum::ImageListener;

use super::TransactionCoordinator;
use crate::replica::{Lookup, Replicas};
use crate::topic_rules::TRANSACTIONS_TOPIC;

/// Tells the coordinator of every commit. Must be told after the replicas.
pub(crate) struct FollowMetadata {
    coordinator: Arc<TransactionCoordinator>,
    replicas: Arc<Replicas>,
}

impl FollowMetadata {
    /// A listener for `coordinator`, which finds its partitions in `replicas`.
    pub(crate) fn new(
        coordinator: Arc<TransactionCoordinator>,
        replicas: Arc<Replicas>,
    ) -> Arc<Self> {
        Arc::new(Self { coordinator, replicas })
    }

    /// Makes the shards what `image` says.
    pub(crate) fn refresh(&self, image: &ClusterImage) {
        self.coordinator.refresh(image, |index| {
            match self.replicas.by_name(TRANSACTIONS_TOPIC, index) {
                Lookup::Here(partition) => Some(partition),
                Lookup::Refused(_) => None,
            }
        });
    }
}

impl ImageListener for FollowMetadata {
    fn committed(&self, image: &Arc<ClusterImage>, delta: &ImageDelta) {
        self.coordinator.set_image(image);
        let id = image.topics.id_of(TRANSACTIONS_TOPIC);
        let changed = delta.partitions.iter().any(|(topic, _)| Some(*topic) == id);
        let deleted = delta.topics_deleted.values().any(|topic| &*topic.name == TRANSACTIONS_TOPIC);
        if changed || deleted {
            self.refresh(image);
        }
    }
}
