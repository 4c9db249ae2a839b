//! Connections to other nodes: one for each node and purpose, made when needed, made anew with growing pauses.
//!
//! Key type: [`Links`]. A node that cannot be reached is logged once, then ever more rarely, and once when it is back.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::NodeId;
use millstream_client::{ClientConfig, Connection, ConnectionError};
use millstream_env::task::{self, Instant};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tracing::{info, warn};

/// The pause after a first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The pause between two complaints about the same link; it doubles up to [`LONGEST_SILENCE`].
const FIRST_SILENCE: Duration = Duration::from_secs(5);
/// The longest pause between two complaints.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

/// What a connection is for. Requests on one connection are answered one after the other, so what waits long has a
/// connection of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    /// What is answered at once: heartbeats to the controller, and what it is asked for.
    Control,
    /// Requests of clients on their way to the controller.
    Forward,
    /// The metadata quorum's messages.
    Quorum,
    /// A replica fetcher, by its number.
    Fetch(u16),
    /// Transaction markers and questions to transaction coordinators.
    Transactions,
}

/// Open and broken connections to other nodes.
#[derive(Debug)]
pub(crate) struct Links {
    config: ClientConfig,
    links: Mutex<HashMap<(NodeId, Channel), SharedLink>>,
}

/// Held while its connection is made: whoever comes meanwhile gets the same one.
type SharedLink = Arc<AsyncMutex<Link>>;

/// One node and purpose.
#[derive(Debug, Default)]
struct Link {
    address: String,
    connection: Option<Connection>,
    /// An attempt to connect was given up before it came to anything.
    abandoned: bool,
    failures: u32,
    not_before: Option<Instant>,
    /// When to complain again, and how long the silence before that was.
    silence: Option<(Instant, Duration)>,
}

impl Links {
    /// Links of which none is open. `name` is what this node calls itself.
    pub(crate) fn new(name: String, connect_timeout: Duration, max_response_bytes: usize) -> Self {
        let config = ClientConfig {
            client_id: name,
            connect_timeout,
            max_response_bytes,
            ..ClientConfig::default()
        };
        Self { config, links: Mutex::default() }
    }

    /// An open connection to the node at that address. After failures it waits its pause before it tries again.
    pub(crate) async fn connection(
        &self,
        node: NodeId,
        address: &str,
        channel: Channel,
    ) -> Result<Connection, ConnectionError> {
        let link = Arc::clone(self.links.lock().entry((node, channel)).or_default());
        let mut link = link.lock().await;
        link.move_to(address);
        if let Some(open) = link.connection.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        link.connection = None;
        if std::mem::take(&mut link.abandoned) {
            let address = link.address.as_str().into();
            link.failed(
                node,
                &ConnectionError::ConnectTimeout { address, after: self.config.connect_timeout },
            );
        }
        if let Some(until) = link.not_before {
            task::sleep_until(until).await;
        }
        // Stays behind where the caller gives up waiting.
        link.abandoned = true;
        let connected = Connection::connect(address, &self.config).await;
        link.abandoned = false;
        match connected {
            Ok(open) => {
                link.connected(node);
                link.connection = Some(open.clone());
                Ok(open)
            }
            Err(error) => {
                link.failed(node, &error);
                Err(error)
            }
        }
    }

    /// Connects once, without keeping the connection and without a pause.
    pub(crate) async fn dial(&self, address: &str) -> Result<Connection, ConnectionError> {
        Connection::connect(address, &self.config).await
    }
}

impl Link {
    /// A node that moved gets a new start.
    fn move_to(&mut self, address: &str) {
        if self.address != address {
            *self = Self { address: address.to_owned(), ..Self::default() };
        }
    }

    fn connected(&mut self, node: NodeId) {
        if self.silence.take().is_some() {
            info!(%node, address = %self.address, "the node is reached again");
        }
        (self.failures, self.not_before) = (0, None);
    }

    fn failed(&mut self, node: NodeId, error: &ConnectionError) {
        let now = Instant::now();
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause);
        let silence = match self.silence {
            Some((until, _)) if now < until => return,
            Some((_, length)) => length.saturating_mul(2).min(LONGEST_SILENCE),
            None => FIRST_SILENCE,
        };
        self.silence = Some((now + silence, silence));
        warn!(%node, address = %self.address, %error,
            "a node of the cluster cannot be reached; it is tried again, and listeners or advertised.listeners there may be wrong");
    }
}
