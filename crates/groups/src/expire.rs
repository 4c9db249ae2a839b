//! What goes by itself: offsets that are too old, those of topics that are gone, and groups that hold nothing any more.
//!
//! Key type: [`Tombstones`], one batch of them: what does not fit follows in further ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::classic::{ClassicGroup, State};
use crate::effect::{After, Decided};
use crate::offsets::CommittedOffset;
use crate::record::Record;
use crate::request::Now;
use crate::shard::{Group, Shard};
use crate::timers::TimerKey;

/// A batch of tombstones that is kept small enough for any log.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    records: Vec<Record>,
    size_bytes: usize,
}

impl Tombstones {
    const MAX_COUNT: usize = 1_000;
    /// An eighth of what a batch may have unless it is set otherwise. A group id alone may have 32 KiB.
    const MAX_BYTES: usize = 128 * 1_024;
    /// What a record has beside its names, at most.
    const OVERHEAD_BYTES: usize = 40;

    pub(crate) fn is_full(&self) -> bool {
        self.records.len() >= Self::MAX_COUNT || self.size_bytes >= Self::MAX_BYTES
    }

    /// That of an offset.
    pub(crate) fn push(&mut self, group_id: &Arc<str>, topic: &Arc<str>, partition: i32) {
        self.size_bytes += group_id.len() + topic.len() + Self::OVERHEAD_BYTES;
        self.records.push(tombstone(group_id, topic, partition));
    }

    /// Those of a group that holds nothing any more.
    pub(crate) fn push_group(&mut self, group: &Group) {
        self.records.extend(group.tombstones());
    }

    /// To be written with `reply`.
    pub(crate) fn decided<R>(self, reply: R) -> Decided<R> {
        let mut decided = Decided::reply(reply);
        decided.records = self.records;
        decided
    }

    /// To be written; `None` where there may be more.
    fn decided_part(self) -> Decided<Option<()>> {
        let done = (!self.is_full()).then_some(());
        self.decided(done)
    }
}

impl Shard {
    /// Topics are gone: so are the offsets that any group committed for them, in open transactions as well. The reply
    /// is `None` while there are more: then call again.
    pub fn forget_topics(&mut self, topics: &[Arc<str>]) -> Decided<Option<()>> {
        let names: BTreeSet<&Arc<str>> = topics.iter().collect();
        // What was committed for a topic of that name that has been made since stays.
        let lives = |committed: &CommittedOffset| {
            !committed.topic_id.is_zero() && self.topics.by_id(committed.topic_id).is_some()
        };
        let mut tombstones = Tombstones::default();
        self.bury(&mut tombstones, |topic| names.contains(topic), |_, committed| !lives(committed));
        tombstones.decided_part()
    }

    /// As [`Self::forget_topics`], for all offsets of topics that the cluster does not have: those that were deleted
    /// while nobody had the shard.
    pub fn forget_unknown_topics(&mut self) -> Decided<Option<()>> {
        let mut tombstones = Tombstones::default();
        self.bury_unknown(&mut tombstones);
        tombstones.decided_part()
    }

    fn bury_unknown(&self, tombstones: &mut Tombstones) {
        let is_gone = |topic: &Arc<str>, it: &CommittedOffset| self.is_of_no_topic(topic, it);
        self.bury(tombstones, |_| true, is_gone);
    }

    /// A tombstone for every partition of `wanted` topics for which all that is committed, or may yet be, is gone.
    fn bury(
        &self,
        tombstones: &mut Tombstones,
        wanted: impl Fn(&Arc<str>) -> bool,
        is_gone: impl Fn(&Arc<str>, &CommittedOffset) -> bool,
    ) {
        let is_open_gone = |group_id: &Arc<str>, topic: &Arc<str>, partition: i32| {
            let mut open = self.offsets.open_of(group_id, topic, partition);
            open.all(|committed| is_gone(topic, committed))
        };
        for (group_id, topic, partition, committed) in self.offsets.of_topics(&wanted) {
            if tombstones.is_full() {
                return;
            }
            if is_gone(topic, committed) && is_open_gone(group_id, topic, partition) {
                tombstones.push(group_id, topic, partition);
            }
        }
        for (group_id, topic, partition) in self.offsets.only_open() {
            if tombstones.is_full() {
                return;
            }
            if wanted(topic) && is_open_gone(group_id, topic, partition) {
                tombstones.push(group_id, topic, partition);
            }
        }
    }

