//! OffsetDelete (key 47, v0): offsets of topics that a group does not read any more.

use std::sync::Arc;

use millstream_base::{ErrorCode, PartitionIndex};
use millstream_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::own;

pub(crate) async fn handle(
    context: RequestContext,
    request: OffsetDeleteRequest,
) -> OffsetDeleteResponse {
    if !context.allows(Operation::Delete, Resource::Group(&request.group_id)) {
        return refused(ErrorCode::GroupAuthorizationFailed);
    }
    let (asked, mut topics) = prepare(&context, &request);
    match delete(&context, &own(&request.group_id), &asked).await {
        Err(error) => refused(error),
        Ok(codes) => {
            let mut codes = codes.into_iter();
            let open = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            for partition in open.filter(|partition| partition.error_code == 0) {
                let code = codes.next().unwrap_or(ErrorCode::UnknownServerError);
                partition.error_code = code.code();
            }
            OffsetDeleteResponse { topics, ..Default::default() }
        }
    }
}

/// Partitions for the coordinator, and the answer with those filled in that need none.
fn prepare(
    context: &RequestContext,
    request: &OffsetDeleteRequest,
) -> (Vec<(Arc<str>, i32)>, Vec<OffsetDeleteResponseTopic>) {
    let image = context.broker.image();
    let mut asked = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let name = own(&topic.name);
        let allowed = context.allows(Operation::Read, Resource::Topic(&name));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let index = partition.partition_index;
            let code = if !allowed {
                ErrorCode::TopicAuthorizationFailed
            } else if image.topics.partition(&name, PartitionIndex(index)).is_none() {
                ErrorCode::UnknownTopicOrPartition
            } else {
                asked.push((Arc::clone(&name), index));
                ErrorCode::None
            };
            let error_code = code.code();
            partitions.push(OffsetDeleteResponsePartition { partition_index: index, error_code });
        }
        topics.push(OffsetDeleteResponseTopic { name: topic.name.clone(), partitions });
    }
    (asked, topics)
}

async fn delete(
    context: &RequestContext,
    group_id: &Arc<str>,
    asked: &[(Arc<str>, i32)],
) -> Result<Vec<ErrorCode>, ErrorCode> {
    let groups = context.broker.groups();
    let written = groups.decide(group_id, |shard, _| shard.delete_offsets(group_id, asked))?;
    written.committed().await?
}

fn refused(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: error.code(), ..Default::default() }
}
