//! WriteTxnMarkers (key 27, v1-2): a transaction coordinator ends transactions in partitions that this broker leads. Tools use
//! it too, to abort a transaction that no coordinator knows any more.

use millstream_base::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId};
use millstream_wire::Str;
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
    // All are written before the first is waited for.
    let written: Vec<_> =
        request.markers.into_iter().map(|asked| write(&context, asked, allowed)).collect();
    let mut markers = Vec::with_capacity(written.len());
    for (producer_id, topics) in written {
        let mut results = Vec::with_capacity(topics.len());
        for (name, partitions) in topics {
            results.push(WritableTxnMarkerTopicResult { name, partitions: stay(partitions).await });
        }
        markers.push(WritableTxnMarkerResult { producer_id, topics: results });
    }
    WriteTxnMarkersResponse { markers }
}

/// Partitions, and what became of the marker in each.
type Written = Vec<(i32, Result<Marked, ErrorCode>)>;

fn write(
    context: &RequestContext,
    asked: WritableTxnMarker,
    allowed: bool,
) -> (i64, Vec<(Str, Written)>) {
    let marker = TxnMarker {
        producer_id: ProducerId(asked.producer_id),
        epoch: ProducerEpoch(asked.producer_epoch),
        coordinator_epoch: asked.coordinator_epoch,
        commit: asked.transaction_result,
        version: i16::from(asked.transaction_version),
    };
    let topics = asked.topics.into_iter().map(|topic| {
        let write_one = |index: i32| match allowed {
            true => (index, write_to(context, &topic.name, index, &marker)),
            false => (index, Err(ErrorCode::ClusterAuthorizationFailed)),
        };
        let partitions = topic.partition_indexes.into_iter().map(write_one).collect();
        (topic.name, partitions)
    });
    (asked.producer_id, topics.collect())
}

async fn stay(written: Written) -> Vec<WritableTxnMarkerPartitionResult> {
    let mut partitions = Vec::with_capacity(written.len());
    for (partition_index, marked) in written {
        let outcome = match marked {
            Ok(marked) => marked.durable().await,
            Err(code) => Err(code),
        };
        let error_code = outcome.err().unwrap_or(ErrorCode::None).code();
        partitions.push(WritableTxnMarkerPartitionResult { partition_index, error_code });
    }
    partitions
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
