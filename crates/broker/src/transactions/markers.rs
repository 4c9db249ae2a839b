//! Writing one transaction marker into one partition.
//!
//! Key entry: [`write_marker`], for the coordinator on this broker and for WriteTxnMarkers from another. A marker for a
//! partition of `__consumer_offsets` goes through the group's shard, so that the offsets of the transaction count at the same
//! moment. A marker that is there already is not written again, but waited for: whoever wrote it may have given up before
//! it was committed.

use millstream_base::{ErrorCode, PartitionIndex, TimestampMs};

use crate::coordinator::GroupCoordinator;
use crate::replica::{Durable, Lookup, Replicas, TxnMarker};
use crate::state_log::Commit;
use crate::topic_rules::OFFSETS_TOPIC;

/// A marker that is in the log.
#[derive(Debug)]
pub(crate) enum Marked {
    /// In a partition of records; `None` when it will stay.
    Records(Option<Durable>),
    /// In a partition of offsets.
    Offsets(Commit),
}

impl Marked {
    /// Waits until the marker will stay.
    pub(crate) async fn durable(self) -> Result<(), ErrorCode> {
        match self {
            Self::Records(None) => Ok(()),
            Self::Records(Some(durable)) => match durable.await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(failure)) => Err(failure.code()),
                Err(_) => Err(ErrorCode::NotLeaderOrFollower),
            },
            Self::Offsets(commit) => commit.done().await,
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
    if topic == OFFSETS_TOPIC {
        return groups.end_transaction(partition, marker).map(Marked::Offsets);
    }
    let replica = match replicas.by_name(topic, partition) {
        Lookup::Here(replica) => replica,
        Lookup::Refused(code) => return Err(code),
    };
    let appended = replica.append_marker(marker, now).map_err(|cause| cause.code())?;
    let durable = match appended {
        Some(appended) => appended.durable,
        None => replica.when_committed(replica.with_log(|log| log.end_offset())),
    };
    Ok(Marked::Records(durable))
}
