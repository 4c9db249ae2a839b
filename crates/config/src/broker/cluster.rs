//! [`Roles`], [`Voter`], [`Formation`]: what a node is, and how it finds the metadata quorum.
//!
//! Nothing here is looked up or dialled; the settings are read as they are written. [`super::checks`] refuses what contradicts
//! itself, so that a loaded configuration always has one of the three formations.

use super::listeners::{Listener, Listeners};
use crate::error::ConfigError;
use crate::layers::{FromValue, Layers};
use std::fmt;

pub(super) const VOTERS: &str = "controller.quorum.voters";
pub(super) const SERVERS: &str = "controller.quorum.bootstrap.servers";

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roles {
    /// It keeps partitions and serves clients.
    pub broker: bool,
    /// It can be a voter of the metadata quorum.
    pub controller: bool,
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.broker, self.controller) {
            (true, false) => "broker",
            (false, true) => "controller",
            _ => "broker and controller",
        })
    }
}

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// A host name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A voter of the quorum as `controller.quorum.voters` names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Voter {
    /// Its `node.id`.
    pub id: i32,
    /// Its controller listener, as the other nodes reach it.
    pub address: HostPort,
}

impl fmt::Display for Voter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.address)
    }
}

/// How a node whose data directory knows no quorum yet comes to one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formation {
    /// It is a quorum of its own: no voters are named but itself, and no other server. No controller listener is needed.
    Alone,
    /// The voters are named; this node is one of them, or it is a broker that follows them.
    Voters,
    /// It looks for the quorum at the bootstrap servers and follows it; a controller becomes a voter when it is added.
    Join,
}

/// The quorum as it was configured.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Quorum {
    pub voters: Vec<Voter>,
    pub servers: Vec<HostPort>,
}

/// Reads who the voters are and where to ask; what is wrong goes to `errors` and is left out.
pub(super) fn read(layers: &Layers, errors: &mut Vec<ConfigError>) -> Quorum {
    let mut quorum = Quorum::default();
    for text in Vec::<String>::from_value(layers.named(VOTERS)) {
        match voter(&text) {
            Some(voter) => quorum.voters.push(voter),
            None => errors.push(invalid(
                VOTERS,
                text,
                "ID@HOST:PORT separated by commas, for example 1@localhost:9093,2@localhost:9094",
            )),
        }
    }
    for text in Vec::<String>::from_value(layers.named(SERVERS)) {
        match host_port(&text) {
            Some(server) => quorum.servers.push(server),
            None => errors.push(invalid(
                SERVERS,
                text,
                "HOST:PORT separated by commas, for example localhost:9093,localhost:9094",
            )),
        }
    }
    quorum
}

fn voter(text: &str) -> Option<Voter> {
    let (id, address) = text.split_once('@')?;
    let id = id.trim().parse().ok().filter(|id| *id >= 0)?;
    Some(Voter { id, address: host_port(address)? })
}

fn host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.trim().rsplit_once(':')?;
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = match bracketed {
        Some(inner) => inner,
        None if host.contains([':', '[', ']', '/', '@']) => return None,
        None => host,
    };
    let port = port.trim().parse().ok().filter(|port| *port != 0)?;
    (!host.trim().is_empty()).then(|| HostPort { host: host.trim().to_owned(), port })
}

fn invalid(name: &str, value: String, allowed: &str) -> ConfigError {
    ConfigError::Invalid { name: name.to_owned(), value, allowed: allowed.to_owned() }
}

/// The listener over which brokers reach each other, by name: what is set, or the one called like the protocol of
/// `security.inter.broker.protocol`, or the first.
pub(super) fn inter_broker(layers: &Layers, listeners: &[Listener]) -> String {
    if let Some(name) = Option::<String>::from_value(layers.named("inter.broker.listener.name")) {
        return name.trim().to_ascii_uppercase();
    }
    let protocol = String::from_value(layers.named("security.inter.broker.protocol"));
    let named = listeners.iter().find(|listener| listener.name.eq_ignore_ascii_case(&protocol));
    let chosen = named.or_else(|| listeners.first());
    chosen.map_or_else(String::new, |listener| listener.name.clone())
}

/// Whether `server` is a controller listener of this very node, as far as its text tells.
pub(super) fn is_own(server: &HostPort, listeners: &Listeners) -> bool {
    let is_loopback = matches!(server.host.as_str(), "localhost" | "127.0.0.1" | "::1");
    let advertised = listeners.advertised.iter().flatten();
    let mut hosts = listeners.broker.iter().chain(advertised).map(|listener| &listener.host);
    let is_known = is_loopback || hosts.any(|host| host.eq_ignore_ascii_case(&server.host));
    let mut controllers = listeners.controller.iter().chain(&listeners.advertised_controller);
    controllers.any(|listener| {
        let same_host = listener.host.eq_ignore_ascii_case(&server.host);
        listener.port == server.port && (same_host || is_known)
    })
}
