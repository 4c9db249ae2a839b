//! FindCoordinator (key 10, v0-6): which broker coordinates a group or a transactional id. Version 4 and up ask for several at once.
//!
//! The first group of a cluster makes `__consumer_offsets` here, the first transactional id `__transaction_state`.

use millstream_base::{ErrorCode, PartitionIndex};
use millstream_wire::Str;
use millstream_wire::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::cluster_view::is_alive;
use crate::context::RequestContext;
use crate::coordinator::{ensure_offsets_topic, partition_of};
use crate::topic_rules::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use crate::transactions::ensure_transactions_topic;

/// From here on a request names several keys.
const FIRST_WITH_KEYS: i16 = 4;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// Why there is no coordinator for a key.
struct Refused(ErrorCode, Option<&'static str>);

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Self {
        Self(code, None)
    }
}

pub(crate) async fn handle(
    context: RequestContext,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let kind = request.key_type;
    if context.version < FIRST_WITH_KEYS {
        let found = find(&context, kind, request.key).await;
        return FindCoordinatorResponse {
            error_code: found.error_code,
            error_message: found.error_message,
            node_id: found.node_id,
            host: found.host,
            port: found.port,
            ..Default::default()
        };
    }
    let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
    for key in request.coordinator_keys {
        coordinators.push(find(&context, kind, key).await);
    }
    FindCoordinatorResponse { coordinators, ..Default::default() }
}

async fn find(context: &RequestContext, kind: i8, key: Str) -> Coordinator {
    let found = match kind {
        GROUP => find_group(context, &key).await,
        TRANSACTION => find_transactional(context, &key).await,
        SHARE => Err(Refused(ErrorCode::InvalidRequest, Some("share groups are not served yet"))),
        _ => Err(Refused(ErrorCode::InvalidRequest, Some("no such type of coordinator"))),
    };
    match found {
        Ok((node_id, host, port)) => Coordinator { key, node_id, host, port, ..Default::default() },
        Err(Refused(code, message)) => Coordinator {
            key,
            node_id: -1,
            port: -1,
            error_code: code.code(),
            error_message: message.map(Str::from_static),
            ..Default::default()
        },
    }
}

async fn find_group(context: &RequestContext, group_id: &str) -> Result<(i32, Str, i32), Refused> {
    if !context.allows(Operation::Describe, Resource::Group(group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed.into());
    }
    ensure_offsets_topic(&context.broker).await?;
    leader_of(context, OFFSETS_TOPIC, group_id)
}

async fn find_transactional(
    context: &RequestContext,
    transactional_id: &str,
) -> Result<(i32, Str, i32), Refused> {
    if !context.allows(Operation::Describe, Resource::TransactionalId(transactional_id)) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed.into());
    }
    ensure_transactions_topic(&context.broker).await?;
    leader_of(context, TRANSACTIONS_TOPIC, transactional_id)
}

/// Where a coordinator's topic holds a key.
fn leader_of(context: &RequestContext, topic: &str, key: &str) -> Result<(i32, Str, i32), Refused> {
    let image = context.broker.image();
    let missing = || Refused::from(ErrorCode::CoordinatorNotAvailable);
    let topic = image.topics.get(topic).ok_or_else(missing)?;
    let index = i32::try_from(partition_of(key, topic.partitions.len())).unwrap_or_default();
    let partition = topic.partition(PartitionIndex(index)).ok_or_else(missing)?;
    let leader = partition.leader.ok_or_else(missing)?;
    // A leader that is gone is replaced in a moment; until then there is none.
    let alive = Some(leader).filter(|leader| is_alive(&image, *leader)).ok_or_else(missing)?;
    let (host, port) = context.address_of(&image, alive).ok_or_else(missing)?;
    Ok((leader.get(), host, port))
}
