//! Every setting declared once: name, type, default, bounds, scope, update mode, doc and what it does here.
//!
//! The table ([`Setting`], under `settings/`) is the one source: parsing, validation, `DescribeConfigs`, the run-time
//! changes and the reference page are all derived from it. Around it stand four views:
//!
//! - [`ServerProperties`]: the text of a `server.properties` file and `--set` overrides, nothing judged yet;
//! - [`BrokerConfig`]: that text judged and typed, with the settings changed at run time laid over it;
//! - [`TopicConfig`]: what one topic's log does, from the topic's own settings and the broker's defaults;
//! - [`ConsumerGroupConfig`]: how one consumer group is kept, likewise.
//!
//! This crate never touches a file, a socket or the clock, and no text handed to it can make it panic. A setting is never
//! accepted silently: it acts, or it is named in [`BrokerConfig::notices`], or it is refused with the reason.

#![deny(clippy::indexing_slicing)]

mod alter;
mod broker;
mod describe;
mod error;
mod group;
mod layers;
mod nearest;
mod properties;
mod reference;
mod setting;
mod settings;
mod throttle;
mod topic;
mod value;

pub use alter::{Change, ChangeError, ChangeTarget, Edit, Op};
pub use broker::{
    BrokerConfig, CleanerConfig, ClusterConfig, Formation, GroupsConfig, HostPort, InternalTopic,
    Listener, LogConfig, NetworkConfig, NodeConfig, Notice, NoticeKind, QuorumConfig,
    ReplicaSelector, ReplicationConfig, Roles, SecurityProtocol, TransactionsConfig, Voter,
};
pub use describe::{ConfigEntry, ConfigSource, ConfigSynonym, ConfigType, Resource};
pub use error::{ConfigError, ConfigErrors};
pub use group::ConsumerGroupConfig;
pub use layers::Overrides;
pub use nearest::nearest;
pub use properties::{PropertiesError, ServerProperties};
pub use reference::reference_page;
pub use setting::{Importance, Scope, Setting, Status, Synonym, Type, Unit, Update, Valid};
pub use settings::{all, find, retired};
pub use throttle::{ThrottledReplicas, TopicThrottles};
pub use topic::{CompressionType, TimestampType, TopicConfig};
pub use value::Value;
