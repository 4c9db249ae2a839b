//! AssignReplicasToDirs (key 73, v0, KIP-858): a broker says in which of its directories replicas lie.

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, PartitionIndex, Uuid};
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::{Refusal, assign_replicas};
use millstream_quorum::Turn;
use millstream_wire::messages::assign_replicas_to_dirs::{
    AssignReplicasToDirsRequest, AssignReplicasToDirsResponse, ResponseDirectoryData,
    ResponsePartitionData, ResponseTopicData,
};
use tracing::warn;

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: AssignReplicasToDirsRequest,
) -> AssignReplicasToDirsResponse {
    let refused = |code: ErrorCode| AssignReplicasToDirsResponse {
        error_code: code.code(),
        ..AssignReplicasToDirsResponse::default()
    };
    if !context.allows(Operation::ClusterAction, Resource::Cluster) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let (id, epoch) = (NodeId(request.broker_id), BrokerEpoch(request.broker_epoch));
    let places = places(&request);
    let decide = move |image: &ClusterImage, _: &Turn| assign_replicas(image, id, epoch, &places);
    let decided = match context.broker.quorum().execute(decide).await {
        Ok(decided) => decided,
        Err(error) => {
            if error.code() != ErrorCode::NotController {
                warn!(broker = %id, %error, "where a broker's replicas lie was not noted");
            }
            return refused(error.code());
        }
    };
    // A replica may lie in a directory that failed meanwhile: somebody else has to lead it.
    if decided.needs_settling {
        context.broker.active_controller().look_again();
    }
    response(&request, decided.results)
}

fn places(request: &AssignReplicasToDirsRequest) -> Vec<(Uuid, PartitionIndex, Uuid)> {
    let mut places = Vec::new();
    for directory in &request.directories {
        for topic in &directory.topics {
            let partitions = topic.partitions.iter();
            places.extend(partitions.map(|partition| {
                (topic.topic_id, PartitionIndex(partition.partition_index), directory.id)
            }));
        }
    }
    places
}

fn response(
    request: &AssignReplicasToDirsRequest,
    results: Vec<Result<(), Refusal>>,
) -> AssignReplicasToDirsResponse {
    let mut codes = results.into_iter().map(|result| match result {
        Ok(()) => ErrorCode::None.code(),
        Err(refusal) => refusal.code.code(),
    });
    let mut directories = Vec::with_capacity(request.directories.len());
    for directory in &request.directories {
        let mut topics = Vec::with_capacity(directory.topics.len());
        for topic in &directory.topics {
            let partition = |partition_index| ResponsePartitionData {
                partition_index,
                error_code: codes.next().unwrap_or(ErrorCode::UnknownServerError.code()),
            };
            let partitions = topic.partitions.iter().map(|p| p.partition_index).map(partition);
            let partitions = partitions.collect();
            topics.push(ResponseTopicData { topic_id: topic.topic_id, partitions });
        }
        directories.push(ResponseDirectoryData { id: directory.id, topics });
    }
    AssignReplicasToDirsResponse { directories, ..AssignReplicasToDirsResponse::default() }
}
