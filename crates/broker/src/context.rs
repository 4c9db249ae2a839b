//! What a handler knows about where a request comes from.
//!
//! Key types: [`ConnectionContext`] (one a connection), [`RequestContext`] (one a request). Every handler asks
//! [`RequestContext::allows`] before it acts.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millstream_base::NodeId;
use millstream_metadata::ClusterImage;
use millstream_wire::{ApiKey, Str};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::apis::ListenerKind;
use crate::authorizer::{Operation, Principal, Resource, operation_bits};
use crate::broker::Broker;
use crate::server::RequestMemory;

/// The bounds that hold for one connection.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimits {
    /// `socket.request.max.bytes`.
    pub request_max_bytes: usize,
    /// `connections.max.idle.ms`; `None` for no limit.
    pub max_idle: Option<Duration>,
    /// What all connections share for requests that are on their way in; `None` for no limit.
    pub memory: Option<RequestMemory>,
}

/// What is true of a connection for as long as it lives.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    /// Who is at the other end.
    pub principal: Principal,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that the client dialled.
    pub local: SocketAddr,
    /// The name of the listener that accepted the connection.
    pub listener: Arc<str>,
    /// What is served on that listener.
    pub kind: ListenerKind,
    /// What the client calls its software (ApiVersions v3+).
    pub software: OnceLock<(String, String)>,
    /// Which node of the cluster speaks over this connection, once it has said so.
    pub node: OnceLock<NodeId>,
    limits: ConnectionLimits,
    client_id: Mutex<Option<Str>>,
    more: Notify,
}

/// A connection as dispatch sees it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionContext {
    /// The broker that serves it.
    pub broker: Arc<Broker>,
    /// Where it comes from.
    pub info: Arc<ConnectionInfo>,
}

impl ConnectionContext {
    /// The context of a connection from `peer` that was accepted at `local` by `listener`.
    pub(crate) fn new(
        broker: Arc<Broker>,
        (listener, kind): (Arc<str>, ListenerKind),
        peer: SocketAddr,
        local: SocketAddr,
        limits: ConnectionLimits,
    ) -> Self {
        let info = ConnectionInfo {
            principal: Principal::anonymous(),
            peer,
            local,
            listener,
            kind,
            software: OnceLock::new(),
            node: OnceLock::new(),
            limits,
            client_id: Mutex::new(None),
            more: Notify::new(),
        };
        Self { broker, info: Arc::new(info) }
    }

    /// The connection's bounds.
    pub(crate) fn limits(&self) -> &ConnectionLimits {
        &self.info.limits
    }

    /// What the client calls itself, copied once a connection and not once a request.
    pub(crate) fn keep_client_id(&self, now: Option<&str>) -> Option<Str> {
        let mut known = self.info.client_id.lock();
        if known.as_deref() != now {
            *known = now.map(Str::from);
        }
        known.clone()
    }
}

impl ConnectionInfo {
    /// The client sent more while its request still waits for an answer.
    pub(crate) fn note_more(&self) {
        self.more.notify_one();
    }

    /// Completes when the client sends more, or did so since this was asked last.
    pub(crate) async fn more_came(&self) {
        self.more.notified().await;
    }

    /// What the active controller sees of a request that another process, or the broker itself, hands to it for
    /// `principal`, who is at `peer`.
    pub(crate) fn on_behalf_of(principal: Principal, peer: SocketAddr) -> Arc<Self> {
        let limits =
            ConnectionLimits { request_max_bytes: usize::MAX, max_idle: None, memory: None };
        Arc::new(Self {
            principal,
            peer,
            local: peer,
            listener: Arc::from(""),
            kind: ListenerKind::Controller,
            software: OnceLock::new(),
            node: OnceLock::new(),
            limits,
            client_id: Mutex::new(None),
            more: Notify::new(),
        })
    }
}

/// One request's surroundings. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext {
    /// The broker.
    pub broker: Arc<Broker>,
    /// The connection.
    pub connection: Arc<ConnectionInfo>,
    /// Which API was called.
    pub api: ApiKey,
    /// At which version.
    pub version: i16,
    /// What the answer must carry, so that the client knows its request again.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<Str>,
}

impl RequestContext {
    /// Whether the request's principal may do this.
    pub(crate) fn allows(&self, operation: Operation, resource: Resource<'_>) -> bool {
        let who = &self.connection.principal;
        self.broker.authorizer().allows(who, self.connection.peer.ip(), operation, resource)
    }

    /// Where the client reaches broker `node`: where it is advertised, or, for this broker without
    /// `advertised.listeners`, the very address that the client dialled.
    pub(crate) fn address_of(&self, image: &ClusterImage, node: NodeId) -> Option<(Str, i32)> {
        let is_advertised = self.broker.config().advertised_listeners.is_some();
        if node == self.broker.node_id() && !is_advertised {
            let local = self.connection.local;
            return Some((local.ip().to_canonical().to_string().into(), local.port().into()));
        }
        let endpoint = image.broker(node)?.endpoint(&self.connection.listener)?;
        Some(((&endpoint.host).into(), endpoint.port.into()))
    }

    /// What the request's principal may do to a resource, as the bits of the wire's `AuthorizedOperations` fields.
    pub(crate) fn allowed_operations(&self, resource: Resource<'_>) -> i32 {
        let operations = resource.operations().iter().copied();
        operation_bits(operations.filter(|operation| self.allows(*operation, resource)))
    }

    /// The client's name for itself, empty when it gives none.
    pub(crate) fn client_id(&self) -> &str {
        self.client_id.as_deref().unwrap_or_default()
    }
}
