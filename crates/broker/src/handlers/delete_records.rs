//! DeleteRecords (key 21, v0-2): moves a partition's log start up.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, Offset};
use millstream_env::task;
use millstream_wire::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};

use tracing::warn;

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::replica::{AllStarted, Lookup};

pub(crate) async fn handle(
    context: RequestContext,
    request: DeleteRecordsRequest,
) -> DeleteRecordsResponse {
    let deadline = deadline(request.timeout_ms);
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
            partitions.push((index, deleted));
        }
        topics.push((topic.name, partitions));
    }
    let replicas = Arc::clone(context.broker.replicas());
    let noted = task::spawn_blocking(move || replicas.checkpoint_starts()).await;
    // A panic has said so.
    if let Ok(Err(failure)) = noted {
        warn!(error = %failure, "where logs start could not be noted; a kill may bring deleted records back");
    }
    let mut answered = Vec::with_capacity(topics.len());
    for (name, deleted) in topics {
        let mut partitions = Vec::with_capacity(deleted.len());
        for (partition_index, deleted) in deleted {
            let everywhere = match deleted {
                Ok(deleted) => deleted.everywhere(deadline).await,
                Err(code) => Err(code),
            };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index,
                low_watermark: everywhere.unwrap_or(Offset::NONE).get(),
                error_code: everywhere.err().unwrap_or(ErrorCode::None).code(),
            });
        }
        answered.push(DeleteRecordsTopicResult { name, partitions });
    }
    DeleteRecordsResponse { topics: answered, ..Default::default() }
}

fn deadline(timeout_ms: i32) -> task::Instant {
    let ms = u64::try_from(timeout_ms).unwrap_or_default();
    task::Instant::now() + Duration::from_millis(ms)
}

/// Records that are deleted here, and perhaps not on every replica yet.
struct Deleted {
    low_watermark: Offset,
    elsewhere: Option<AllStarted>,
}

impl Deleted {
    /// Waits until every live replica has moved its start.
    async fn everywhere(self, deadline: task::Instant) -> Result<Offset, ErrorCode> {
        let Some(elsewhere) = self.elsewhere else { return Ok(self.low_watermark) };
        let left = deadline.saturating_duration_since(task::Instant::now());
        match task::timeout(left, elsewhere).await {
            Ok(Ok(low_watermark)) => Ok(low_watermark),
            Ok(Err(_)) => Err(ErrorCode::NotLeaderOrFollower),
            Err(_) => Err(ErrorCode::RequestTimedOut),
        }
    }
}

async fn delete(
    context: &RequestContext,
    topic: &str,
    index: i32,
    to: Offset,
) -> Result<Deleted, ErrorCode> {
    let partition = match context.broker.replicas().by_name(topic, index.into()) {
        Lookup::Here(partition) => partition,
        Lookup::Refused(code) => return Err(code),
    };
    let config = partition.config();
    if config.cleanup_compact && !config.cleanup_delete {
        // What compaction keeps is the last value of each key; cutting the log would lose some.
        return Err(ErrorCode::PolicyViolation);
    }
    let deleted = task::spawn_blocking(move || partition.delete_records(to)).await;
    let (low_watermark, elsewhere) = deleted.map_err(|_| ErrorCode::UnknownServerError)??;
    Ok(Deleted { low_watermark, elsewhere })
}