    /// Whether the topic that an offset was committed for is none of the cluster's; one made anew under its name is
    /// another.
    pub(crate) fn is_of_no_topic(&self, topic: &str, committed: &CommittedOffset) -> bool {
        if self.topics.version() < 0 {
            // Nobody has said yet which topics there are.
            return false;
        }
        match committed.topic_id {
            id if id.is_zero() => self.topics.by_name(topic).is_none(),
            id => self.topics.by_id(id).is_none(),
        }
    }

    /// Tombstones for what has outlived `offsets.retention.minutes`, for offsets of topics that are gone, and for empty
    /// groups that hold nothing.
    pub(crate) fn check_retention(&mut self, now: Now) -> Decided<()> {
        let mut tombstones = Tombstones::default();
        self.bury_unknown(&mut tombstones);
        for (group_id, group) in &self.groups {
            if tombstones.is_full() {
                break;
            }
            let is_left = self.expire_group(group_id, group, now, &mut tombstones);
            if !is_left && group.is_empty() {
                tombstones.push_group(group);
            }
        }
        let interval_ms = self.config.offsets_retention_check_interval_ms.max(1);
        let next_ms = now.mono_ms.saturating_add(interval_ms);
        self.timers.insert(next_ms, TimerKey::Retention);
        let is_cut = tombstones.is_full();
        let mut decided = tombstones.decided(());
        if is_cut {
            // Only when these could be written: a full disk is not asked time and again.
            decided.after.push(After::RetentionSoon { instead_of_ms: next_ms });
        }
        decided
    }

    /// Whether offsets of the group remain, or may remain.
    fn expire_group(
        &self,
        group_id: &Arc<str>,
        group: &Group,
        now: Now,
        tombstones: &mut Tombstones,
    ) -> bool {
        let mut is_left = self.offsets.open_of_group(group_id).next().is_some();
        for (topic, partition, committed) in self.offsets.of_group(group_id) {
            if tombstones.is_full() {
                return true;
            }
            let is_unstable = self.offsets.is_unstable(group_id, topic, partition);
            if !is_unstable && self.is_of_no_topic(topic, committed) {
                // It has its tombstone.
                continue;
            }
            let is_busy = is_unstable || group.is_subscribed_to(topic);
            let retention_ms = self.config.offsets_retention_ms;
            if !is_busy && is_expired(group, committed, now, retention_ms) {
                tombstones.push(group_id, topic, partition);
            } else {
                is_left = true;
            }
        }
        is_left
    }
}

/// Kafka's rule (KIP-211): an empty group's offsets age from when it became empty, those of a simple consumer and of
/// topics that a stable consumer group left from their commit; all others do not age.
fn is_expired(group: &Group, committed: &CommittedOffset, now: Now, retention_ms: i64) -> bool {
    let since_ms = match group {
        Group::Classic(group) => match classic_age_ms(group, committed) {
            Some(since) => since,
            None => return false,
        },
        Group::Consumer(_) => committed.commit_timestamp_ms,
    };
    if committed.expire_timestamp_ms >= 0 {
        return now.wall_ms >= committed.expire_timestamp_ms;
    }
    now.wall_ms.saturating_sub(since_ms) >= retention_ms
}

/// From when on an offset of a classic group ages; `None` when it does not.
fn classic_age_ms(group: &ClassicGroup, committed: &CommittedOffset) -> Option<i64> {
    if group.protocol_type.is_none() {
        Some(committed.commit_timestamp_ms)
    } else if group.state == State::Empty {
        // What was committed after the last member left is younger than the group's emptiness.
        Some(group.state_since_ms.max(committed.commit_timestamp_ms))
    } else if group.state == State::Stable && group.subscribed_topics().is_some() {
        Some(committed.commit_timestamp_ms)
    } else {
        None
    }
}

impl Group {
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Classic(group) => group.state == State::Empty,
            Self::Consumer(group) => group.members.is_empty(),
        }
    }

    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.is_subscribed_to(topic),
            Self::Consumer(group) => group.is_subscribed_to(topic),
        }
    }
}

pub(crate) fn tombstone(group_id: &Arc<str>, topic: &Arc<str>, partition: i32) -> Record {
    let (group_id, topic) = (Arc::clone(group_id), Arc::clone(topic));
    Record::Offset { group_id, topic, partition, value: None }
}
