//! [`BrokerConfig`]: everything a broker reads, typed and judged.
//!
//! It is a value: settings that change at run time make a new one ([`BrokerConfig::with_dynamic`]), which the broker swaps in.

mod checks;
mod cluster;
mod cluster_checks;
mod listeners;
mod load;
mod views;

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;

pub use cluster::{Formation, HostPort, Roles, Voter};
pub use listeners::{Listener, SecurityProtocol};
pub use load::{Notice, NoticeKind};
pub(crate) use load::{not_yet, unknown};
pub use views::{
    CleanerConfig, ClusterConfig, GroupsConfig, LogConfig, NetworkConfig, NodeConfig, QuorumConfig,
    ReplicationConfig, TransactionsConfig,
};

use crate::alter::ChangeTarget;
use crate::error::{ConfigError, ConfigErrors};
use crate::layers::{FromValue, Layers, Overrides};
use crate::properties::ServerProperties;
use crate::setting::Scope;
use crate::settings::find;
use crate::topic::TopicConfig;
use crate::value::Value;
use std::sync::Arc;

/// A broker's configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    /// Identity, roles, directories and limits of the node.
    pub node: NodeConfig,
    /// Sockets and connections.
    pub network: NetworkConfig,
    /// What all logs of the broker share.
    pub log: LogConfig,
    /// The cleaner of compacted logs.
    pub cleaner: CleanerConfig,
    /// Consumer groups and the topic of their offsets.
    pub groups: GroupsConfig,
    /// Producers and transactions.
    pub transactions: TransactionsConfig,
    /// The metadata quorum's time-outs and sizes.
    pub quorum: QuorumConfig,
    /// Registration, heartbeats and leadership of brokers.
    pub cluster: ClusterConfig,
    /// Followers and throttles.
    pub replication: ReplicationConfig,
    /// What the node is.
    pub roles: Roles,
    /// `controller.quorum.voters`.
    pub voters: Vec<Voter>,
    /// `controller.quorum.bootstrap.servers`.
    pub bootstrap_servers: Vec<HostPort>,
    /// How the node comes to a quorum if its data directory knows none.
    pub formation: Formation,
    /// Which replica a consumer is told to read from (`replica.selector.class`).
    pub replica_selector: ReplicaSelector,
    /// What a topic does that sets nothing of its own.
    pub topic_defaults: TopicConfig,
    /// Where clients and other brokers connect; none on a node that is only a controller.
    pub listeners: Vec<Listener>,
    /// The listeners named in `controller.listener.names`. One node alone serves its controller inside the process and need not
    /// open them.
    pub controller_listeners: Vec<Listener>,
    /// `controller.listener.names`, in capitals, in their order: the first is the one over which controllers are reached.
    pub controller_listener_names: Vec<String>,
    /// Name of the listener over which brokers reach each other; empty on a node that is only a controller.
    pub inter_broker_listener: String,
    /// Where `advertised.listeners` says that the controller listeners are reached; without it they are as they listen.
    pub advertised_controller_listeners: Vec<Listener>,
    /// What clients are told to connect to, if it was set. Otherwise they are told the address that they dialled.
    pub advertised_listeners: Option<Vec<Listener>>,
    layers: Layers,
    notices: Vec<Notice>,
}

/// A topic that brokers make for themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InternalTopic {
    /// `__consumer_offsets`.
    Offsets,
    /// `__transaction_state`.
    Transactions,
    /// `__share_group_state`.
    ShareState,
}

impl BrokerConfig {
    /// Judges what a broker is started with.
    ///
    /// # Errors
    /// Everything that is wrong, at once: unknown names with the nearest known one, values out of bounds, settings that need a
    /// part that does not exist yet, and settings that contradict each other.
    pub fn load(properties: &ServerProperties) -> Result<Self, ConfigErrors> {
        let loaded = load::judge_static(properties)?;
        let layers = Layers { statics: Arc::new(loaded.values), ..Layers::default() };
        let mut config = Self::assemble(layers)?;
        config.notices = loaded.notices;
        Ok(config)
    }

