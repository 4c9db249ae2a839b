//! Writing one transaction marker into one partition.
//!
//! Key entry: [`write_marker`], for the coordinator on this broker and for WriteTxnMarkers from another. A marker for a
//! partition of `__consumer_offsets` goes through the group's shard, so that the offsets of the transaction count at the same
//! moment.

use millstream_base::{ErrorCode, PartitionIndex};

use crate::coordinator::GroupCoordinator;
use crate::replica::{Durable, Lookup, Replicas, TxnMarker};
use crate::topic_rules::OFFSETS_TOPIC;
use millstream_base::TimestampMs;

/// A marker that is in the log.
#[derive(Debug)]
pub(crate) struct Marked {
    /// Completes when the marker is as durable as the topic asks; `None` when it is already.
    durable: Option<Durable>,
}

impl Marked {
    /// Waits until the marker will stay.
    pub(crate) async fn durable(self) -> Result<(), ErrorCode> {
        let Some(durable) = self.durable else { return Ok(()) };
        match durable.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(failure)) => Err(failure.code()),
            Err(_) => Err(ErrorCode::NotLeaderOrFollower),
        }
    }
}

/// Writes a marker into a partition that this broker leads.
pub(crate) fn write_marker(
    replicas: &Replicas,
    groups: &GroupCoordinator,
    topic: &str,
    partition: PartitionIndex,
    marker: &TxnMarker,
    now: TimestampMs,
) -> Result<Marked, ErrorCode> {
    let appended = if topic == OFFSETS_TOPIC {
        groups.end_transaction(partition, marker)?
    } else {
        match replicas.by_name(topic, partition) {
            Lookup::Here(replica) => {
                replica.append_marker(marker, now).map_err(|cause| cause.code())?
            }
            Lookup::Refused(code) => return Err(code),
        }
    };
    Ok(Marked { durable: appended.and_then(|appended| appended.durable) })
}
