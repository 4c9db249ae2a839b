//! DescribeCluster (key 60, v0-2): the cluster's id, its controller and its brokers.

use millstream_base::ErrorCode;
use millstream_wire::Str;
use millstream_wire::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};

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
    let refuse = |error: ErrorCode, message: &str| DescribeClusterResponse {
        error_code: error.code(),
        error_message: Some(message.into()),
        ..Default::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            let message = "this is a broker's listener: ask a controller for controllers";
            return refuse(ErrorCode::MismatchedEndpointType, message);
        }
        _ => return refuse(ErrorCode::UnsupportedEndpointType, "there is no such endpoint type"),
    }
    let image = context.broker.image();
    let described = |(broker, host, port): Reachable<'_>| DescribeClusterBroker {
        broker_id: broker.id.get(),
        host,
        port,
        rack: broker.rack.as_ref().map(Str::from),
        is_fenced: broker.fenced,
    };
    let mut brokers: Vec<_> = cluster_view::reachable(context, &image).map(described).collect();
    if request.include_fenced_brokers {
        let fenced = image.brokers.values().filter(|broker| broker.fenced);
        let fenced = fenced.filter_map(|broker| cluster_view::reach(context, &image, broker));
        brokers.extend(fenced.map(described));
    }
    DescribeClusterResponse {
        cluster_id: context.broker.cluster_id().into(),
        controller_id: cluster_view::controller(context, &image),
        brokers,
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
