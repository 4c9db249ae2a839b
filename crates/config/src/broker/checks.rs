//! What one setting alone cannot tell: contradictions between settings, and values that need a part that does not exist yet.

use super::BrokerConfig;
use crate::error::ConfigError;
use crate::layers::FromValue;

/// Appends all that is wrong with `config`.
pub(super) fn check(config: &BrokerConfig, errors: &mut Vec<ConfigError>) {
    let checks = [
        node_id,
        log_dirs,
        session_timeouts,
        group_protocols,
        consumer_bounds,
        consumer_heartbeat,
        connections,
        queued,
        retention,
    ];
    errors.extend(checks.iter().filter_map(|check| check(config).err()));
    super::cluster_checks::check(config, errors);
    errors.extend(config.topic_defaults.check().err());
}

pub(super) fn conflict(message: impl Into<String>) -> Result<(), ConfigError> {
    Err(ConfigError::Conflict(message.into()))
}

fn node_id(config: &BrokerConfig) -> Result<(), ConfigError> {
    let (Some(node), Some(broker)) =
        (config.layers.text("node.id"), config.layers.text("broker.id"))
    else {
        return Ok(());
    };
    if node == broker {
        return Ok(());
    }
    conflict(format!("`node.id={node}` and `broker.id={broker}` differ: keep `node.id` alone"))
}

fn log_dirs(config: &BrokerConfig) -> Result<(), ConfigError> {
    match config.log_dirs() {
        [] => conflict("`log.dirs` and `log.dir` are empty: name the directory of the logs"),
        dirs if dirs.iter().any(String::is_empty) => {
            conflict("`log.dirs` has an empty name: name the directory of the logs")
        }
        dirs => {
            let again =
                dirs.iter().enumerate().find(|(at, dir)| dirs.iter().take(*at).any(|d| d == *dir));
            match again {
                Some((_, dir)) => conflict(format!("`log.dirs` names `{dir}` twice: name it once")),
                None => Ok(()),
            }
        }
    }
}

fn session_timeouts(config: &BrokerConfig) -> Result<(), ConfigError> {
    let groups = &config.groups;
    if groups.min_session_timeout_ms <= groups.max_session_timeout_ms {
        return Ok(());
    }
    conflict(format!(
        "`group.min.session.timeout.ms={}` is above `group.max.session.timeout.ms={}`: lower the one or raise the other",
        groups.min_session_timeout_ms, groups.max_session_timeout_ms
    ))
}

/// Kafka does not let go of the classic protocol either.
fn group_protocols(config: &BrokerConfig) -> Result<(), ConfigError> {
    let protocols = &config.groups.rebalance_protocols;
    if protocols.iter().any(|protocol| protocol == "classic") {
        return Ok(());
    }
    conflict(format!(
        "`group.coordinator.rebalance.protocols={}` leaves out classic, which cannot be switched off: add it",
        protocols.join(",")
    ))
}

/// What consumer groups get that set nothing of their own lies within what they may set.
fn consumer_bounds(config: &BrokerConfig) -> Result<(), ConfigError> {
    let groups = &config.groups;
    let bounded = [
        (
            "session.timeout.ms",
            groups.consumer_min_session_timeout_ms,
            groups.consumer_session_timeout_ms,
            groups.consumer_max_session_timeout_ms,
        ),
        (
            "heartbeat.interval.ms",
            groups.consumer_min_heartbeat_interval_ms,
            groups.consumer_heartbeat_interval_ms,
            groups.consumer_max_heartbeat_interval_ms,
        ),
        (
            "assignment.interval.ms",
            groups.consumer_min_assignment_interval_ms,
            groups.consumer_assignment_interval_ms,
            groups.consumer_max_assignment_interval_ms,
        ),
    ];
    for (name, min, value, max) in bounded {
        let (low, own, high) = (
            format!("`group.consumer.min.{name}={min}`"),
            format!("`group.consumer.{name}={value}`"),
            format!("`group.consumer.max.{name}={max}`"),
        );
        let (above, below) = match () {
            () if min > max => (low, high),
            () if min > value => (low, own),
            () if value > max => (own, high),
            () => continue,
        };
        return conflict(format!("{above} is above {below}: lower the one or raise the other"));
    }
    Ok(())
}

/// A member must have the chance to be heard of before its session ends.
fn consumer_heartbeat(config: &BrokerConfig) -> Result<(), ConfigError> {
    let groups = &config.groups;
    let (interval, session) =
        (groups.consumer_heartbeat_interval_ms, groups.consumer_session_timeout_ms);
    if interval < session {
        return Ok(());
    }
    conflict(format!(
        "`group.consumer.heartbeat.interval.ms={interval}` is not below `group.consumer.session.timeout.ms={session}`: lower the one or raise the other"
    ))
}

fn connections(config: &BrokerConfig) -> Result<(), ConfigError> {
    let network = &config.network;
    let overrides = network.ip_overrides()?;
    if network.max_connections_per_ip == 0 && overrides.is_empty() {
        return conflict(
            "`max.connections.per.ip=0` keeps every client out: raise it, or name the addresses that may connect in `max.connections.per.ip.overrides`",
        );
    }
    Ok(())
}

fn queued(config: &BrokerConfig) -> Result<(), ConfigError> {
    let (queued, largest) =
        (config.network.queued_max_request_bytes, config.network.socket_request_max_bytes);
    if queued <= 0 || queued >= i64::from(largest) {
        return Ok(());
    }
    conflict(format!(
        "`queued.max.request.bytes={queued}` is below `socket.request.max.bytes={largest}`, so that the largest request never fits: raise it, or set it to -1 for no limit"
    ))
}

/// Zero would delete everything at once; Kafka refuses it on brokers too.
fn retention(config: &BrokerConfig) -> Result<(), ConfigError> {
    for name in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
        let Some(value) = Option::<i64>::from_value(config.layers.named(name)) else { continue };
        if value == 0 || value < -1 {
            return Err(ConfigError::Invalid {
                name: name.to_owned(),
                value: value.to_string(),
                allowed: "at least 1, or -1 for no limit".to_owned(),
            });
        }
    }
    Ok(())
}

impl super::NetworkConfig {
    /// The addresses with a connection limit of their own, from `max.connections.per.ip.overrides`.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when the setting is not a list of `HOST:COUNT`; a broker's configuration was checked for that.
    pub fn ip_overrides(&self) -> Result<Vec<(String, u32)>, ConfigError> {
        let text = &self.max_connections_per_ip_overrides;
        let parse = |part: &str| {
            let (host, count) = part.trim().rsplit_once(':')?;
            Some((host.trim().to_owned(), count.trim().parse().ok()?))
        };
        text.split(',')
            .filter(|part| !part.trim().is_empty())
            .map(|part| {
                parse(part).ok_or_else(|| ConfigError::Invalid {
                    name: "max.connections.per.ip.overrides".to_owned(),
                    value: text.clone(),
                    allowed: "HOST:COUNT separated by commas, for example 127.0.0.1:200".to_owned(),
                })
            })
            .collect()
    }
}
