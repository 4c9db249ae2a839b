//! Where the controllers are reached.
//!
//! Key type: [`Controllers`]. A controller that has registered itself is where it says; one that has not is where the
//! settings say.

use millstream_base::NodeId;
use millstream_config::BrokerConfig;
use millstream_metadata::ClusterImage;

use super::peers::address_of;

/// What the settings say of controllers.
#[derive(Debug, Clone)]
pub(crate) struct Controllers {
    /// `controller.listener.names`.
    listeners: Vec<String>,
    /// `controller.quorum.voters`.
    voters: Vec<(NodeId, String)>,
    /// `controller.quorum.bootstrap.servers`, each with an id that no node has.
    servers: Vec<(NodeId, String)>,
}

impl Controllers {
    pub(crate) fn new(config: &BrokerConfig) -> Self {
        let voters = config.voters.iter();
        let servers = config.bootstrap_servers.iter().enumerate();
        Self {
            listeners: config.controller_listener_names.clone(),
            voters: voters
                .map(|it| (NodeId(it.id), address_of(&it.address.host, it.address.port)))
                .collect(),
            servers: servers
                .map(|(at, it)| (nameless(at), address_of(&it.host, it.port)))
                .collect(),
        }
    }

    /// `HOST:PORT` of controller `id`.
    pub(crate) fn address_of(&self, image: &ClusterImage, id: NodeId) -> Option<String> {
        let registered = image.controllers.get(&id).and_then(|controller| {
            let named = |name: &String| {
                controller.endpoints.iter().find(|endpoint| *endpoint.name == **name)
            };
            let endpoint = self.listeners.iter().find_map(named)?;
            Some(address_of(&endpoint.host, endpoint.port))
        });
        let configured = || self.voters.iter().find(|(voter, _)| *voter == id);
        registered.or_else(|| configured().map(|(_, address)| address.clone()))
    }

    /// Whom to ask while nobody is known to lead: all but `me`.
    pub(crate) fn servers(&self, me: NodeId) -> Vec<(NodeId, String)> {
        let voters = self.voters.iter().filter(|(id, _)| *id != me);
        voters.chain(&self.servers).cloned().collect()
    }
}

/// The id of the server at that place among the bootstrap servers: below every real id, and not -1, which stands for nobody.
pub(super) fn nameless(at: usize) -> NodeId {
    NodeId(-2 - i32::try_from(at).unwrap_or(0))
}
