//! What contradicts itself in the settings of a cluster: roles, voters, listeners of controllers, and times.

use super::BrokerConfig;
use super::checks::conflict;
use super::cluster::{Formation, HostPort, SERVERS, VOTERS, Voter};
use crate::error::ConfigError;
use std::collections::BTreeSet;

/// Appends all that is wrong with `config` as a member of a cluster.
pub(super) fn check(config: &BrokerConfig, errors: &mut Vec<ConfigError>) {
    let checks =
        [quorum_is_known, node_id_is_set, distinct_voters, own_place, listener_of_controller];
    // One of these often causes the next, so that only the first is said.
    if errors.is_empty() {
        errors.extend(checks.iter().find_map(|check| check(config).err()));
    }
    let checks = [heartbeats, replica_waits, replication_factor];
    errors.extend(checks.iter().filter_map(|check| check(config).err()));
}

fn named(voters: &[Voter]) -> String {
    voters.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A broker without a controller of its own must be told where the controllers are.
fn quorum_is_known(config: &BrokerConfig) -> Result<(), ConfigError> {
    if config.roles.controller || !config.voters.is_empty() || !config.bootstrap_servers.is_empty()
    {
        return Ok(());
    }
    conflict(format!(
        "`process.roles=broker` needs to know the controllers: set `{VOTERS}=ID@HOST:PORT,...` or `{SERVERS}=HOST:PORT,...`, or add controller to `process.roles` for a node that stands alone"
    ))
}

/// The default id fits one node; in a cluster two nodes would silently share it.
fn node_id_is_set(config: &BrokerConfig) -> Result<(), ConfigError> {
    let is_set = config.is_set("node.id") || config.is_set("broker.id");
    if config.formation == Formation::Alone || is_set {
        return Ok(());
    }
    conflict("`node.id` is not set: in a cluster each node has a number of its own, set `node.id`")
}

fn distinct_voters(config: &BrokerConfig) -> Result<(), ConfigError> {
    let mut ids = BTreeSet::new();
    let mut addresses: BTreeSet<&HostPort> = BTreeSet::new();
    for voter in &config.voters {
        if !ids.insert(voter.id) {
            return conflict(format!(
                "`{VOTERS}={}` names node {} twice: give each voter an id of its own",
                named(&config.voters),
                voter.id
            ));
        }
        if !addresses.insert(&voter.address) {
            return conflict(format!(
                "`{VOTERS}={}` names {} twice: give each voter an address of its own",
                named(&config.voters),
                voter.address
            ));
        }
    }
    Ok(())
}

/// A controller is among the voters, a broker alone is not.
fn own_place(config: &BrokerConfig) -> Result<(), ConfigError> {
    let me = config.node.node_id;
    let (voters, is_named) = (&config.voters, config.voters.iter().any(|voter| voter.id == me));
    match voters.first() {
        Some(voter) if config.roles.controller && !is_named && voters.len() == 1 => {
            conflict(format!(
                "`{VOTERS}={voter}` names node {}, and this is node {me}: set `node.id={}`, name this node as well, or leave controller out of `process.roles`",
                voter.id, voter.id
            ))
        }
        Some(_) if config.roles.controller && !is_named => conflict(format!(
            "`{VOTERS}={}` does not name this node, {me}, and `process.roles` has controller: add {me}@HOST:PORT to the voters of every node, correct `node.id`, or leave controller out of `process.roles`",
            named(voters)
        )),
        Some(_) if !config.roles.controller && is_named => conflict(format!(
            "`{VOTERS}={}` names this node, {me}, and `process.roles=broker` leaves out controller: add controller to `process.roles`, or give the node another `node.id`",
            named(voters)
        )),
        _ => Ok(()),
    }
}

/// The others must be able to reach a voter.
fn listener_of_controller(config: &BrokerConfig) -> Result<(), ConfigError> {
    let names = &config.controller_listener_names;
    let Some(name) = names.first() else {
        return conflict(
            "`controller.listener.names` is empty: name the listener over which controllers are reached, for example CONTROLLER",
        );
    };
    let is_reached = !config.controller_listeners.is_empty();
    let stands_alone = config.formation == Formation::Alone && config.roles.broker;
    if !config.roles.controller || is_reached || stands_alone {
        return Ok(());
    }
    let port = config
        .voters
        .iter()
        .find(|voter| voter.id == config.node.node_id)
        .map_or_else(|| "PORT".to_owned(), |voter| voter.address.port.to_string());
    conflict(format!(
        "`listeners` has none for the other controllers: add `{name}://:{port}` (`controller.listener.names={}`)",
        names.join(",")
    ))
}

/// A broker must have the chance to be heard of before its session ends.
fn heartbeats(config: &BrokerConfig) -> Result<(), ConfigError> {
    let (interval, session) =
        (config.cluster.broker_heartbeat_interval_ms, config.cluster.broker_session_timeout_ms);
    if interval >= 1 && interval < session {
        return Ok(());
    }
    conflict(format!(
        "`broker.heartbeat.interval.ms={interval}` is not between 1 and `broker.session.timeout.ms={session}`: a broker would be fenced between two heartbeats, lower the one or raise the other"
    ))
}

/// A follower that waits for data longer than it may lag would leave the in-sync replicas whenever nothing is written.
fn replica_waits(config: &BrokerConfig) -> Result<(), ConfigError> {
    let replication = &config.replication;
    let wait = i64::from(replication.replica_fetch_wait_max_ms);
    let bounds = [
        ("replica.lag.time.max.ms", replication.replica_lag_time_max_ms),
        ("replica.socket.timeout.ms", i64::from(replication.replica_socket_timeout_ms)),
    ];
    for (name, bound) in bounds {
        if wait > bound {
            return conflict(format!(
                "`replica.fetch.wait.max.ms={wait}` is above `{name}={bound}`: lower the one or raise the other"
            ));
        }
    }
    Ok(())
}

fn replication_factor(config: &BrokerConfig) -> Result<(), ConfigError> {
    let factor = config.node.default_replication_factor;
    if (1..=i32::from(i16::MAX)).contains(&factor) {
        return Ok(());
    }
    Err(ConfigError::Invalid {
        name: "default.replication.factor".to_owned(),
        value: factor.to_string(),
        allowed: format!("1 to {}", i16::MAX),
    })
}
