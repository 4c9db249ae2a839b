//! The open connections of a client, by address and purpose.
//!
//! Key types: [`Pool`], [`Lane`]. A broker answers one connection's requests in order, so a heartbeat must not
//! stand behind a fetch that waits for records, nor one consumer's fetch behind another's: each lane has its own
//! connection.

use std::collections::HashMap;
use std::sync::Arc;

use millstream_env::task;
use parking_lot::Mutex;

use crate::{ClientConfig, Connection, ConnectionError};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Metadata, administration, producing.
    General,
    /// Fetches of one consumer, which wait at the broker.
    Fetch(u64),
    /// Joins and heartbeats of one member of a group: a join waits for the other members.
    Group(u64),
}

type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// One connection at most for each address and lane.
#[derive(Debug, Default)]
pub(super) struct Pool {
    slots: Mutex<HashMap<(String, Lane), Slot>>,
}

impl Pool {
    /// The open connection, or a new one. Callers that come together make one connection. It is made by a task of its own: a
    /// caller that is not polled for a while must not stand between the others and their turn.
    pub(super) async fn get(
        &self,
        address: &str,
        lane: Lane,
        config: &ClientConfig,
    ) -> Result<Connection, ConnectionError> {
        let slot = self.slots.lock().entry((address.to_owned(), lane)).or_default().clone();
        if let Some(open) = slot.try_lock().ok().and_then(|held| open(&held)) {
            return Ok(open);
        }
        let (address, config): (Arc<str>, _) = (address.into(), config.clone());
        let made = task::spawn({
            let address = Arc::clone(&address);
            async move {
                let mut held = slot.lock_owned().await;
                if let Some(open) = open(&held) {
                    return Ok(open);
                }
                let connection = Connection::connect(&address, &config).await?;
                *held = Some(connection.clone());
                Ok(connection)
            }
        });
        let ended = |_| ConnectionError::Closed { address, source: None };
        made.await.unwrap_or_else(|gone| Err(ended(gone)))
    }

    /// An open connection for general use that is not to `except`, without making one: the one with the fewest
    /// unanswered requests, since a broker that hangs has many.
    pub(super) fn least_busy(&self, except: Option<&str>) -> Option<Connection> {
        let slots = self.slots.lock();
        let open = slots.iter().filter_map(|((address, lane), slot)| {
            if *lane != Lane::General || except == Some(address.as_str()) {
                return None;
            }
            let held = slot.try_lock().ok()?;
            held.as_ref().filter(|connection| !connection.is_closed()).cloned()
        });
        open.min_by_key(Connection::unanswered)
    }

    /// Closes what a consumer had for itself.
    pub(super) fn remove(&self, unneeded: Lane) {
        self.slots.lock().retain(|(_, lane), _| *lane != unneeded);
    }

    /// Closes everything, as far as nobody else still uses it.
    pub(super) fn clear(&self) {
        self.slots.lock().clear();
    }
}

fn open(held: &Option<Connection>) -> Option<Connection> {
    held.as_ref().filter(|connection| !connection.is_closed()).cloned()
}
