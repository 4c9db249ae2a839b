//! DescribeGroups (key 15, v0-6): state, members and assignments of classic groups.

use millstream_base::ErrorCode;
use millstream_groups::{DescribedGroup as Described, DescribedMember};
use millstream_wire::Str;
use millstream_wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::send_opt;

/// From here on an unknown group is an error; before, it is a dead group.
const FIRST_WITH_NOT_FOUND: i16 = 6;

/// From here on a group has a message.
const FIRST_WITH_MESSAGE: i16 = 6;

/// What AuthorizedOperations says when nobody asked.
const NOT_ASKED: i32 = i32::MIN;

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeGroupsRequest,
) -> DescribeGroupsResponse {
    let asks_operations = request.include_authorized_operations;
    let mut groups = Vec::with_capacity(request.groups.len());
    for group_id in request.groups {
        let mut group = describe(&context, group_id).await;
        if asks_operations && group.error_code == 0 {
            group.authorized_operations = Resource::Group(&group.group_id).all_operations();
        }
        groups.push(group);
    }
    DescribeGroupsResponse { groups, ..Default::default() }
}

async fn describe(context: &RequestContext, group_id: Str) -> DescribedGroup {
    if !context.allows(Operation::Describe, Resource::Group(&group_id)) {
        return refused(group_id, ErrorCode::GroupAuthorizationFailed, None);
    }
    let groups = context.broker.groups();
    let found = groups.read(&group_id, |shard| shard.describe_group(&group_id)).await;
    match found {
        Ok(Some(group)) => answer(context.version, group_id, group),
        Ok(None) if context.version >= FIRST_WITH_NOT_FOUND => {
            let message = format!("there is no classic group `{group_id}`");
            refused(group_id, ErrorCode::GroupIdNotFound, Some(message))
        }
        Ok(None) => DescribedGroup { group_state: "Dead".into(), ..empty(group_id) },
        // Without the topic there are no groups at all.
        Err(code) => refused(group_id, code, None),
    }
}

fn empty(group_id: Str) -> DescribedGroup {
    DescribedGroup { group_id, authorized_operations: NOT_ASKED, ..Default::default() }
}

fn refused(group_id: Str, error: ErrorCode, message: Option<String>) -> DescribedGroup {
    let state = if error == ErrorCode::GroupIdNotFound { "Dead" } else { "" };
    DescribedGroup {
        error_code: error.code(),
        error_message: message.map(Str::from),
        group_state: state.into(),
        ..empty(group_id)
    }
}

fn answer(version: i16, group_id: Str, group: Described) -> DescribedGroup {
    let member = |member: DescribedMember| DescribedGroupMember {
        member_id: (&member.member_id).into(),
        group_instance_id: send_opt(member.instance_id.as_ref()),
        client_id: (&member.client_id).into(),
        client_host: (&member.client_host).into(),
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    };
    let reason = group.rebalance_reason.filter(|_| version >= FIRST_WITH_MESSAGE);
    DescribedGroup {
        // Beside no error Kafka leaves this open and clients do not look; `millstream group describe` does.
        error_message: reason.as_ref().map(Str::from),
        group_state: group.state.into(),
        protocol_type: (&group.protocol_type).into(),
        protocol_data: group.protocol.as_ref().map(Str::from).unwrap_or_default(),
        members: group.members.into_iter().map(member).collect(),
        ..empty(group_id)
    }
}
