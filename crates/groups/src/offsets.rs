//! Committed offsets: kept per group, topic and partition, and those of open transactions apart.
//!
//! Key types: [`CommittedOffset`], [`Offsets`]. Changes come only from records and transaction markers. Offsets of an
//! open transaction are invisible until its marker says commit; where a plain commit was written to the log after
//! them, the plain one wins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::{ErrorCode, Uuid};

/// A committed offset with all that Kafka stores beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset that the group will read.
    pub offset: i64,
    /// The leader epoch of the last record read; -1 when not known.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Box<str>,
    /// The topic's id; zero where the log does not say.
    pub topic_id: Uuid,
    /// Wall clock of the commit.
    pub commit_timestamp_ms: i64,
    /// An expiry asked for by an old client (OffsetCommit 2-4); -1 for none.
    pub expire_timestamp_ms: i64,
}

/// OffsetCommit (key 8), with topic ids already resolved and unknown topics already refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetCommit {
    /// Which group.
    pub group_id: Arc<str>,
    /// Empty for a consumer that assigns its partitions itself.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Generation or member epoch; negative for a consumer that assigns its partitions itself.
    pub generation: i32,
    /// The client knows stale member epochs (version 9 and up).
    pub knows_member_epochs: bool,
    /// Explicit retention of old clients.
    pub retention_ms: Option<i64>,
    /// What to commit.
    pub offsets: Vec<CommitOffset>,
}

/// TxnOffsetCommit (key 28), as [`OffsetCommit`] but part of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionalCommit {
    /// Which group.
    pub group_id: Arc<str>,
    /// Empty from clients that do not say which member they are.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Generation or member epoch; negative when not said.
    pub generation: i32,
    /// What to commit.
    pub offsets: Vec<CommitOffset>,
}

/// One partition of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitOffset {
    /// Which topic.
    pub topic: Arc<str>,
    /// Its id; zero when not known.
    pub topic_id: Uuid,
    /// Which partition of it.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
    /// -1 when not known.
    pub leader_epoch: i32,
    /// The client's own note.
    pub metadata: Box<str>,
}

/// OffsetFetch (key 9) of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetFetch {
    /// Which group.
    pub group_id: Arc<str>,
    /// Given by members of a consumer-protocol group (version 9 and up).
    pub member_id: Option<Arc<str>>,
    /// -1 when not given.
    pub member_epoch: i32,
    /// `None` asks for all that is there.
    pub topics: Option<Vec<(Arc<str>, Vec<i32>)>>,
    /// Partitions with an open transactional commit answer UNSTABLE_OFFSET_COMMIT.
    pub require_stable: bool,
}

/// One partition of an OffsetFetch answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// Which partition.
    pub partition: i32,
    /// [`ErrorCode::None`], also where nothing was committed.
    pub error: ErrorCode,
    /// `None` where nothing was committed.
    pub committed: Option<CommittedOffset>,
}

/// An offset and the place of its record in the log, which orders it against transactional ones.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    value: CommittedOffset,
    log_offset: i64,
}

/// Group, topic, partition.
type Key = (Arc<str>, Arc<str>, i32);
type Partitions = BTreeMap<i32, Stored>;
type OpenCounts = BTreeMap<(Arc<str>, i32), usize>;

/// The answer to an OffsetFetch: topics with their partitions.
pub type FetchedTopics = Vec<(Arc<str>, Vec<FetchedOffset>)>;

/// All offsets of a shard.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    groups: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Partitions>>,
    /// By producer id: commits of its open transaction.
    open: BTreeMap<i64, BTreeMap<Key, Stored>>,
    /// How many open transactions hold a commit for a partition.
    open_counts: BTreeMap<Arc<str>, OpenCounts>,
}

impl Offsets {
    pub(crate) fn get(&self, group: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.groups.get(group)?.get(topic)?.get(&partition).map(|stored| &stored.value)
    }

