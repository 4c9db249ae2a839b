//! AlterPartitionReassignments (key 45, v0-1, KIP-455): replicas move to other brokers, or the move is cancelled.

use millstream_base::{ErrorCode, NodeId, PartitionIndex};
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::{
    AlterReassignments, MAX_CHANGES_PER_BATCH, Reassignment, Refusal,
};
use millstream_quorum::{CommitError, Turn};
use millstream_wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let allow_factor_change = request.allow_replication_factor_change;
    let refused = |code: ErrorCode, message: String| AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: allow_factor_change,
        error_code: code.code(),
        error_message: Some(message.into()),
        ..AlterPartitionReassignmentsResponse::default()
    };
    if !context.allows(Operation::Alter, Resource::Cluster) {
        let message = "the principal may not alter the cluster".to_owned();
        return refused(ErrorCode::ClusterAuthorizationFailed, message);
    }
    let wanted = wanted(&request);
    match reassign(&context, &wanted, allow_factor_change).await {
        Ok(results) => AlterPartitionReassignmentsResponse {
            allow_replication_factor_change: allow_factor_change,
            error_message: None,
            responses: responses(&wanted, results),
            ..AlterPartitionReassignmentsResponse::default()
        },
        Err(error) => refused(error.code(), error.to_string()),
    }
}

fn wanted(request: &AlterPartitionReassignmentsRequest) -> Vec<Reassignment> {
    let mut wanted = Vec::new();
    for topic in &request.topics {
        let partitions = topic.partitions.iter();
        wanted.extend(partitions.map(|partition| {
            Reassignment {
                topic: topic.name.to_string(),
                index: PartitionIndex(partition.partition_index),
                replicas: partition
                    .replicas
                    .as_ref()
                    .map(|replicas| replicas.iter().copied().map(NodeId).collect()),
            }
        }));
    }
    wanted
}

async fn reassign(
    context: &RequestContext,
    wanted: &[Reassignment],
    allow_factor_change: bool,
) -> Result<Vec<Result<(), Refusal>>, CommitError> {
    let defaults = context.broker.active_controller().defaults();
    let mut results = Vec::with_capacity(wanted.len());
    for part in wanted.chunks(MAX_CHANGES_PER_BATCH) {
        let partitions = part.to_vec();
        let command = AlterReassignments { partitions, allow_factor_change, defaults };
        let decide = move |image: &ClusterImage, _: &Turn| Ok(command.decide(image));
        results.extend(context.broker.quorum().execute(decide).await?);
    }
    Ok(results)
}

fn responses(
    wanted: &[Reassignment],
    results: Vec<Result<(), Refusal>>,
) -> Vec<ReassignableTopicResponse> {
    let mut topics: Vec<ReassignableTopicResponse> = Vec::new();
    for (wanted, result) in wanted.iter().zip(results) {
        let refusal = result.err();
        let answer = ReassignablePartitionResponse {
            partition_index: wanted.index.get(),
            error_code: refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code).code(),
            error_message: refusal.map(|refusal| refusal.message.into()),
        };
        match topics.last_mut().filter(|topic| *topic.name == *wanted.topic) {
            Some(topic) => topic.partitions.push(answer),
            None => topics.push(ReassignableTopicResponse {
                name: (&wanted.topic).into(),
                partitions: vec![answer],
            }),
        }
    }
    topics
}
