//! BrokerRegistration (API key 62), BrokerHeartbeat (63) and UnregisterBroker (64): brokers come, are fenced and
//! unfenced, and go.
//!
//! When a broker stops being active, the partitions that it leads get another leader from their ISR or none;
//! when it becomes active, leaderless partitions that have it in their ISR are led again.

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, Offset, Uuid};
use millstream_wire::stored::{
    BrokerEndpoint, BrokerFeature, BrokerRegistrationChangeRecord, RegisterBrokerRecord,
    UnregisterBrokerRecord,
};

use super::directories::{is_in, leave_directories};
use super::partitions::{elect_leaders_for, elect_leaders_where, leave_partitions};
use super::{Decision, Refusal};
use crate::image::{ClusterImage, Endpoint, METADATA_VERSION, SupportedFeature};
use crate::record::MetadataRecord;
use crate::snapshot::text;

/// A broker asks to be registered.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisterBroker {
    /// The broker.
    pub id: NodeId,
    /// Drawn anew by every process.
    pub incarnation_id: Uuid,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// What it can work with.
    pub features: Vec<SupportedFeature>,
    /// Its rack.
    pub rack: Option<String>,
    /// Its log directories.
    pub log_dirs: Vec<Uuid>,
    /// Unfence it at once: right where the broker is its own controller and has replayed the whole log.
    pub unfenced: bool,
}

/// A broker is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The epoch of this registration.
    pub epoch: BrokerEpoch,
}

/// What changes about a registered broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerChange {
    /// It may not lead any more.
    Fence,
    /// It may lead.
    Unfence,
    /// It hands its partitions over before it stops.
    ControlledShutdown,
}

/// Registers a broker, in place of an earlier registration. The epoch is the offset at which the record will
/// stand, so it grows with every registration.
pub fn register_broker(
    image: &ClusterImage,
    command: &RegisterBroker,
    next_offset: Offset,
) -> Result<Decision<Registered>, Refusal> {
    check_features(image, command)?;
    let epoch = BrokerEpoch(next_offset.get());
    let endpoint = |e: &Endpoint| BrokerEndpoint {
        name: text(&e.name),
        host: text(&e.host),
        port: e.port,
        security_protocol: e.security_protocol,
    };
    let feature = |f: &SupportedFeature| BrokerFeature {
        name: text(&f.name),
        min_supported_version: f.min,
        max_supported_version: f.max,
    };
    let record = RegisterBrokerRecord {
        broker_id: command.id.get(),
        incarnation_id: command.incarnation_id,
        broker_epoch: epoch.get(),
        end_points: command.endpoints.iter().map(endpoint).collect(),
        features: command.features.iter().map(feature).collect(),
        rack: command.rack.as_deref().map(text),
        fenced: !command.unfenced,
        log_dirs: command.log_dirs.clone(),
        ..RegisterBrokerRecord::default()
    };
    let mut records = vec![MetadataRecord::RegisterBroker(record)];
    if command.unfenced {
        let (id, online) = (command.id, &command.log_dirs);
        records.extend(elect_leaders_where(image, id, |p| is_in(p, id, online)));
        if !online.is_empty() {
            records.extend(leave_directories(image, id, online));
        }
    } else if image.is_active(command.id) {
        records.extend(leave_partitions(image, command.id));
    }
    Ok(Decision { records, reply: Registered { epoch } })
}

/// A broker must be able to work at every finalized level. One that is its own controller need only read the
/// metadata: it tells its clients of no feature that it lacks, so that a directory of Kafka can be taken over.
fn check_features(image: &ClusterImage, command: &RegisterBroker) -> Result<(), Refusal> {
    let matters = |name: &str| !command.unfenced || name == METADATA_VERSION;
    for (name, level) in image.features.iter().filter(|(name, _)| matters(name)) {
        let supported = command.features.iter().find(|f| f.name == *name);
        if !supported.is_some_and(|f| f.min <= *level && *level <= f.max) {
            let message = format!(
                "broker {} cannot work with feature {name} at its finalized level {level}; run a release that can",
                command.id
            );
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
        }
    }
    Ok(())
}

/// Fences, unfences or begins the controlled shutdown of a broker. Nothing is written when it is in that state
/// already.
pub fn change_broker(
    image: &ClusterImage,
    id: NodeId,
    epoch: BrokerEpoch,
    change: BrokerChange,
) -> Result<Decision<()>, Refusal> {
    check_epoch(image, id, epoch)?;
    let Some(broker) = image.broker(id) else { return Ok(Decision::reply(())) };
    let mut record = BrokerRegistrationChangeRecord {
        broker_id: id.get(),
        broker_epoch: epoch.get(),
        ..BrokerRegistrationChangeRecord::default()
    };
    let moves = match change {
        BrokerChange::Fence if broker.fenced => return Ok(Decision::reply(())),
        BrokerChange::Unfence if !broker.fenced => return Ok(Decision::reply(())),
        BrokerChange::ControlledShutdown if broker.in_controlled_shutdown => {
            return Ok(Decision::reply(()));
        }
        BrokerChange::Fence => {
            record.fenced = 1;
            leave_partitions(image, id)
        }
        BrokerChange::Unfence => {
            record.fenced = -1;
            let active = !broker.in_controlled_shutdown;
            if active { elect_leaders_for(image, id) } else { Vec::new() }
        }
        BrokerChange::ControlledShutdown => {
            record.in_controlled_shutdown = 1;
            leave_partitions(image, id)
        }
    };
    let mut records = vec![MetadataRecord::BrokerRegistrationChange(record)];
    records.extend(moves);
    Ok(Decision { records, reply: () })
}

/// Takes a broker out of the cluster. Its replicas stay assigned to it.
pub fn unregister_broker(image: &ClusterImage, id: NodeId) -> Result<Decision<()>, Refusal> {
    let broker = image.broker(id).ok_or_else(|| not_registered(id))?;
    let record = UnregisterBrokerRecord { broker_id: id.get(), broker_epoch: broker.epoch.get() };
    let mut records = leave_partitions(image, id);
    records.push(MetadataRecord::UnregisterBroker(record));
    Ok(Decision { records, reply: () })
}

/// Whether the broker is registered at that very epoch.
pub(super) fn check_epoch(
    image: &ClusterImage,
    id: NodeId,
    epoch: BrokerEpoch,
) -> Result<(), Refusal> {
    let broker = image.broker(id).ok_or_else(|| not_registered(id))?;
    if broker.epoch == epoch {
        return Ok(());
    }
    let message = format!("broker {id} is registered at epoch {}, not {epoch}", broker.epoch);
    Err(Refusal::new(ErrorCode::StaleBrokerEpoch, message))
}

fn not_registered(id: NodeId) -> Refusal {
    Refusal::new(ErrorCode::BrokerIdNotRegistered, format!("broker {id} is not registered"))
}
