//! The group coordinator's host: finds the shard of a group, writes its records, keeps its time.
//!
//! Key types: [`GroupCoordinator`] (one a broker), [`HostedShard`] (one for each `__consumer_offsets` partition that this
//! broker leads). All decisions are made in the `groups` crate; here are the lock, the log, the clock and the parked
//! requests. A reply leaves when the records behind it are committed. One task drives the timers of all shards, and a
//! heartbeat takes one short lock and nothing else.

pub(crate) mod commits;
pub(crate) mod convert;
mod follow;
mod host;
mod load;
mod shard;
#[cfg(test)]
mod tests;
mod topic;
mod topics;

use std::sync::Arc;

use millstream_metadata::ClusterImage;

pub(crate) use follow::FollowMetadata;
pub(crate) use host::GroupCoordinator;
pub(crate) use shard::{InTransaction, Written};
pub(crate) use topic::{NewInternalTopic, ensure_internal_topic, ensure_offsets_topic};

use crate::topic_rules::OFFSETS_TOPIC;

/// The partition of `__consumer_offsets` that holds a group: Java's `String.hashCode` of its id, as Kafka does it, so
/// that a log directory taken over from Kafka is read where it was written.
pub(crate) fn partition_of(group_id: &str, partitions: usize) -> usize {
    let mut hash: i32 = 0;
    for unit in group_id.encode_utf16() {
        hash = hash.wrapping_mul(31).wrapping_add(i32::from(unit));
    }
    // Java's absolute value of the least integer is itself; Kafka maps it to 0.
    let positive = usize::try_from(hash.checked_abs().unwrap_or(0)).unwrap_or(0);
    positive.checked_rem(partitions).unwrap_or(0)
}

/// The partition of `__consumer_offsets` that holds a group; `None` while the topic does not exist.
pub(crate) fn offsets_partition(image: &ClusterImage, group_id: &str) -> Option<(Arc<str>, i32)> {
    let topic = image.topics.get(OFFSETS_TOPIC)?;
    let index = i32::try_from(partition_of(group_id, topic.partitions.len())).ok()?;
    Some((Arc::clone(&topic.name), index))
}
