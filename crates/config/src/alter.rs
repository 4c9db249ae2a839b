//! Changes at run time: [`BrokerConfig::plan`] judges them and says what to store, and stores nothing itself.

use crate::broker::{BrokerConfig, not_yet, unknown};
use crate::error::ConfigError;
use crate::group::ConsumerGroupConfig;
use crate::layers::Overrides;
use crate::setting::{Scope, Setting, Status, Type, Update};
use crate::settings::find;
use crate::topic::TopicConfig;
use crate::value::Value;
use millstream_base::ErrorCode;
use std::collections::BTreeSet;
use thiserror::Error;

/// What to do about a setting that is read once.
const AT_START: &str = "set it in server.properties and restart";

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeTarget {
    /// One broker.
    Broker,
    /// All brokers (the broker resource with an empty name).
    BrokerDefault,
    /// A topic.
    Topic,
    /// A group.
    Group,
    /// A client metrics subscription.
    ClientMetrics,
}

/// How a setting is changed; the numbers are those of `IncrementalAlterConfigs` (KIP-339).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// Takes the value.
    Set,
    /// Goes back to what it is when nothing is set.
    Delete,
    /// Adds members to a list.
    Append,
    /// Takes members from a list.
    Subtract,
}

impl Op {
    /// The operation of a protocol number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<Self> {
        Some(match code {
            0 => Self::Set,
            1 => Self::Delete,
            2 => Self::Append,
            3 => Self::Subtract,
            _ => return None,
        })
    }
}

/// One change of one setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// The setting.
    pub name: &'a str,
    /// How it changes.
    pub op: Op,
    /// The value, or the members; a deletion has none.
    pub value: Option<&'a str>,
}

/// What to store for one setting: a text, or nothing any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The setting.
    pub name: String,
    /// Its new text; `None` deletes it.
    pub value: Option<String>,
}

/// Why a change was refused. Nothing of it is stored then.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChangeError {
    /// The request itself makes no sense.
    #[error("{0}")]
    Request(String),
    /// A setting of a topic, group or client metrics subscription.
    #[error("{0}")]
    Config(#[source] ConfigError),
    /// A setting of a broker. Kafka answers with another code here.
    #[error("{0}")]
    BrokerConfig(#[source] ConfigError),
}

impl ChangeError {
    /// The code that clients are answered with.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Request(_) | Self::BrokerConfig(_) => ErrorCode::InvalidRequest,
            Self::Config(_) => ErrorCode::InvalidConfig,
        }
    }
}

impl ChangeTarget {
    fn scope(self) -> Scope {
        match self {
            Self::Broker | Self::BrokerDefault => Scope::Broker,
            Self::Topic => Scope::Topic,
            Self::Group => Scope::Group,
            Self::ClientMetrics => Scope::ClientMetrics,
        }
    }

    fn error(self, error: ConfigError) -> ChangeError {
        match self {
            Self::Broker | Self::BrokerDefault => ChangeError::BrokerConfig(error),
            Self::Topic | Self::Group | Self::ClientMetrics => ChangeError::Config(error),
        }
    }

    fn setting(self, name: &str) -> Result<&'static Setting, ConfigError> {
        find(self.scope(), name).ok_or_else(|| unknown(self.scope(), name))
    }

    /// Judges one setting made at run time: known, changeable on this target, valid, and acting.
    pub(crate) fn judge(self, name: &str, text: &str) -> Result<Value, ConfigError> {
        let setting = self.setting(name)?;
        let advice = match (self, setting.update) {
            (_, Update::ReadOnly) => Some(AT_START),
            (Self::BrokerDefault, Update::PerBroker) => Some("set it on each broker by its id"),
            _ => None,
        };
        if let Some(advice) = advice {
            return Err(ConfigError::ReadOnly { name: name.to_owned(), advice });
        }
        let value = Value::parse(setting, text)?;
        if value == Value::default_of(setting) {
            return Ok(value);
        }
        let reason = match setting.status {
            Status::Acts => return Ok(value),
            Status::ActsAtStart => {
                return Err(ConfigError::ReadOnly { name: name.to_owned(), advice: AT_START });
            }
            Status::NotYet(part) => return Err(not_yet(setting, text, part)),
            Status::NoMeaning => "it has no meaning in Millstream".to_owned(),
            Status::Idle(part) => format!("Millstream has no {part} yet"),
        };
        Err(ConfigError::Ineffective { name: name.to_owned(), reason })
    }
}

