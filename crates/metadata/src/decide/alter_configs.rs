//! AlterConfigs (API key 33) and IncrementalAlterConfigs (44): settings of topics, brokers, groups and client
//! metrics subscriptions.
//!
//! Each resource changes as a whole or not at all. What a setting may be is the business of the `config` crate.

use std::collections::BTreeSet;

use millstream_base::{ErrorCode, NodeId};
use millstream_config::{BrokerConfig, Change, ChangeError, ChangeTarget, Edit, Op};
use millstream_wire::stored::ConfigRecord;

use super::rules::ElectionDefaults;
use super::{Decision, Refusal, count, elr};
use crate::image::{ClusterImage, ConfigResource, ConfigResourceType};
use crate::names::check_topic_name;
use crate::record::MetadataRecord;
use crate::snapshot::text;

/// How one setting changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEdit {
    /// The setting.
    pub name: String,
    /// What is done.
    pub op: Op,
    /// The value, or the members of a list; none for a deletion.
    pub value: Option<String>,
}

/// How the settings of one resource change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// Only the settings that are named.
    Incremental(Vec<ConfigEdit>),
    /// All: what is not named goes back to its default.
    Replace(Vec<(String, Option<String>)>),
}

/// The command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterConfigs {
    /// The resources and their changes.
    pub resources: Vec<(ConfigResource, Alteration)>,
    /// Only say what would happen.
    pub validate_only: bool,
}

impl AlterConfigs {
    /// Decides each resource on its own. The reply has one entry for each distinct resource, in the order of the
    /// request.
    pub fn decide(
        &self,
        image: &ClusterImage,
        config: &BrokerConfig,
    ) -> Decision<Vec<(ConfigResource, Result<(), Refusal>)>> {
        let named = count(self.resources.iter().map(|(resource, _)| resource));
        let (mut records, mut eligible) = (Vec::new(), Vec::new());
        let mut reply = Vec::new();
        let mut answered = BTreeSet::new();
        for (resource, alteration) in &self.resources {
            if !answered.insert(resource) {
                continue;
            }
            let result = if named.get(resource).is_some_and(|times| *times > 1) {
                let message = format!("{resource} is named more than once");
                Err(Refusal::new(ErrorCode::InvalidRequest, message))
            } else {
                alter(image, config, resource, alteration).map(|changed| {
                    let defaults = ElectionDefaults::of(config);
                    let follows = elr::follow_settings(image, defaults, &changed);
                    records.extend(changed);
                    eligible.extend(follows);
                })
            };
            reply.push((resource.clone(), result));
        }
        records.extend(eligible);
        if self.validate_only {
            records.clear();
        }
        Decision { records, reply }
    }
}

fn alter(
    image: &ClusterImage,
    config: &BrokerConfig,
    resource: &ConfigResource,
    alteration: &Alteration,
) -> Result<Vec<MetadataRecord>, Refusal> {
    let target = target(image, resource)?;
    let current = image.configs.of(resource);
    let edits = match alteration {
        Alteration::Incremental(edits) => {
            let changes: Vec<Change<'_>> = edits
                .iter()
                .map(|e| Change { name: &e.name, op: e.op, value: e.value.as_deref() })
                .collect();
            config.plan(target, &current, &changes)
        }
        Alteration::Replace(wanted) => {
            let wanted: Vec<(&str, Option<&str>)> =
                wanted.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            config.plan_replacement(target, &current, &wanted)
        }
    };
    let edits = edits.map_err(|error| refusal(&error))?;
    edits.iter().try_for_each(|edit| elr::check_edit(image, resource, edit))?;
    let changes = |edit: &Edit| {
        // A broker acts on its settings whenever a record names them, even when the text stays the same.
        resource.resource_type == ConfigResourceType::Broker
            || current.get(&edit.name) != edit.value.as_ref()
    };
    Ok(edits.iter().filter(|edit| changes(edit)).map(|edit| record(resource, edit)).collect())
}

fn record(resource: &ConfigResource, edit: &Edit) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: resource.resource_type.code(),
        resource_name: text(&resource.name),
        name: text(&edit.name),
        value: edit.value.as_deref().map(text),
    })
}

/// What the `config` crate refused, with its code.
pub(super) fn refusal(error: &ChangeError) -> Refusal {
    Refusal::new(error.code(), error.to_string())
}

/// What the resource is to the `config` crate, if it exists.
fn target(image: &ClusterImage, resource: &ConfigResource) -> Result<ChangeTarget, Refusal> {
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidRequest, message));
    let name = resource.name.as_ref();
    match resource.resource_type {
        ConfigResourceType::Topic if name.is_empty() => {
            invalid("topics have no default resource: name a topic".to_owned())
        }
        ConfigResourceType::Topic => {
            check_topic_name(name)
                .map_err(|e| Refusal::new(ErrorCode::InvalidTopicException, e.to_string()))?;
            if image.topics.get(name).is_some() {
                return Ok(ChangeTarget::Topic);
            }
            let message = format!("topic `{name}` does not exist");
            Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, message))
        }
        ConfigResourceType::Broker if name.is_empty() => Ok(ChangeTarget::BrokerDefault),
        ConfigResourceType::Broker => {
            let Some(id) = name.parse().ok().filter(|id| *id >= 0).map(NodeId) else {
                return invalid(format!("`{name}` is not the number of a broker"));
            };
            if image.broker(id).is_some() {
                return Ok(ChangeTarget::Broker);
            }
            let message = format!("broker {id} is not registered");
            Err(Refusal::new(ErrorCode::BrokerIdNotRegistered, message))
        }
        ConfigResourceType::BrokerLogger => {
            invalid("the log levels of a broker cannot be changed over the protocol".to_owned())
        }
        ConfigResourceType::ClientMetrics if name.is_empty() => {
            invalid("a client metrics subscription needs a name".to_owned())
        }
        ConfigResourceType::ClientMetrics => Ok(ChangeTarget::ClientMetrics),
        ConfigResourceType::Group if name.is_empty() => {
            invalid("groups have no default resource: name a group".to_owned())
        }
        ConfigResourceType::Group => Ok(ChangeTarget::Group),
    }
}
