//! The controller's decisions: an image and a command in, records and a reply out.
//!
//! Key types: [`Decision`], [`Refusal`]; one file per command. A decision changes nothing: only its records do,
//! once they are committed and replayed. What a decision needs beside the image (ids, seeds, the time, the next
//! offset) comes in with the command, so that the same input always gives the same records.

mod alter_configs;
mod alter_partition;
mod brokers;
mod change;
#[cfg(test)]
mod cluster_tests;
mod controllers;
mod create_partitions;
mod create_topics;
mod delete_topics;
mod directories;
mod elect_leaders;
mod elr;
mod features;
mod heartbeat;
mod producer_ids;
#[cfg(test)]
mod property_tests;
mod reassign;
mod register;
mod rules;
#[cfg(test)]
mod scale_tests;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use millstream_base::{ErrorCode, NodeId, Uuid};

pub use alter_configs::{AlterConfigs, Alteration, ConfigEdit};
pub use alter_partition::{AlterPartition, AlteredPartition, AlteredState};
pub use brokers::{BrokerChange, change_broker, unregister_broker};
pub use controllers::{RegisterController, register_controller, unregister_controller};
pub use create_partitions::{CreatePartitions, MorePartitions};
pub use create_topics::{CreateTopics, CreatedTopic, NewTopic};
pub use delete_topics::{DeleteTopics, DeletedTopic, TopicRef};
pub use directories::{
    Assigned, assign_directories, assign_replicas, fail_directories, is_reserved_directory,
    lead_anew,
};
pub use elect_leaders::{ElectLeaders, ElectionKind, balance_leaders};
pub use elr::agree_on_min_insync;
pub use features::{FeatureUpdate, UpdateFeatures, UpgradeType, bootstrap_features};
pub use heartbeat::{Heartbeat, HeartbeatReply};
pub use producer_ids::{PRODUCER_ID_BLOCK_LEN, ProducerIdBlock, allocate_producer_ids};
pub use reassign::{AlterReassignments, Ongoing, Reassignment, list_reassignments};
pub use register::{RegisterBroker, Registered, register_broker};
pub use rules::ElectionDefaults;
pub use settle::{MAX_CHANGES_PER_BATCH, Settled, leads_any, settle};

use crate::image::{ClusterImage, Partition};
use crate::placement::Candidate;
use crate::record::MetadataRecord;

/// The most partitions that one request may add: all of them become one atomic batch of records.
pub const MAX_PARTITIONS_PER_REQUEST: usize = 10_000;

/// What is to be written, and what is to be answered once it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<R> {
    /// The records, to be committed as one atomic batch. Empty when nothing changes.
    pub records: Vec<MetadataRecord>,
    /// The answer.
    pub reply: R,
}

impl<R> Decision<R> {
    /// Nothing to write.
    pub const fn reply(reply: R) -> Self {
        Self { records: Vec::new(), reply }
    }
}

/// Why a command, or one item of it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// Kafka's code.
    pub code: ErrorCode,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The brokers on which replicas may be placed: those that take new ones (KIP-1066).
fn candidates(image: &ClusterImage) -> Vec<Candidate> {
    let candidate = |b: &std::sync::Arc<crate::image::BrokerRegistration>| Candidate {
        id: b.id,
        rack: b.rack.clone(),
        fenced: !b.is_active(),
    };
    let takes_some = |b: &&std::sync::Arc<crate::image::BrokerRegistration>| {
        let cordoned = b.cordoned_log_dirs.as_deref().unwrap_or_default();
        b.log_dirs.is_empty() || b.log_dirs.iter().any(|dir| !cordoned.contains(dir))
    };
    image.brokers.values().filter(takes_some).map(candidate).collect()
}

/// Checks a manual assignment of one partition's replicas against the brokers there are and against the
/// replication factor of the partitions before it.
fn check_assignment(
    image: &ClusterImage,
    replicas: &[NodeId],
    expected_len: Option<usize>,
) -> Result<(), Refusal> {
    let refuse = |message| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    if replicas.is_empty() {
        return refuse("a manual assignment has a partition without replicas".to_owned());
    }
    for (at, id) in replicas.iter().enumerate() {
        if image.broker(*id).is_none() {
            return refuse(format!(
                "a manual assignment names broker {id}, which is not registered"
            ));
        }
        if replicas.iter().take(at).any(|earlier| earlier == id) {
            return refuse(format!(
                "a manual assignment names broker {id} twice for one partition"
            ));
        }
    }
    match expected_len {
        Some(expected) if expected != replicas.len() => refuse(format!(
            "a manual assignment gives a partition {} replicas where others have {expected}",
            replicas.len()
        )),
        _ => Ok(()),
    }
}

/// A new partition on those brokers: all that are active are in sync, the first of them leads. `None` when none
/// of them is active.
fn new_partition(image: &ClusterImage, replicas: Vec<NodeId>) -> Option<Partition> {
    let isr: Vec<NodeId> = replicas.iter().copied().filter(|id| image.is_active(*id)).collect();
    let leader = isr.first().copied()?;
    Some(Partition {
        directories: replicas.iter().map(|id| default_directory(image, *id)).collect(),
        replicas,
        isr,
        leader: Some(leader),
        leader_epoch: millstream_base::LeaderEpoch(0),
        ..Partition::default()
    })
}

/// A broker with one log directory can only put a replica there.
fn default_directory(image: &ClusterImage, id: NodeId) -> Uuid {
    match image.broker(id).map(|broker| broker.log_dirs.as_slice()) {
        Some([only]) => *only,
        _ => Uuid::ZERO,
    }
}

/// How often each key occurs, to find those that a request names twice.
fn count<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_insert(0) += 1;
    }
    counts
}
