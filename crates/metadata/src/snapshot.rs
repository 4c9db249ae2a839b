//! An image written down as the shortest list of records that gives it again: the contents of a snapshot.

use millstream_base::{NodeId, PartitionIndex, Uuid};
use millstream_wire::Str;
use millstream_wire::stored::MetadataRecord as R;
use millstream_wire::stored::*;

use crate::image::{
    BrokerRegistration, ClusterImage, ControllerRegistration, METADATA_VERSION, Partition,
};

impl ClusterImage {
    /// Records that give this image when replayed onto an empty one. The level of `metadata.version` comes
    /// first, since it says how to read the rest.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records = self.feature_records();
        records.extend(self.controllers.values().map(|c| R::RegisterController(controller(c))));
        records.extend(self.brokers.values().map(|b| R::RegisterBroker(broker(b))));
        records.extend(self.topic_records());
        records.extend(self.config_records());
        records.extend(self.security_records());
        if self.next_producer_id.get() != 0 {
            let next_producer_id = self.next_producer_id.get();
            let body = ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id };
            records.push(R::ProducerIds(body));
        }
        if let Some(zk_migration_state) = self.zk_migration_state {
            records.push(R::ZkMigrationState(ZkMigrationStateRecord { zk_migration_state }));
        }
        records
    }

    fn feature_records(&self) -> Vec<MetadataRecord> {
        let mut levels: Vec<_> = self.features.iter().collect();
        levels.sort_by_key(|(name, _)| name.as_ref() != METADATA_VERSION);
        let record = |(name, level): (&std::sync::Arc<str>, &i16)| {
            R::FeatureLevel(FeatureLevelRecord { name: text(name), feature_level: *level })
        };
        levels.into_iter().map(record).collect()
    }

    fn topic_records(&self) -> Vec<MetadataRecord> {
        let count = self.topics.len() + self.topics.partition_count();
        let mut records = Vec::with_capacity(count);
        for topic in self.topics.iter() {
            let body = TopicRecord { name: text(&topic.name), topic_id: topic.id };
            records.push(R::Topic(body));
            let partitions = topic.partitions.iter();
            records.extend(partitions.map(|(index, p)| partition_record(topic.id, *index, p)));
        }
        records
    }

    fn config_records(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        for (resource, settings) in self.configs.iter() {
            for (name, value) in settings.iter() {
                let body = ConfigRecord {
                    resource_type: resource.resource_type.code(),
                    resource_name: text(&resource.name),
                    name: text(name),
                    value: Some(text(value)),
                };
                records.push(R::Config(body));
            }
        }
        records
    }

    fn security_records(&self) -> Vec<MetadataRecord> {
        let mut records = Vec::new();
        for (entity, limits) in self.client_quotas.iter() {
            let part = |(kind, name): &(std::sync::Arc<str>, Option<std::sync::Arc<str>>)| {
                EntityData { entity_type: text(kind), entity_name: name.as_deref().map(text) }
            };
            for (key, value) in limits.iter() {
                let entity = entity.iter().map(part).collect();
                let body =
                    ClientQuotaRecord { entity, key: text(key), value: *value, remove: false };
                records.push(R::ClientQuota(body));
            }
        }
        records.extend(self.scram.values().map(|r| R::UserScramCredential(r.as_ref().clone())));
        records.extend(self.acls.values().map(|r| R::AccessControlEntry(r.as_ref().clone())));
        records.extend(
            self.delegation_tokens.values().map(|r| R::DelegationToken(r.as_ref().clone())),
        );
        records
    }
}

/// The record that creates a partition in that state.
pub(crate) fn partition_record(
    topic_id: Uuid,
    index: PartitionIndex,
    p: &Partition,
) -> MetadataRecord {
    R::Partition(PartitionRecord {
        partition_id: index.get(),
        topic_id,
        replicas: numbers(&p.replicas),
        isr: numbers(&p.isr),
        removing_replicas: numbers(&p.removing),
        adding_replicas: numbers(&p.adding),
        leader: p.leader.map_or(-1, NodeId::get),
        leader_recovery_state: p.leader_recovery_state.code(),
        leader_epoch: p.leader_epoch.get(),
        partition_epoch: p.partition_epoch,
        directories: p.directories.clone(),
        eligible_leader_replicas: (!p.elr.is_empty()).then(|| numbers(&p.elr)),
        last_known_elr: (!p.last_known_elr.is_empty()).then(|| numbers(&p.last_known_elr)),
    })
}

fn broker(b: &BrokerRegistration) -> RegisterBrokerRecord {
    let endpoint = |e: &crate::image::Endpoint| BrokerEndpoint {
        name: text(&e.name),
        host: text(&e.host),
        port: e.port,
        security_protocol: e.security_protocol,
    };
    let feature = |f: &crate::image::SupportedFeature| BrokerFeature {
        name: text(&f.name),
        min_supported_version: f.min,
        max_supported_version: f.max,
    };
    RegisterBrokerRecord {
        broker_id: b.id.get(),
        is_migrating_zk_broker: b.is_migrating_zk_broker,
        incarnation_id: b.incarnation_id,
        broker_epoch: b.epoch.get(),
        end_points: b.endpoints.iter().map(endpoint).collect(),
        features: b.features.iter().map(feature).collect(),
        rack: b.rack.as_deref().map(text),
        fenced: b.fenced,
        in_controlled_shutdown: b.in_controlled_shutdown,
        log_dirs: b.log_dirs.clone(),
        cordoned_log_dirs: b.cordoned_log_dirs.clone(),
    }
}

fn controller(c: &ControllerRegistration) -> RegisterControllerRecord {
    let endpoint = |e: &crate::image::Endpoint| ControllerEndpoint {
        name: text(&e.name),
        host: text(&e.host),
        port: e.port,
        security_protocol: e.security_protocol,
    };
    let feature = |f: &crate::image::SupportedFeature| ControllerFeature {
        name: text(&f.name),
        min_supported_version: f.min,
        max_supported_version: f.max,
    };
    RegisterControllerRecord {
        controller_id: c.id.get(),
        incarnation_id: c.incarnation_id,
        zk_migration_ready: c.zk_migration_ready,
        end_points: c.endpoints.iter().map(endpoint).collect(),
        features: c.features.iter().map(feature).collect(),
    }
}

pub(crate) fn numbers(ids: &[NodeId]) -> Vec<i32> {
    ids.iter().map(|id| id.get()).collect()
}

pub(crate) fn text(value: &str) -> Str {
    Str::from(value)
}
