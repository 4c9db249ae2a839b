//! A fetch's answer: header bytes, and the records as ranges of files.

use millstream_log::FileRange;
use millstream_wire::Records;
use millstream_wire::messages::fetch::{
    AbortedTransaction, EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch,
    NodeEndpoint, PartitionData,
};

use crate::context::RequestContext;
use crate::dispatch::{self, Refusal};
use crate::fetch::{Found, PartitionFound, TopicKey};
use crate::replication::Leaders;
use crate::server::Outgoing;

/// From here on an answer names the leader where the client came to the wrong broker (KIP-951).
const FIRST_WITH_LEADER: i16 = 16;

/// Writes what was found.
pub(super) fn write(
    context: &RequestContext,
    session_id: i32,
    found: Found,
    out: &mut Outgoing,
) -> Result<(), Refusal> {
    let mut ranges = Vec::new();
    let mut leaders = Leaders::new(context);
    let mut topics: Vec<(TopicKey, FetchableTopicResponse)> = Vec::new();
    for (_, mut partition) in found.partitions {
        let range = partition.range.take();
        let mut data = partition_data(&partition, range.as_ref());
        if partition.error.is_error() && context.version >= FIRST_WITH_LEADER {
            let (topic, index) = (&partition.topic, partition.partition);
            if let Some(leader) = leaders.for_error(partition.error, topic, index) {
                let (leader_id, leader_epoch) = leader;
                data.current_leader = LeaderIdAndEpoch { leader_id, leader_epoch };
            }
        }
        ranges.extend(range);
        match topics.last_mut().filter(|(key, _)| *key == partition.topic) {
            Some((_, topic)) => topic.partitions.push(data),
            None => {
                let topic = topic_response(&partition.topic, data);
                topics.push((partition.topic, topic));
            }
        }
    }
    let node = |node: crate::replication::Endpoint| {
        let crate::replication::Endpoint { id, host, port, rack } = node;
        NodeEndpoint { node_id: id, host, port, rack }
    };
    let response = FetchResponse {
        session_id,
        responses: topics.into_iter().map(|(_, topic)| topic).collect(),
        node_endpoints: leaders.endpoints().into_iter().map(node).collect(),
        ..Default::default()
    };
    dispatch::answer_with_records(context, &response, ranges, out)
}

fn topic_response(key: &TopicKey, first: PartitionData) -> FetchableTopicResponse {
    let mut topic = FetchableTopicResponse { partitions: vec![first], ..Default::default() };
    match key {
        TopicKey::Id(id) => topic.topic_id = *id,
        TopicKey::Name(name) => topic.topic = name.into(),
    }
    topic
}

/// In the order of their markers, as readers of committed records expect them; null for others.
fn aborted(partition: &PartitionFound) -> Option<Vec<AbortedTransaction>> {
    let aborted = partition.aborted.as_ref()?.iter().map(|txn| AbortedTransaction {
        producer_id: txn.producer_id.get(),
        first_offset: txn.first_offset.get(),
    });
    Some(aborted.collect())
}

fn partition_data(partition: &PartitionFound, range: Option<&FileRange>) -> PartitionData {
    let (epoch, end_offset) =
        partition.diverging.map_or((-1, -1), |(epoch, end)| (epoch.get(), end.get()));
    PartitionData {
        partition_index: partition.partition.get(),
        error_code: partition.error.code(),
        high_watermark: partition.high_watermark.get(),
        last_stable_offset: partition.last_stable.get(),
        log_start_offset: partition.log_start.get(),
        diverging_epoch: EpochEndOffset { epoch, end_offset },
        aborted_transactions: aborted(partition),
        preferred_read_replica: partition.preferred.map_or(-1, millstream_base::NodeId::get),
        records: Some(
            range.map_or_else(Records::default, |range| Records::External { len: range.len }),
        ),
        ..Default::default()
    }
}
