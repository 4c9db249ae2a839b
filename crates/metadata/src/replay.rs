//! Replaying records: the only way in which an image changes.
//!
//! Key type: [`Replayer`], an image on its way from record to record. Leader, restart and failover all come
//! through here, so the same records always give the same image. A record that does not fit the image (a
//! partition of no topic, a change of no broker) is an error: the log would be damaged or a decision wrong.
//!
//! Records between `BeginTransactionRecord` and its end show only once `EndTransactionRecord` is there.

mod brokers;
mod security;
mod topics;

use std::sync::Arc;

use millstream_base::{BrokerEpoch, NodeId, PartitionIndex, ProducerId, Uuid};
use millstream_wire::stored::{ConfigRecord, FeatureLevelRecord};

pub(crate) use topics::change_partition;

use crate::delta::ImageDelta;
use crate::image::{ClusterImage, ConfigResource, ConfigResourceType};
use crate::record::MetadataRecord;

/// A record does not fit the image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The name or id of a new topic is taken.
    #[error("topic `{name}` ({id}) is created although its name or id is taken")]
    TopicExists {
        /// The topic's name.
        name: String,
        /// The topic's id.
        id: Uuid,
    },
    /// No topic of that id.
    #[error("a record names topic id {0}, which does not exist")]
    UnknownTopicId(Uuid),
    /// No topic of that name.
    #[error("a record names topic `{0}`, which does not exist")]
    UnknownTopic(String),
    /// No such partition.
    #[error("a record changes partition {1} of topic id {0}, which does not exist")]
    UnknownPartition(Uuid, PartitionIndex),
    /// No such broker, or it has registered anew since.
    #[error("a record names broker {id} at epoch {epoch}, which is not registered")]
    UnknownBroker {
        /// The broker.
        id: NodeId,
        /// The epoch that the record names.
        epoch: BrokerEpoch,
    },
    /// No such controller.
    #[error("a record names controller {0}, which is not registered")]
    UnknownController(NodeId),
    /// No such access control entry.
    #[error("a record removes access control entry {0}, which does not exist")]
    UnknownAcl(Uuid),
    /// A number that stands for nothing.
    #[error("a {kind} has {value} as its {field}")]
    BadValue {
        /// The record's name.
        kind: &'static str,
        /// The field.
        field: &'static str,
        /// What it holds.
        value: i64,
    },
    /// A transaction begins within another or ends without one.
    #[error("a {0} at the wrong place: metadata transactions do not nest")]
    TransactionOrder(&'static str),
}

/// An image that follows records.
#[derive(Debug, Clone, Default)]
pub struct Replayer {
    image: ClusterImage,
    delta: ImageDelta,
    /// The state from before the transaction that is open.
    before_transaction: Option<Box<(ClusterImage, ImageDelta)>>,
}

impl Replayer {
    /// Starts from `image`.
    pub fn new(image: ClusterImage) -> Self {
        Self { image, ..Self::default() }
    }

    /// The image after all records replayed so far, those of an open transaction included: what the next
    /// decision has to stand on.
    pub fn image(&self) -> &ClusterImage {
        &self.image
    }

    /// The image that others may see: without an open transaction.
    pub fn visible(&self) -> &ClusterImage {
        self.before_transaction.as_ref().map_or(&self.image, |before| &before.0)
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.before_transaction.is_some()
    }

    /// What the records replayed since the last call changed in the visible image.
    pub fn take_delta(&mut self) -> ImageDelta {
        match &mut self.before_transaction {
            Some(before) => std::mem::take(&mut before.1),
            None => std::mem::take(&mut self.delta),
        }
    }