    /// All of a group, in order of topic and partition.
    pub(crate) fn of_group<'a>(
        &'a self,
        group: &str,
    ) -> impl Iterator<Item = (&'a Arc<str>, i32, &'a CommittedOffset)> + use<'a> {
        self.groups.get(group).into_iter().flatten().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, stored)| (topic, *partition, &stored.value))
        })
    }

    /// All that is committed for topics of which `wants` holds, in order of group, topic and partition.
    pub(crate) fn of_topics(
        &self,
        wants: impl Fn(&Arc<str>) -> bool,
    ) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, i32, &CommittedOffset)> {
        let topics = self.groups.iter().flat_map(|(group, topics)| {
            topics.iter().map(move |(topic, partitions)| (group, topic, partitions))
        });
        let wanted = topics.filter(move |(_, topic, _)| wants(topic));
        wanted.flat_map(|(group, topic, partitions)| {
            let all = partitions.iter();
            all.map(move |(partition, stored)| (group, topic, *partition, &stored.value))
        })
    }

    /// Partitions that have nothing but commits in open transactions.
    pub(crate) fn only_open(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>, i32)> {
        let all = self.open_counts.iter().flat_map(|(group, counts)| {
            counts.keys().map(move |(topic, partition)| (group, topic, *partition))
        });
        all.filter(|(group, topic, partition)| self.get(group, topic, *partition).is_none())
    }

    /// What open transactions would commit for a partition.
    pub(crate) fn open_of(
        &self,
        group: &Arc<str>,
        topic: &Arc<str>,
        partition: i32,
    ) -> impl Iterator<Item = &CommittedOffset> {
        let is_open = self.is_unstable(group, topic, partition);
        let key = (Arc::clone(group), Arc::clone(topic), partition);
        let open = is_open.then(|| self.open.values()).into_iter().flatten();
        open.filter_map(move |commits| commits.get(&key)).map(|stored| &stored.value)
    }

    /// Whether a transaction with a commit for the partition is open.
    pub(crate) fn is_unstable(&self, group: &str, topic: &Arc<str>, partition: i32) -> bool {
        let counts = self.open_counts.get(group);
        counts.is_some_and(|counts| counts.contains_key(&(Arc::clone(topic), partition)))
    }

    /// Partitions of a group with a commit in an open transaction.
    pub(crate) fn open_of_group(&self, group: &str) -> impl Iterator<Item = (&Arc<str>, i32)> {
        let counts = self.open_counts.get(group);
        counts.into_iter().flatten().map(|((topic, partition), _)| (topic, *partition))
    }

    pub(crate) fn put(&mut self, key: Key, value: CommittedOffset, log_offset: i64) {
        let (group, topic, partition) = key;
        let topics = self.groups.entry(group).or_default();
        topics.entry(topic).or_default().insert(partition, Stored { value, log_offset });
    }

    pub(crate) fn put_open(
        &mut self,
        producer_id: i64,
        key: Key,
        value: CommittedOffset,
        log_offset: i64,
    ) {
        let (group, topic, partition) = key.clone();
        let of_producer = self.open.entry(producer_id).or_default();
        if of_producer.insert(key, Stored { value, log_offset }).is_none() {
            let counts = self.open_counts.entry(group).or_default();
            *counts.entry((topic, partition)).or_default() += 1;
        }
    }

    /// A tombstone: the offset goes, and with it what open transactions would have put there.
    pub(crate) fn remove(&mut self, key: &Key) {
        let (group, topic, partition) = key;
        if let Some(topics) = self.groups.get_mut(group) {
            if let Some(partitions) = topics.get_mut(topic) {
                partitions.remove(partition);
                if partitions.is_empty() {
                    topics.remove(topic);
                }
            }
            if topics.is_empty() {
                self.groups.remove(group);
            }
        }
        if self.is_unstable(group, topic, *partition) {
            let mut holders = BTreeSet::new();
            for (producer_id, commits) in &mut self.open {
                if commits.remove(key).is_some() {
                    holders.insert(*producer_id);
                }
            }
            self.open.retain(|_, commits| !commits.is_empty());
            for _ in holders {
                self.close_one(key);
            }
        }
    }

    /// A transaction ended.
    pub(crate) fn end_transaction(&mut self, producer_id: i64, committed: bool) -> Vec<Arc<str>> {
        let mut groups = Vec::new();
        for (key, stored) in self.open.remove(&producer_id).unwrap_or_default() {
            self.close_one(&key);
            if !committed {
                continue;
            }
            let (group, topic, partition) = key;
            let topics = self.groups.entry(Arc::clone(&group)).or_default();
            let partitions = topics.entry(topic).or_default();
            let newer = |old: &Stored| old.log_offset > stored.log_offset;
            if !partitions.get(&partition).is_some_and(newer) {
                partitions.insert(partition, stored);
            }
            if groups.last() != Some(&group) {
                groups.push(group);
            }
        }
        groups
    }

    fn close_one(&mut self, key: &Key) {
        let (group, topic, partition) = key;
        let Some(counts) = self.open_counts.get_mut(group) else { return };
        let slot = (Arc::clone(topic), *partition);
        if let Some(count) = counts.get_mut(&slot) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&slot);
            }
        }
        if counts.is_empty() {
            self.open_counts.remove(group);
        }
    }
}
