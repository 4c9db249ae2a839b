//! ListConfigResources (key 74, v0-1): what has settings, or could have (KIP-1142). Version 0 lists client metrics
//! subscriptions alone.

use millstream_base::ErrorCode;
use millstream_metadata::{ClusterImage, ConfigResourceType};
use millstream_wire::Str;
use millstream_wire::messages::list_config_resources::{
    ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

const ALL: [ConfigResourceType; 5] = [
    ConfigResourceType::Topic,
    ConfigResourceType::Broker,
    ConfigResourceType::BrokerLogger,
    ConfigResourceType::ClientMetrics,
    ConfigResourceType::Group,
];

pub(crate) fn handle(
    context: &RequestContext,
    request: ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let refuse = |error: ErrorCode| ListConfigResourcesResponse {
        error_code: error.code(),
        ..Default::default()
    };
    if !context.allows(Operation::DescribeConfigs, Resource::Cluster) {
        return refuse(ErrorCode::ClusterAuthorizationFailed);
    }
    let asked = request.resource_types.into_iter();
    let asked: Option<Vec<_>> = asked.map(ConfigResourceType::from_code).collect();
    let types = match asked {
        None => return refuse(ErrorCode::UnsupportedVersion),
        _ if context.version == 0 => vec![ConfigResourceType::ClientMetrics],
        Some(types) if types.is_empty() => ALL.to_vec(),
        Some(mut types) => {
            types.sort_unstable();
            types.dedup();
            types
        }
    };
    let image = context.broker.image();
    let resources = types.into_iter().flat_map(|kind| {
        let resource_type = kind.code();
        let names = names(&image, kind).into_iter();
        names.map(move |resource_name| ConfigResource { resource_name, resource_type })
    });
    ListConfigResourcesResponse { config_resources: resources.collect(), ..Default::default() }
}

/// Topics and brokers can all be configured; of the others only those are known that are.
fn names(image: &ClusterImage, kind: ConfigResourceType) -> Vec<Str> {
    match kind {
        ConfigResourceType::Topic => image.topics.iter().map(|t| (&t.name).into()).collect(),
        ConfigResourceType::Broker | ConfigResourceType::BrokerLogger => {
            image.alive_brokers().map(|broker| broker.id.to_string().into()).collect()
        }
        ConfigResourceType::ClientMetrics | ConfigResourceType::Group => {
            let configured = image.configs.iter().filter(|(r, _)| r.resource_type == kind);
            configured.map(|(resource, _)| (&resource.name).into()).collect()
        }
    }
}
