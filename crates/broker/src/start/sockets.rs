//! The addresses that a node listens on, and those that it tells others.
//!
//! Key type: [`Socket`]. All are bound before anything else is touched: the commonest failure comes first and costs
//! nothing.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use millstream_config::{BrokerConfig, Listener as ListenerConfig};
use millstream_env::{net, process};
use millstream_metadata::Endpoint;
use tracing::warn;

use super::StartError;
use crate::apis::ListenerKind;
use crate::broker::BoundListener;
use crate::context::ConnectionLimits;
use crate::server::{self, Listener, ListenerLimits, RequestMemory};

/// A bound address that does not accept yet.
pub(crate) struct Socket {
    /// As it is set.
    pub config: ListenerConfig,
    /// What it is for.
    pub kind: ListenerKind,
    /// Itself.
    pub listener: Listener,
}

/// Binds every listener of the node.
pub(crate) async fn bind(config: &BrokerConfig) -> Result<Vec<Socket>, StartError> {
    let for_brokers = config.listeners.iter().map(|it| (it, ListenerKind::Broker));
    let for_controllers = config.controller_listeners.iter();
    let for_controllers = for_controllers.map(|it| (it, ListenerKind::Controller));
    let mut sockets = Vec::new();
    let limits = limits(config);
    for (listener, kind) in for_brokers.chain(for_controllers) {
        let failed = |source| StartError::Listen { listener: listener.to_string(), source };
        let host = if listener.host.is_empty() { "0.0.0.0" } else { &listener.host };
        let addresses = net::resolve(host, listener.port).await.map_err(failed)?;
        let address = addresses.into_iter().min_by_key(SocketAddr::is_ipv6);
        let address = address.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        let name = (listener.name.as_str(), kind);
        let bound = server::bind(name, address, backlog(config), limits.clone());
        sockets.push(Socket { config: listener.clone(), kind, listener: bound.map_err(failed)? });
    }
    Ok(sockets)
}

/// Kafka's 50 makes clients of a burst wait a second for their second try; the system caps what is too much.
fn backlog(config: &BrokerConfig) -> u32 {
    let set = config.is_set("socket.listen.backlog.size");
    let backlog = if set { config.network.socket_listen_backlog_size } else { i32::from(i16::MAX) };
    u32::try_from(backlog).unwrap_or(1)
}

fn limits(config: &BrokerConfig) -> ListenerLimits {
    let network = &config.network;
    let count = |value: i32| usize::try_from(value).unwrap_or_default();
    let idle = u64::try_from(network.connections_max_idle_ms).ok().filter(|ms| *ms > 0);
    ListenerLimits {
        max_connections: count(network.max_connections),
        max_per_ip: count(network.max_connections_per_ip),
        connection: ConnectionLimits {
            request_max_bytes: count(network.socket_request_max_bytes),
            max_idle: idle.map(Duration::from_millis),
            memory: usize::try_from(network.queued_max_request_bytes)
                .ok()
                .filter(|bytes| *bytes > 0)
                .map(RequestMemory::new),
        },
        per_ip_overrides: per_ip_overrides(config),
        send_buffer: config.socket_send_buffer_bytes(),
        receive_buffer: config.socket_receive_buffer_bytes(),
    }
}

fn per_ip_overrides(config: &BrokerConfig) -> HashMap<IpAddr, usize> {
    let overrides = config.network.ip_overrides().unwrap_or_default().into_iter();
    let parsed = overrides.filter_map(|(host, count)| {
        let address = host.parse().inspect_err(|_| {
            warn!(host, "max.connections.per.ip.overrides takes addresses; this entry is left out");
        });
        Some((address.ok()?, usize::try_from(count).unwrap_or(usize::MAX)))
    });
    parsed.collect()
}

/// Where those of `kind` listen.
pub(crate) fn bound(
    sockets: &[Socket],
    kind: ListenerKind,
) -> Result<Vec<BoundListener>, StartError> {
    let of_kind = sockets.iter().filter(|socket| socket.kind == kind);
    let bound = of_kind.map(|Socket { config, listener, .. }| {
        let address = listener.local_addr()?;
        Ok(BoundListener { name: config.name.as_str().into(), address })
    });
    bound.collect()
}

/// What other nodes and tools are told of the listeners for clients: `advertised.listeners`, or where we listen.
pub(crate) fn broker_endpoints(
    config: &BrokerConfig,
    bound: &[BoundListener],
    fallback: &str,
) -> Vec<Endpoint> {
    let advertised = config.advertised_listeners.as_deref().unwrap_or(&config.listeners);
    advertised.iter().map(|listener| endpoint(listener, bound, fallback)).collect()
}

/// The same of the controller listeners.
pub(crate) fn controller_endpoints(
    config: &BrokerConfig,
    bound: &[BoundListener],
    fallback: &str,
) -> Vec<Endpoint> {
    let advertised = match config.advertised_controller_listeners.is_empty() {
        true => &config.controller_listeners,
        false => &config.advertised_controller_listeners,
    };
    advertised.iter().map(|listener| endpoint(listener, bound, fallback)).collect()
}

/// `fallback` is the host where a listener is open on all interfaces.
fn endpoint(listener: &ListenerConfig, bound: &[BoundListener], fallback: &str) -> Endpoint {
    let here = bound.iter().find(|bound| *bound.name == listener.name);
    let port = match listener.port {
        0 => here.map_or(0, |bound| bound.address.port()),
        port => port,
    };
    let is_anywhere = matches!(listener.host.as_str(), "" | "0.0.0.0" | "::");
    let host = if is_anywhere { fallback } else { &listener.host };
    Endpoint { name: listener.name.as_str().into(), host: host.into(), port, security_protocol: 0 }
}

/// What others may call this machine where a listener does not say.
pub(crate) fn host_name() -> String {
    process::host_name().unwrap_or_else(|| "localhost".to_owned())
}
