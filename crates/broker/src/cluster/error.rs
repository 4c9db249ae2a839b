//! What can go wrong on the way to another node.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::NodeId;
use millstream_client::ConnectionError;

/// A call to another broker got no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PeerError {
    /// The metadata names no such broker, or one without the listener that brokers use among themselves.
    #[error("broker {id} is not registered with a listener named {listener}")]
    Unknown {
        /// Who was meant.
        id: NodeId,
        /// `inter.broker.listener.name`.
        listener: Arc<str>,
    },
    /// There is no connection; the request did not leave.
    #[error("broker {id} cannot be reached: {source}")]
    Unreachable {
        /// Who was meant.
        id: NodeId,
        /// What happened.
        source: ConnectionError,
    },
    /// The connection ended before the answer came: whether the request took effect is open.
    #[error("broker {id} gave no answer: {source}")]
    Unanswered {
        /// Who was meant.
        id: NodeId,
        /// What happened.
        source: ConnectionError,
    },
}

/// A call to the active controller got no answer that counts.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum ControllerError {
    /// No controller answered in time.
    #[error("no active controller answered {api} within {after:?}{}", last_words(.last.as_deref()))]
    NoController {
        /// What was asked.
        api: &'static str,
        /// How long it was tried.
        after: Duration,
        /// What the last try came to.
        last: Option<String>,
    },
    /// The controller does not take this request, or its answer makes no sense.
    #[error("the controller cannot be asked for {api}: {reason}")]
    Refused {
        /// What was asked.
        api: &'static str,
        /// Why.
        reason: String,
    },
    /// The broker stops.
    #[error("the broker is stopping")]
    Stopping,
}

fn last_words(last: Option<&str>) -> String {
    last.map_or_else(String::new, |last| format!(" ({last})"))
}
