//! A group's committed offsets: reading and writing them.
//!
//! Used by consumers (as members) and by the admin client (from outside).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, Offset, TopicPartition, Uuid};
use millstream_wire::Str;
use millstream_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};

use super::membership::MemberIdentity;
use crate::cluster::Lane;
use crate::{ClientError, Cluster};

/// An offset that a group has committed: the next record that it will read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset.
    pub offset: Offset,
    /// The epoch of the record before it; -1 when not known.
    pub leader_epoch: LeaderEpoch,
    /// What the consumer noted beside it.
    pub metadata: String,
}

impl CommittedOffset {
    /// An offset without anything beside it.
    pub const fn at(offset: Offset) -> Self {
        Self { offset, leader_epoch: LeaderEpoch::NONE, metadata: String::new() }
    }
}

/// Committed offsets by partition.
pub type CommittedOffsets = BTreeMap<TopicPartition, CommittedOffset>;

/// Which topics of a group to ask for, with their partitions; `None` asks for all.
type Asked = Option<BTreeMap<Arc<str>, Vec<i32>>>;

impl Cluster {
    /// What `group` has committed: for `partitions`, or with `None` for everything that it has.
    pub(crate) async fn fetch_committed(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        within: Duration,
    ) -> Result<CommittedOffsets, ClientError> {
        let asked: Asked = partitions.map(|partitions| {
            let mut topics: BTreeMap<Arc<str>, Vec<i32>> = BTreeMap::new();
            for partition in partitions {
                topics.entry(partition.topic.clone()).or_default().push(partition.partition.0);
            }
            topics
        });
        let mut retry = self.retry(format!("committed offsets of group `{group}`"), within);
        loop {
            match self.fetch_committed_once(group, &asked).await {
                Ok(found) => return Ok(found),
                Err(error) => {
                    self.note_coordinator_error(group, &error);
                    retry.again(error).await?;
                }
            }
        }
    }

    async fn fetch_committed_once(
        &self,
        group: &str,
        asked: &Asked,
    ) -> Result<CommittedOffsets, ClientError> {
        // From version 10 on topics go by id alone; asking for everything may name topics unknown here.
        let metadata = self.metadata();
        let id_of = |topic: &str| metadata.topic(topic).map(|info| info.id).unwrap_or_default();
        let by_id =
            asked.as_ref().is_some_and(|topics| topics.keys().all(|topic| !id_of(topic).is_zero()));
        let max = if by_id { None } else { Some(9) };
        let build = |version| fetch_request(group, asked, version, &id_of);
        let lane = (Lane::General, max);
        let response = self.call_coordinator_upto(group, lane, None, build).await?;
        read_committed(group, response, |id| metadata.name_of(id).cloned())
    }

    /// Commits `offsets` for `group`, as the member `identity` or from outside.
    pub(crate) async fn commit_offsets(
        &self,
        group: &str,
        identity: Option<&MemberIdentity>,
        instance_id: Option<&str>,
        offsets: &CommittedOffsets,
        within: Duration,
    ) -> Result<(), ClientError> {
        if offsets.is_empty() {
            return Ok(());
        }
        let mut retry = self.retry(format!("commit of group `{group}`"), within);
        loop {
            let committed = self.commit_once(group, identity, instance_id, offsets).await;
            let Err(error) = committed else { return Ok(()) };
            self.note_coordinator_error(group, &error);
            retry.again(error).await?;
        }
    }

