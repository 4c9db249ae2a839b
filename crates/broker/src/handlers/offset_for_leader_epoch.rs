//! OffsetForLeaderEpoch (key 23, v2-4): where a leader epoch ended, so that a reader notices a truncated log (KIP-320).

use millstream_base::{ErrorCode, LeaderEpoch};
use millstream_wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition, OffsetForLeaderTopicResult,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::replica::Lookup;

pub(crate) fn handle(
    context: &RequestContext,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let allowed = context.allows(Operation::Describe, Resource::Topic(&topic.topic));
        let partitions = topic.partitions.iter().map(|asked| {
            let found = match allowed {
                true => find(context, &topic.topic, asked),
                false => Err(ErrorCode::TopicAuthorizationFailed),
            };
            answer(asked.partition, found)
        });
        let partitions = partitions.collect();
        OffsetForLeaderTopicResult { topic: topic.topic, partitions }
    });
    OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() }
}

fn find(
    context: &RequestContext,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<(i32, i64), ErrorCode> {
    let partition = match context.broker.replicas().by_name(topic, asked.partition.into()) {
        Lookup::Here(partition) => partition,
        Lookup::Refused(code) => return Err(code),
    };
    let believed = LeaderEpoch(asked.current_leader_epoch);
    partition.check_leader(believed).map_err(|refused| refused.code())?;
    let epoch = LeaderEpoch(asked.leader_epoch);
    let end = partition.with_log(|log| log.epoch_end_offset(epoch));
    Ok(end.map_or((-1, -1), |(epoch, end)| (epoch.get(), end.get())))
}

fn answer(partition: i32, found: Result<(i32, i64), ErrorCode>) -> EpochEndOffset {
    let error = found.err().unwrap_or(ErrorCode::None);
    let (leader_epoch, end_offset) = found.unwrap_or((-1, -1));
    EpochEndOffset { error_code: error.code(), partition, leader_epoch, end_offset }
}
