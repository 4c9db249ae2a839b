//! Settings on which eligible leader replicas (KIP-966) rest.
//!
//! A replica outside the ISR is eligible because nothing is committed while the ISR is smaller than
//! `min.insync.replicas`: controller and leaders must agree on that number, and when it changes, who is no longer covered by
//! it is not eligible any more. So it is one value for the whole cluster, stored with the metadata, or a topic's own.

use millstream_base::{ErrorCode, PartitionIndex};
use millstream_config::Edit;
use millstream_wire::stored::{ClearElrRecord, ConfigRecord, PartitionChangeRecord};

use super::change::PartitionChange;
use super::rules::{ElectionDefaults, MIN_INSYNC_REPLICAS, Rules};
use super::settle::{Presence, all};
use super::{Decision, Refusal};
use crate::image::{
    ClusterImage, ConfigResource, ConfigResourceType, ELR_VERSION, LeaderRecoveryState, Partition,
    Topic,
};
use crate::record::MetadataRecord;
use crate::replay::Replayer;
use crate::snapshot::{numbers, text};

/// Refuses settings of single brokers that would let them disagree.
pub(super) fn check_edit(
    image: &ClusterImage,
    resource: &ConfigResource,
    edit: &Edit,
) -> Result<(), Refusal> {
    let keeps = image.feature_level(ELR_VERSION) > 0;
    let of_brokers = resource.resource_type == ConfigResourceType::Broker;
    if !keeps || !of_brokers || edit.name != MIN_INSYNC_REPLICAS {
        return Ok(());
    }
    let message = if !resource.name.is_empty() {
        "min.insync.replicas cannot differ between brokers while eligible leader replicas are kept: set it for all brokers or for a topic"
    } else if edit.value.is_none() && image.configs.get(resource).is_some() {
        "min.insync.replicas of all brokers cannot be unset while eligible leader replicas are kept: set it to another value"
    } else {
        return Ok(());
    };
    Err(Refusal::new(ErrorCode::InvalidConfig, message))
}

/// Takes out of the eligible replicas whom the settings that `records` bring no longer cover.
pub(super) fn follow_settings(
    image: &ClusterImage,
    defaults: ElectionDefaults,
    records: &[MetadataRecord],
) -> Vec<MetadataRecord> {
    let touches = |record: &MetadataRecord| matches!(record, MetadataRecord::Config(config) if &*config.name == MIN_INSYNC_REPLICAS);
    if image.feature_level(ELR_VERSION) == 0 || !records.iter().any(touches) {
        return Vec::new();
    }
    let mut replayer = Replayer::new(image.clone());
    if records.iter().any(|record| replayer.replay(record).is_err()) {
        return Vec::new();
    }
    let after = replayer.image();
    let (rules, presence) = (Rules::new(after, defaults), Presence::of(after));
    let with_elr = all(after).filter(|(_, _, partition)| !partition.elr.is_empty());
    let kept_up = with_elr.filter_map(|(topic, index, partition)| {
        PartitionChange::new(after, rules, topic, index, partition)
            .build(|id| presence.has(id, partition))
    });
    kept_up.collect()
}

/// The settings of the cluster when eligible leader replicas are kept from now on.
pub(super) fn begin(image: &ClusterImage, defaults: ElectionDefaults) -> Vec<MetadataRecord> {
    let mut records: Vec<MetadataRecord> = pinned(image, defaults).into_iter().collect();
    for (resource, settings) in image.configs.iter() {
        let of_one = resource.resource_type == ConfigResourceType::Broker
            && !resource.name.is_empty()
            && settings.contains_key(MIN_INSYNC_REPLICAS);
        if of_one {
            records.push(record(resource, None));
        }
    }
    records
}

/// What is left of eligible leader replicas when they are no longer kept. An ISR may then not be empty: who was eligible
/// has all that is committed, and so can be called in sync. Where nobody was, it is the last leader, who may have lost
/// records and has to recover.
pub(super) fn end(image: &ClusterImage) -> Vec<MetadataRecord> {
    let without_isr = all(image).filter(|(_, _, partition)| partition.isr.is_empty());
    let keep = |(topic, index, p): (&Topic, PartitionIndex, &Partition)| {
        let last = p.last_known_elr.first().or(p.replicas.first()).copied();
        let is_sure = !p.elr.is_empty();
        let isr = if is_sure { p.elr.clone() } else { last.into_iter().collect() };
        let recovery = if is_sure { -1 } else { LeaderRecoveryState::Recovering.code() };
        MetadataRecord::PartitionChange(PartitionChangeRecord {
            partition_id: index.get(),
            topic_id: topic.id,
            isr: Some(numbers(&isr)),
            leader_recovery_state: recovery,
            ..PartitionChangeRecord::default()
        })
    };
    let mut records: Vec<MetadataRecord> = without_isr.map(keep).collect();
    records.push(MetadataRecord::ClearElr(ClearElrRecord { topic_name: text("") }));
    records
}

/// Stores the controller's own `min.insync.replicas` for all brokers, if nothing is stored yet.
fn pinned(image: &ClusterImage, defaults: ElectionDefaults) -> Option<MetadataRecord> {
    let resource = ConfigResource::default_broker();
    let stored = image.configs.get(&resource).is_some_and(|s| s.contains_key(MIN_INSYNC_REPLICAS));
    let value = defaults.min_insync_replicas.to_string();
    (!stored).then(|| record(&resource, Some(&value)))
}

/// Sees that a cluster of several brokers that keeps eligible leader replicas has one `min.insync.replicas` for all:
/// where none is stored, the active controller's own.
pub fn agree_on_min_insync(image: &ClusterImage, defaults: ElectionDefaults) -> Decision<()> {
    let matters = image.feature_level(ELR_VERSION) > 0 && image.brokers.len() > 1;
    let record = matters.then(|| pinned(image, defaults)).flatten();
    Decision { records: record.into_iter().collect(), reply: () }
}

fn record(resource: &ConfigResource, value: Option<&str>) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: resource.resource_type.code(),
        resource_name: text(&resource.name),
        name: text(MIN_INSYNC_REPLICAS),
        value: value.map(text),
    })
}
