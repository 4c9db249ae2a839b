//! BrokerHeartbeat (key 63, v0-2): a broker is alive, and says what it wants. The active controller answers.

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, Offset};
use millstream_metadata::decide::Heartbeat;
use millstream_wire::messages::broker_heartbeat::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse,
};
use tracing::warn;

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: BrokerHeartbeatRequest,
) -> BrokerHeartbeatResponse {
    if !context.allows(Operation::ClusterAction, Resource::Cluster) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let id = NodeId(request.broker_id);
    let heartbeat = Heartbeat {
        id,
        epoch: BrokerEpoch(request.broker_epoch),
        applied: Offset(request.current_metadata_offset),
        want_fence: request.want_fence,
        want_shut_down: request.want_shut_down,
        offline_dirs: request.offline_log_dirs,
        cordoned_dirs: request.cordoned_log_dirs,
        ..Heartbeat::default()
    };
    match context.broker.active_controller().heartbeat(heartbeat).await {
        Ok(reply) => {
            // When this connection ends, the broker may be gone.
            let _ = context.connection.node.set(id);
            BrokerHeartbeatResponse {
                is_caught_up: reply.is_caught_up,
                is_fenced: reply.is_fenced,
                should_shut_down: reply.should_shut_down,
                ..BrokerHeartbeatResponse::default()
            }
        }
        Err(error) => {
            if error.code() != ErrorCode::NotController {
                warn!(broker = %id, %error, "a broker's heartbeat is refused");
            }
            refused(error.code())
        }
    }
}

fn refused(code: ErrorCode) -> BrokerHeartbeatResponse {
    BrokerHeartbeatResponse { error_code: code.code(), ..Default::default() }
}
