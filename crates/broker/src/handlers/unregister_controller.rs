//! UnregisterController (key 94, v0, KIP-1312): an operator has the cluster forget a controller that is gone for good.

use millstream_base::{ErrorCode, NodeId};
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::unregister_controller;
use millstream_quorum::Turn;
use millstream_wire::messages::unregister_controller::{
    UnregisterControllerRequest, UnregisterControllerResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: UnregisterControllerRequest,
) -> UnregisterControllerResponse {
    let refused = |code: ErrorCode, message: String| UnregisterControllerResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..UnregisterControllerResponse::default()
    };
    if !context.allows(Operation::Alter, Resource::Cluster) {
        let message = "the principal may not alter the cluster".to_owned();
        return refused(ErrorCode::ClusterAuthorizationFailed, message);
    }
    let id = NodeId(request.controller_id);
    if context.broker.quorum().status().voters.iter().any(|voter| voter.peer.id == id) {
        let message = format!("controller {id} is a voter of the quorum: remove it there first");
        return refused(ErrorCode::InvalidRequest, message);
    }
    let decide = move |image: &ClusterImage, _: &Turn| unregister_controller(image, id);
    match context.broker.quorum().execute(decide).await {
        Ok(()) => UnregisterControllerResponse::default(),
        Err(error) => refused(error.code(), error.to_string()),
    }
}
