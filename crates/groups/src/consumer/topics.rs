//! What a shard must know of the cluster: its topics, and what is set for single groups.
//!
//! Key type: [`Topics`], which the host implements over its cluster image.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_base::Uuid;

use crate::config::GroupTimes;

/// A topic as the coordinator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicView {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; a topic that was deleted and made anew has another one.
    pub id: Uuid,
    /// How many partitions it has.
    pub partitions: i32,
}

/// The cluster's topics, and the settings of its groups, at one moment.
pub trait Topics: std::fmt::Debug + Send + Sync {
    /// Changes whenever a topic comes, goes or gets partitions.
    fn version(&self) -> i64;

    /// The topic of that name.
    fn by_name(&self, name: &str) -> Option<TopicView>;

    /// The topic of that id.
    fn by_id(&self, id: Uuid) -> Option<TopicView>;

    /// Calls `visit` with the name of every topic that may be subscribed to.
    fn each_name(&self, visit: &mut dyn FnMut(&Arc<str>));

    /// The times of a consumer group that sets any of its own, within the broker's bounds; `None` for all others.
    fn own_times(&self, group_id: &str) -> Option<GroupTimes>;

    /// The racks on which a partition has replicas.
    fn racks(&self, id: Uuid, partition: i32) -> Vec<Arc<str>>;
}

/// No topics at all: what a shard knows before the host tells it.
#[derive(Debug)]
pub(crate) struct NoTopics;

impl Topics for NoTopics {
    fn version(&self) -> i64 {
        -1
    }

    fn by_name(&self, _: &str) -> Option<TopicView> {
        None
    }

    fn by_id(&self, _: Uuid) -> Option<TopicView> {
        None
    }

    fn each_name(&self, _: &mut dyn FnMut(&Arc<str>)) {}

    fn own_times(&self, _: &str) -> Option<GroupTimes> {
        None
    }

    fn racks(&self, _: Uuid, _: i32) -> Vec<Arc<str>> {
        Vec::new()
    }
}

/// A number that changes when one of `names` comes, goes, is made anew or gets partitions.
pub(crate) fn metadata_hash(names: &BTreeSet<Arc<str>>, topics: &dyn Topics) -> i64 {
    // FNV-1a. Kafka hashes otherwise; a hash that differs after a take-over only costs one rebalance.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    for name in names {
        let Some(topic) = topics.by_name(name) else { continue };
        eat(name.as_bytes());
        eat(&[0]);
        eat(topic.id.as_bytes());
        eat(&topic.partitions.to_be_bytes());
    }
    i64::from_be_bytes(hash.to_be_bytes())
}
