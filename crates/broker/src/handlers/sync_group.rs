//! SyncGroup (key 14, v0-5): the leader gives the assignment, every member gets its part.

use millstream_base::ErrorCode;
use millstream_groups::SyncGroup;
use millstream_wire::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::{own, own_opt, send_opt};

pub(crate) async fn handle(
    context: RequestContext,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    if !context.allows(Operation::Read, Resource::Group(&request.group_id)) {
        return refused(ErrorCode::GroupAuthorizationFailed);
    }
    // KIP-559: from version 5 on the member says which protocol it means.
    let is_unnamed = request.protocol_type.is_none() || request.protocol_name.is_none();
    if context.version >= 5 && is_unnamed {
        return refused(ErrorCode::InconsistentGroupProtocol);
    }
    let asked = SyncGroup {
        group_id: own(&request.group_id),
        member_id: own(&request.member_id),
        instance_id: own_opt(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: own_opt(request.protocol_type.as_ref()),
        protocol_name: own_opt(request.protocol_name.as_ref()),
        assignments: request
            .assignments
            .into_iter()
            .map(|part| (own(&part.member_id), part.assignment))
            .collect(),
    };
    match context.broker.groups().sync(asked).await {
        Ok(synced) => SyncGroupResponse {
            error_code: synced.error.code(),
            protocol_type: send_opt(synced.protocol_type.as_ref()),
            protocol_name: send_opt(synced.protocol_name.as_ref()),
            assignment: synced.assignment,
            ..Default::default()
        },
        Err(error) => refused(error),
    }
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), ..Default::default() }
}
