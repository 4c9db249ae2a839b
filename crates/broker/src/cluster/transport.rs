//! Carries the quorum's messages to other nodes, as requests of our own API.
//!
//! Key type: [`QuorumTransport`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use millstream_base::{ErrorCode, NodeId};
use millstream_client::ConnectionError;
use millstream_env::task;
use millstream_quorum::{Call, Peer, Transport, TransportError};
use millstream_wire::messages::quorum_message::QuorumMessageRequest;

use super::links::{Channel, Links};
use super::peers::address_of;

/// The version of the one request. Nodes do not ask each other for it: it grows only with an API of a new number.
const VERSION: i16 = 0;

/// The quorum's way to other nodes.
#[derive(Debug)]
pub(crate) struct QuorumTransport {
    links: Arc<Links>,
    me: NodeId,
    /// Empty until the id is known. Not the quorum itself: that holds its transport.
    cluster_id: Arc<OnceLock<String>>,
}

impl QuorumTransport {
    pub(crate) fn new(links: Arc<Links>, me: NodeId, cluster_id: Arc<OnceLock<String>>) -> Self {
        Self { links, me, cluster_id }
    }

    async fn send(&self, to: &Peer, payload: Bytes, within: Duration) -> Result<Bytes, Failure> {
        let address = address_of(&to.host, to.port);
        let connection = self.links.connection(to.id, &address, Channel::Quorum).await?;
        let request = QuorumMessageRequest {
            cluster_id: self.cluster_id.get().map(Into::into),
            sender: self.me.get(),
            payload,
        };
        let answer = connection.call(&request, VERSION, Some(within)).await?;
        if answer.error_code == 0 {
            return Ok(answer.payload);
        }
        let name = ErrorCode::from_code(answer.error_code).map_or("an error", ErrorCode::name);
        let message = answer.error_message.unwrap_or_default();
        Err(Failure::Refused(format!("{name}: {message}")))
    }
}

impl Transport for QuorumTransport {
    fn call<'a>(&'a self, to: &'a Peer, request: Bytes, within: Duration) -> Call<'a> {
        Box::pin(async move {
            match task::timeout(within, self.send(to, request, within)).await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(failure)) => Err(failure.into()),
                Err(_) => Err(TransportError::Timeout),
            }
        })
    }
}

/// Why a message was not answered.
enum Failure {
    Connection(ConnectionError),
    /// The other node does not want it.
    Refused(String),
}

impl From<ConnectionError> for Failure {
    fn from(error: ConnectionError) -> Self {
        Self::Connection(error)
    }
}

impl From<Failure> for TransportError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Connection(ConnectionError::Refused { .. }) => Self::Refused,
            Failure::Connection(
                ConnectionError::TimedOut { .. } | ConnectionError::ConnectTimeout { .. },
            ) => Self::Timeout,
            Failure::Connection(error) => Self::Failed(error.to_string()),
            Failure::Refused(reason) => Self::Failed(reason),
        }
    }
}
