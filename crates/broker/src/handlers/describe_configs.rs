//! DescribeConfigs (key 32, v1-4): settings with their values, sources, synonyms, types and docs.

use std::collections::BTreeSet;

use millstream_base::ErrorCode;
use millstream_config::{BrokerConfig, ConfigEntry, Resource as Described};
use millstream_metadata::decide::Refusal;
use millstream_metadata::{ClusterImage, ConfigResource, ConfigResourceType, names};
use millstream_wire::Str;
use millstream_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};

use crate::context::RequestContext;
use crate::resources;

pub(crate) fn handle(
    context: &RequestContext,
    request: DescribeConfigsRequest,
) -> DescribeConfigsResponse {
    let image = context.broker.image();
    let config = context.broker.config().clone();
    let DescribeConfigsRequest { resources, include_synonyms, include_documentation } = request;
    let told = Told { synonyms: include_synonyms, documentation: include_documentation };
    let describe = |resource: DescribeConfigsResource| {
        let described = entries(context, &image, &config, &resource);
        let refusal = described.as_ref().err();
        DescribeConfigsResult {
            error_code: refusal.map_or(ErrorCode::None, |refusal| refusal.code).code(),
            error_message: refusal.map(|refusal| (&refusal.message).into()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs: described
                .unwrap_or_default()
                .into_iter()
                .map(|entry| setting(told, entry))
                .collect(),
        }
    };
    let results = resources.into_iter().map(describe).collect();
    DescribeConfigsResponse { results, ..Default::default() }
}

/// The settings of one resource that are asked for. No list of names, or an empty one, asks for all.
fn entries(
    context: &RequestContext,
    image: &ClusterImage,
    config: &BrokerConfig,
    asked: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, Refusal> {
    let resource = resources::named(asked.resource_type, &asked.resource_name)?;
    resources::may_describe(context, &resource)?;
    check(context, image, &resource)?;
    let keys: BTreeSet<&str> = asked.configuration_keys.iter().flatten().map(Str::as_str).collect();
    let own = image.configs.of(&resource);
    let described = match resource.resource_type {
        ConfigResourceType::Topic => Described::Topic(&own),
        ConfigResourceType::Broker if resource.name.is_empty() => Described::BrokerDefault,
        ConfigResourceType::Broker => Described::Broker,
        ConfigResourceType::ClientMetrics => Described::ClientMetrics(&own),
        ConfigResourceType::Group => Described::Group(&own),
        ConfigResourceType::BrokerLogger => return Ok(Vec::new()),
    };
    Ok(config.describe(described, |name| keys.is_empty() || keys.contains(name)))
}

/// Whether the resource exists and this broker can tell its settings.
fn check(
    context: &RequestContext,
    image: &ClusterImage,
    resource: &ConfigResource,
) -> Result<(), Refusal> {
    let name = &*resource.name;
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    match resource.resource_type {
        ConfigResourceType::Topic => {
            names::check_topic_name(name)
                .map_err(|e| Refusal::new(ErrorCode::InvalidTopicException, e.to_string()))?;
            let message = || format!("topic `{name}` does not exist");
            let refusal = || Refusal::new(ErrorCode::UnknownTopicOrPartition, message());
            image.topics.get(name).map(|_| ()).ok_or_else(refusal)
        }
        ConfigResourceType::Broker if name.is_empty() => Ok(()),
        ConfigResourceType::Broker if name == context.broker.node_id().to_string() => Ok(()),
        ConfigResourceType::Broker => {
            let me = context.broker.node_id();
            invalid(format!("this is broker {me}: ask broker `{name}` for its own settings"))
        }
        ConfigResourceType::ClientMetrics | ConfigResourceType::Group if name.is_empty() => {
            invalid("the resource needs a name".to_owned())
        }
        ConfigResourceType::ClientMetrics | ConfigResourceType::Group => Ok(()),
        ConfigResourceType::BrokerLogger => {
            invalid("the log levels of a broker cannot be told over the protocol".to_owned())
        }
    }
}

/// What is told of a setting beside its value.
#[derive(Clone, Copy)]
struct Told {
    synonyms: bool,
    documentation: bool,
}

fn setting(told: Told, entry: ConfigEntry) -> DescribeConfigsResourceResult {
    let synonyms = if told.synonyms { entry.synonyms } else { Vec::new() };
    let synonyms = synonyms.into_iter().map(|synonym| DescribeConfigsSynonym {
        name: Str::from_static(synonym.name),
        value: synonym.value.map(Str::from),
        source: synonym.source.code(),
    });
    DescribeConfigsResourceResult {
        name: Str::from_static(entry.name),
        value: entry.value.map(Str::from),
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
        synonyms: synonyms.collect(),
        config_type: entry.config_type.code(),
        documentation: told.documentation.then(|| Str::from_static(entry.documentation)),
    }
}
