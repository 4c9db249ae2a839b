//! What changed between two images.
//!
//! Key type: [`ImageDelta`]. It names what changed and leaves the new state to the image, so that a listener can
//! create, change and delete replicas without comparing whole images.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::{NodeId, PartitionIndex, Uuid};

use crate::image::{ConfigResource, Topic};

/// The parts of the image that some replayed records touched.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageDelta {
    /// Topics that are new.
    pub topics_created: BTreeSet<Uuid>,
    /// Topics that are gone, as they were. A topic created and deleted within one delta is in neither list.
    pub topics_deleted: BTreeMap<Uuid, Arc<Topic>>,
    /// Partitions that are new or changed, those of new topics included.
    pub partitions: BTreeSet<(Uuid, PartitionIndex)>,
    /// Resources whose stored settings changed.
    pub configs: BTreeSet<ConfigResource>,
    /// Brokers that registered, changed or left.
    pub brokers: BTreeSet<NodeId>,
    /// Whether controllers registered or left.
    pub controllers: bool,
    /// Whether feature levels changed.
    pub features: bool,
    /// Whether producer ids were handed out.
    pub producer_ids: bool,
    /// Whether quotas changed.
    pub client_quotas: bool,
    /// Whether ACLs changed.
    pub acls: bool,
    /// Whether SCRAM credentials changed.
    pub scram: bool,
    /// Whether delegation tokens changed.
    pub delegation_tokens: bool,
}

impl ImageDelta {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn topic_deleted(&mut self, topic: Arc<Topic>) {
        self.partitions.retain(|(id, _)| *id != topic.id);
        if !self.topics_created.remove(&topic.id) {
            self.topics_deleted.insert(topic.id, topic);
        }
    }
}
