//! [`Listener`]: where a broker listens, read from `listeners` and the settings around it.

use super::cluster::Roles;
use crate::error::ConfigError;
use crate::layers::{FromValue, Layers};
use crate::settings::parts;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// One address to listen on, or to tell clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Its name, in capitals.
    pub name: String,
    /// A host name or address, without brackets; empty for all interfaces.
    pub host: String,
    /// The port; 0 for any that is free.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: SecurityProtocol,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "{}://[{}]:{}", self.name, self.host, self.port)
        } else {
            write!(f, "{}://{}:{}", self.name, self.host, self.port)
        }
    }
}

/// How a connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecurityProtocol {
    /// Not at all.
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL over plain TCP.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    fn from_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "PLAINTEXT" => Self::Plaintext,
            "SSL" => Self::Ssl,
            "SASL_PLAINTEXT" => Self::SaslPlaintext,
            "SASL_SSL" => Self::SaslSsl,
            _ => return None,
        })
    }
}

/// The listeners of a broker, by what they are for.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub broker: Vec<Listener>,
    pub controller: Vec<Listener>,
    pub advertised: Option<Vec<Listener>>,
    pub advertised_controller: Vec<Listener>,
}

/// A listener as it is written, its protocol not looked up yet.
struct Written {
    name: String,
    host: String,
    port: u16,
}

/// Reads all listener settings; what is wrong goes to `errors` and is left out.
pub(super) fn read(layers: &Layers, roles: Roles, errors: &mut Vec<ConfigError>) -> Listeners {
    let read_all = || -> Result<Listeners, ConfigError> {
        let controllers = controller_names(layers);
        let protocols = protocols(layers, &controllers)?;
        let mut listeners = Listeners::default();
        for written in written(layers, "listeners")? {
            let to_controller = controllers.contains(&written.name);
            let listener = written.with_protocol(&protocols)?;
            if to_controller {
                listeners.controller.push(listener);
            } else {
                listeners.broker.push(listener);
            }
        }
        check_distinct(&listeners)?;
        check_roles(roles, &listeners)?;
        check_inter_broker(layers, &listeners, &controllers)?;
        read_advertised(layers, &mut listeners, &controllers)?;
        Ok(listeners)
    };
    read_all().unwrap_or_else(|error| {
        errors.push(error);
        Listeners::default()
    })
}

/// `controller.listener.names` in capitals, in their order.
pub(super) fn controller_names(layers: &Layers) -> Vec<String> {
    Vec::<String>::from_value(layers.named("controller.listener.names"))
        .iter()
        .map(|name| name.to_ascii_uppercase())
        .collect()
}

/// The protocol of each listener name. Controller listeners are plain unless the map was set, as in Kafka.
fn protocols(
    layers: &Layers,
    controllers: &[String],
) -> Result<BTreeMap<String, SecurityProtocol>, ConfigError> {
    const NAME: &str = "listener.security.protocol.map";
    let text = String::from_value(layers.named(NAME));
    let mut protocols = BTreeMap::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let protocol = pair.split_once(':').and_then(|(name, protocol)| {
            Some((name, SecurityProtocol::from_name(protocol.trim())?))
        });
        let Some((name, protocol)) = protocol else {
            return Err(invalid(
                NAME,
                pair,
                "NAME:PROTOCOL pairs, the protocol one of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
            ));
        };
        protocols.insert(name.trim().to_ascii_uppercase(), protocol);
    }
    if layers.text(NAME).is_none() {
        for name in controllers {
            protocols.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
        }
    }
    Ok(protocols)
}

fn written(layers: &Layers, setting: &str) -> Result<Vec<Written>, ConfigError> {
    let members = Vec::<String>::from_value(layers.named(setting));
    members.iter().map(|member| Written::parse(setting, member)).collect()
}

impl Written {
    fn parse(setting: &str, text: &str) -> Result<Self, ConfigError> {
        let parts = text.split_once("://").and_then(|(name, address)| {
            let (host, port) = address.rsplit_once(':')?;
            let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            let host = match bracketed {
                Some(inner) => inner,
                None if host.contains([':', '[', ']', '/']) => return None,
                None => host,
            };
            let name = name.trim();
            (!name.is_empty()).then_some((name, host, port.trim().parse().ok()?))
        });
        let Some((name, host, port)) = parts else {
            return Err(invalid(
                setting,
                text,
                "NAME://HOST:PORT separated by commas, for example PLAINTEXT://:9092 or PLAINTEXT://[::1]:9092",
            ));
        };
        Ok(Self { name: name.to_ascii_uppercase(), host: host.trim().to_owned(), port })
    }

    fn with_protocol(
        self,
        protocols: &BTreeMap<String, SecurityProtocol>,
    ) -> Result<Listener, ConfigError> {
        let Some(protocol) = protocols.get(&self.name).copied() else {
            return Err(ConfigError::Conflict(format!(
                "listener `{0}` has no security protocol: add `{0}:PLAINTEXT` to `listener.security.protocol.map`",
                self.name
            )));
        };
        let listener = Listener { name: self.name, host: self.host, port: self.port, protocol };
        if protocol == SecurityProtocol::Plaintext {
            return Ok(listener);
        }
        Err(ConfigError::NotYet {
            name: "listeners".to_owned(),
            value: listener.to_string(),
            part: parts::SECURITY,
            or_default: ", or map its name to PLAINTEXT in `listener.security.protocol.map`"
                .to_owned(),
        })
    }
}

