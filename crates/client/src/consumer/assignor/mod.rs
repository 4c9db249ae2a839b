//! How the leader of a classic consumer group shares partitions among the members.
//!
//! Key types: [`Assignor`], [`Members`], [`Assignment`]. Pure functions of what the members said: the same
//! input gives the same answer on every client. Each partition of a subscribed topic goes to exactly one
//! member that subscribed to it, whatever the assignor.

mod range;
mod round_robin;
mod sticky;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::TopicPartition;

/// What one member told the group when it joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subscription {
    /// The topics it wants to read.
    pub topics: BTreeSet<Arc<str>>,
    /// What it read until now; only cooperative members say so.
    pub owned: BTreeSet<TopicPartition>,
    /// The generation in which it owned those; -1 when it does not know.
    pub generation: i32,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
}

/// The members of a group by member id.
pub type Members = BTreeMap<String, Subscription>;
/// Topics and how many partitions each has.
pub type PartitionCounts = BTreeMap<Arc<str>, i32>;
/// Who reads what, by member id; every member is named, if only with nothing.
pub type Assignment = BTreeMap<String, BTreeSet<TopicPartition>>;

/// A way to share partitions, under the name that Kafka's clients know it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Assignor {
    /// `range`: per topic, neighbouring partitions to each member.
    Range,
    /// `roundrobin`: all partitions dealt out one by one.
    RoundRobin,
    /// `cooperative-sticky`: balanced, moving as little as possible, without stopping what stays (KIP-429).
    CooperativeSticky,
}

impl Assignor {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::RoundRobin => "roundrobin",
            Self::CooperativeSticky => "cooperative-sticky",
        }
    }

    /// The assignor of a name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Range, Self::RoundRobin, Self::CooperativeSticky]
            .into_iter()
            .find(|assignor| assignor.name() == name)
    }

    /// Whether members may keep reading while the group rebalances.
    pub const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// Shares the partitions of `topics` among `members`.
    pub fn assign(self, members: &Members, topics: &PartitionCounts) -> Assignment {
        match self {
            Self::Range => range::assign(members, topics),
            Self::RoundRobin => round_robin::assign(members, topics),
            Self::CooperativeSticky => {
                let target = sticky::assign(members, topics);
                sticky::hold_back_moving(members, target)
            }
        }
    }
}

/// Everyone with nothing: where each assignor starts.
fn empty_assignment(members: &Members) -> Assignment {
    members.keys().map(|member| (member.clone(), BTreeSet::new())).collect()
}

/// The member ids in the order that Kafka's assignors use: static members by instance id first, then the
/// others by member id. A static member so keeps its place when it comes back under a new member id.
fn ordered_members(members: &Members) -> Vec<&str> {
    let mut order: Vec<(&str, Option<&str>)> = members
        .iter()
        .map(|(member, subscription)| (member.as_str(), subscription.instance_id.as_deref()))
        .collect();
    order.sort_by(|(a, a_instance), (b, b_instance)| match (a_instance, b_instance) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => a.cmp(b),
    });
    order.into_iter().map(|(member, _)| member).collect()
}

/// Every partition of the topics that at least one member wants.
fn wanted_partitions(members: &Members, topics: &PartitionCounts) -> Vec<TopicPartition> {
    let wanted: BTreeSet<&Arc<str>> =
        members.values().flat_map(|subscription| &subscription.topics).collect();
    topics
        .iter()
        .filter(|(topic, _)| wanted.contains(topic))
        .flat_map(|(topic, &count)| (0..count).map(|p| TopicPartition::new(topic.clone(), p)))
        .collect()
}
