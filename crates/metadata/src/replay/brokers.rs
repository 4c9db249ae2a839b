//! Records of brokers and controllers.

use std::sync::Arc;

use millstream_base::{BrokerEpoch, NodeId};
use millstream_wire::stored::{
    BrokerRegistrationChangeRecord, RegisterBrokerRecord, RegisterControllerRecord,
    UnregisterBrokerRecord, UnregisterControllerRecord,
};

use super::ReplayError;
use crate::delta::ImageDelta;
use crate::image::{
    BrokerRegistration, ClusterImage, ControllerRegistration, Endpoint, SupportedFeature,
};

pub(super) fn register(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &RegisterBrokerRecord,
) -> Result<(), ReplayError> {
    let id = NodeId(r.broker_id);
    let endpoint = |e: &millstream_wire::stored::BrokerEndpoint| Endpoint {
        name: Arc::from(&*e.name),
        host: Arc::from(&*e.host),
        port: e.port,
        security_protocol: e.security_protocol,
    };
    let feature = |f: &millstream_wire::stored::BrokerFeature| SupportedFeature {
        name: Arc::from(&*f.name),
        min: f.min_supported_version,
        max: f.max_supported_version,
    };
    let registration = BrokerRegistration {
        id,
        epoch: BrokerEpoch(r.broker_epoch),
        incarnation_id: r.incarnation_id,
        endpoints: r.end_points.iter().map(endpoint).collect(),
        features: r.features.iter().map(feature).collect(),
        rack: r.rack.as_ref().map(|rack| Arc::from(&**rack)),
        fenced: r.fenced,
        in_controlled_shutdown: r.in_controlled_shutdown,
        log_dirs: r.log_dirs.clone(),
        cordoned_log_dirs: r.cordoned_log_dirs.clone(),
        is_migrating_zk_broker: r.is_migrating_zk_broker,
    };
    image.brokers.insert(id, Arc::new(registration));
    delta.brokers.insert(id);
    Ok(())
}

pub(super) fn unregister(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &UnregisterBrokerRecord,
) -> Result<(), ReplayError> {
    let id = NodeId(r.broker_id);
    registered(image, r.broker_id, r.broker_epoch)?;
    image.brokers.remove(&id);
    delta.brokers.insert(id);
    Ok(())
}

pub(super) fn set_fenced(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    id: i32,
    epoch: i64,
    fenced: bool,
) -> Result<(), ReplayError> {
    registered(image, id, epoch)?.fenced = fenced;
    delta.brokers.insert(NodeId(id));
    Ok(())
}

pub(super) fn change(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &BrokerRegistrationChangeRecord,
) -> Result<(), ReplayError> {
    let broker = registered(image, r.broker_id, r.broker_epoch)?;
    match r.fenced {
        1 => broker.fenced = true,
        0 => {}
        -1 => broker.fenced = false,
        other => return Err(bad_change("fencing change", other)),
    }
    match r.in_controlled_shutdown {
        1 => broker.in_controlled_shutdown = true,
        0 => {}
        other => return Err(bad_change("controlled shutdown change", other)),
    }
    if !r.log_dirs.is_empty() {
        broker.log_dirs.clone_from(&r.log_dirs);
    }
    if r.cordoned_log_dirs.is_some() {
        broker.cordoned_log_dirs.clone_from(&r.cordoned_log_dirs);
    }
    delta.brokers.insert(NodeId(r.broker_id));
    Ok(())
}

pub(super) fn register_controller(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &RegisterControllerRecord,
) -> Result<(), ReplayError> {
    let id = NodeId(r.controller_id);
    let endpoint = |e: &millstream_wire::stored::ControllerEndpoint| Endpoint {
        name: Arc::from(&*e.name),
        host: Arc::from(&*e.host),
        port: e.port,
        security_protocol: e.security_protocol,
    };
    let feature = |f: &millstream_wire::stored::ControllerFeature| SupportedFeature {
        name: Arc::from(&*f.name),
        min: f.min_supported_version,
        max: f.max_supported_version,
    };
    let registration = ControllerRegistration {
        id,
        incarnation_id: r.incarnation_id,
        zk_migration_ready: r.zk_migration_ready,
        endpoints: r.end_points.iter().map(endpoint).collect(),
        features: r.features.iter().map(feature).collect(),
    };
    image.controllers.insert(id, Arc::new(registration));
    delta.controllers = true;
    Ok(())
}

pub(super) fn unregister_controller(
    image: &mut ClusterImage,
    delta: &mut ImageDelta,
    r: &UnregisterControllerRecord,
) -> Result<(), ReplayError> {
    let id = NodeId(r.controller_id);
    delta.controllers = true;
    image.controllers.remove(&id).map(|_| ()).ok_or(ReplayError::UnknownController(id))
}

/// The registration of that very epoch, to be changed.
fn registered(
    image: &mut ClusterImage,
    id: i32,
    epoch: i64,
) -> Result<&mut BrokerRegistration, ReplayError> {
    let (id, epoch) = (NodeId(id), BrokerEpoch(epoch));
    let broker = image.brokers.get_mut(&id).filter(|broker| broker.epoch == epoch);
    broker.map(Arc::make_mut).ok_or(ReplayError::UnknownBroker { id, epoch })
}

fn bad_change(field: &'static str, value: i8) -> ReplayError {
    let kind = "BrokerRegistrationChangeRecord";
    ReplayError::BadValue { kind, field, value: value.into() }
}
