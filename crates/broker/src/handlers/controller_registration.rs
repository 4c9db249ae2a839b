//! ControllerRegistration (key 70, v0): a controller says where it listens and what it can work with.

use millstream_base::{ErrorCode, NodeId};
use millstream_metadata::decide::{RegisterController, register_controller};
use millstream_metadata::{ClusterImage, Endpoint, SupportedFeature};
use millstream_quorum::Turn;
use millstream_wire::messages::controller_registration::{
    ControllerRegistrationRequest, ControllerRegistrationResponse, Feature, Listener,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: ControllerRegistrationRequest,
) -> ControllerRegistrationResponse {
    let refused = |code: ErrorCode, message: String| ControllerRegistrationResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..ControllerRegistrationResponse::default()
    };
    if !context.allows(Operation::ClusterAction, Resource::Cluster) {
        let message = "the principal may not act as a node of the cluster".to_owned();
        return refused(ErrorCode::ClusterAuthorizationFailed, message);
    }
    let command = command(&request);
    let decide = move |image: &ClusterImage, _: &Turn| register_controller(image, &command);
    match context.broker.quorum().execute(decide).await {
        Ok(()) => ControllerRegistrationResponse::default(),
        Err(error) => refused(error.code(), error.to_string()),
    }
}

fn command(request: &ControllerRegistrationRequest) -> RegisterController {
    let endpoint = |listener: &Listener| Endpoint {
        name: (&*listener.name).into(),
        host: (&*listener.host).into(),
        port: listener.port,
        security_protocol: listener.security_protocol,
    };
    let feature = |feature: &Feature| SupportedFeature {
        name: (&*feature.name).into(),
        min: feature.min_supported_version,
        max: feature.max_supported_version,
    };
    RegisterController {
        id: NodeId(request.controller_id),
        incarnation_id: request.incarnation_id,
        endpoints: request.listeners.iter().map(endpoint).collect(),
        features: request.features.iter().map(feature).collect(),
    }
}
