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
    let said =
        context.broker.groups().touch(beat.group_id, |shard, now| shard.heartbeat(now, &beat));
    told(said)
}

/// What a member is told. While its group is still being loaded nobody can say whether it belongs to it: it is told that all is
/// well, as Kafka does, and hears the truth from its next heartbeat. There are clients that end on the other code.
fn told(said: Result<Result<(), ErrorCode>, ErrorCode>) -> Result<(), ErrorCode> {
    match said {
        Err(ErrorCode::CoordinatorLoadInProgress) => Ok(()),
        said => said?,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_of_a_group_that_is_being_loaded_is_left_alone() {
        assert_eq!(told(Err(ErrorCode::CoordinatorLoadInProgress)), Ok(()));
        assert_eq!(told(Err(ErrorCode::NotCoordinator)), Err(ErrorCode::NotCoordinator));
        assert_eq!(told(Ok(Err(ErrorCode::UnknownMemberId))), Err(ErrorCode::UnknownMemberId));
        assert_eq!(told(Ok(Ok(()))), Ok(()));
    }
}
