//! RemoveRaftVoter (key 81, v0, KIP-853): a controller votes no more.

use millstream_base::{ErrorCode, NodeId};
use millstream_wire::messages::remove_raft_voter::{
    RemoveRaftVoterRequest, RemoveRaftVoterResponse,
};

use super::add_raft_voter::check_cluster;
use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    let refused = |code: ErrorCode, message: String| RemoveRaftVoterResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..RemoveRaftVoterResponse::default()
    };
    if !context.allows(Operation::Alter, Resource::Cluster) {
        let message = "the principal may not alter the cluster".to_owned();
        return refused(ErrorCode::ClusterAuthorizationFailed, message);
    }
    if let Err((code, message)) = check_cluster(&context, request.cluster_id.as_deref()) {
        return refused(code, message);
    }
    let id = NodeId(request.voter_id);
    let directory = request.voter_directory_id;
    let directory = (!directory.is_zero()).then_some(directory);
    match context.broker.quorum().remove_voter(id, directory).await {
        Ok(()) => RemoveRaftVoterResponse::default(),
        Err(error) => refused(error.code(), error.to_string()),
    }
}