    async fn commit_once(
        &self,
        group: &str,
        identity: Option<&MemberIdentity>,
        instance_id: Option<&str>,
        offsets: &CommittedOffsets,
    ) -> Result<(), ClientError> {
        let metadata = self.metadata();
        let mut topics: Vec<OffsetCommitRequestTopic> = Vec::new();
        for (partition, committed) in offsets {
            let entry = OffsetCommitRequestPartition {
                partition_index: partition.partition.0,
                committed_offset: committed.offset.0,
                committed_leader_epoch: committed.leader_epoch.0,
                committed_metadata: Some(committed.metadata.as_str().into()),
            };
            match topics.iter_mut().find(|topic| *topic.name == *partition.topic) {
                Some(topic) => topic.partitions.push(entry),
                None => topics.push(OffsetCommitRequestTopic {
                    name: (&partition.topic).into(),
                    topic_id: metadata
                        .topic(&partition.topic)
                        .map(|info| info.id)
                        .unwrap_or_default(),
                    partitions: vec![entry],
                }),
            }
        }
        let by_id = topics.iter().all(|topic| !topic.topic_id.is_zero());
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: identity.map_or(-1, |identity| identity.generation),
            member_id: identity.map_or(Str::EMPTY, |identity| identity.member_id.as_str().into()),
            group_instance_id: instance_id.map(Into::into),
            topics,
            ..OffsetCommitRequest::default()
        };
        let max = if by_id { None } else { Some(9) };
        let lane = (Lane::General, max);
        let response = self.call_coordinator_upto(group, lane, None, |_| request.clone()).await?;
        for topic in &response.topics {
            let name = || match metadata.name_of(topic.topic_id) {
                Some(name) => name.to_string(),
                None => topic.name.to_string(),
            };
            for partition in &topic.partitions {
                ClientError::check(partition.error_code, || {
                    format!("commit of {}-{}", name(), partition.partition_index)
                })?;
            }
        }
        Ok(())
    }
}

fn fetch_request(
    group: &str,
    asked: &Asked,
    version: i16,
    id_of: &dyn Fn(&str) -> Uuid,
) -> OffsetFetchRequest {
    let mut request = OffsetFetchRequest::default();
    if version >= 8 {
        let topic = |(name, partitions): (&Arc<str>, &Vec<i32>)| OffsetFetchRequestTopics {
            name: name.into(),
            topic_id: id_of(name),
            partition_indexes: partitions.clone(),
        };
        request.groups = vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: asked.as_ref().map(|topics| topics.iter().map(topic).collect()),
            ..OffsetFetchRequestGroup::default()
        }];
        return request;
    }
    let topic = |(name, partitions): (&Arc<str>, &Vec<i32>)| OffsetFetchRequestTopic {
        name: name.into(),
        partition_indexes: partitions.clone(),
    };
    request.group_id = group.into();
    request.topics = asked.as_ref().map(|topics| topics.iter().map(topic).collect());
    request
}

/// One partition of an answer, whatever its version.
struct Answer {
    topic: Arc<str>,
    index: i32,
    error_code: i16,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<Str>,
}

fn read_committed(
    group: &str,
    response: OffsetFetchResponse,
    name_of: impl Fn(Uuid) -> Option<Arc<str>>,
) -> Result<CommittedOffsets, ClientError> {
    let what = || format!("committed offsets of group `{group}`");
    ClientError::check(response.error_code, what)?;
    let mut answers: Vec<Answer> = Vec::new();
    for topic in response.topics {
        answers.extend(topic.partitions.into_iter().map(|partition| Answer {
            topic: (&topic.name).into(),
            index: partition.partition_index,
            error_code: partition.error_code,
            offset: partition.committed_offset,
            leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
        }));
    }
    for answered in response.groups {
        ClientError::check(answered.error_code, what)?;
        for topic in answered.topics {
            let by_id = (!topic.topic_id.is_zero()).then(|| name_of(topic.topic_id)).flatten();
            let name = by_id.unwrap_or_else(|| (&topic.name).into());
            answers.extend(topic.partitions.into_iter().map(|partition| Answer {
                topic: name.clone(),
                index: partition.partition_index,
                error_code: partition.error_code,
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
            }));
        }
    }
    let mut found = CommittedOffsets::new();
    for answer in answers {
        let partition = TopicPartition::new(answer.topic, answer.index);
        match ClientError::check(answer.error_code, || partition.to_string()) {
            Ok(()) => {}
            // Nothing can have been committed for what is not there.
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => continue,
            Err(error) => return Err(error),
        }
        if answer.offset >= 0 {
            let committed = CommittedOffset {
                offset: Offset(answer.offset),
                leader_epoch: LeaderEpoch(answer.leader_epoch),
                metadata: answer.metadata.map(Into::into).unwrap_or_default(),
            };
            found.insert(partition, committed);
        }
    }
    Ok(found)
}
