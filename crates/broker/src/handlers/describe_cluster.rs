//! DescribeCluster (key 60, v0-2): the cluster's id, its controller and its nodes: brokers on a broker's listener,
//! controllers on a controller's (KIP-919).

use millstream_base::{ErrorCode, NodeId};
use millstream_metadata::ClusterImage;
use millstream_wire::Str;
use millstream_wire::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

use crate::apis::ListenerKind;
use crate::authorizer::{Operation, Resource};
use crate::cluster_view::{self, Reachable};
use crate::context::RequestContext;

/// The endpoint type of brokers (KIP-919).
const BROKERS: i8 = 1;
/// The endpoint type of controllers.
const CONTROLLERS: i8 = 2;

pub(crate) fn handle(
    context: &RequestContext,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let kind = context.connection.kind;
    if let Err((error, message)) = check(kind, request.endpoint_type) {
        return DescribeClusterResponse {
            error_code: error.code(),
            error_message: Some(message.into()),
            ..Default::default()
        };
    }
    let image = context.broker.image();
    let (controller_id, nodes) = match kind {
        ListenerKind::Broker => (
            cluster_view::controller(context, &image),
            brokers(context, &image, request.include_fenced_brokers),
        ),
        ListenerKind::Controller => {
            let leader = context.broker.leadership().borrow().leader;
            (leader.map_or(-1, NodeId::get), controllers(context, &image))
        }
    };
    DescribeClusterResponse {
        endpoint_type: request.endpoint_type,
        cluster_id: context.broker.cluster_id().into(),
        controller_id,
        brokers: nodes,
        cluster_authorized_operations: match request.include_cluster_authorized_operations {
            true if context.allows(Operation::Describe, Resource::Cluster) => {
                context.allowed_operations(Resource::Cluster)
            }
            true => 0,
            false => i32::MIN,
        },
        ..Default::default()
    }
}

fn check(kind: ListenerKind, endpoint_type: i8) -> Result<(), (ErrorCode, &'static str)> {
    match (kind, endpoint_type) {
        (ListenerKind::Broker, BROKERS) | (ListenerKind::Controller, CONTROLLERS) => Ok(()),
        (ListenerKind::Broker, CONTROLLERS) => {
            let message = "this is a broker's listener: ask a controller for controllers";
            Err((ErrorCode::MismatchedEndpointType, message))
        }
        (ListenerKind::Controller, BROKERS) => {
            let message = "this is a controller's listener: ask a broker for brokers";
            Err((ErrorCode::MismatchedEndpointType, message))
        }
        _ => Err((ErrorCode::UnsupportedEndpointType, "there is no such endpoint type")),
    }
}

fn brokers(
    context: &RequestContext,
    image: &ClusterImage,
    with_fenced: bool,
) -> Vec<DescribeClusterBroker> {
    let described = |(broker, host, port): Reachable<'_>| DescribeClusterBroker {
        broker_id: broker.id.get(),
        host,
        port,
        rack: broker.rack.as_ref().map(Str::from),
        is_fenced: broker.fenced,
    };
    let mut brokers: Vec<_> = cluster_view::reachable(context, image).map(described).collect();
    if with_fenced {
        let fenced = image.brokers.values().filter(|broker| broker.fenced);
        let fenced = fenced.filter_map(|broker| cluster_view::reach(context, image, broker));
        brokers.extend(fenced.map(described));
    }
    brokers
}

/// The controllers that have said where they are, at the listener of the name that the client came in by.
fn controllers(context: &RequestContext, image: &ClusterImage) -> Vec<DescribeClusterBroker> {
    let listener = &*context.connection.listener;
    let described = image.controllers.values().filter_map(|controller| {
        let endpoint = controller.endpoints.iter().find(|endpoint| *endpoint.name == *listener)?;
        Some(DescribeClusterBroker {
            broker_id: controller.id.get(),
            host: (&endpoint.host).into(),
            port: endpoint.port.into(),
            ..Default::default()
        })
    });
    described.collect()
}
