//! AddRaftVoter (key 80, v0-1, KIP-853): a controller that follows the quorum becomes one of its voters.

use std::time::Duration;

use millstream_base::{ErrorCode, NodeId};
use millstream_env::task;
use millstream_quorum::{Peer, Voter};
use millstream_wire::messages::add_raft_voter::{AddRaftVoterRequest, AddRaftVoterResponse};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: AddRaftVoterRequest,
) -> AddRaftVoterResponse {
    let refused = |code: ErrorCode, message: String| AddRaftVoterResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..AddRaftVoterResponse::default()
    };
    if !context.allows(Operation::Alter, Resource::Cluster) {
        let message = "the principal may not alter the cluster".to_owned();
        return refused(ErrorCode::ClusterAuthorizationFailed, message);
    }
    if let Err((code, message)) = check_cluster(&context, request.cluster_id.as_deref()) {
        return refused(code, message);
    }
    let Some(listener) = request.listeners.first().filter(|_| request.voter_id >= 0) else {
        let message = "a voter needs an id of at least 0 and the listener at which it is reached";
        return refused(ErrorCode::InvalidRequest, message.to_owned());
    };
    let peer =
        Peer { id: NodeId(request.voter_id), host: listener.host.to_string(), port: listener.port };
    let voter = Voter { peer, directory_id: request.voter_directory_id };
    let within = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or_default());
    match task::timeout(within, context.broker.quorum().add_voter(voter)).await {
        Ok(Ok(())) => AddRaftVoterResponse::default(),
        Ok(Err(error)) => refused(error.code(), error.to_string()),
        Err(_) => {
            let message = format!(
                "controller {} has not caught up in time: see that it runs and is reached, and ask again",
                request.voter_id
            );
            refused(ErrorCode::RequestTimedOut, message)
        }
    }
}

/// Whether the request is meant for this cluster.
pub(super) fn check_cluster(
    context: &RequestContext,
    cluster_id: Option<&str>,
) -> Result<(), (ErrorCode, String)> {
    let ours = context.broker.cluster_id();
    match cluster_id.filter(|theirs| *theirs != ours) {
        Some(theirs) => {
            let message = format!("this is cluster {ours}, and the request is for {theirs}");
            Err((ErrorCode::InconsistentClusterId, message))
        }
        None => Ok(()),
    }
}
