//! BrokerRegistration (API key 62): a process says that it is broker N.
//!
//! Key type: [`RegisterBroker`]. Every process draws an incarnation id. The same one again is the same process, which missed
//! its answer: it keeps its epoch. Another one is a new process, which gets a new epoch and starts fenced, and only if the
//! process before it is not heard from any more.

use std::sync::Arc;

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, Offset, Uuid};
use millstream_wire::stored::{BrokerEndpoint, BrokerFeature, RegisterBrokerRecord};

use super::brokers::after;
use super::directories::is_reserved_directory;
use super::rules::ElectionDefaults;
use super::settle::{Presence, Settled, settle_with};
use super::{Decision, Refusal};
use crate::image::{
    BrokerRegistration, ClusterImage, Endpoint, METADATA_VERSION, SupportedFeature,
};
use crate::record::MetadataRecord;
use crate::snapshot::text;

/// A broker asks to be registered.
#[derive(Debug, Clone, Default, PartialEq)]
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
    /// The epoch under which it stopped in good order; `None` when it did not, or is new.
    pub previous_epoch: Option<BrokerEpoch>,
    /// The process registered so far is still heard from.
    pub other_is_alive: bool,
    /// Unfence it at once: right where the broker is its own controller and has replayed the whole log.
    pub unfenced: bool,
    /// The controller's own settings.
    pub defaults: ElectionDefaults,
}

/// A broker is registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The epoch of this registration.
    pub epoch: BrokerEpoch,
    /// What became of the partitions that the process before it had.
    pub settled: Settled,
}

/// Registers a broker, in place of an earlier registration. The epoch of a new process is the offset at which the
/// record will stand, so it grows with every registration.
pub fn register_broker(
    image: &ClusterImage,
    command: &RegisterBroker,
    next_offset: Offset,
) -> Result<Decision<Registered>, Refusal> {
    check_features(image, command)?;
    check_directories(image, command)?;
    let known = image.broker(command.id).map(AsRef::as_ref);
    let again = known.filter(|b| !command.unfenced && b.incarnation_id == command.incarnation_id);
    if let Some(known) = again {
        return Ok(same_process(command, known));
    }
    check_other(known, command)?;
    let epoch = BrokerEpoch(next_offset.get());
    let record = RegisterBrokerRecord {
        broker_epoch: epoch.get(),
        fenced: !command.unfenced,
        ..record(command)
    };
    let mut presence = Presence::of(image)
        .with(command.id, command.unfenced)
        .with_directories(command.id, &command.log_dirs);
    let stopped_well = known.is_none_or(|known| command.previous_epoch == Some(known.epoch));
    if !stopped_well && !command.unfenced {
        presence = presence.with_lost(command.id);
    }
    let moves = if command.unfenced || known.is_some() {
        // All at once, however many: a step later nobody would know any more that the process before it was lost with what it
        // had not synced, and the new one hosts its partitions as soon as it sees itself registered.
        settle_with(image, command.defaults, &presence, usize::MAX)
    } else {
        Decision::reply(Settled::default())
    };
    let Decision { records, reply } = after(MetadataRecord::RegisterBroker(record), moves);
    Ok(Decision { records, reply: Registered { epoch, settled: reply } })
}

fn record(command: &RegisterBroker) -> RegisterBrokerRecord {
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
    RegisterBrokerRecord {
        broker_id: command.id.get(),
        incarnation_id: command.incarnation_id,
        end_points: command.endpoints.iter().map(endpoint).collect(),
        features: command.features.iter().map(feature).collect(),
        rack: command.rack.as_deref().map(text),
        log_dirs: command.log_dirs.clone(),
        ..RegisterBrokerRecord::default()
    }
}

/// The process that is registered already: it keeps what it is, and may have moved.
fn same_process(command: &RegisterBroker, known: &BrokerRegistration) -> Decision<Registered> {
    let is_same = known.endpoints == command.endpoints
        && known.features == command.features
        && known.rack.as_deref() == command.rack.as_deref()
        && known.log_dirs == command.log_dirs;
    let record = RegisterBrokerRecord {
        broker_epoch: known.epoch.get(),
        fenced: known.fenced,
        in_controlled_shutdown: known.in_controlled_shutdown,
        cordoned_log_dirs: known.cordoned_log_dirs.clone(),
        ..record(command)
    };
    let record = (!is_same).then_some(MetadataRecord::RegisterBroker(record));
    let reply = Registered { epoch: known.epoch, settled: Settled::default() };
    Decision { records: record.into_iter().collect(), reply }
}

/// A process that is still heard from keeps its id, unless it is about to stop.
fn check_other(
    known: Option<&BrokerRegistration>,
    command: &RegisterBroker,
) -> Result<(), Refusal> {
    let Some(known) = known.filter(|known| command.other_is_alive && !known.in_controlled_shutdown)
    else {
        return Ok(());
    };
    let at = known
        .endpoints
        .first()
        .map_or_else(String::new, |endpoint| format!(" at {}:{}", endpoint.host, endpoint.port));
    let message = format!(
        "another process is registered as broker {}{at} and is still heard from: give each broker its own node.id; after a crash this passes once broker.session.timeout.ms is over",
        command.id
    );
    Err(Refusal::new(ErrorCode::DuplicateBrokerRegistration, message))
}

/// A directory belongs to one broker: a copied disk would be taken for the original.
fn check_directories(image: &ClusterImage, command: &RegisterBroker) -> Result<(), Refusal> {
    let refuse = |message| Err(Refusal::new(ErrorCode::InvalidRegistration, message));
    for (at, dir) in command.log_dirs.iter().enumerate() {
        if command.log_dirs.iter().take(at).any(|earlier| earlier == dir) {
            return refuse(format!("broker {} names log directory {dir} twice", command.id));
        }
        let mut others = image.brokers.values().filter(|broker| broker.id != command.id);
        let holds = |broker: &&Arc<BrokerRegistration>| broker.log_dirs.contains(dir);
        if let Some(other) = others.find(holds).filter(|_| !is_reserved_directory(*dir)) {
            return refuse(format!(
                "log directory {dir} of broker {} is registered with broker {}: a directory must not be copied, start with an empty one or remove its meta.properties",
                command.id, other.id
            ));
        }
    }
    Ok(())
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