    /// Replays one record.
    pub fn replay(&mut self, record: &MetadataRecord) -> Result<(), ReplayError> {
        match record {
            MetadataRecord::BeginTransaction(_) => {
                let kind = "BeginTransactionRecord";
                if self.in_transaction() {
                    return Err(ReplayError::TransactionOrder(kind));
                }
                self.before_transaction = Some(Box::new((self.image.clone(), self.delta.clone())));
                Ok(())
            }
            MetadataRecord::EndTransaction(_) => {
                let kind = "EndTransactionRecord";
                let before = self.before_transaction.take();
                before.map(|_| ()).ok_or(ReplayError::TransactionOrder(kind))
            }
            MetadataRecord::AbortTransaction(_) => {
                let kind = "AbortTransactionRecord";
                let before = self.before_transaction.take();
                (self.image, self.delta) = *before.ok_or(ReplayError::TransactionOrder(kind))?;
                Ok(())
            }
            record => replay(&mut self.image, &mut self.delta, record),
        }
    }
}

/// Replays one record that is no bracket of a transaction.
fn replay(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    record: &MetadataRecord,
) -> Result<(), ReplayError> {
    match record {
        MetadataRecord::Topic(r) => topics::topic(image, delta, r),
        MetadataRecord::Partition(r) => topics::partition(image, delta, r),
        MetadataRecord::PartitionChange(r) => topics::partition_change(image, delta, r),
        MetadataRecord::RemoveTopic(r) => topics::remove_topic(image, delta, r),
        MetadataRecord::ClearElr(r) => topics::clear_elr(image, delta, r),
        MetadataRecord::Config(r) => config(image, delta, r),
        MetadataRecord::RegisterBroker(r) => brokers::register(image, delta, r),
        MetadataRecord::UnregisterBroker(r) => brokers::unregister(image, delta, r),
        MetadataRecord::FenceBroker(r) => brokers::set_fenced(image, delta, r.id, r.epoch, true),
        MetadataRecord::UnfenceBroker(r) => brokers::set_fenced(image, delta, r.id, r.epoch, false),
        MetadataRecord::BrokerRegistrationChange(r) => brokers::change(image, delta, r),
        MetadataRecord::RegisterController(r) => brokers::register_controller(image, delta, r),
        MetadataRecord::UnregisterController(r) => brokers::unregister_controller(image, delta, r),
        MetadataRecord::FeatureLevel(r) => {
            feature_level(image, delta, r);
            Ok(())
        }
        MetadataRecord::ProducerIds(r) => {
            image.next_producer_id = ProducerId(r.next_producer_id);
            delta.producer_ids = true;
            Ok(())
        }
        MetadataRecord::ZkMigrationState(r) => {
            image.zk_migration_state = Some(r.zk_migration_state);
            Ok(())
        }
        MetadataRecord::DelegationToken(_)
        | MetadataRecord::RemoveDelegationToken(_)
        | MetadataRecord::UserScramCredential(_)
        | MetadataRecord::RemoveUserScramCredential(_)
        | MetadataRecord::AccessControlEntry(_)
        | MetadataRecord::RemoveAccessControlEntry(_)
        | MetadataRecord::ClientQuota(_) => security::replay(image, delta, record),
        MetadataRecord::NoOp(_)
        | MetadataRecord::BeginTransaction(_)
        | MetadataRecord::EndTransaction(_)
        | MetadataRecord::AbortTransaction(_) => Ok(()),
    }
}

fn config(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &ConfigRecord,
) -> Result<(), ReplayError> {
    let resource_type = ConfigResourceType::from_code(r.resource_type).ok_or_else(|| {
        let value = i64::from(r.resource_type);
        ReplayError::BadValue { kind: "ConfigRecord", field: "resource type", value }
    })?;
    let resource = ConfigResource::new(resource_type, &*r.resource_name);
    delta.configs.insert(resource.clone());
    image.configs.set(resource, &r.name, r.value.as_deref());
    Ok(())
}

/// Level 0 means that the feature is not in use.
fn feature_level(image: &mut ClusterImage, delta: &mut ImageDelta, r: &FeatureLevelRecord) {
    delta.features = true;
    if r.feature_level == 0 {
        image.features.remove(&*r.name);
    } else {
        image.features.insert(Arc::from(&*r.name), r.feature_level);
    }
}
