//! What `DescribeConfigs` answers: [`ConfigEntry`], one for each setting of a [`Resource`].

use crate::broker::BrokerConfig;
use crate::layers::{Layers, Overrides};
use crate::setting::{Scope, Setting, Status, Type, Update};
use crate::settings;
use crate::value::Value;

/// What is described.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    /// This broker.
    Broker,
    /// The defaults of all brokers (the broker resource with an empty name): only what was set at run time.
    BrokerDefault,
    /// A topic with these settings of its own.
    Topic(&'a Overrides),
    /// A group with these settings of its own.
    Group(&'a Overrides),
    /// A client metrics subscription with these settings.
    ClientMetrics(&'a Overrides),
}

/// Where a value comes from; the numbers are those of the protocol (KIP-226).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic = 1,
    /// Set at run time for this broker.
    DynamicBroker = 2,
    /// Set at run time for all brokers.
    DynamicDefaultBroker = 3,
    /// Set when the broker started.
    StaticBroker = 4,
    /// Not set.
    Default = 5,
    /// Set on a logger.
    BrokerLogger = 6,
    /// Set on a client metrics subscription.
    ClientMetrics = 7,
    /// Set on a group.
    Group = 8,
}

impl ConfigSource {
    /// The number of the protocol.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// The type of a setting, in the numbers of the protocol (KIP-569).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
#[allow(missing_docs, reason = "the names say it")]
pub enum ConfigType {
    Boolean = 1,
    String = 2,
    Int = 3,
    Short = 4,
    Long = 5,
    Double = 6,
    List = 7,
    Class = 8,
    Password = 9,
}

impl ConfigType {
    /// The number of the protocol.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }
}

impl From<Type> for ConfigType {
    fn from(kind: Type) -> Self {
        match kind {
            Type::Boolean => Self::Boolean,
            Type::String => Self::String,
            Type::Int => Self::Int,
            Type::Short => Self::Short,
            Type::Long => Self::Long,
            Type::Double => Self::Double,
            Type::List => Self::List,
            Type::Class => Self::Class,
            Type::Password => Self::Password,
        }
    }
}

/// One setting of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: &'static str,
    /// Its value; `None` for null and for passwords.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// It cannot be changed at run time.
    pub read_only: bool,
    /// It is a password.
    pub sensitive: bool,
    /// Every place that gives it a value, the one that wins first.
    pub synonyms: Vec<ConfigSynonym>,
    /// Its type.
    pub config_type: ConfigType,
    /// One sentence.
    pub documentation: &'static str,
}

impl ConfigEntry {
    /// Nobody set it.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.source == ConfigSource::Default
    }
}

/// One place that gives a setting a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The setting that is set there.
    pub name: &'static str,
    /// Its value there; `None` for passwords.
    pub value: Option<String>,
    /// The place.
    pub source: ConfigSource,
}

impl BrokerConfig {
    /// Describes the settings of `resource` that `wanted` holds for, in the order of their names.
    #[must_use]
    pub fn describe(
        &self,
        resource: Resource<'_>,
        wanted: impl Fn(&str) -> bool,
    ) -> Vec<ConfigEntry> {
        let scope = resource.scope();
        let mut entries: Vec<ConfigEntry> = settings::all()
            .iter()
            .filter(|setting| setting.scope == scope && !setting.internal && wanted(setting.name))
            .filter_map(|setting| self.entry(resource, setting))
            .collect();
        entries.sort_unstable_by_key(|entry| entry.name);
        entries
    }

    fn entry(&self, resource: Resource<'_>, setting: &'static Setting) -> Option<ConfigEntry> {
        let layers = self.layers();
        let mut synonyms = Vec::new();
        let own = resource.own();
        if let Some((overrides, source)) = own
            && let Some(text) = overrides.get(setting.name)
        {
            synonyms.push(synonym(setting, source, text));
        }
        match resource {
            Resource::Broker => broker_synonyms(layers, &[setting], &mut synonyms),
            Resource::BrokerDefault => {
                let text = layers.cluster.get(setting.name)?;
                synonyms.push(synonym(setting, ConfigSource::DynamicDefaultBroker, text));
            }
            _ if setting.synonyms.is_empty() => default_synonym(setting, &mut synonyms),
            _ => {
                let names = setting.synonyms.iter();
                let givers: Vec<&Setting> =
                    names.filter_map(|s| settings::find(Scope::Broker, s.name)).collect();
                broker_synonyms(layers, &givers, &mut synonyms);
            }
        }
        let value = match own.and_then(|(overrides, _)| overrides.get(setting.name)) {
            Some(text) => Value::parse(setting, text).unwrap_or_else(|_| Value::Text(text.clone())),
            None if setting.scope == Scope::Broker => layers.value(setting),
            None => layers.inherited(setting),
        };
        Some(ConfigEntry {
            name: setting.name,
            value: if setting.is_sensitive() { None } else { value.text() },
            source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
            read_only: setting.update == Update::ReadOnly || setting.status == Status::ActsAtStart,
            sensitive: setting.is_sensitive(),
            synonyms,
            config_type: setting.kind.into(),
            documentation: setting.doc,
        })
    }
}

impl<'a> Resource<'a> {
    fn scope(self) -> Scope {
        match self {
            Self::Broker | Self::BrokerDefault => Scope::Broker,
            Self::Topic(_) => Scope::Topic,
            Self::Group(_) => Scope::Group,
            Self::ClientMetrics(_) => Scope::ClientMetrics,
        }
    }

    /// What is set on the resource itself, and what such a value is called.
    fn own(self) -> Option<(&'a Overrides, ConfigSource)> {
        match self {
            Self::Broker | Self::BrokerDefault => None,
            Self::Topic(overrides) => Some((overrides, ConfigSource::Topic)),
            Self::Group(overrides) => Some((overrides, ConfigSource::Group)),
            Self::ClientMetrics(overrides) => Some((overrides, ConfigSource::ClientMetrics)),
        }
    }
}

/// What gives a value to any of `givers`: layer by layer, and within a layer the most specific first.
fn broker_synonyms(layers: &Layers, givers: &[&'static Setting], into: &mut Vec<ConfigSynonym>) {
    for (layer, source) in layers.ordered() {
        for giver in givers {
            if let Some(text) = layer.get(giver.name) {
                into.push(synonym(giver, source, text));
            }
        }
    }
    for giver in givers {
        default_synonym(giver, into);
    }
}

fn default_synonym(setting: &'static Setting, into: &mut Vec<ConfigSynonym>) {
    if let Some(text) = setting.default {
        into.push(synonym(setting, ConfigSource::Default, text));
    }
}

fn synonym(setting: &'static Setting, source: ConfigSource, text: &str) -> ConfigSynonym {
    let value = if setting.is_sensitive() { None } else { Some(text.to_owned()) };
    ConfigSynonym { name: setting.name, value, source }
}
