//! UnregisterBroker (key 64, v0): an operator takes a broker out of the cluster for good.

use millstream_base::{ErrorCode, NodeId};
use millstream_wire::messages::unregister_broker::{
    UnregisterBrokerRequest, UnregisterBrokerResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let refused = |code: ErrorCode, message: String| UnregisterBrokerResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..UnregisterBrokerResponse::default()
    };
    if !context.allows(Operation::Alter, Resource::Cluster) {
        let message = "the principal may not alter the cluster".to_owned();
        return refused(ErrorCode::ClusterAuthorizationFailed, message);
    }
    match context.broker.active_controller().unregister(NodeId(request.broker_id)).await {
        Ok(()) => UnregisterBrokerResponse::default(),
        Err(error) => refused(error.code(), error.to_string()),
    }
}
