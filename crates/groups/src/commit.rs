//! The shard's calls for offsets: commit, fetch, delete.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_base::ErrorCode;

use crate::classic::{Cx, State};
use crate::effect::Decided;
use crate::expire::tombstone;
use crate::offsets::{
    CommitOffset, CommittedOffset, FetchedOffset, FetchedTopics, OffsetCommit, OffsetFetch,
    TransactionalCommit,
};
use crate::record::Record;
use crate::request::Now;
use crate::shard::{Group, Shard};

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
        let (records, codes) = self.offset_records(
            &request.group_id,
            &request.offsets,
            &stale,
            now,
            expire_timestamp_ms,
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
        let (records, codes) =
            self.offset_records(&request.group_id, &request.offsets, &BTreeSet::new(), now, -1);
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
            let is_shown = |committed: &&CommittedOffset| {
                !is_unstable && !self.is_of_no_topic(topic, committed)
            };
            let committed = committed.filter(is_shown).cloned();
            FetchedOffset { partition, error, committed }
        };
        let Some(topics) = &request.topics else {
            let mut all = FetchedTopics::new();
            for (topic, partition, committed) in self.offsets.of_group(group_id) {
                if self.is_of_no_topic(topic, committed) {
                    continue;
                }
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
            let is_open = self.offsets.is_unstable(group_id, topic, *partition);
            if is_open || self.offsets.get(group_id, topic, *partition).is_some() {
                records.push(tombstone(group_id, topic, *partition));
            }
            codes.push(ErrorCode::None);
        }
        let mut decided = Decided::reply(Ok(codes));
        decided.records = records;
        decided
    }

    /// The records of a commit, and a code for each offset.
    fn offset_records(
        &self,
        group_id: &Arc<str>,
        offsets: &[CommitOffset],
        stale: &BTreeSet<usize>,
        now: Now,
        expire_timestamp_ms: i64,
    ) -> (Vec<Record>, Vec<ErrorCode>) {
        let mut records = Vec::with_capacity(offsets.len());
        let mut codes = Vec::with_capacity(offsets.len());
        for (place, asked) in offsets.iter().enumerate() {
            if stale.contains(&place) {
                codes.push(ErrorCode::StaleMemberEpoch);
                continue;
            }
            // Between the client's question and now the topic may have been deleted, and made anew.
            if !asked.topic_id.is_zero() && self.topics.by_id(asked.topic_id).is_none() {
                codes.push(ErrorCode::UnknownTopicOrPartition);
                continue;
            }
            if asked.metadata.len() > self.config.offset_metadata_max_bytes {
                codes.push(ErrorCode::OffsetMetadataTooLarge);
                continue;
            }
            let value = CommittedOffset {
                offset: asked.offset,
                leader_epoch: asked.leader_epoch,
                metadata: asked.metadata.clone(),
                topic_id: asked.topic_id,
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
}
