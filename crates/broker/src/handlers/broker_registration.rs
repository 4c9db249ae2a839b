//! BrokerRegistration (key 62, v0-4): a broker takes its place in the cluster. The active controller answers.

use millstream_base::{BrokerEpoch, ErrorCode, NodeId};
use millstream_metadata::decide::RegisterBroker;
use millstream_metadata::{Endpoint, SupportedFeature};
use millstream_wire::messages::broker_registration::{
    BrokerRegistrationRequest, BrokerRegistrationResponse, Feature, Listener,
};
use tracing::warn;

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: BrokerRegistrationRequest,
) -> BrokerRegistrationResponse {
    let id = request.broker_id;
    if let Err(code) = check(&context, &request) {
        return refused(code);
    }
    match context.broker.active_controller().register(command(request)).await {
        Ok(registered) => BrokerRegistrationResponse {
            broker_epoch: registered.epoch.get(),
            ..BrokerRegistrationResponse::default()
        },
        Err(error) => {
            if error.code() != ErrorCode::NotController {
                warn!(broker = id, %error, "a broker was not registered");
            }
            refused(error.code())
        }
    }
}

fn check(context: &RequestContext, request: &BrokerRegistrationRequest) -> Result<(), ErrorCode> {
    if !context.allows(Operation::ClusterAction, Resource::Cluster) {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    let (theirs, ours) = (&*request.cluster_id, context.broker.cluster_id());
    if ours.is_empty() {
        // A controller that was just elected in a new cluster: it learns the id with the first entry.
        return Err(ErrorCode::NotController);
    }
    if theirs != ours {
        warn!(
            broker = request.broker_id,
            "a broker of cluster {theirs} asks to join cluster {ours}: its data directory or its controller.quorum.voters belong to another cluster"
        );
        return Err(ErrorCode::InconsistentClusterId);
    }
    if request.is_migrating_zk_broker || request.broker_id < 0 {
        return Err(ErrorCode::InvalidRegistration);
    }
    if request.listeners.is_empty() {
        warn!(broker = request.broker_id, "a broker asks to be registered without a listener");
        return Err(ErrorCode::InvalidRegistration);
    }
    Ok(())
}

fn command(request: BrokerRegistrationRequest) -> RegisterBroker {
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
    let stopped_at = request.previous_broker_epoch;
    RegisterBroker {
        id: NodeId(request.broker_id),
        incarnation_id: request.incarnation_id,
        endpoints: request.listeners.iter().map(endpoint).collect(),
        features: request.features.iter().map(feature).collect(),
        rack: request.rack.map(|rack| rack.to_string()),
        log_dirs: request.log_dirs,
        previous_epoch: (stopped_at >= 0).then_some(BrokerEpoch(stopped_at)),
        ..RegisterBroker::default()
    }
}

fn refused(code: ErrorCode) -> BrokerRegistrationResponse {
    BrokerRegistrationResponse { error_code: code.code(), ..Default::default() }
}
