//! The replica that a consumer should read from (KIP-392).
//!
//! Key type: [`Nearest`]. With the rack-aware selector a consumer that names its rack is sent to a replica there that is in sync and
//! has what it wants; without one in its rack it stays with the leader.

use std::sync::Arc;

use millstream_base::NodeId;
use millstream_config::ReplicaSelector;
use millstream_metadata::ClusterImage;

use crate::broker::Broker;
use crate::fetch::Wanted;
use crate::replica::Partition;

/// Chooses for one fetch of one consumer.
#[derive(Debug)]
pub(crate) struct Nearest {
    rack: String,
    me: NodeId,
    image: Arc<ClusterImage>,
}

impl Nearest {
    /// `None` when the leader serves this consumer anyhow.
    pub(crate) fn new(broker: &Broker, rack: &str) -> Option<Self> {
        if rack.is_empty() || broker.config().replica_selector != ReplicaSelector::RackAware {
            return None;
        }
        let (me, image) = (broker.node_id(), broker.image());
        let nearest = Self { rack: rack.to_owned(), me, image };
        // The leader is as near as any.
        (!nearest.is_near(me)).then_some(nearest)
    }

    /// The replica to read from instead of this broker, the partition's leader.
    pub(crate) fn instead(&self, partition: &Partition, wanted: &Wanted) -> Option<NodeId> {
        let replicas = partition.replicas_with(wanted.offset)?;
        let near = replicas.into_iter().filter(|(id, _)| self.is_near(*id));
        near.max_by_key(|(_, end)| *end).map(|(id, _)| id).filter(|id| *id != self.me)
    }

    fn is_near(&self, id: NodeId) -> bool {
        let broker = self.image.broker(id).filter(|broker| broker.is_active());
        broker.is_some_and(|broker| broker.rack.as_deref() == Some(&*self.rack))
    }
}