    /// The same broker with the settings that were made at run time: for all brokers, and for this one. Texts that cannot be
    /// used are left out and returned, since a broker must come up with what an older or newer one stored.
    #[must_use]
    pub fn with_dynamic(&self, cluster: &Overrides, node: &Overrides) -> (Self, Vec<ConfigError>) {
        let (layers, mut errors) = self.layers_with(cluster, node);
        match Self::assemble(layers) {
            Ok(mut config) => {
                config.notices.clone_from(&self.notices);
                (config, errors)
            }
            Err(wrong) => {
                errors.extend(wrong.0);
                (self.clone(), errors)
            }
        }
    }

    /// These run-time settings over the static ones, as far as they can be used, and what cannot.
    pub(crate) fn layers_with(
        &self,
        cluster: &Overrides,
        node: &Overrides,
    ) -> (Layers, Vec<ConfigError>) {
        let mut errors = Vec::new();
        let cluster = load::judge_dynamic(ChangeTarget::BrokerDefault, cluster, &mut errors);
        let node = load::judge_dynamic(ChangeTarget::Broker, node, &mut errors);
        let layers = Layers {
            statics: Arc::clone(&self.layers.statics),
            cluster: Arc::new(cluster),
            node: Arc::new(node),
        };
        (layers, errors)
    }

    pub(crate) fn assemble(layers: Layers) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let config = Self::read(layers, &mut errors);
        checks::check(&config, &mut errors);
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
    }

    fn read(layers: Layers, errors: &mut Vec<ConfigError>) -> Self {
        let node = read_node(&layers);
        let roles = Roles {
            broker: node.process_roles.iter().any(|role| role == "broker"),
            controller: node.process_roles.iter().any(|role| role == "controller"),
        };
        let quorum = cluster::read(&layers, errors);
        let listeners = listeners::read(&layers, roles, errors);
        let formation = formation(roles, node.node_id, &quorum, &listeners);
        Self {
            node,
            roles,
            formation,
            replica_selector: ReplicaSelector::read(&layers, errors),
            inter_broker_listener: cluster::inter_broker(&layers, &listeners.broker),
            controller_listener_names: listeners::controller_names(&layers),
            quorum: QuorumConfig::read(&layers),
            cluster: ClusterConfig::read(&layers),
            replication: ReplicationConfig::read(&layers),
            voters: quorum.voters,
            bootstrap_servers: quorum.servers,
            network: NetworkConfig::read(&layers),
            log: LogConfig::read(&layers),
            cleaner: CleanerConfig::read(&layers),
            groups: GroupsConfig::read(&layers),
            transactions: TransactionsConfig::read(&layers),
            topic_defaults: TopicConfig::inherited(&layers),
            listeners: listeners.broker,
            controller_listeners: listeners.controller,
            advertised_listeners: listeners.advertised,
            advertised_controller_listeners: listeners.advertised_controller,
            layers,
            notices: Vec::new(),
        }
    }

    /// Settings that were set at start and act on nothing here, to be listed once.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// The value of any broker setting, with every layer counted.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<Value> {
        find(Scope::Broker, name).map(|setting| self.layers.value(setting))
    }

    /// Whether the broker setting was set by anyone, at start or at run time.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.layers.text(name).is_some()
    }

    /// Whether this node is among the voters that were named, or a quorum of its own.
    #[must_use]
    pub fn is_voter(&self) -> bool {
        match self.formation {
            Formation::Alone => true,
            Formation::Voters => self.voters.iter().any(|voter| voter.id == self.node.node_id),
            Formation::Join => false,
        }
    }

    /// The directories of the logs: `log.dirs`, or else `log.dir`.
    #[must_use]
    pub fn log_dirs(&self) -> &[String] {
        match &self.node.log_dirs {
            Some(dirs) if !dirs.is_empty() => dirs,
            _ => &self.node.log_dir,
        }
    }

    /// What to ask of the system as the send buffer of a client's socket; `None` leaves the choice to it.
    ///
    /// Kafka's default of 100 KiB would hold fast links back where the system adapts by itself, so only what was set counts.
    #[must_use]
    pub fn socket_send_buffer_bytes(&self) -> Option<usize> {
        self.buffer_bytes("socket.send.buffer.bytes")
    }

    /// The same for the receive buffer.
    #[must_use]
    pub fn socket_receive_buffer_bytes(&self) -> Option<usize> {
        self.buffer_bytes("socket.receive.buffer.bytes")
    }

    fn buffer_bytes(&self, name: &str) -> Option<usize> {
        if !self.is_set(name) {
            return None;
        }
        let bytes: i64 = FromValue::from_value(self.layers.named(name));
        usize::try_from(bytes).ok().filter(|bytes| *bytes > 0)
    }

    /// How many replicas an internal topic gets on a cluster of `brokers`: what was set, or else the default of 3 as far as the
    /// brokers reach, so that a single node works without being told.
    #[must_use]
    pub fn internal_replication_factor(&self, topic: InternalTopic, brokers: usize) -> i16 {
        let (name, _) = internal_names(topic);
        self.within_brokers(name, brokers)
    }

    /// How many replicas of an internal topic must have a record before it is acknowledged: what was set, or else the default as
    /// far as the topic's replicas reach.
    #[must_use]
    pub fn internal_min_insync_replicas(&self, topic: InternalTopic, brokers: usize) -> i16 {
        let (factor, name) = internal_names(topic);
        let replicas = self.within_brokers(factor, brokers);
        let Some(name) = name else { return 1 };
        let wanted = self.number(name);
        if self.is_set(name) { wanted } else { wanted.min(replicas) }
    }

    fn within_brokers(&self, name: &str, brokers: usize) -> i16 {
        let wanted = self.number(name);
        let brokers = i16::try_from(brokers).unwrap_or(i16::MAX).max(1);
        if self.is_set(name) { wanted } else { wanted.min(brokers) }
    }

    fn number(&self, name: &str) -> i16 {
        FromValue::from_value(self.layers.named(name))
    }

    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }
}

