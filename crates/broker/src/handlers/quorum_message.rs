//! QuorumMessage (our key 10000, v0): what the nodes of the metadata quorum say to each other. The quorum understands it.

use millstream_base::{ErrorCode, NodeId};
use millstream_wire::messages::quorum_message::{QuorumMessageRequest, QuorumMessageResponse};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: QuorumMessageRequest,
) -> QuorumMessageResponse {
    let refuse = |error: ErrorCode, message: String| QuorumMessageResponse {
        error_code: error.code(),
        error_message: Some(message.into()),
        ..Default::default()
    };
    if !context.allows(Operation::ClusterAction, Resource::Cluster) {
        let message = "the principal may not act as a node of the cluster";
        return refuse(ErrorCode::ClusterAuthorizationFailed, message.to_owned());
    }
    let (theirs, ours) = (request.cluster_id.as_deref(), context.broker.cluster_id());
    if let Some(theirs) = theirs.filter(|id| !ours.is_empty() && *id != ours) {
        let message = format!(
            "node {} is of cluster {theirs}, and this is cluster {ours}: one of them has the wrong controller.quorum.voters or data directory",
            request.sender
        );
        return refuse(ErrorCode::InconsistentClusterId, message);
    }
    // The first to speak over a connection is who speaks over all of it.
    let _ = context.connection.node.set(NodeId(request.sender));
    let payload = context.broker.quorum().receive(request.payload).await;
    QuorumMessageResponse { payload, ..Default::default() }
}