/// Names are distinct, and so are addresses, save for ports that the system picks.
fn check_distinct(listeners: &Listeners) -> Result<(), ConfigError> {
    let mut names = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    for listener in listeners.broker.iter().chain(&listeners.controller) {
        if !names.insert(&listener.name) {
            return Err(ConfigError::Conflict(format!(
                "`listeners` names `{}` twice: give each listener a name of its own",
                listener.name
            )));
        }
        if listener.port != 0 && !addresses.insert((&listener.host, listener.port)) {
            return Err(ConfigError::Conflict(format!(
                "`listeners` uses port {} twice: give each listener a port of its own",
                listener.port
            )));
        }
    }
    Ok(())
}

/// A broker needs a listener for clients, and a controller alone has none.
fn check_roles(roles: Roles, listeners: &Listeners) -> Result<(), ConfigError> {
    if roles.broker && listeners.broker.is_empty() {
        return Err(ConfigError::Conflict(
            "`listeners` has none for clients: add one whose name is not in `controller.listener.names`, for example PLAINTEXT://:9092"
                .to_owned(),
        ));
    }
    if !roles.broker
        && let Some(listener) = listeners.broker.first()
    {
        return Err(ConfigError::Conflict(format!(
            "`listeners` names `{}`, and a node with `process.roles=controller` serves no clients: keep only listeners of `controller.listener.names`, or add broker to `process.roles`",
            listener.name
        )));
    }
    if !roles.controller
        && let Some(listener) = listeners.controller.first()
    {
        return Err(ConfigError::Conflict(format!(
            "`listeners` names `{}`, which is in `controller.listener.names`, and a node with `process.roles=broker` has no controller: take it out of `listeners`, or add controller to `process.roles`",
            listener.name
        )));
    }
    Ok(())
}

fn check_inter_broker(
    layers: &Layers,
    listeners: &Listeners,
    controllers: &[String],
) -> Result<(), ConfigError> {
    let Some(name) = layers.text("inter.broker.listener.name") else { return Ok(()) };
    if layers.text("security.inter.broker.protocol").is_some() {
        return Err(ConfigError::Conflict(
            "`inter.broker.listener.name` and `security.inter.broker.protocol` are both set: keep one".to_owned(),
        ));
    }
    if controllers.iter().any(|controller| controller.eq_ignore_ascii_case(name.trim())) {
        return Err(ConfigError::Conflict(format!(
            "`inter.broker.listener.name={name}` is in `controller.listener.names`: brokers reach each other over a listener of their own, name that one"
        )));
    }
    // On a node that is only a controller it is the brokers' matter.
    if listeners.broker.is_empty()
        || listeners.broker.iter().any(|listener| listener.name.eq_ignore_ascii_case(name.trim()))
    {
        return Ok(());
    }
    Err(ConfigError::Conflict(format!(
        "`inter.broker.listener.name={name}` is not among `listeners`: name one of them"
    )))
}

/// What others are told, judged against what is listened on.
fn read_advertised(
    layers: &Layers,
    listeners: &mut Listeners,
    controllers: &[String],
) -> Result<(), ConfigError> {
    const NAME: &str = "advertised.listeners";
    if layers.text(NAME).is_none_or(|text| text.trim().is_empty()) {
        return Ok(());
    }
    let (mut advertised, mut to_controller): (Vec<Listener>, Vec<Listener>) = Default::default();
    for written in written(layers, NAME)? {
        if matches!(written.host.as_str(), "" | "0.0.0.0" | "::") {
            let shown = if written.host.is_empty() { "nothing" } else { &written.host };
            return Err(ConfigError::Conflict(format!(
                "`{NAME}` tells clients to connect to {shown}, which is no address: name a host that they can reach, or leave the setting out",
            )));
        }
        let is = |listener: &&Listener| listener.name == written.name;
        let (known, into) = match listeners.broker.iter().find(is) {
            Some(listener) => (Some(listener), &mut advertised),
            None => (listeners.controller.iter().find(is), &mut to_controller),
        };
        let Some(listener) = known else {
            return Err(ConfigError::Conflict(stranger(NAME, &written.name, controllers)));
        };
        if into.iter().any(|earlier| earlier.name == listener.name) {
            return Err(ConfigError::Conflict(format!(
                "`{NAME}` names `{}` twice: keep one",
                listener.name
            )));
        }
        into.push(Listener { host: written.host, port: written.port, ..listener.clone() });
    }
    listeners.advertised = Some(advertised);
    listeners.advertised_controller = to_controller;
    Ok(())
}

/// Why an advertised name is refused that is not listened on.
fn stranger(setting: &str, name: &str, controllers: &[String]) -> String {
    if controllers.iter().any(|controller| controller == name) {
        return format!(
            "`{setting}` names `{name}`, a listener of controllers that this node does not have: take it out, clients never connect to it"
        );
    }
    format!(
        "`{setting}` names `{name}`, which is not among `listeners`: use the name of a listener"
    )
}

fn invalid(name: &str, value: &str, allowed: &str) -> ConfigError {
    ConfigError::Invalid {
        name: name.to_owned(),
        value: value.to_owned(),
        allowed: allowed.to_owned(),
    }
}
