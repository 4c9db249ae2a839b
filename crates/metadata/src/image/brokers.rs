//! The brokers and controllers that are registered with the cluster.
//!
//! Key type: [`BrokerRegistration`]. A registration tells where a broker can be reached and whether it is fenced,
//! which means that it may neither lead nor be shown to clients.

use std::sync::Arc;

use millstream_base::{BrokerEpoch, NodeId, Uuid};

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The listener's name, such as `PLAINTEXT`.
    pub name: Arc<str>,
    /// The advertised host.
    pub host: Arc<str>,
    /// The advertised port.
    pub port: u16,
    /// Kafka's number of the security protocol: 0 plain, 1 TLS, 2 SASL over plain, 3 SASL over TLS.
    pub security_protocol: i16,
}

/// A feature and the range of its levels that a node can work with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SupportedFeature {
    /// The feature's name, such as `metadata.version`.
    pub name: Arc<str>,
    /// The lowest level.
    pub min: i16,
    /// The highest level.
    pub max: i16,
}

/// One broker's registration.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerRegistration {
    /// The broker.
    pub id: NodeId,
    /// Told apart from earlier registrations by this: the offset of the registration's record.
    pub epoch: BrokerEpoch,
    /// Drawn anew by every process.
    pub incarnation_id: Uuid,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// What it can work with.
    pub features: Vec<SupportedFeature>,
    /// Its rack, if it names one.
    pub rack: Option<Arc<str>>,
    /// Whether it is kept from leading.
    pub fenced: bool,
    /// Whether it is about to stop in good order.
    pub in_controlled_shutdown: bool,
    /// Its log directories.
    pub log_dirs: Vec<Uuid>,
    /// Directories that take no new replicas; `None` where the broker does not say.
    pub cordoned_log_dirs: Option<Vec<Uuid>>,
    /// Kept only so that a record written by an older Kafka is not changed.
    pub is_migrating_zk_broker: bool,
}

impl BrokerRegistration {
    /// Whether partitions may be led here: neither fenced nor on its way down.
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }

    /// The endpoint of the listener of that name.
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|endpoint| endpoint.name.as_ref() == listener)
    }
}

/// One controller's registration.
#[derive(Debug, Clone, PartialEq)]
pub struct ControllerRegistration {
    /// The controller.
    pub id: NodeId,
    /// Drawn anew by every process.
    pub incarnation_id: Uuid,
    /// Kept only so that a record written by an older Kafka is not changed.
    pub zk_migration_ready: bool,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// What it can work with.
    pub features: Vec<SupportedFeature>,
}
