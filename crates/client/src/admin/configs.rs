//! Settings of topics, brokers and groups.

use millstream_base::NodeId;
use millstream_wire::Str;
use millstream_wire::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResult,
};
use millstream_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::Admin;
use crate::ClientError;

/// What has settings.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConfigResource {
    /// A topic.
    Topic(String),
    /// One broker.
    Broker(NodeId),
    /// The default of all brokers.
    Cluster,
    /// A group.
    Group(String),
}

impl ConfigResource {
    const fn code(&self) -> i8 {
        match self {
            Self::Topic(_) => 2,
            Self::Broker(_) | Self::Cluster => 4,
            Self::Group(_) => 32,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Topic(name) | Self::Group(name) => name.clone(),
            Self::Broker(node) => node.to_string(),
            Self::Cluster => String::new(),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Topic(name) => format!("topic `{name}`"),
            Self::Group(name) => format!("group `{name}`"),
            Self::Broker(node) => format!("broker {node}"),
            Self::Cluster => "the cluster's settings".to_owned(),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on this broker while it runs.
    Broker,
    /// Set for all brokers while they run.
    ClusterDefault,
    /// In the broker's file or command line.
    StaticBroker,
    /// The default.
    Default,
    /// Set on the broker's logger.
    BrokerLogger,
    /// Set on the group.
    Group,
    /// One that this client does not know.
    Unknown(i8),
}

impl ConfigSource {
    const fn of(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::ClusterDefault,
            4 => Self::StaticBroker,
            5 => Self::Default,
            6 => Self::BrokerLogger,
            8 => Self::Group,
            other => Self::Unknown(other),
        }
    }

    /// A short name: `topic`, `broker`, `cluster`, `file`, `default`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Broker => "broker",
            Self::ClusterDefault => "cluster",
            Self::StaticBroker => "file",
            Self::Default => "default",
            Self::BrokerLogger => "logger",
            Self::Group => "group",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// The kind of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConfigValueType {
    /// The broker does not say.
    Unknown,
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// 32 bits.
    Int,
    /// 16 bits.
    Short,
    /// 64 bits.
    Long,
    /// With a fraction.
    Double,
    /// Several with commas between.
    List,
    /// A class name.
    Class,
    /// Never shown.
    Password,
}

impl ConfigValueType {
    const fn of(code: i8) -> Self {
        match code {
            1 => Self::Boolean,
            2 => Self::String,
            3 => Self::Int,
            4 => Self::Short,
            5 => Self::Long,
            6 => Self::Double,
            7 => Self::List,
            8 => Self::Class,
            9 => Self::Password,
            _ => Self::Unknown,
        }
    }
}

/// A value that would act if a nearer one were not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The setting's name at that place.
    pub name: String,
    /// Its value.
    pub value: Option<String>,
    /// The place.
    pub source: ConfigSource,
}

/// A setting with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// Its value; `None` when not set or not shown.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it can be changed while the broker runs.
    pub read_only: bool,
    /// Whether the value is a secret.
    pub sensitive: bool,
    /// The kind of its value.
    pub value_type: ConfigValueType,
    /// What it does.
    pub documentation: Option<String>,
    /// Where else it is set, the nearest first.
    pub synonyms: Vec<ConfigSynonym>,
}

/// What to describe besides the values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescribeConfigsOptions {
    /// Only these settings.
    pub names: Option<Vec<String>>,
    /// With synonyms.
    pub synonyms: bool,
    /// With documentation.
    pub documentation: bool,
}

/// A change of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigOp {
    /// To this value.
    Set(String, String),
    /// Back to what acts without it.
    Delete(String),
    /// Adds elements to a list.
    Append(String, String),
    /// Takes elements out of a list.
    Subtract(String, String),
}

