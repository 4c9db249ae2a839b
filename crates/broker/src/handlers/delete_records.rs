//! DeleteRecords (key 21, v0-2): moves a partition's log start up.

use std::sync::Arc;

use millstream_base::{ErrorCode, Offset};
use millstream_env::task;
use millstream_wire::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use tracing::warn;

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::replica::Lookup;

pub(crate) async fn handle(
    context: RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let allowed = context.allows(Operation::Delete, Resource::Topic(&topic.name));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let index = asked.partition_index;
            let deleted = match allowed {
                true => delete(&context, &topic.name, index, Offset(asked.offset)).await,
                false => Err(ErrorCode::TopicAuthorizationFailed),
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark: deleted.unwrap_or(Offset::NONE).get(),
                error_code: deleted.err().unwrap_or(ErrorCode::None).code(),
            });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    let replicas = Arc::clone(context.broker.replicas());
    let noted = task::spawn_blocking(move || replicas.checkpoint_starts()).await;
    // A panic has said so.
    if let Ok(Err(failure)) = noted {
        warn!(error = %failure, "where logs start could not be noted; a kill may bring deleted records back");
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

async fn delete(
    context: &RequestContext,
    topic: &str,
    index: i32,
    to: Offset,
) -> Result<Offset, ErrorCode> {
    let partition = match context.broker.replicas().by_name(topic, index.into()) {
        Lookup::Here(partition) => partition,
        Lookup::Refused(code) => return Err(code),
    };
    let config = partition.config();
    if config.cleanup_compact && !config.cleanup_delete {
        // What compaction keeps is the last value of each key; cutting the log would lose some.
        return Err(ErrorCode::PolicyViolation);
    }
    task::spawn_blocking(move || partition.delete_records(to))
        .await
        .map_err(|_| ErrorCode::UnknownServerError)?
}
