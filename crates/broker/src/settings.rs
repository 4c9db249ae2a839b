//! Broker settings that change at run time: stored in the metadata, laid over what the broker was started with.

use std::sync::Arc;

use arc_swap::ArcSwap;
use millstream_base::NodeId;
use millstream_config::BrokerConfig;
use millstream_metadata::{ClusterImage, ConfigResource, ConfigResourceType, ImageDelta};
use millstream_quorum::ImageListener;
use tracing::warn;

/// Keeps the broker's settings in step with the metadata. Must be told of a commit before those who read settings.
#[derive(Debug)]
pub(crate) struct Settings {
    me: NodeId,
    started_with: BrokerConfig,
    current: Arc<ArcSwap<BrokerConfig>>,
}

impl Settings {
    /// The settings that a broker was started with, and what `image` adds to them.
    pub(crate) fn new(me: NodeId, started_with: BrokerConfig, image: &ClusterImage) -> Arc<Self> {
        let current = Arc::new(ArcSwap::from_pointee(started_with.clone()));
        let settings = Self { me, started_with, current };
        settings.apply(image);
        Arc::new(settings)
    }

    /// The settings as they are now.
    pub(crate) fn current(&self) -> Arc<ArcSwap<BrokerConfig>> {
        Arc::clone(&self.current)
    }

    fn apply(&self, image: &ClusterImage) {
        let cluster = image.configs.of(&ConfigResource::default_broker());
        let node = image.configs.of(&ConfigResource::broker(self.me));
        let (config, unusable) = self.started_with.with_dynamic(&cluster, &node);
        for problem in unusable {
            warn!("a stored broker setting is left out: {problem}");
        }
        self.current.store(Arc::new(config));
    }
}

impl ImageListener for Settings {
    fn committed(&self, image: &Arc<ClusterImage>, delta: &ImageDelta) {
        if delta.configs.iter().any(|r| r.resource_type == ConfigResourceType::Broker) {
            self.apply(image);
        }
    }
}
