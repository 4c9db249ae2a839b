//! The cluster image, the metadata records and the controller's decisions.
//!
//! Key types: [`ClusterImage`] (what the cluster is), [`MetadataRecord`] (what the log holds), [`Replayer`]
//! (records onto an image) and [`decide`] (commands against an image into records). All of it is pure: no lock,
//! file, clock or random source. An image changes only by replaying records, so that leader, restart and failover
//! come to the same state by the same path.

pub mod decide;
mod delta;
mod heartbeats;
mod image;
pub mod names;
mod persistent_map;
pub mod placement;
mod record;
mod replay;
mod snapshot;
#[cfg(test)]
mod tests;

pub use delta::ImageDelta;
pub use heartbeats::BrokerHeartbeats;
pub use image::{
    BrokerRegistration, ClusterImage, ConfigResource, ConfigResourceType, ConfigsImage,
    ControllerRegistration, ELR_VERSION, Endpoint, LeaderRecoveryState, METADATA_VERSION,
    Partition, QuotaEntity, SupportedFeature, Topic, TopicsImage,
};
pub use persistent_map::PersistentMap;
pub use record::{MetadataRecord, decode_record, encode_record, record_version};
pub use replay::{ReplayError, Replayer};
