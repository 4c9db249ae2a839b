//! Heartbeat (key 12, v0-4): a member is alive. The commonest request of all: one lock, no wait, no write.

use millstream_base::ErrorCode;
use millstream_groups::Heartbeat;
use millstream_wire::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::code_of;

pub(crate) fn handle(context: &RequestContext, request: HeartbeatRequest) -> HeartbeatResponse {
    let error_code = code_of(beat(context, &request));
    HeartbeatResponse { error_code, ..Default::default() }
}

fn beat(context: &RequestContext, request: &HeartbeatRequest) -> Result<(), ErrorCode> {
    if !context.allows(Operation::Read, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let beat = Heartbeat {
        group_id: &request.group_id,
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    context.broker.groups().touch(beat.group_id, |shard, now| shard.heartbeat(now, &beat))?
}
