//! A controller's registration (KIP-919): where it is reached, for brokers and admin clients, and what it can work with.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, Uuid};
use millstream_env::task;
use millstream_metadata::Endpoint;
use millstream_wire::messages::controller_registration::{
    ControllerRegistrationRequest, Feature, Listener,
};
use tracing::warn;

use crate::broker::Broker;
use crate::features;

/// The pause before the next try.
const PAUSE: Duration = Duration::from_secs(1);

/// Sees for as long as the node runs that the metadata has its registration.
pub(crate) async fn keep_registered(broker: Arc<Broker>, incarnation: Uuid, at: Vec<Endpoint>) {
    let mut images = broker.quorum().watch();
    let me = broker.node_id();
    loop {
        let is_missing = |image: &Arc<millstream_metadata::ClusterImage>| {
            image.controllers.get(&me).is_none_or(|it| it.incarnation_id != incarnation)
        };
        if images.wait_for(is_missing).await.is_err() {
            return;
        }
        match broker.controller().call(request(&broker, incarnation, &at)).await {
            Ok(answer) if answer.error_code == 0 => {}
            Ok(answer) => {
                let code = ErrorCode::from_code(answer.error_code);
                let code = code.map_or("an unknown error", ErrorCode::name);
                let reason = answer.error_message.unwrap_or_default();
                warn!(code, %reason, "the active controller does not register this one");
            }
            Err(error) => warn!(%error, "this controller cannot register yet"),
        }
        task::sleep(PAUSE).await;
    }
}

fn request(
    broker: &Broker,
    incarnation: Uuid,
    endpoints: &[Endpoint],
) -> ControllerRegistrationRequest {
    let listener = |endpoint: &Endpoint| Listener {
        name: (&endpoint.name).into(),
        host: (&endpoint.host).into(),
        port: endpoint.port,
        security_protocol: endpoint.security_protocol,
    };
    let feature = |(name, min, max): (&str, i16, i16)| Feature {
        name: name.into(),
        min_supported_version: min,
        max_supported_version: max,
    };
    ControllerRegistrationRequest {
        controller_id: broker.node_id().get(),
        incarnation_id: incarnation,
        zk_migration_ready: false,
        listeners: endpoints.iter().map(listener).collect(),
        features: features::supported().map(feature).collect(),
    }
}
