//! Calls to other brokers, by their ids.
//!
//! Key type: [`Peers`]. A broker's address is that of its inter-broker listener in the newest metadata.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::NodeId;
use millstream_client::Connection;
use millstream_metadata::ClusterImage;
use millstream_quorum::Quorum;
use millstream_wire::Request;

use super::error::PeerError;
use super::links::{Channel, Links};

/// The other brokers. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    links: Arc<Links>,
    quorum: Quorum,
    listener: Arc<str>,
}

impl Peers {
    pub(crate) fn new(links: Arc<Links>, quorum: Quorum, listener: Arc<str>) -> Self {
        Self { links, quorum, listener }
    }

    /// An open connection to a broker, shared with all who use the same channel. Waits a short pause after failures, so a
    /// loop around it does not spin; clones of it that broke are replaced by asking again.
    ///
    /// # Errors
    /// [`PeerError::Unknown`] and [`PeerError::Unreachable`].
    pub(crate) async fn connection(
        &self,
        to: NodeId,
        channel: Channel,
    ) -> Result<Connection, PeerError> {
        let address = self.address(&self.quorum.image(), to)?;
        let connection = self.links.connection(to, &address, channel).await;
        connection.map_err(|source| PeerError::Unreachable { id: to, source })
    }

    /// Asks a broker in the newest version that both speak.
    ///
    /// # Errors
    /// [`PeerError`]; after [`PeerError::Unanswered`] the request may have taken effect.
    pub(crate) async fn call<R: Request + Sync>(
        &self,
        to: NodeId,
        channel: Channel,
        request: &R,
        within: Duration,
    ) -> Result<R::Response, PeerError> {
        let connection = self.connection(to, channel).await?;
        let unreachable = |source| PeerError::Unreachable { id: to, source };
        let version = connection.version_of::<R>(None).map_err(unreachable)?;
        let answer = connection.call(request, version, Some(within)).await;
        answer.map_err(|source| PeerError::Unanswered { id: to, source })
    }

    /// `HOST:PORT` of a broker for other brokers. A node that is a controller alone has no listener to name, and looks for
    /// any that the broker has.
    pub(crate) fn address(&self, image: &ClusterImage, id: NodeId) -> Result<String, PeerError> {
        let endpoint = image.broker(id).and_then(|broker| match &*self.listener {
            "" => broker.endpoints.first(),
            name => broker.endpoint(name),
        });
        let Some(endpoint) = endpoint else {
            return Err(PeerError::Unknown { id, listener: Arc::clone(&self.listener) });
        };
        Ok(address_of(&endpoint.host, endpoint.port))
    }

    /// The connections themselves.
    pub(crate) fn links(&self) -> &Arc<Links> {
        &self.links
    }
}

/// `HOST:PORT`, an IPv6 address in brackets.
pub(crate) fn address_of(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
