//! The open connections of a client, by address and purpose.
//!
//! Key types: [`Pool`], [`Lane`]. A broker answers one connection's requests in order, so a heartbeat must not
//! stand behind a fetch that waits for records, nor one consumer's fetch behind another's: each lane has its own
//! connection.

use std::collections::HashMap;
use std::sync::Arc;

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
    /// The open connection, or a new one. Callers that come together make one connection.
    pub(super) async fn get(
        &self,
        address: &str,
        lane: Lane,
        config: &ClientConfig,
    ) -> Result<Connection, ConnectionError> {
        let slot = self.slots.lock().entry((address.to_owned(), lane)).or_default().clone();
        let mut held = slot.lock().await;
        if let Some(open) = held.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(open.clone());
        }
        let connection = Connection::connect(address, config).await?;
        *held = Some(connection.clone());
        Ok(connection)
    }

    /// Some open connection for general use, without making one.
    pub(super) fn any_open(&self) -> Option<Connection> {
        let slots = self.slots.lock();
        slots.iter().filter(|((_, lane), _)| *lane == Lane::General).find_map(|(_, slot)| {
            let held = slot.try_lock().ok()?;
            held.as_ref().filter(|connection| !connection.is_closed()).cloned()
        })
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
