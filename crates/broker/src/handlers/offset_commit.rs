//! OffsetCommit (key 8, v2-10): where a group has got to. Version 10 names topics by id.

use millstream_base::ErrorCode;
use millstream_groups::OffsetCommit;
use millstream_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::Written;
use crate::coordinator::commits::{AskedPartition, Codes, Commits, Sorted, TopicRef};
use crate::coordinator::convert::{own, own_opt};
use crate::dispatch::{self, Outcome, Refusal};
use crate::server::Outgoing;

/// From here on topics are named by id alone.
const FIRST_WITH_TOPIC_IDS: i16 = 10;

pub(crate) fn handle(
    context: RequestContext,
    body: &[u8],
    out: &mut Outgoing,
) -> Result<Outcome, Refusal> {
    let request: OffsetCommitRequest = dispatch::decode(&context, body)?;
    let (asked, sorted) = sort(&context, &request);
    let written = match asked.offsets.is_empty() {
        true => Ok(Written { reply: Ok(Vec::new()), committed: None }),
        false => {
            let groups = context.broker.groups();
            groups.decide(&asked.group_id, |shard, now| shard.commit_offsets(now, &asked))
        }
    };
    let codes = match written {
        Ok(Written { reply, committed: None }) => reply,
        Ok(written) => {
            return Ok(Outcome::Exclusive(Box::pin(async move {
                let codes = written.committed().await.unwrap_or_else(Err);
                let mut out = Outgoing::default();
                dispatch::answer(&context, &response(request, &sorted, codes), &mut out)?;
                Ok(out)
            })));
        }
        Err(error) => Err(error),
    };
    dispatch::answer(&context, &response(request, &sorted, codes), out)?;
    Ok(Outcome::Answered)
}

/// What the coordinator is asked, and what needs no coordinator.
fn sort(context: &RequestContext, request: &OffsetCommitRequest) -> (OffsetCommit, Sorted) {
    let may_use_group = context.allows(Operation::Read, Resource::Group(&request.group_id));
    let allowed = may_use_group.then_some(()).ok_or(ErrorCode::GroupAuthorizationFailed);
    let mut commits = Commits::new(context, allowed);
    for topic in &request.topics {
        let name = match context.version >= FIRST_WITH_TOPIC_IDS {
            true => TopicRef::Id(topic.topic_id),
            false => TopicRef::Name(&topic.name),
        };
        commits.sort(name, topic.partitions.iter().map(asked));
    }
    let (offsets, sorted) = commits.finish();
    let asked = OffsetCommit {
        group_id: own(&request.group_id),
        member_id: own(&request.member_id),
        instance_id: own_opt(request.group_instance_id.as_ref()),
        generation: request.generation_id_or_member_epoch,
        knows_member_epochs: context.version >= 9,
        retention_ms: Some(request.retention_time_ms).filter(|retention| *retention >= 0),
        offsets,
    };
    (asked, sorted)
}

fn asked(partition: &OffsetCommitRequestPartition) -> AskedPartition<'_> {
    AskedPartition {
        index: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_ref(),
    }
}

fn response(request: OffsetCommitRequest, sorted: &Sorted, codes: Codes) -> OffsetCommitResponse {
    let codes = codes.map_err(|code| match code {
        // The commit as a whole was too large for one batch.
        ErrorCode::UnknownServerError => ErrorCode::InvalidCommitOffsetSize,
        code => code,
    });
    let mut codes = sorted.codes(&codes);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut codes);
        let partitions = partitions.map(|(asked, error_code)| OffsetCommitResponsePartition {
            partition_index: asked.partition_index,
            error_code,
        });
        let partitions = partitions.collect();
        OffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions }
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}
