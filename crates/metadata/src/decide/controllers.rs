//! ControllerRegistration (API key 70) and UnregisterController (94): controllers say where they listen and what they can
//! work with, so that features move only where all of them can follow.

use millstream_base::{ErrorCode, NodeId, Uuid};
use millstream_wire::stored::{
    ControllerEndpoint, ControllerFeature, RegisterControllerRecord, UnregisterControllerRecord,
};

use super::{Decision, Refusal};
use crate::image::{ClusterImage, ControllerRegistration, Endpoint, SupportedFeature};
use crate::record::MetadataRecord;
use crate::snapshot::text;

/// A controller asks to be registered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RegisterController {
    /// The controller.
    pub id: NodeId,
    /// Drawn anew by every process.
    pub incarnation_id: Uuid,
    /// Its listeners.
    pub endpoints: Vec<Endpoint>,
    /// What it can work with.
    pub features: Vec<SupportedFeature>,
}

/// Registers a controller in place of an earlier registration. Nothing is written when it is registered so.
pub fn register_controller(
    image: &ClusterImage,
    command: &RegisterController,
) -> Result<Decision<()>, Refusal> {
    for (name, level) in image.features.iter() {
        let supported = command.features.iter().find(|f| f.name == *name);
        if supported.is_some_and(|f| *level < f.min || f.max < *level) {
            let message = format!(
                "controller {} cannot work with feature {name} at its finalized level {level}; run a release that can",
                command.id
            );
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
        }
    }
    let wanted = ControllerRegistration {
        id: command.id,
        incarnation_id: command.incarnation_id,
        zk_migration_ready: false,
        endpoints: command.endpoints.clone(),
        features: command.features.clone(),
    };
    if image.controllers.get(&command.id).is_some_and(|known| **known == wanted) {
        return Ok(Decision::reply(()));
    }
    let endpoint = |e: &Endpoint| ControllerEndpoint {
        name: text(&e.name),
        host: text(&e.host),
        port: e.port,
        security_protocol: e.security_protocol,
    };
    let feature = |f: &SupportedFeature| ControllerFeature {
        name: text(&f.name),
        min_supported_version: f.min,
        max_supported_version: f.max,
    };
    let record = RegisterControllerRecord {
        controller_id: command.id.get(),
        incarnation_id: command.incarnation_id,
        zk_migration_ready: false,
        end_points: command.endpoints.iter().map(endpoint).collect(),
        features: command.features.iter().map(feature).collect(),
    };
    Ok(Decision { records: vec![MetadataRecord::RegisterController(record)], reply: () })
}

/// Forgets a controller.
pub fn unregister_controller(image: &ClusterImage, id: NodeId) -> Result<Decision<()>, Refusal> {
    if !image.controllers.contains_key(&id) {
        let message = format!("controller {id} is not registered");
        return Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, message));
    }
    let record = UnregisterControllerRecord { controller_id: id.get() };
    Ok(Decision { records: vec![MetadataRecord::UnregisterController(record)], reply: () })
}
