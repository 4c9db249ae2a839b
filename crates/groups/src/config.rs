//! The settings that a shard needs, under Kafka's names.
//!
//! Key types: [`GroupConfig`], which the host fills from the broker's configuration, and [`GroupTimes`], what one consumer
//! group may set for itself. The defaults here are Kafka's.

use crate::consumer::Topics;

/// Broker settings of the group coordinator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.min.session.timeout.ms`
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout_ms: i32,
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay_ms: i32,
    /// `group.max.size`
    pub max_size: usize,
    /// `group.consumer.max.size`
    pub consumer_max_size: usize,
    /// `group.consumer.session.timeout.ms`
    pub consumer_session_timeout_ms: i32,
    /// `group.consumer.heartbeat.interval.ms`
    pub consumer_heartbeat_interval_ms: i32,
    /// `group.consumer.assignment.interval.ms`
    pub consumer_assignment_interval_ms: i32,
    /// `group.consumer.regex.refresh.interval.ms`
    pub consumer_regex_refresh_interval_ms: i32,
    /// `group.consumer.assignors`: those that members may ask for, the default first.
    pub consumer_assignors: Vec<String>,
    /// `group.consumer.migration.policy`: classic groups may become consumer groups.
    pub may_upgrade: bool,
    /// `group.consumer.migration.policy`: consumer groups may become classic groups.
    pub may_downgrade: bool,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval_ms: i64,
}

/// How long things take in one consumer group, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupTimes {
    /// `consumer.session.timeout.ms`: how long a member may be silent.
    pub session_timeout_ms: i32,
    /// `consumer.heartbeat.interval.ms`: how often a member is to be heard of.
    pub heartbeat_interval_ms: i32,
    /// `consumer.assignment.interval.ms`: the least time between two target assignments.
    pub assignment_interval_ms: i32,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            min_session_timeout_ms: 6_000,
            max_session_timeout_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            max_size: i32::MAX as usize,
            consumer_max_size: i32::MAX as usize,
            consumer_session_timeout_ms: 45_000,
            consumer_heartbeat_interval_ms: 5_000,
            consumer_assignment_interval_ms: 1_000,
            consumer_regex_refresh_interval_ms: 600_000,
            consumer_assignors: vec!["uniform".to_owned(), "range".to_owned()],
            may_upgrade: true,
            may_downgrade: true,
            offset_metadata_max_bytes: 4_096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
        }
    }
}

impl GroupConfig {
    /// The assignor of groups whose members ask for none.
    pub(crate) fn default_assignor(&self) -> &str {
        self.consumer_assignors.first().map_or("uniform", String::as_str)
    }

    /// The times of a consumer group: its own where it has any.
    pub(crate) fn times(&self, topics: &dyn Topics, group_id: &str) -> GroupTimes {
        topics.own_times(group_id).unwrap_or(GroupTimes {
            session_timeout_ms: self.consumer_session_timeout_ms,
            heartbeat_interval_ms: self.consumer_heartbeat_interval_ms,
            assignment_interval_ms: self.consumer_assignment_interval_ms,
        })
    }
}

/// How long a member that has just joined may stay silent while its JoinGroup is parked: it does not know its id
/// yet and cannot send heartbeats (Kafka uses the same five minutes).
pub(crate) const NEW_MEMBER_JOIN_TIMEOUT_MS: i64 = 5 * 60 * 1_000;
