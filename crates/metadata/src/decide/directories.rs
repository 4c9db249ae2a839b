//! AssignReplicasToDirs (API key 73) and the failure of log directories (KIP-858): which directory of a broker has a
//! replica, and who leads when that directory is gone.
//!
//! Kafka reserves a few ids: a replica that is assigned to one of them lies in a directory that nobody has named yet.

use millstream_base::{NodeId, PartitionIndex, Uuid};
use millstream_wire::stored::{BrokerRegistrationChangeRecord, PartitionChangeRecord};

use super::Decision;
use super::brokers::after;
use super::rules::ElectionDefaults;
use super::settle::{MAX_CHANGES_PER_BATCH, Presence, Settled, all, settle_with};
use crate::image::{ClusterImage, Partition, Topic};
use crate::record::MetadataRecord;

/// Kafka's id for a directory that was lost; named where a broker has no directory left, since an empty list says
/// nothing.
const LOST: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// Ids below this one are reserved.
const RESERVED: u128 = 100;

/// Whether an id stands for no directory of its own: not assigned, lost, or not named by an older release.
pub fn is_reserved_directory(id: Uuid) -> bool {
    u128::from_be_bytes(id.0) < RESERVED
}

impl ClusterImage {
    /// Whether the directory in which `broker` keeps this partition's replica is in service, as far as is known.
    pub fn is_directory_online(&self, broker: NodeId, partition: &Partition) -> bool {
        let Some(id) = partition.directory_of(broker) else { return true };
        let Some(registration) = self.broker(broker) else { return false };
        is_reserved_directory(id)
            || registration.log_dirs.is_empty()
            || registration.log_dirs.contains(&id)
    }
}

/// Notes where replicas of `broker` lie: topic, partition, directory. What is not its own, or is noted so already, is
/// passed over.
pub fn assign_directories(
    image: &ClusterImage,
    broker: NodeId,
    assignments: &[(Uuid, PartitionIndex, Uuid)],
) -> Decision<()> {
    let record = |(topic_id, index, directory): &(Uuid, PartitionIndex, Uuid)| {
        let partition = image.topics.get_by_id(*topic_id)?.partition(*index)?;
        let at = partition.replicas.iter().position(|id| *id == broker)?;
        let mut directories = partition.directories.clone();
        directories.resize(partition.replicas.len(), Uuid::ZERO);
        let place = directories.get_mut(at).filter(|known| **known != *directory)?;
        *place = *directory;
        Some(MetadataRecord::PartitionChange(PartitionChangeRecord {
            partition_id: index.get(),
            topic_id: *topic_id,
            directories: Some(directories),
            ..PartitionChangeRecord::default()
        }))
    };
    Decision { records: assignments.iter().filter_map(record).collect(), reply: () }
}

/// Of the directories of `broker` only those in `online` are in service from now on: what it leads in others is led
/// by another replica in sync, or by nobody.
pub fn fail_directories(
    image: &ClusterImage,
    defaults: ElectionDefaults,
    broker: NodeId,
    online: &[Uuid],
) -> Decision<Settled> {
    let nothing = Decision::reply(Settled::default());
    let Some(registration) = image.broker(broker) else { return nothing };
    let online = if online.is_empty() { &[LOST] } else { online };
    if registration.log_dirs == online {
        return nothing;
    }
    let record = MetadataRecord::BrokerRegistrationChange(BrokerRegistrationChangeRecord {
        broker_id: broker.get(),
        broker_epoch: registration.epoch.get(),
        log_dirs: online.to_vec(),
        ..BrokerRegistrationChangeRecord::default()
    });
    let presence = Presence::of(image).with_directories(broker, online);
    after(record, settle_with(image, defaults, &presence, MAX_CHANGES_PER_BATCH - 1))
}

/// Lets the epoch of everything that `broker` leads grow. Its log may have lost the records of the old epoch that
/// were not on disk, and an offset and epoch must never name two records.
pub fn lead_anew(image: &ClusterImage, broker: NodeId) -> Vec<MetadataRecord> {
    let again = |(topic, index, _): (&Topic, PartitionIndex, &Partition)| {
        MetadataRecord::PartitionChange(PartitionChangeRecord {
            partition_id: index.get(),
            topic_id: topic.id,
            leader: broker.get(),
            ..PartitionChangeRecord::default()
        })
    };
    all(image).filter(|(_, _, p)| p.leader == Some(broker)).map(again).collect()
}
