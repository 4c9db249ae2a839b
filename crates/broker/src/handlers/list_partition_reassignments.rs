//! ListPartitionReassignments (key 46, v0, KIP-455): which partitions are on the move.

use millstream_base::{ErrorCode, PartitionIndex};
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::{Decision, Ongoing, list_reassignments};
use millstream_quorum::Turn;
use millstream_wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment, OngoingTopicReassignment,
};

use crate::authorizer::{Operation, Resource};
use crate::cluster_view::numbers;
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let refused = |code: ErrorCode, message: String| ListPartitionReassignmentsResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..ListPartitionReassignmentsResponse::default()
    };
    if !context.allows(Operation::Describe, Resource::Cluster) {
        let message = "the principal may not describe the cluster".to_owned();
        return refused(ErrorCode::ClusterAuthorizationFailed, message);
    }
    let named = request.topics.map(|topics| {
        let named = topics.into_iter().map(|topic| {
            let indexes = topic.partition_indexes.into_iter().map(PartitionIndex);
            (topic.name.to_string(), indexes.collect())
        });
        named.collect::<Vec<(String, Vec<PartitionIndex>)>>()
    });
    // Through the quorum, so that it tells of everything that was answered before.
    let decide = move |image: &ClusterImage, _: &Turn| {
        Ok(Decision::reply(list_reassignments(image, named.as_deref())))
    };
    match context.broker.quorum().execute(decide).await {
        Ok(ongoing) => response(ongoing),
        Err(error) => refused(error.code(), error.to_string()),
    }
}

fn response(ongoing: Vec<Ongoing>) -> ListPartitionReassignmentsResponse {
    let mut topics: Vec<OngoingTopicReassignment> = Vec::new();
    for one in ongoing {
        let partition = OngoingPartitionReassignment {
            partition_index: one.index.get(),
            replicas: numbers(&one.replicas),
            adding_replicas: numbers(&one.adding),
            removing_replicas: numbers(&one.removing),
        };
        match topics.last_mut().filter(|topic| *topic.name == *one.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OngoingTopicReassignment {
                name: one.topic.into(),
                partitions: vec![partition],
            }),
        }
    }
    ListPartitionReassignmentsResponse {
        error_message: None,
        topics,
        ..ListPartitionReassignmentsResponse::default()
    }
}
