//! Resources that settings belong to, as requests name them: which one is meant, and who may see or change it.

use millstream_base::ErrorCode;
use millstream_metadata::decide::{AlterConfigs, Alteration, Refusal};
use millstream_metadata::{ConfigResource, ConfigResourceType};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

/// The resource of a request's type and name.
pub(crate) fn named(resource_type: i8, name: &str) -> Result<ConfigResource, Refusal> {
    let known = ConfigResourceType::from_code(resource_type).ok_or_else(|| {
        let message = format!("there is no resource type {resource_type}");
        Refusal::new(ErrorCode::InvalidRequest, message)
    })?;
    Ok(ConfigResource::new(known, name))
}

/// Whether the request's principal may see the settings of a resource.
pub(crate) fn may_describe(
    context: &RequestContext,
    resource: &ConfigResource,
) -> Result<(), Refusal> {
    may(context, resource, Operation::DescribeConfigs, "see")
}

fn may(
    context: &RequestContext,
    resource: &ConfigResource,
    operation: Operation,
    verb: &str,
) -> Result<(), Refusal> {
    let (protected, code) = match resource.resource_type {
        ConfigResourceType::Topic => {
            (Resource::Topic(&resource.name), ErrorCode::TopicAuthorizationFailed)
        }
        ConfigResourceType::Group => {
            (Resource::Group(&resource.name), ErrorCode::GroupAuthorizationFailed)
        }
        ConfigResourceType::Broker
        | ConfigResourceType::BrokerLogger
        | ConfigResourceType::ClientMetrics => {
            (Resource::Cluster, ErrorCode::ClusterAuthorizationFailed)
        }
    };
    if context.allows(operation, protected) {
        return Ok(());
    }
    Err(Refusal::new(code, format!("the principal may not {verb} the settings of {resource}")))
}

/// One resource of a request: its type and name as they came, and what shall become of its settings.
pub(crate) struct Asked {
    pub resource_type: i8,
    pub name: String,
    pub alteration: Result<Alteration, Refusal>,
}

/// Alters settings; one result for each resource of the request, in its order.
pub(crate) async fn alter(
    context: &RequestContext,
    asked: Vec<Asked>,
    validate_only: bool,
) -> Vec<(i8, String, Result<(), Refusal>)> {
    let mut results = Vec::with_capacity(asked.len());
    let mut resources = Vec::new();
    for Asked { resource_type, name, alteration } in asked {
        let checked = named(resource_type, &name).and_then(|resource| {
            may(context, &resource, Operation::AlterConfigs, "change")?;
            Ok((resource, alteration?))
        });
        // Those that are decided get their results below.
        let (resource, outcome) = match checked {
            Ok((resource, alteration)) => {
                resources.push((resource.clone(), alteration));
                (Some(resource), Ok(()))
            }
            Err(refusal) => (None, Err(refusal)),
        };
        results.push((resource, (resource_type, name, outcome)));
    }
    let config = context.broker.config().clone();
    let command = AlterConfigs { resources, validate_only };
    let decided = context.broker.quorum();
    let decided = decided.execute(move |image, _| Ok(command.decide(image, &config))).await;
    let failed = decided.as_ref().err().map(|e| Refusal::new(e.code(), e.to_string()));
    let decided = decided.unwrap_or_default();
    let outcome = |resource: &ConfigResource| match &failed {
        Some(refusal) => Err(refusal.clone()),
        None => {
            let found = decided.iter().find(|(decided, _)| decided == resource);
            found.map_or(Ok(()), |(_, outcome)| outcome.clone())
        }
    };
    let finished = results.into_iter().map(|(resource, (kind, name, early))| {
        (kind, name, resource.as_ref().map_or(early, outcome))
    });
    finished.collect()
}
