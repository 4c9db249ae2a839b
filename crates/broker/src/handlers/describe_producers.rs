//! DescribeProducers (key 61, v0): what a partition remembers of its producers, and whose transaction is open (KIP-664).

use millstream_base::{ErrorCode, Offset, ProducerId};
use millstream_wire::messages::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState,
    TopicResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::replica::Lookup;

pub(crate) fn handle(
    context: &RequestContext,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let allowed = context.allows(Operation::Read, Resource::Topic(&topic.name));
        let describe = |index: i32| match allowed {
            true => producers(context, &topic.name, index),
            false => Err(ErrorCode::TopicAuthorizationFailed),
        };
        let partitions = topic.partition_indexes.iter().map(|index| {
            let found = describe(*index);
            PartitionResponse {
                partition_index: *index,
                error_code: found.as_ref().err().map_or(0, |code| code.code()),
                active_producers: found.unwrap_or_default(),
                ..Default::default()
            }
        });
        TopicResponse { partitions: partitions.collect(), name: topic.name.clone() }
    });
    DescribeProducersResponse { topics: topics.collect(), ..Default::default() }
}

fn producers(
    context: &RequestContext,
    topic: &str,
    index: i32,
) -> Result<Vec<ProducerState>, ErrorCode> {
    let partition = match context.broker.replicas().by_name(topic, index.into()) {
        Lookup::Here(partition) => partition,
        Lookup::Refused(code) => return Err(code),
    };
    let describe =
        |(id, state): (ProducerId, &millstream_partition::ProducerState)| ProducerState {
            producer_id: id.get(),
            producer_epoch: state.epoch.get().into(),
            last_sequence: state.last_sequence(),
            last_timestamp: state.timestamp.get(),
            coordinator_epoch: state.coordinator_epoch,
            current_txn_start_offset: state.txn_first_offset.unwrap_or(Offset::NONE).get(),
        };
    Ok(partition.with_log(|log| log.producers().iter().map(describe).collect()))
}
