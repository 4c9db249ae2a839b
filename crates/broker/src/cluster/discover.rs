//! Who votes in the metadata quorum, as far as that can be known before the metadata log is open.

use millstream_base::{NodeId, Uuid};
use millstream_config::BrokerConfig;
use millstream_quorum::{Peer, Voter};

/// The voters that the settings name, or that the bootstrap servers tell of.
pub(crate) async fn voters(config: &BrokerConfig) -> Vec<Voter> {
    let voter = |voter: &millstream_config::Voter| Voter {
        peer: Peer {
            id: NodeId(voter.id),
            host: voter.address.host.clone(),
            port: voter.address.port,
        },
        directory_id: Uuid::ZERO,
    };
    config.voters.iter().map(voter).collect()
}
