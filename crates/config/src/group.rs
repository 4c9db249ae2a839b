//! [`ConsumerGroupConfig`]: how one consumer group is kept, resolved from the group's own settings and the broker's.
//!
//! A group's own values lie between bounds that the broker sets. Changes beyond them are refused; values stored under other
//! bounds, before a restart, are taken as near as the bounds allow.

use crate::alter::ChangeTarget;
use crate::broker::BrokerConfig;
use crate::error::ConfigError;
use crate::layers::Overrides;
use crate::value::Value;

const SESSION: &str = "session.timeout.ms";
const HEARTBEAT: &str = "heartbeat.interval.ms";
const ASSIGNMENT: &str = "assignment.interval.ms";

/// A consumer group's settings, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerGroupConfig {
    /// `consumer.session.timeout.ms`.
    pub session_timeout_ms: i32,
    /// `consumer.heartbeat.interval.ms`.
    pub heartbeat_interval_ms: i32,
    /// `consumer.assignment.interval.ms`.
    pub assignment_interval_ms: i32,
}

/// What the broker lets a group set.
struct Bounds {
    name: &'static str,
    min: i32,
    max: i32,
}

impl ConsumerGroupConfig {
    /// Resolves the settings `own` of a group over those of `broker`. A setting that cannot be used is left out and
    /// returned, since a group must go on whatever an older or newer broker stored.
    #[must_use]
    pub fn resolve_lenient(own: &Overrides, broker: &BrokerConfig) -> (Self, Vec<ConfigError>) {
        let mut config = Self::inherited(broker);
        let mut errors = Vec::new();
        for (name, text) in own {
            match ChangeTarget::Group.judge(name, text) {
                Ok(value) => config.apply(name, &value),
                Err(error) => errors.push(error),
            }
        }
        for bounds in bounds(broker) {
            let value = config.field(bounds.name);
            // The broker's own bounds were checked; `clamp` would panic on others.
            *value = (*value).min(bounds.max).max(bounds.min);
        }
        (config, errors)
    }

    /// Judges all that is set on a group together.
    pub(crate) fn check(own: &Overrides, broker: &BrokerConfig) -> Result<(), ConfigError> {
        let mut config = Self::inherited(broker);
        for (name, text) in own {
            if let Ok(value) = ChangeTarget::Group.judge(name, text) {
                config.apply(name, &value);
            }
        }
        for Bounds { name, min, max } in bounds(broker) {
            let value = *config.field(name);
            if !(min..=max).contains(&value) {
                return Err(ConfigError::Invalid {
                    name: format!("consumer.{name}"),
                    value: value.to_string(),
                    allowed: format!(
                        "{min} to {max}, the broker's `group.consumer.min.{name}` and `group.consumer.max.{name}`"
                    ),
                });
            }
        }
        if config.heartbeat_interval_ms < config.session_timeout_ms {
            return Ok(());
        }
        Err(ConfigError::Conflict(format!(
            "`consumer.heartbeat.interval.ms={}` is not below `consumer.session.timeout.ms={}`: lower the one or raise the other",
            config.heartbeat_interval_ms, config.session_timeout_ms
        )))
    }

    /// What a group does that sets nothing of its own.
    fn inherited(broker: &BrokerConfig) -> Self {
        let groups = &broker.groups;
        Self {
            session_timeout_ms: groups.consumer_session_timeout_ms,
            heartbeat_interval_ms: groups.consumer_heartbeat_interval_ms,
            assignment_interval_ms: groups.consumer_assignment_interval_ms,
        }
    }

    fn apply(&mut self, name: &str, value: &Value) {
        let Some(name) = name.strip_prefix("consumer.") else { return };
        if let Value::Number(number) = value
            && [SESSION, HEARTBEAT, ASSIGNMENT].contains(&name)
        {
            *self.field(name) = i32::try_from(*number).unwrap_or(i32::MAX);
        }
    }

    fn field(&mut self, name: &str) -> &mut i32 {
        match name {
            SESSION => &mut self.session_timeout_ms,
            HEARTBEAT => &mut self.heartbeat_interval_ms,
            _ => &mut self.assignment_interval_ms,
        }
    }
}

fn bounds(broker: &BrokerConfig) -> [Bounds; 3] {
    let groups = &broker.groups;
    [
        Bounds {
            name: SESSION,
            min: groups.consumer_min_session_timeout_ms,
            max: groups.consumer_max_session_timeout_ms,
        },
        Bounds {
            name: HEARTBEAT,
            min: groups.consumer_min_heartbeat_interval_ms,
            max: groups.consumer_max_heartbeat_interval_ms,
        },
        Bounds {
            name: ASSIGNMENT,
            min: groups.consumer_min_assignment_interval_ms,
            max: groups.consumer_max_assignment_interval_ms,
        },
    ]
}
