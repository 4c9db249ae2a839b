//! The shard's calls for offsets: commit, fetch, delete, expire.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_base::ErrorCode;

use crate::classic::{ClassicGroup, Cx, State};
use crate::effect::Decided;
use crate::offsets::{
    CommitOffset, CommittedOffset, FetchedOffset, FetchedTopics, OffsetCommit, OffsetFetch,
    TransactionalCommit,
};
use crate::record::Record;
use crate::request::Now;
use crate::shard::{Group, Shard};
use crate::timers::TimerKey;

/// About as many tombstones go into one batch, so that it stays small; the rest follows at once.
const MAX_TOMBSTONES: usize = 1_000;

impl Shard {
    /// OffsetCommit: one code for the whole, or one for each offset in their order.
    pub fn commit_offsets(
        &mut self,
        now: Now,
        request: &OffsetCommit,
    ) -> Decided<Result<Vec<ErrorCode>, ErrorCode>> {
        let mut cx = Cx::new(now, &self.config, &mut self.timers);
        let allowed = match self.groups.get_mut(&request.group_id) {
            Some(Group::Classic(group)) => {
                let instance_id = request.instance_id.as_deref();
                let allowed = group.validate_commit(
                    &request.member_id,
                    instance_id,
                    request.generation,
                    false,
                );
                if allowed.is_ok() {
                    group.on_commit(&mut cx, &request.member_id);
                }
                allowed
            }
            Some(Group::Consumer(group)) => group.validate_commit(
                &request.member_id,
                request.instance_id.as_deref(),
                request.generation,
                request.knows_member_epochs,
            ),
            // Without a group only a consumer that assigns its partitions itself may commit.
            None if request.generation < 0 => Ok(()),
            None if request.knows_member_epochs => Err(ErrorCode::GroupIdNotFound),
            None => Err(ErrorCode::IllegalGeneration),
        };
        if let Err(error) = allowed {
            return cx.finish(Err(error));
        }
        let expire_timestamp_ms = match request.retention_ms {
            Some(retention_ms) => now.wall_ms.saturating_add(retention_ms),
            None => -1,
        };
        let decided = cx.finish(());
        let (member_id, epoch) = (&*request.member_id, request.generation);
        let stale = self.stale_commits(&request.group_id, member_id, epoch, &request.offsets);
        let limit = self.config.offset_metadata_max_bytes;
        let (records, codes) = offset_records(
            &request.group_id,
            &request.offsets,
            &stale,
            now,
            expire_timestamp_ms,
            limit,
        );
        Decided { records, ..decided.map(|()| Ok(codes)) }
    }

    /// Places in a commit whose partition the member does not have since the epoch that it says.
    fn stale_commits(
        &self,
        group_id: &str,
        member_id: &str,
        epoch: i32,
        offsets: &[CommitOffset],
    ) -> BTreeSet<usize> {
        let Some(Group::Consumer(group)) = self.groups.get(group_id) else {
            return BTreeSet::new();
        };
        let is_stale = |(_, asked): &(usize, &CommitOffset)| {
            let topic = self.topics.by_name(&asked.topic).map(|topic| topic.id);
            group.validate_partition_commit(member_id, epoch, topic, asked.partition).is_err()
        };
        let stale = offsets.iter().enumerate().filter(is_stale);
        stale.map(|(place, _)| place).collect()
    }

