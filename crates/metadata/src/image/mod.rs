//! The cluster as the committed metadata records describe it.
//!
//! Key type: [`ClusterImage`]. An image never changes once it is published; a new one shares all that did not
//! change with the one before, so that cloning costs some twenty pointers and a commit costs what it touches.
//! Images change only by replaying records (see [`crate::replay`]).

mod brokers;
mod configs;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_base::{NodeId, ProducerId, Uuid};
use millstream_wire::stored::{
    AccessControlEntryRecord, DelegationTokenRecord, UserScramCredentialRecord,
};

pub use brokers::{BrokerRegistration, ControllerRegistration, Endpoint, SupportedFeature};
pub use configs::{ConfigResource, ConfigResourceType, ConfigsImage};
pub use topics::{LeaderRecoveryState, Partition, Topic, TopicsImage};

use crate::persistent_map::PersistentMap;

/// The feature whose level says which metadata records may be written.
pub const METADATA_VERSION: &str = "metadata.version";

/// The feature under which eligible leader replicas are kept (KIP-966).
pub const ELR_VERSION: &str = "eligible.leader.replicas.version";

/// To whom a client quota applies: pairs of a type (`user`, `client-id`, `ip`) and a name; no name means the
/// default of that type. Sorted by type.
pub type QuotaEntity = Vec<(Arc<str>, Option<Arc<str>>)>;

/// Everything that the metadata log says about the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterImage {
    /// Topics and partitions.
    pub topics: TopicsImage,
    /// Stored settings.
    pub configs: ConfigsImage,
    /// Registered brokers.
    pub brokers: PersistentMap<NodeId, Arc<BrokerRegistration>>,
    /// Registered controllers.
    pub controllers: PersistentMap<NodeId, Arc<ControllerRegistration>>,
    /// Finalized feature levels.
    pub features: PersistentMap<Arc<str>, i16>,
    /// The first producer id that no block has given out yet.
    pub next_producer_id: ProducerId,
    /// Client quotas.
    pub client_quotas: PersistentMap<QuotaEntity, Arc<BTreeMap<Arc<str>, f64>>>,
    /// SCRAM credentials by mechanism and user.
    pub scram: PersistentMap<(i8, Arc<str>), Arc<UserScramCredentialRecord>>,
    /// Access control entries by id.
    pub acls: PersistentMap<Uuid, Arc<AccessControlEntryRecord>>,
    /// Delegation tokens by their id.
    pub delegation_tokens: PersistentMap<Arc<str>, Arc<DelegationTokenRecord>>,
    /// Kept only so that a log written by an older Kafka loses nothing.
    pub zk_migration_state: Option<i8>,
}

impl ClusterImage {
    /// The image of an empty log.
    pub fn new() -> Self {
        Self { next_producer_id: ProducerId(0), ..Self::default() }
    }

    /// The broker of that id.
    pub fn broker(&self, id: NodeId) -> Option<&Arc<BrokerRegistration>> {
        self.brokers.get(&id)
    }

    /// Whether partitions may be led by that broker.
    pub fn is_active(&self, id: NodeId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_active())
    }

    /// The brokers that clients may be told of.
    pub fn alive_brokers(&self) -> impl Iterator<Item = &Arc<BrokerRegistration>> {
        self.brokers.values().filter(|broker| !broker.fenced)
    }

    /// The finalized level of a feature; 0 when it is not in use.
    pub fn feature_level(&self, name: &str) -> i16 {
        self.features.get(name).copied().unwrap_or(0)
    }
}
