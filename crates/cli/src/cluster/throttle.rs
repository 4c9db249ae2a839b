//! Holding replication back while replicas move (KIP-73): the settings are made before, and taken away afterwards.
//!
//! Key type: [`Throttle`]. Only replicas that move are held back; those that keep up with their leaders are not.

use std::collections::{BTreeMap, BTreeSet};

use millstream_base::NodeId;
use millstream_client::{Admin, ClientError, ConfigOp, ConfigResource, DescribeConfigsOptions};

use super::plan::Placement;

const LEADER_RATE: &str = "leader.replication.throttled.rate";
const FOLLOWER_RATE: &str = "follower.replication.throttled.rate";
const LEADERS: &str = "leader.replication.throttled.replicas";
const FOLLOWERS: &str = "follower.replication.throttled.replicas";

/// What to set where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Throttle {
    bytes_per_second: u64,
    brokers: BTreeSet<NodeId>,
    /// By topic: replicas that send, and replicas that fetch.
    topics: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>,
}

impl Throttle {
    pub(super) fn new(bytes_per_second: u64, current: &Placement, plan: &Placement) -> Self {
        let mut throttle =
            Self { bytes_per_second, brokers: BTreeSet::new(), topics: BTreeMap::new() };
        for (partition, replicas) in plan {
            let old = current.get(partition).map(Vec::as_slice).unwrap_or_default();
            let new: Vec<&NodeId> = replicas.iter().filter(|node| !old.contains(node)).collect();
            if new.is_empty() {
                continue;
            }
            let (senders, fetchers) =
                throttle.topics.entry(partition.topic.to_string()).or_default();
            let name = |node: &NodeId| format!("{}:{node}", partition.partition);
            senders.extend(old.iter().map(name));
            fetchers.extend(new.iter().map(|node| name(node)));
            throttle.brokers.extend(old.iter().chain(new).copied());
        }
        throttle
    }

    /// Makes the settings.
    pub(super) async fn set(&self, admin: &Admin) -> Result<(), ClientError> {
        let list =
            |replicas: &BTreeSet<String>| replicas.iter().cloned().collect::<Vec<_>>().join(",");
        for (topic, (senders, fetchers)) in &self.topics {
            let changes = [
                ConfigOp::Set(LEADERS.to_owned(), list(senders)),
                ConfigOp::Set(FOLLOWERS.to_owned(), list(fetchers)),
            ];
            admin.alter_configs(&ConfigResource::Topic(topic.clone()), &changes, false).await?;
        }
        let rate = self.bytes_per_second.to_string();
        let changes =
            [LEADER_RATE, FOLLOWER_RATE].map(|name| ConfigOp::Set(name.to_owned(), rate.clone()));
        for node in &self.brokers {
            admin.alter_configs(&ConfigResource::Broker(*node), &changes, false).await?;
        }
        Ok(())
    }
}

/// Takes every throttle of brokers and topics away; tells whether there was any.
pub(super) async fn clear(
    admin: &Admin,
    brokers: &BTreeSet<NodeId>,
    topics: &BTreeSet<String>,
) -> Result<bool, ClientError> {
    let brokers =
        brokers.iter().map(|node| (ConfigResource::Broker(*node), [LEADER_RATE, FOLLOWER_RATE]));
    let topics =
        topics.iter().map(|name| (ConfigResource::Topic(name.clone()), [LEADERS, FOLLOWERS]));
    let mut any = false;
    for (resource, names) in brokers.chain(topics) {
        let names = names.map(str::to_owned).to_vec();
        let options =
            DescribeConfigsOptions { names: Some(names), ..DescribeConfigsOptions::default() };
        let entries = admin.describe_configs(&resource, &options).await?;
        let is_set = |entry: &&millstream_client::ConfigEntry| {
            use millstream_client::ConfigSource::{Broker, Topic};
            matches!(entry.source, Topic | Broker)
        };
        let changes: Vec<ConfigOp> = entries
            .iter()
            .filter(is_set)
            .map(|entry| ConfigOp::Delete(entry.name.clone()))
            .collect();
        if !changes.is_empty() {
            any = true;
            admin.alter_configs(&resource, &changes, false).await?;
        }
    }
    Ok(any)
}

/// A rate such as `50MB`, `500KiB` or `1000000`, in bytes a second.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    let wrong = || "expected bytes a second, such as 50MB, 500KiB or 1000000".to_owned();
    let text = text.trim().trim_end_matches("/s");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).filter(|rate| *rate > 0).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use millstream_base::TopicPartition;

    use super::*;

    #[test]
    fn only_what_moves_is_held_back() {
        let at = |n| TopicPartition::new("t", n);
        let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect::<Vec<_>>();
        let current: Placement = [(at(0), nodes(&[1, 2])), (at(1), nodes(&[1, 2]))].into();
        let plan: Placement = [(at(0), nodes(&[1, 3])), (at(1), nodes(&[2, 1]))].into();
        let throttle = Throttle::new(5, &current, &plan);
        assert_eq!(throttle.brokers, [1, 2, 3].map(NodeId).into());
        let (senders, fetchers) = &throttle.topics["t"];
        assert_eq!(senders, &["0:1", "0:2"].map(str::to_owned).into());
        assert_eq!(fetchers, &["0:3".to_owned()].into());
    }

    #[test]
    fn rates_are_read() {
        assert_eq!(rate("50MB"), Ok(50_000_000));
        assert_eq!(rate("2 MiB/s"), Ok(2 << 20));
        assert_eq!(rate("1000"), Ok(1000));
        for text in ["", "fast", "0", "-1", "1XB", "99999999999999GB"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }
}