impl Admin {
    /// The settings of one thing, by name.
    pub async fn describe_configs(
        &self,
        resource: &ConfigResource,
        options: &DescribeConfigsOptions,
    ) -> Result<Vec<ConfigEntry>, ClientError> {
        let names = options.names.as_ref();
        let request = DescribeConfigsRequest {
            resources: vec![DescribeConfigsResource {
                resource_type: resource.code(),
                resource_name: resource.name().into(),
                configuration_keys: names.map(|names| names.iter().map(Into::into).collect()),
            }],
            include_synonyms: options.synonyms,
            include_documentation: options.documentation,
        };
        let mut retry = self.cluster.retry(resource.describe(), self.within);
        loop {
            let answer = match resource {
                ConfigResource::Broker(node) => {
                    self.cluster.call_node(*node, |version| downgraded(&request, version)).await
                }
                _ => self.cluster.call_any(|version| downgraded(&request, version)).await,
            };
            let read = answer.and_then(|answer| {
                let result = answer.results.into_iter().next();
                read_result(resource, result)
            });
            match read {
                Ok(entries) => return Ok(entries),
                // A topic that is not there is retriable by the table, but waiting makes none.
                Err(error @ ClientError::Broker { .. }) => return Err(error),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// Changes settings of one thing and leaves its others alone.
    pub async fn alter_configs(
        &self,
        resource: &ConfigResource,
        changes: &[ConfigOp],
        validate_only: bool,
    ) -> Result<(), ClientError> {
        let request = IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: resource.code(),
                resource_name: resource.name().into(),
                configs: changes.iter().map(alterable).collect(),
            }],
            validate_only,
        };
        let response = match resource {
            ConfigResource::Broker(node) => {
                self.cluster.call_node(*node, |_| request.clone()).await?
            }
            _ => self.cluster.call_controller(|_| request.clone()).await?,
        };
        let what = || resource.describe();
        let result = response.responses.first().ok_or_else(|| ClientError::Missing(what()))?;
        let message = result.error_message.as_ref().map(Str::as_str);
        ClientError::check_with(result.error_code, message, what)
    }
}

/// Older versions know no documentation, and must not be asked for it.
fn downgraded(request: &DescribeConfigsRequest, version: i16) -> DescribeConfigsRequest {
    let mut request = request.clone();
    request.include_documentation &= version >= 3;
    request
}

fn read_result(
    resource: &ConfigResource,
    result: Option<DescribeConfigsResult>,
) -> Result<Vec<ConfigEntry>, ClientError> {
    let what = || resource.describe();
    let result = result.ok_or_else(|| ClientError::Missing(what()))?;
    let message = result.error_message.as_ref().map(Str::as_str);
    ClientError::check_with(result.error_code, message, what)?;
    let mut entries: Vec<ConfigEntry> = result.configs.iter().map(entry).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

fn entry(config: &DescribeConfigsResourceResult) -> ConfigEntry {
    let text = |text: &Option<Str>| text.as_ref().map(ToString::to_string);
    ConfigEntry {
        name: config.name.to_string(),
        value: text(&config.value),
        source: ConfigSource::of(config.config_source),
        read_only: config.read_only,
        sensitive: config.is_sensitive,
        value_type: ConfigValueType::of(config.config_type),
        documentation: text(&config.documentation),
        synonyms: config
            .synonyms
            .iter()
            .map(|synonym| ConfigSynonym {
                name: synonym.name.to_string(),
                value: text(&synonym.value),
                source: ConfigSource::of(synonym.source),
            })
            .collect(),
    }
}

fn alterable(change: &ConfigOp) -> AlterableConfig {
    let (name, config_operation, value) = match change {
        ConfigOp::Set(name, value) => (name, 0, Some(value)),
        ConfigOp::Delete(name) => (name, 1, None),
        ConfigOp::Append(name, value) => (name, 2, Some(value)),
        ConfigOp::Subtract(name, value) => (name, 3, Some(value)),
    };
    AlterableConfig { name: name.into(), config_operation, value: value.map(Into::into) }
}
