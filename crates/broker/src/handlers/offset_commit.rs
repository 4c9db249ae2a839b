//! OffsetCommit (key 8, v2-10): where a group has got to. Version 10 names topics by id.

use std::sync::Arc;

use millstream_base::{ErrorCode, PartitionIndex};
use millstream_groups::{CommitOffset, OffsetCommit};
use millstream_metadata::ClusterImage;
use millstream_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::Written;
use crate::coordinator::convert::{own, own_opt};
use crate::dispatch::{self, Outcome, Refusal};
use crate::server::Outgoing;

/// From here on topics are named by id alone.
const FIRST_WITH_TOPIC_IDS: i16 = 10;

/// What the coordinator says of the whole, or of each offset that it was given.
type Codes = Result<Vec<ErrorCode>, ErrorCode>;

pub(crate) fn handle(
    context: RequestContext,
    body: &[u8],
    out: &mut Outgoing,
) -> Result<Outcome, Refusal> {
    let request: OffsetCommitRequest = dispatch::decode(&context, body)?;
    let (asked, mut response) = prepare(&context, &request);
    if asked.offsets.is_empty() {
        dispatch::answer(&context, &response, out)?;
        return Ok(Outcome::Answered);
    }
    let groups = context.broker.groups();
    let written = groups.decide(&asked.group_id, |shard, now| shard.commit_offsets(now, &asked));
    match written {
        Ok(Written { reply, committed: None }) => {
            fill(&mut response, &reply);
            dispatch::answer(&context, &response, out)?;
            Ok(Outcome::Answered)
        }
        Ok(written) => Ok(Outcome::Exclusive(Box::pin(async move {
            let codes = written.committed().await.unwrap_or_else(Err);
            fill(&mut response, &codes);
            let mut out = Outgoing::default();
            dispatch::answer(&context, &response, &mut out)?;
            Ok(out)
        }))),
        Err(error) => {
            fill(&mut response, &Err(error));
            dispatch::answer(&context, &response, out)?;
            Ok(Outcome::Answered)
        }
    }
}

/// Sorts out what needs no coordinator: the answer has an entry for every partition, `None` as its code where
/// the coordinator has the word.
fn prepare(
    context: &RequestContext,
    request: &OffsetCommitRequest,
) -> (OffsetCommit, OffsetCommitResponse) {
    let image = context.broker.image();
    let may_use_group = context.allows(Operation::Read, Resource::Group(&request.group_id));
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let named = match may_use_group {
            true => resolve(context, &image, topic),
            false => Err(ErrorCode::GroupAuthorizationFailed),
        };
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let index = asked.partition_index;
            let known = named.clone().and_then(|name| exists(&image, name, index));
            partitions.push(OffsetCommitResponsePartition {
                partition_index: index,
                error_code: known.as_ref().err().map_or(0, |code| code.code()),
            });
            let Ok(topic) = known else { continue };
            offsets.push(CommitOffset {
                topic,
                partition: index,
                offset: asked.committed_offset,
                leader_epoch: asked.committed_leader_epoch,
                metadata: asked.committed_metadata.as_deref().unwrap_or_default().into(),
            });
        }
        let (name, topic_id) = (topic.name.clone(), topic.topic_id);
        topics.push(OffsetCommitResponseTopic { name, topic_id, partitions });
    }
    let asked = OffsetCommit {
        group_id: own(&request.group_id),
        member_id: own(&request.member_id),
        instance_id: own_opt(request.group_instance_id.as_ref()),
        generation: request.generation_id_or_member_epoch,
        knows_member_epochs: context.version >= 9,
        retention_ms: Some(request.retention_time_ms).filter(|retention| *retention >= 0),
        offsets,
    };
    (asked, OffsetCommitResponse { topics, ..Default::default() })
}

fn resolve(
    context: &RequestContext,
    image: &ClusterImage,
    topic: &OffsetCommitRequestTopic,
) -> Result<Arc<str>, ErrorCode> {
    let name = if context.version >= FIRST_WITH_TOPIC_IDS {
        image.topics.name_of(topic.topic_id).cloned().ok_or(ErrorCode::UnknownTopicId)?
    } else {
        own(&topic.name)
    };
    if context.allows(Operation::Read, Resource::Topic(&name)) {
        Ok(name)
    } else {
        Err(ErrorCode::TopicAuthorizationFailed)
    }
}

fn exists(image: &ClusterImage, topic: Arc<str>, index: i32) -> Result<Arc<str>, ErrorCode> {
    match image.topics.partition(&topic, PartitionIndex(index)) {
        Some(_) => Ok(topic),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

/// Puts the coordinator's codes where it had the word, in order.
fn fill(response: &mut OffsetCommitResponse, codes: &Codes) {
    let mut each = codes.iter().flatten();
    let open = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in open.filter(|partition| partition.error_code == 0) {
        let code = match codes {
            Ok(_) => each.next().copied().unwrap_or(ErrorCode::UnknownServerError),
            // The commit as a whole was too large for one batch.
            Err(ErrorCode::UnknownServerError) => ErrorCode::InvalidCommitOffsetSize,
            Err(code) => *code,
        };
        partition.error_code = code.code();
    }
}
