//! What settings and features say about elections.
//!
//! Key types: [`ElectionDefaults`] (what the active controller was started with) and [`Rules`] (that, with what the image
//! lays over it: a topic's own settings first, then those of all brokers).

use std::str::FromStr;

use millstream_config::{BrokerConfig, Overrides, TopicConfig};

use crate::image::{ClusterImage, ConfigResource, ELR_VERSION, Topic};

pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
pub(super) const UNCLEAN_ELECTION: &str = "unclean.leader.election.enable";

/// Settings of the controller itself, which hold where nothing is stored in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionDefaults {
    /// `min.insync.replicas`.
    pub min_insync_replicas: usize,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election: bool,
}

impl Default for ElectionDefaults {
    fn default() -> Self {
        Self { min_insync_replicas: 1, unclean_leader_election: false }
    }
}

impl ElectionDefaults {
    /// What a node's settings say.
    pub fn of(config: &BrokerConfig) -> Self {
        let (topic, _) = TopicConfig::resolve_lenient(&Overrides::new(), config);
        Self {
            min_insync_replicas: usize::try_from(topic.min_insync_replicas).unwrap_or(1),
            unclean_leader_election: topic.unclean_leader_election_enable,
        }
    }
}

/// How leaders are elected in one image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'a> {
    image: &'a ClusterImage,
    min_insync_replicas: usize,
    unclean: bool,
    elr: bool,
}

impl<'a> Rules<'a> {
    pub(super) fn new(image: &'a ClusterImage, defaults: ElectionDefaults) -> Self {
        let stored = |name| setting(image, &ConfigResource::default_broker(), name);
        Self {
            image,
            min_insync_replicas: stored(MIN_INSYNC_REPLICAS)
                .and_then(parsed)
                .unwrap_or(defaults.min_insync_replicas),
            unclean: stored(UNCLEAN_ELECTION)
                .and_then(parsed)
                .unwrap_or(defaults.unclean_leader_election),
            elr: image.feature_level(ELR_VERSION) > 0,
        }
    }

    /// Whether eligible leader replicas are kept (KIP-966).
    pub(super) const fn keeps_elr(&self) -> bool {
        self.elr
    }

    /// How many replicas must be in sync for this partition's committed records to grow.
    pub(super) fn min_isr(&self, topic: &Topic, replicas: usize) -> usize {
        let own = self.of_topic(topic, MIN_INSYNC_REPLICAS).and_then(parsed);
        own.unwrap_or(self.min_insync_replicas).min(replicas)
    }

    /// Whether a replica out of sync may lead this topic's partitions when there is no other.
    pub(super) fn allows_unclean(&self, topic: &Topic) -> bool {
        self.of_topic(topic, UNCLEAN_ELECTION).and_then(parsed).unwrap_or(self.unclean)
    }

    fn of_topic(&self, topic: &Topic, name: &str) -> Option<&'a str> {
        setting(self.image, &ConfigResource::topic(std::sync::Arc::clone(&topic.name)), name)
    }
}

fn setting<'a>(image: &'a ClusterImage, resource: &ConfigResource, name: &str) -> Option<&'a str> {
    image.configs.get(resource)?.get(name).map(String::as_str)
}

fn parsed<T: FromStr>(value: &str) -> Option<T> {
    value.trim().to_ascii_lowercase().parse().ok()
}
