//! ListOffsets (key 2, v1-11): the offset of a time, or of one of the special places in a log.

use std::sync::Arc;

use millstream_base::{ErrorCode, LeaderEpoch, Offset, TimestampMs};
use millstream_env::task;
use millstream_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::replica::{Isolation, Lookup, Partition};

/// The end of what the reader may see.
const LATEST: i64 = -1;
/// The log's start.
const EARLIEST: i64 = -2;
/// The record with the largest timestamp (KIP-734).
const MAX_TIMESTAMP: i64 = -3;
/// The start of what lies on this broker's disks (KIP-405).
const EARLIEST_LOCAL: i64 = -4;
/// The end of what lies in tiered storage (KIP-1005).
const LATEST_TIERED: i64 = -5;
/// The start of what waits to be tiered (KIP-1023).
const EARLIEST_PENDING_UPLOAD: i64 = -6;

/// The first version that knows each special timestamp.
const FIRST_VERSIONS: [(i64, i16); 6] = [
    (LATEST, 1),
    (EARLIEST, 1),
    (MAX_TIMESTAMP, 7),
    (EARLIEST_LOCAL, 8),
    (LATEST_TIERED, 9),
    (EARLIEST_PENDING_UPLOAD, 11),
];

pub(crate) async fn handle(
    context: RequestContext,
    request: ListOffsetsRequest,
) -> ListOffsetsResponse {
    let asker = match (request.replica_id, request.isolation_level) {
        (0.., _) => Asker::Replica,
        (_, 1) => Asker::Consumer(Isolation::ReadCommitted),
        _ => Asker::Consumer(Isolation::ReadUncommitted),
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let allowed = context.allows(Operation::Describe, Resource::Topic(&topic.name));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in topic.partitions {
            let index = asked.partition_index;
            let found = match allowed {
                true => find(&context, &topic.name, asked, asker).await,
                false => Err(ErrorCode::TopicAuthorizationFailed),
            };
            partitions.push(answer(index, found, context.version));
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ListOffsetsResponse { topics, ..Default::default() }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// Another broker: it may know where the log really ends.
    Replica,
    /// A client, and what it may see.
    Consumer(Isolation),
}

/// A place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    offset: Offset,
    timestamp: TimestampMs,
    epoch: LeaderEpoch,
}

impl Place {
    const NONE: Self =
        Self { offset: Offset::NONE, timestamp: TimestampMs::NONE, epoch: LeaderEpoch::NONE };
}

/// From here on an answer says the leader epoch of what it found.
const FIRST_WITH_EPOCH: i16 = 4;

fn answer(
    index: i32,
    found: Result<Place, ErrorCode>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let error = found.err().unwrap_or(ErrorCode::None);
    let place = found.unwrap_or(Place::NONE);
    ListOffsetsPartitionResponse {
        partition_index: index,
        error_code: error.code(),
        timestamp: place.timestamp.get(),
        offset: place.offset.get(),
        leader_epoch: if version >= FIRST_WITH_EPOCH { place.epoch.get() } else { -1 },
    }
}

async fn find(
    context: &RequestContext,
    topic: &str,
    asked: ListOffsetsPartition,
    asker: Asker,
) -> Result<Place, ErrorCode> {
    let partition = match context.broker.replicas().by_name(topic, asked.partition_index.into()) {
        Lookup::Here(partition) => partition,
        Lookup::Refused(code) => return Err(code),
    };
    let believed = LeaderEpoch(asked.current_leader_epoch);
    partition.check_leader(believed).map_err(|refused| refused.code())?;
    let first = FIRST_VERSIONS.iter().find(|(special, _)| *special == asked.timestamp);
    if first.map_or(asked.timestamp < 0, |(_, version)| context.version < *version) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    match asked.timestamp {
        LATEST => latest(&partition, asker, context.version),
        EARLIEST | EARLIEST_LOCAL => Ok(earliest(&partition)),
        // Nothing is tiered.
        LATEST_TIERED | EARLIEST_PENDING_UPLOAD => Ok(Place::NONE),
        timestamp => search(partition, timestamp, asker).await,
    }
}

/// From here on clients know the code for "not known yet".
const FIRST_WITH_NOT_AVAILABLE: i16 = 5;

/// A new leader must not name an end that lies before what its predecessor has acknowledged (KIP-207).
fn latest(partition: &Partition, asker: Asker, version: i16) -> Result<Place, ErrorCode> {
    let isolation = match asker {
        Asker::Consumer(isolation) => isolation,
        Asker::Replica => {
            let offset = partition.with_log(|log| log.end_offset());
            return Ok(Place { offset, epoch: partition.leadership().epoch, ..Place::NONE });
        }
    };
    match partition.known_end(isolation) {
        Some((offset, epoch)) => Ok(Place { offset, epoch, ..Place::NONE }),
        None if version >= FIRST_WITH_NOT_AVAILABLE => Err(ErrorCode::OffsetNotAvailable),
        None => Err(ErrorCode::LeaderNotAvailable),
    }
}

fn earliest(partition: &Partition) -> Place {
    partition.with_log(|log| {
        let offset = log.log_start_offset();
        let epoch = log.epochs().epoch_of(offset).unwrap_or(LeaderEpoch::NONE);
        Place { offset, epoch, ..Place::NONE }
    })
}

/// The first record at or after a time; read from disk on a thread that may wait for it.
async fn search(
    partition: Arc<Partition>,
    timestamp: i64,
    asker: Asker,
) -> Result<Place, ErrorCode> {
    let visible = match asker {
        Asker::Consumer(isolation) => partition.visible_end(isolation),
        Asker::Replica => partition.with_log(|log| log.end_offset()),
    };
    // The lock is not held while the disk is waited for.
    let plan = partition.with_log(|log| log.plan_time_search()).map_err(|error| error.code())?;
    let search = move || {
        let found = match timestamp {
            MAX_TIMESTAMP => plan.max_timestamp_offset(),
            _ => plan.offset_for_timestamp(TimestampMs(timestamp)),
        };
        found.map_err(|error| error.code())
    };
    let found = task::spawn_blocking(search).await.map_err(|_| ErrorCode::UnknownServerError)??;
    Ok(match found {
        Some(found) if found.offset < visible => {
            Place { offset: found.offset, timestamp: found.timestamp, epoch: found.leader_epoch }
        }
        _ => Place::NONE,
    })
}
