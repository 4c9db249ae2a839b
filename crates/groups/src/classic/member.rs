//! One member of a classic group.
//!
//! Key type: [`Member`]. Its id, timeouts, protocols and assignment come back from the log after a restart; the parked
//! requests and the session timer do not.

use std::sync::Arc;

use bytes::Bytes;

use crate::effect::RequestToken;
use crate::record::ClassicMemberRecord;
use crate::request::{ClientInfo, JoinGroup, Protocol};
use crate::timers::SessionTimer;

/// A member that the group knows by id.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client: ClientInfo,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    /// A parked JoinGroup.
    pub(crate) join: Option<RequestToken>,
    /// A parked SyncGroup.
    pub(crate) sync: Option<RequestToken>,
    /// Its first join is not answered yet, so it can neither heartbeat nor be excused from it.
    pub(crate) is_new: bool,
    pub(crate) session: SessionTimer,
}

impl Member {
    pub(crate) fn new(id: Arc<str>, request: &JoinGroup) -> Self {
        Self {
            id,
            instance_id: request.instance_id.clone(),
            client: request.client.clone(),
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: own_protocols(&request.protocols),
            assignment: Bytes::new(),
            join: None,
            sync: None,
            is_new: false,
            session: SessionTimer::default(),
        }
    }

    pub(crate) fn from_record(record: &ClassicMemberRecord, protocol: Option<&Arc<str>>) -> Self {
        let rebalance_timeout_ms = match record.rebalance_timeout_ms {
            -1 => record.session_timeout_ms,
            timeout => timeout,
        };
        let protocols = protocol
            .map(|name| Protocol { name: Arc::clone(name), metadata: record.subscription.clone() });
        Self {
            id: Arc::clone(&record.member_id),
            instance_id: record.instance_id.clone(),
            client: ClientInfo {
                id: Arc::clone(&record.client_id),
                host: Arc::clone(&record.client_host),
            },
            rebalance_timeout_ms,
            session_timeout_ms: record.session_timeout_ms,
            protocols: protocols.into_iter().collect(),
            assignment: record.assignment.clone(),
            join: None,
            sync: None,
            is_new: false,
            session: SessionTimer::default(),
        }
    }

    /// The member's metadata for `protocol`, empty when it does not support it.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|mine| &*mine.name == protocol);
        found.map(|mine| mine.metadata.clone()).unwrap_or_default()
    }

    /// Whether a join brings just what the member said before.
    pub(crate) fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// Whether the member is excused from heartbeats: it waits for the group, not the group for it.
    pub(crate) const fn has_satisfied_heartbeat(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }

    /// The first of the member's protocols among `candidates`.
    pub(crate) fn vote<'a>(&'a self, candidates: &[&str]) -> Option<&'a str> {
        self.protocols.iter().map(|mine| &*mine.name).find(|name| candidates.contains(name))
    }
}

/// Copies, so that a long-lived member does not pin the frame of its request.
pub(crate) fn own_protocols(protocols: &[Protocol]) -> Vec<Protocol> {
    let own = |protocol: &Protocol| Protocol {
        name: Arc::clone(&protocol.name),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    protocols.iter().map(own).collect()
}
