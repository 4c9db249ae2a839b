//! How nodes of the quorum reach each other: the host carries bytes, this crate knows what they mean.
//!
//! Key types: [`Transport`], [`Peer`], [`TransportError`].

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use millstream_base::NodeId;

/// A node of the quorum, and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// `node.id`.
    pub id: NodeId,
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// What a [`Transport`] gives back.
pub type Call<'a> = Pin<Box<dyn Future<Output = Result<Bytes, TransportError>> + Send + 'a>>;

/// Carries messages to other nodes.
pub trait Transport: Send + Sync {
    /// Hands `request` to `to`, which gives it to [`crate::Quorum::receive`], and brings back what that answers. At most
    /// `within` long. Messages may be lost, doubled, late and out of order; an answer belongs to its request.
    fn call<'a>(&'a self, to: &'a Peer, request: Bytes, within: Duration) -> Call<'a>;
}

/// A message did not arrive, or its answer did not.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TransportError {
    /// Nobody listens there: the peer's process is gone, and will not come to lead before it is started again.
    #[error("nobody listens there")]
    Refused,
    /// It took too long.
    #[error("no answer in time")]
    Timeout,
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}
