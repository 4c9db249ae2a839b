//! What is different between two images: for those who are told of commits, where a snapshot came instead of them.
//!
//! Key function: [`difference`]. Pure.

use std::sync::Arc;

use millstream_metadata::{ClusterImage, ImageDelta};

/// What is different between two images.
pub(crate) fn difference(old: &ClusterImage, new: &ClusterImage) -> ImageDelta {
    let mut delta = ImageDelta::default();
    for topic in old.topics.iter() {
        let stays = new.topics.get_by_id(topic.id).is_some_and(|same| same.name == topic.name);
        if !stays {
            delta.topics_deleted.insert(topic.id, Arc::clone(topic));
        }
    }
    for topic in new.topics.iter() {
        let before = old.topics.get_by_id(topic.id);
        if before.is_none() {
            delta.topics_created.insert(topic.id);
        }
        for (index, partition) in topic.partitions.iter() {
            if before.and_then(|before| before.partition(*index)) != Some(partition) {
                delta.partitions.insert((topic.id, *index));
            }
        }
    }
    let changed = |resource| old.configs.get(resource) != new.configs.get(resource);
    let resources = old.configs.iter().chain(new.configs.iter()).map(|(resource, _)| resource);
    delta.configs = resources.filter(|resource| changed(resource)).cloned().collect();
    let ids = old.brokers.iter().chain(new.brokers.iter()).map(|(id, _)| *id);
    delta.brokers = ids.filter(|id| old.broker(*id) != new.broker(*id)).collect();
    delta.controllers = old.controllers != new.controllers;
    delta.features = old.features != new.features;
    delta.producer_ids = old.next_producer_id != new.next_producer_id;
    delta.client_quotas = old.client_quotas != new.client_quotas;
    delta.acls = old.acls != new.acls;
    delta.scram = old.scram != new.scram;
    delta.delegation_tokens = old.delegation_tokens != new.delegation_tokens;
    delta
}
