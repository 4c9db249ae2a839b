//! Settings stored in the cluster, by resource.
//!
//! Key types: [`ConfigResource`], [`ConfigsImage`]. Only what somebody set is here; defaults are the business of
//! whoever reads a setting.

use std::sync::Arc;

use millstream_config::Overrides;

use crate::persistent_map::PersistentMap;

/// What a setting can belong to, with the number that the protocol uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i8)]
pub enum ConfigResourceType {
    /// A topic.
    Topic = 2,
    /// A broker, or with an empty name all brokers.
    Broker = 4,
    /// The log levels of one broker: never stored, only addressed.
    BrokerLogger = 8,
    /// A subscription to clients' metrics.
    ClientMetrics = 16,
    /// A group.
    Group = 32,
}

impl ConfigResourceType {
    /// The number in the protocol and in records.
    pub const fn code(self) -> i8 {
        self as i8
    }

    /// The type of a number.
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            8 => Some(Self::BrokerLogger),
            16 => Some(Self::ClientMetrics),
            32 => Some(Self::Group),
            _ => None,
        }
    }
}

/// Something that settings belong to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// What it is.
    pub resource_type: ConfigResourceType,
    /// Which one; empty for the cluster-wide default of all brokers.
    pub name: Arc<str>,
}

impl ConfigResource {
    /// A resource.
    pub fn new(resource_type: ConfigResourceType, name: impl Into<Arc<str>>) -> Self {
        Self { resource_type, name: name.into() }
    }

    /// A topic.
    pub fn topic(name: impl Into<Arc<str>>) -> Self {
        Self::new(ConfigResourceType::Topic, name)
    }

    /// The default of all brokers.
    pub fn default_broker() -> Self {
        Self::new(ConfigResourceType::Broker, "")
    }

    /// One broker.
    pub fn broker(id: millstream_base::NodeId) -> Self {
        Self::new(ConfigResourceType::Broker, id.to_string())
    }
}

impl std::fmt::Display for ConfigResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.resource_type, self.name.as_ref()) {
            (ConfigResourceType::Topic, name) => write!(f, "topic `{name}`"),
            (ConfigResourceType::Broker, "") => f.write_str("the default of all brokers"),
            (ConfigResourceType::Broker, name) => write!(f, "broker {name}"),
            (ConfigResourceType::BrokerLogger, name) => write!(f, "the loggers of broker {name}"),
            (ConfigResourceType::ClientMetrics, name) => write!(f, "client metrics `{name}`"),
            (ConfigResourceType::Group, name) => write!(f, "group `{name}`"),
        }
    }
}

/// All stored settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConfigsImage {
    by_resource: PersistentMap<ConfigResource, Arc<Overrides>>,
}

impl ConfigsImage {
    /// The settings of one resource; `None` when it has none.
    pub fn get(&self, resource: &ConfigResource) -> Option<&Arc<Overrides>> {
        self.by_resource.get(resource)
    }

    /// The settings of one resource, empty when it has none.
    pub fn of(&self, resource: &ConfigResource) -> Arc<Overrides> {
        self.get(resource).cloned().unwrap_or_default()
    }

    /// The settings of one topic, empty when it has none.
    pub fn of_topic(&self, name: &str) -> Arc<Overrides> {
        self.of(&ConfigResource::topic(name))
    }

    /// All resources that have settings.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &Arc<Overrides>)> {
        self.by_resource.iter()
    }

    /// Sets or, with `None`, takes out one setting.
    pub(crate) fn set(&mut self, resource: ConfigResource, name: &str, value: Option<&str>) {
        let Some(value) = value else {
            self.unset(&resource, name);
            return;
        };
        if let Some(map) = self.by_resource.get_mut(&resource) {
            Arc::make_mut(map).insert(name.to_owned(), value.to_owned());
        } else {
            let map = Overrides::from([(name.to_owned(), value.to_owned())]);
            self.by_resource.insert(resource, Arc::new(map));
        }
    }

    fn unset(&mut self, resource: &ConfigResource, name: &str) {
        let Some(map) = self.by_resource.get_mut(resource) else { return };
        let map = Arc::make_mut(map);
        map.remove(name);
        if map.is_empty() {
            self.by_resource.remove(resource);
        }
    }

    /// Takes out all settings of a resource; `true` when it had some.
    pub(crate) fn remove_resource(&mut self, resource: &ConfigResource) -> bool {
        self.by_resource.remove(resource).is_some()
    }
}
