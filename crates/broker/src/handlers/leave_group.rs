//! LeaveGroup (key 13, v0-5): members leave, one before version 3, any number after.

use millstream_base::ErrorCode;
use millstream_groups::{LeaveGroup, LeavingMember};
use millstream_wire::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::{own, own_opt};

/// From here on a request names several members, and each has its own code.
const FIRST_WITH_MEMBERS: i16 = 3;

pub(crate) async fn handle(
    context: RequestContext,
    request: LeaveGroupRequest,
) -> LeaveGroupResponse {
    match leave(&context, &request).await {
        Err(error) => refused(error),
        Ok(codes) if context.version < FIRST_WITH_MEMBERS => {
            refused(codes.first().copied().unwrap_or(ErrorCode::None))
        }
        Ok(codes) => {
            let member = |(member, code): (&MemberIdentity, ErrorCode)| MemberResponse {
                member_id: member.member_id.clone(),
                group_instance_id: member.group_instance_id.clone(),
                error_code: code.code(),
            };
            let members = request.members.iter().zip(codes).map(member).collect();
            LeaveGroupResponse { members, ..Default::default() }
        }
    }
}

async fn leave(
    context: &RequestContext,
    request: &LeaveGroupRequest,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    if !context.allows(Operation::Read, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let members = if context.version < FIRST_WITH_MEMBERS {
        let member_id = own(&request.member_id);
        vec![LeavingMember { member_id, instance_id: None, reason: None }]
    } else {
        let member = |member: &MemberIdentity| LeavingMember {
            member_id: own(&member.member_id),
            instance_id: own_opt(member.group_instance_id.as_ref()),
            reason: own_opt(member.reason.as_ref()),
        };
        request.members.iter().map(member).collect()
    };
    let asked = LeaveGroup { group_id: own(&request.group_id), members };
    let groups = context.broker.groups();
    let written = groups.decide(&asked.group_id, |shard, now| shard.leave_group(now, &asked))?;
    written.committed().await?
}

fn refused(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: error.code(), ..Default::default() }
}