    /// TxnOffsetCommit: like [`Self::commit_offsets`]; append the records in a batch of the producer's transaction. Its
    /// clients do not know stale member epochs: as in Kafka they are told of an illegal generation, for the whole.
    pub fn commit_offsets_in_transaction(
        &mut self,
        now: Now,
        request: &TransactionalCommit,
    ) -> Decided<Result<Vec<ErrorCode>, ErrorCode>> {
        let allowed = match self.groups.get(&request.group_id) {
            Some(Group::Classic(group)) => group.validate_commit(
                &request.member_id,
                request.instance_id.as_deref(),
                request.generation,
                true,
            ),
            Some(Group::Consumer(group)) => group.validate_commit(
                &request.member_id,
                request.instance_id.as_deref(),
                request.generation,
                true,
            ),
            None if request.generation < 0 => Ok(()),
            None => Err(ErrorCode::IllegalGeneration),
        };
        let (member_id, epoch) = (&*request.member_id, request.generation);
        let allowed = allowed.and_then(|()| {
            let stale = self.stale_commits(&request.group_id, member_id, epoch, &request.offsets);
            if stale.is_empty() { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
        });
        match allowed {
            Ok(()) => {}
            Err(ErrorCode::StaleMemberEpoch) => {
                return Decided::reply(Err(ErrorCode::IllegalGeneration));
            }
            Err(error) => return Decided::reply(Err(error)),
        }
        let limit = self.config.offset_metadata_max_bytes;
        let (records, codes) =
            offset_records(&request.group_id, &request.offsets, &BTreeSet::new(), now, -1, limit);
        let mut decided = Decided::reply(Ok(codes));
        decided.records = records;
        decided
    }

    /// OffsetFetch of one group: its topics in the order asked for, or all in order.
    ///
    /// # Errors
    /// The group's code, where the whole is refused.
    pub fn fetch_offsets(&self, request: &OffsetFetch) -> Result<FetchedTopics, ErrorCode> {
        let group_id = &*request.group_id;
        if let Some(Group::Consumer(group)) = self.groups.get(group_id) {
            group.validate_fetch(request.member_id.as_deref(), request.member_epoch)?;
        }
        let fetched = |topic: &Arc<str>, partition: i32, committed: Option<&CommittedOffset>| {
            let is_unstable =
                request.require_stable && self.offsets.is_unstable(group_id, topic, partition);
            let error = if is_unstable { ErrorCode::UnstableOffsetCommit } else { ErrorCode::None };
            let committed = committed.filter(|_| !is_unstable).cloned();
            FetchedOffset { partition, error, committed }
        };
        let Some(topics) = &request.topics else {
            let mut all = FetchedTopics::new();
            for (topic, partition, committed) in self.offsets.of_group(group_id) {
                if all.last().is_none_or(|(last, _)| last != topic) {
                    all.push((Arc::clone(topic), Vec::new()));
                }
                if let Some((_, partitions)) = all.last_mut() {
                    partitions.push(fetched(topic, partition, Some(committed)));
                }
            }
            return Ok(all);
        };
        let of_topic = |(topic, partitions): &(Arc<str>, Vec<i32>)| {
            let get = |partition: &i32| {
                let committed = self.offsets.get(group_id, topic, *partition);
                fetched(topic, *partition, committed)
            };
            (Arc::clone(topic), partitions.iter().map(get).collect())
        };
        Ok(topics.iter().map(of_topic).collect())
    }

    /// OffsetDelete: one code for the whole, or one for each partition in their order.
    pub fn delete_offsets(
        &mut self,
        group_id: &Arc<str>,
        partitions: &[(Arc<str>, i32)],
    ) -> Decided<Result<Vec<ErrorCode>, ErrorCode>> {
        let Some(group) = self.groups.get(group_id) else {
            return Decided::reply(Err(ErrorCode::GroupIdNotFound));
        };
        if let Group::Classic(group) = group
            && group.state != State::Empty
            && !group.uses_consumer_protocol()
        {
            return Decided::reply(Err(ErrorCode::NonEmptyGroup));
        }
        let mut records = Vec::new();
        let mut codes = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            if group.is_subscribed_to(topic) {
                codes.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            if self.offsets.get(group_id, topic, *partition).is_some() {
                records.push(tombstone(group_id, topic, *partition));
            }
            codes.push(ErrorCode::None);
        }
        let mut decided = Decided::reply(Ok(codes));
        decided.records = records;
        decided
    }

    /// Topics are gone: so are the offsets that any group committed for them. The reply says whether there are more:
    /// then call again.
    pub fn forget_topics(&mut self, topics: &[Arc<str>]) -> Decided<bool> {
        let mut decided = Decided::reply(false);
        for group_id in self.offsets.group_ids() {
            for topic in topics {
                if decided.records.len() >= MAX_TOMBSTONES {
                    decided.reply = true;
                    return decided;
                }
                let partitions = self.offsets.of_topic(group_id, topic);
                let gone = partitions.map(|(partition, _)| tombstone(group_id, topic, partition));
                decided.records.extend(gone);
            }
        }
        decided
    }

    /// Tombstones for what has outlived `offsets.retention.minutes`, and for empty groups that hold nothing.
    pub(crate) fn check_retention(&mut self, now: Now) -> Decided<()> {
        let mut decided = Decided::reply(());
        let mut is_cut = false;
        for (group_id, group) in &self.groups {
            if decided.records.len() >= MAX_TOMBSTONES {
                is_cut = true;
                break;
            }
            let is_left = self.expire_group(group_id, group, now, &mut decided.records);
            if !is_left && group.is_empty() {
                decided.records.extend(group.tombstones());
            }
        }
        let interval_ms = self.config.offsets_retention_check_interval_ms;
        let after_ms = if is_cut { 1 } else { interval_ms.max(1) };
        self.timers.insert(now.mono_ms.saturating_add(after_ms), TimerKey::Retention);
        decided
    }

    /// Whether offsets of the group remain.
    fn expire_group(
        &self,
        group_id: &Arc<str>,
        group: &Group,
        now: Now,
        records: &mut Vec<Record>,
    ) -> bool {
        let mut is_left = self.offsets.open_of_group(group_id).next().is_some();
        for (topic, partition, committed) in self.offsets.of_group(group_id) {
            let is_busy = group.is_subscribed_to(topic)
                || self.offsets.is_unstable(group_id, topic, partition);
            let retention_ms = self.config.offsets_retention_ms;
            if !is_busy && is_expired(group, committed, now, retention_ms) {
                records.push(tombstone(group_id, topic, partition));
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

    fn is_subscribed_to(&self, topic: &str) -> bool {
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

fn offset_records(
    group_id: &Arc<str>,
    offsets: &[CommitOffset],
    stale: &BTreeSet<usize>,
    now: Now,
    expire_timestamp_ms: i64,
    metadata_limit: usize,
) -> (Vec<Record>, Vec<ErrorCode>) {
    let mut records = Vec::with_capacity(offsets.len());
    let mut codes = Vec::with_capacity(offsets.len());
    for (place, asked) in offsets.iter().enumerate() {
        if stale.contains(&place) {
            codes.push(ErrorCode::StaleMemberEpoch);
            continue;
        }
        if asked.metadata.len() > metadata_limit {
            codes.push(ErrorCode::OffsetMetadataTooLarge);
            continue;
        }
        let value = CommittedOffset {
            offset: asked.offset,
            leader_epoch: asked.leader_epoch,
            metadata: asked.metadata.clone(),
            commit_timestamp_ms: now.wall_ms,
            expire_timestamp_ms,
        };
        let (group_id, topic) = (Arc::clone(group_id), Arc::clone(&asked.topic));
        let partition = asked.partition;
        records.push(Record::Offset { group_id, topic, partition, value: Some(value) });
        codes.push(ErrorCode::None);
    }
    (records, codes)
}
