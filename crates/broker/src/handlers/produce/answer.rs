//! The answer to a produce: when it leaves, and whom it names as the leader.

use millstream_base::{ErrorCode, Offset, PartitionIndex};
use millstream_env::task;
use millstream_wire::messages::produce::{
    LeaderIdAndEpoch, NodeEndpoint, ProduceResponse, TopicProduceResponse,
};
use std::time::Duration;

use super::{ALL, Part, Terms};
use crate::context::RequestContext;
use crate::fetch::TopicKey;
use crate::replication::{Endpoint, Leaders};

/// From here on an answer names the leader where the client came to the wrong broker (KIP-951).
const FIRST_WITH_LEADER: i16 = 10;
/// Topics are named by id from here on.
const FIRST_BY_ID: i16 = 13;

/// Waits until every part is as safe as was asked, for replicas that lag at most as long as the request allows. An fsync of our own is waited for to
/// its end: giving up on it would tell a producer that records failed which are stored.
pub(super) async fn wait_durable(mut parts: Vec<Part>, terms: Terms) -> Vec<Part> {
    let ms = u64::try_from(terms.timeout_ms).unwrap_or_default();
    let deadline = task::Instant::now() + Duration::from_millis(ms);
    for part in &mut parts {
        let Some(durable) = part.durable.take() else { continue };
        let outcome = if terms.acks == ALL && part.waits_for_others {
            let left = deadline.saturating_duration_since(task::Instant::now());
            task::timeout(left, durable).await
        } else {
            Ok(durable.await)
        };
        let code = match outcome {
            Ok(Ok(Ok(()))) => continue,
            Ok(Ok(Err(failure))) => failure.code(),
            // The partition was deleted meanwhile.
            Ok(Err(_)) => ErrorCode::UnknownTopicOrPartition,
            Err(_) => ErrorCode::RequestTimedOut,
        };
        part.response.error_code = code.code();
        part.response.base_offset = Offset::NONE.get();
    }
    parts
}

/// The answer as a whole.
pub(super) fn response(
    context: &RequestContext,
    parts: Vec<Part>,
    mut topics: Vec<TopicProduceResponse>,
) -> ProduceResponse {
    let mut leaders = Leaders::new(context);
    for mut part in parts {
        let Some(topic) = topics.get_mut(part.topic_entry as usize) else { continue };
        if part.response.error_code != 0 && context.version >= FIRST_WITH_LEADER {
            name_leader(context, &mut leaders, topic, &mut part);
        }
        topic.partition_responses.push(part.response);
    }
    let node = |endpoint: Endpoint| {
        let Endpoint { id, host, port, rack } = endpoint;
        NodeEndpoint { node_id: id, host, port, rack }
    };
    ProduceResponse {
        responses: topics,
        node_endpoints: leaders.endpoints().into_iter().map(node).collect(),
        ..Default::default()
    }
}

fn name_leader(
    context: &RequestContext,
    leaders: &mut Leaders<'_>,
    topic: &TopicProduceResponse,
    part: &mut Part,
) {
    let error = ErrorCode::from_code(part.response.error_code).unwrap_or(ErrorCode::None);
    let key = match context.version >= FIRST_BY_ID {
        true => TopicKey::Id(topic.topic_id),
        false => TopicKey::Name((&topic.name).into()),
    };
    let index = PartitionIndex(part.response.index);
    if let Some((leader_id, leader_epoch)) = leaders.for_error(error, &key, index) {
        part.response.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
    }
}
