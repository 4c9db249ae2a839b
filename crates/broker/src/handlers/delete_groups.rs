//! DeleteGroups (key 42, v0-3): groups without members go, with their offsets.

use millstream_base::ErrorCode;
use millstream_wire::Str;
use millstream_wire::messages::delete_groups::{
    DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::own;

pub(crate) async fn handle(
    context: RequestContext,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let error = delete(&context, &group_id).await.unwrap_or_else(|error| error);
        results.push(DeletableGroupResult {
            error_message: message(error, &group_id),
            error_code: error.code(),
            group_id,
        });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}

async fn delete(context: &RequestContext, group_id: &Str) -> Result<ErrorCode, ErrorCode> {
    if !context.allows(Operation::Delete, Resource::Group(group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let group_id = own(group_id);
    let groups = context.broker.groups();
    let written = groups.decide_in_parts(&group_id, |shard| shard.delete_group(&group_id))?;
    written.committed().await
}

fn message(error: ErrorCode, group_id: &str) -> Option<Str> {
    match error {
        ErrorCode::NonEmptyGroup => {
            Some(format!("group `{group_id}` has members: stop them first").into())
        }
        ErrorCode::GroupIdNotFound => Some(format!("there is no group `{group_id}`").into()),
        _ => None,
    }
}