fn formation(
    roles: Roles,
    me: i32,
    quorum: &cluster::Quorum,
    listeners: &listeners::Listeners,
) -> Formation {
    if let [voter] = &quorum.voters[..]
        && voter.id == me
    {
        return Formation::Alone;
    }
    if !quorum.voters.is_empty() {
        return Formation::Voters;
    }
    if !roles.controller || !quorum.servers.iter().all(|s| cluster::is_own(s, listeners)) {
        return Formation::Join;
    }
    Formation::Alone
}

/// `replica.selector.class`: which replica a consumer is told to read from (KIP-392).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaSelector {
    /// The leader.
    Leader,
    /// One in the consumer's own rack that is in sync, if there is one.
    RackAware,
}

impl ReplicaSelector {
    fn read(layers: &Layers, errors: &mut Vec<ConfigError>) -> Self {
        const NAME: &str = "replica.selector.class";
        let text = Option::<String>::from_value(layers.named(NAME)).unwrap_or_default();
        match text.trim().rsplit('.').next().unwrap_or_default() {
            "" | "LeaderSelector" => Self::Leader,
            "RackAwareReplicaSelector" => Self::RackAware,
            _ => {
                errors.push(ConfigError::Invalid {
                    name: NAME.to_owned(),
                    value: text,
                    allowed: "org.apache.kafka.common.replica.RackAwareReplicaSelector, \
                              org.apache.kafka.common.replica.LeaderSelector, or nothing; Java classes of others do not \
                              run here"
                        .to_owned(),
                });
                Self::Leader
            }
        }
    }
}

/// The node's view. `broker.id` is the older name of `node.id` and counts where that is not set.
fn read_node(layers: &Layers) -> NodeConfig {
    let mut node = NodeConfig::read(layers);
    if layers.text("node.id").is_none() && layers.text("broker.id").is_some() {
        node.node_id = i32::from_value(layers.named("broker.id"));
    }
    node
}

fn internal_names(topic: InternalTopic) -> (&'static str, Option<&'static str>) {
    match topic {
        InternalTopic::Offsets => ("offsets.topic.replication.factor", None),
        InternalTopic::Transactions => {
            ("transaction.state.log.replication.factor", Some("transaction.state.log.min.isr"))
        }
        InternalTopic::ShareState => (
            "share.coordinator.state.topic.replication.factor",
            Some("share.coordinator.state.topic.min.isr"),
        ),
    }
}

impl Default for BrokerConfig {
    /// What a broker does that was told nothing. A test shows that the defaults pass every check.
    fn default() -> Self {
        Self::read(Layers::default(), &mut Vec::new())
    }
}
