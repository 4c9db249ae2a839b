//! WriteTxnMarkers (key 27, v1-2): a transaction coordinator ends transactions in partitions that this broker leads. Tools use
//! it too, to abort a transaction that no coordinator knows any more.

use millstream_base::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId};
use millstream_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerPartitionResult, WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult, WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::replica::TxnMarker;
use crate::transactions::{Marked, write_marker};

pub(crate) async fn handle(
    context: RequestContext,
    request: WriteTxnMarkersRequest,
) -> WriteTxnMarkersResponse {
    let allowed = context.allows(Operation::ClusterAction, Resource::Cluster)
        || context.allows(Operation::Alter, Resource::Cluster);
    let mut results = Vec::with_capacity(request.markers.len());
    for marker in request.markers {
        results.push(write(&context, marker, allowed).await);
    }
    WriteTxnMarkersResponse { markers: results }
}

async fn write(
    context: &RequestContext,
    asked: WritableTxnMarker,
    allowed: bool,
) -> WritableTxnMarkerResult {
    let marker = TxnMarker {
        producer_id: ProducerId(asked.producer_id),
        epoch: ProducerEpoch(asked.producer_epoch),
        coordinator_epoch: asked.coordinator_epoch,
        commit: asked.transaction_result,
        version: i16::from(asked.transaction_version),
    };
    let mut topics = Vec::with_capacity(asked.topics.len());
    for topic in asked.topics {
        let write_one = |index: &i32| match allowed {
            true => write_to(context, &topic.name, *index, &marker),
            false => Err(ErrorCode::ClusterAuthorizationFailed),
        };
        // All are written before the first is waited for.
        let written: Vec<_> = topic.partition_indexes.iter().map(write_one).collect();
        let mut partitions = Vec::with_capacity(written.len());
        for (partition_index, marked) in topic.partition_indexes.into_iter().zip(written) {
            let outcome = match marked {
                Ok(marked) => marked.durable().await,
                Err(code) => Err(code),
            };
            let error_code = outcome.err().unwrap_or(ErrorCode::None).code();
            partitions.push(WritableTxnMarkerPartitionResult { partition_index, error_code });
        }
        topics.push(WritableTxnMarkerTopicResult { name: topic.name, partitions });
    }
    WritableTxnMarkerResult { producer_id: asked.producer_id, topics }
}

fn write_to(
    context: &RequestContext,
    topic: &str,
    index: i32,
    marker: &TxnMarker,
) -> Result<Marked, ErrorCode> {
    if marker.producer_id.get() < 0 || marker.epoch.get() < 0 {
        return Err(ErrorCode::InvalidRequest);
    }
    let broker = &context.broker;
    let now = broker.clock().now_ms();
    write_marker(broker.replicas(), broker.groups(), topic, PartitionIndex(index), marker, now)
}
