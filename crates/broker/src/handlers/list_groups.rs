//! ListGroups (key 16, v0-5): the groups that this broker coordinates, filtered by state and type.

use millstream_base::ErrorCode;
use millstream_wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: ListGroupsRequest,
) -> ListGroupsResponse {
    let states: Vec<&str> = request.states_filter.iter().map(|state| &**state).collect();
    let kinds: Vec<&str> = request.types_filter.iter().map(|kind| &**kind).collect();
    let sees_all = context.allows(Operation::Describe, Resource::Cluster);
    let mut error = ErrorCode::None;
    let mut groups = Vec::new();
    // All are looked at before the first is waited for.
    let shards = context.broker.groups().shards();
    let seen: Vec<_> =
        shards.iter().map(|shard| shard.read(|shard| shard.list_groups(&states, &kinds))).collect();
    for seen in seen {
        let listed = match seen {
            Ok(seen) => seen.committed().await,
            Err(code) => Err(code),
        };
        let listed = match listed {
            Ok(listed) => listed,
            // Groups of a partition that has just moved are listed by its new leader.
            Err(ErrorCode::NotCoordinator) => continue,
            Err(code) => {
                error = code;
                continue;
            }
        };
        for group in listed {
            let visible =
                sees_all || context.allows(Operation::Describe, Resource::Group(&group.group_id));
            if visible {
                groups.push(ListedGroup {
                    group_id: (&group.group_id).into(),
                    protocol_type: (&group.protocol_type).into(),
                    group_state: group.state.into(),
                    group_type: group.kind.name().into(),
                });
            }
        }
    }
    ListGroupsResponse { error_code: error.code(), groups, ..Default::default() }
}
