//! JoinGroup (key 11, v0-9): a member enters its group's next generation. The answer waits for the others.

use millstream_base::ErrorCode;
use millstream_groups::{JoinGroup, JoinMember, JoinResponse, Protocol};
use millstream_wire::Str;
use millstream_wire::messages::join_group::{
    JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::{client_info, own, own_opt, send_opt};

pub(crate) async fn handle(
    context: RequestContext,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let version = context.version;
    let member_id = request.member_id.detach();
    let joined = if context.allows(Operation::Read, Resource::Group(&request.group_id)) {
        let request = ask(&context, request);
        context.broker.groups().join(request).await
    } else {
        Err(ErrorCode::GroupAuthorizationFailed)
    };
    match joined {
        Ok(joined) => answer(joined, version),
        Err(error) => refused(error, member_id, version),
    }
}

fn ask(context: &RequestContext, request: JoinGroupRequest) -> JoinGroup {
    let version = context.version;
    // Version 0 has one time-out for both.
    let rebalance_timeout_ms = match version {
        0 => request.session_timeout_ms,
        _ => request.rebalance_timeout_ms,
    };
    let protocols = request.protocols.into_iter();
    JoinGroup {
        group_id: own(&request.group_id),
        member_id: own(&request.member_id),
        instance_id: own_opt(request.group_instance_id.as_ref()),
        client: client_info(context),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: own(&request.protocol_type),
        protocols: protocols
            .map(|protocol| Protocol { name: own(&protocol.name), metadata: protocol.metadata })
            .collect(),
        reason: own_opt(request.reason.as_ref()),
        requires_known_member_id: version >= 4,
        supports_skip_assignment: version >= 9,
        random: context.broker.groups().random(),
    }
}

fn answer(joined: JoinResponse, version: i16) -> JoinGroupResponse {
    let member = |member: JoinMember| JoinGroupResponseMember {
        member_id: (&member.member_id).into(),
        group_instance_id: send_opt(member.instance_id.as_ref()),
        metadata: member.metadata,
    };
    JoinGroupResponse {
        error_code: joined.error.code(),
        generation_id: joined.generation,
        protocol_type: send_opt(joined.protocol_type.as_ref()),
        protocol_name: protocol_name(send_opt(joined.protocol_name.as_ref()), version),
        leader: (&joined.leader).into(),
        skip_assignment: joined.skip_assignment,
        member_id: (&joined.member_id).into(),
        members: joined.members.into_iter().map(member).collect(),
        ..Default::default()
    }
}

fn refused(error: ErrorCode, member_id: Str, version: i16) -> JoinGroupResponse {
    JoinGroupResponse {
        error_code: error.code(),
        generation_id: -1,
        protocol_name: protocol_name(None, version),
        member_id,
        ..Default::default()
    }
}

/// Before version 7 no protocol is an empty string.
fn protocol_name(name: Option<Str>, version: i16) -> Option<Str> {
    if version < 7 { Some(name.unwrap_or_default()) } else { name }
}
