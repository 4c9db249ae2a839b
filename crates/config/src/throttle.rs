//! [`ThrottledReplicas`]: which replicas of a topic move data at a limited rate (KIP-73).
//!
//! The texts are judged when they are set; one that an older or newer broker stored and that cannot be read limits nothing.

use crate::layers::Overrides;
use std::collections::BTreeSet;

/// The replicas that one of the two settings of a topic names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ThrottledReplicas {
    /// None.
    #[default]
    None,
    /// Every replica of the topic (`*`).
    All,
    /// These, as partition and broker.
    Some(BTreeSet<(i32, i32)>),
}

/// What of a topic is throttled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicThrottles {
    /// `leader.replication.throttled.replicas`: leaders that serve these followers within `leader.replication.throttled.rate`.
    pub leaders: ThrottledReplicas,
    /// `follower.replication.throttled.replicas`: followers that fetch within `follower.replication.throttled.rate`.
    pub followers: ThrottledReplicas,
}

impl TopicThrottles {
    /// The setting of leaders.
    pub const LEADERS: &'static str = "leader.replication.throttled.replicas";
    /// The setting of followers.
    pub const FOLLOWERS: &'static str = "follower.replication.throttled.replicas";

    /// What a topic's own settings say.
    #[must_use]
    pub fn of(overrides: &Overrides) -> Self {
        let read = |name: &str| overrides.get(name).map_or_else(Default::default, |t| parse(t));
        Self { leaders: read(Self::LEADERS), followers: read(Self::FOLLOWERS) }
    }
}

impl ThrottledReplicas {
    /// Whether the replica of `partition` on `broker` is among them.
    #[must_use]
    pub fn contains(&self, partition: i32, broker: i32) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Some(replicas) => replicas.contains(&(partition, broker)),
        }
    }
}

fn parse(text: &str) -> ThrottledReplicas {
    let text = text.trim();
    if text == "*" {
        return ThrottledReplicas::All;
    }
    let replica = |pair: &str| {
        let (partition, broker) = pair.trim().split_once(':')?;
        Some((partition.trim().parse().ok()?, broker.trim().parse().ok()?))
    };
    let replicas: BTreeSet<(i32, i32)> = text.split(',').filter_map(replica).collect();
    if replicas.is_empty() { ThrottledReplicas::None } else { ThrottledReplicas::Some(replicas) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> ThrottledReplicas {
        TopicThrottles::of(&[(TopicThrottles::LEADERS.to_owned(), text.to_owned())].into()).leaders
    }

    #[test]
    fn replicas_are_named_one_by_one_or_all() {
        assert_eq!(of(""), ThrottledReplicas::None);
        assert_eq!(of(" * "), ThrottledReplicas::All);
        let two = of("0:1, 2:3");
        assert!(two.contains(0, 1) && two.contains(2, 3) && !two.contains(0, 3));
        assert_eq!(of("nonsense,1:,:2"), ThrottledReplicas::None);
        assert_eq!(TopicThrottles::of(&Overrides::new()), TopicThrottles::default());
    }
}