impl BrokerConfig {
    /// Judges `changes` to a resource on which `current` is set, and returns what to store.
    ///
    /// # Errors
    /// [`ChangeError`] with the code and message to answer; then nothing may be stored.
    pub fn plan(
        &self,
        target: ChangeTarget,
        current: &Overrides,
        changes: &[Change<'_>],
    ) -> Result<Vec<Edit>, ChangeError> {
        check_request(changes)?;
        let mut after = current.clone();
        let mut edits = Vec::with_capacity(changes.len());
        for change in changes {
            let value = self.changed(target, current, change)?;
            match &value {
                Some(text) => {
                    target.judge(change.name, text).map_err(|error| target.error(error))?;
                    after.insert(change.name.to_owned(), text.clone());
                }
                None => {
                    after.remove(change.name);
                }
            }
            edits.push(Edit { name: change.name.to_owned(), value });
        }
        self.check_whole(target, &after)?;
        Ok(edits)
    }

    /// Judges a replacement of all that is set on a resource (`AlterConfigs`): what `wanted` does not name is deleted.
    ///
    /// # Errors
    /// As [`BrokerConfig::plan`].
    pub fn plan_replacement(
        &self,
        target: ChangeTarget,
        current: &Overrides,
        wanted: &[(&str, Option<&str>)],
    ) -> Result<Vec<Edit>, ChangeError> {
        let mut changes: Vec<Change<'_>> = wanted
            .iter()
            .map(|(name, value)| Change { name, op: Op::Set, value: *value })
            .collect();
        let named: BTreeSet<&str> = wanted.iter().map(|(name, _)| *name).collect();
        let gone = current.keys().map(String::as_str).filter(|name| !named.contains(name));
        changes.extend(gone.map(|name| Change { name, op: Op::Delete, value: None }));
        self.plan(target, current, &changes)
    }

    /// The text of a setting after `change`; `None` when nothing is set any more.
    fn changed(
        &self,
        target: ChangeTarget,
        current: &Overrides,
        change: &Change<'_>,
    ) -> Result<Option<String>, ChangeError> {
        let given = change.value.unwrap_or_default();
        match change.op {
            Op::Set => return Ok(Some(given.to_owned())),
            Op::Delete => return Ok(None),
            Op::Append | Op::Subtract => {}
        }
        let setting = target.setting(change.name).map_err(|error| target.error(error))?;
        if setting.kind != Type::List {
            return Err(ChangeError::Config(ConfigError::Conflict(format!(
                "`{}` is no list, so that nothing can be added to it or taken from it: set it instead",
                setting.name
            ))));
        }
        let mut members = match current.get(setting.name) {
            Some(text) => members_of(text),
            None => {
                self.layers().inherited(setting).text().map_or_else(Vec::new, |t| members_of(&t))
            }
        };
        for member in members_of(given) {
            match change.op {
                Op::Append if members.contains(&member) => {}
                Op::Append => members.push(member),
                _ => members.retain(|kept| *kept != member),
            }
        }
        Ok(Some(members.join(",")))
    }

    /// What a change makes of the whole: settings that contradict each other only together.
    fn check_whole(&self, target: ChangeTarget, after: &Overrides) -> Result<(), ChangeError> {
        let outcome = match target {
            ChangeTarget::Topic => TopicConfig::resolve_lenient(after, self).0.check(),
            ChangeTarget::BrokerDefault => self.contradiction(after, &self.layers().node),
            ChangeTarget::Broker => self.contradiction(&self.layers().cluster, after),
            ChangeTarget::Group => ConsumerGroupConfig::check(after, self),
            ChangeTarget::ClientMetrics => Ok(()),
        };
        outcome.map_err(|error| target.error(error))
    }

    /// What the broker's settings as a whole say against these layers. Texts stored earlier that cannot be used are left out
    /// here as everywhere.
    fn contradiction(&self, cluster: &Overrides, node: &Overrides) -> Result<(), ConfigError> {
        let (layers, _) = self.layers_with(cluster, node);
        match Self::assemble(layers) {
            Ok(_) => Ok(()),
            Err(errors) => errors.0.into_iter().next().map_or(Ok(()), Err),
        }
    }
}

fn check_request(changes: &[Change<'_>]) -> Result<(), ChangeError> {
    let mut names = BTreeSet::new();
    for change in changes {
        if !names.insert(change.name) {
            return Err(ChangeError::Request(format!("`{}` is changed twice", change.name)));
        }
        if change.value.is_none() && change.op != Op::Delete {
            return Err(ChangeError::Request(format!(
                "`{}` has no value: delete it to go back to its default",
                change.name
            )));
        }
    }
    Ok(())
}

fn members_of(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|m| !m.is_empty()).map(str::to_owned).collect()
}
