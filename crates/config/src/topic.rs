//! [`TopicConfig`]: what one topic's log does, resolved from the topic's own settings and the broker's defaults.
//!
//! It is small and copied freely; nothing in it is text, so that no code on the data path compares names.

use crate::alter::ChangeTarget;
use crate::broker::BrokerConfig;
use crate::error::ConfigError;
use crate::layers::{Layers, Overrides};
use crate::setting::Scope;
use crate::settings;
use crate::value::Value;

/// Wins over `segment.bytes` and has no lower bound, so that a test need not write a mebibyte to see a log roll.
const INTERNAL_SEGMENT_BYTES: &str = "internal.segment.bytes";

/// A topic's settings, ready to act on. Times are in milliseconds, sizes in bytes, -1 stands for no limit where noted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopicConfig {
    /// Old segments are deleted (`cleanup.policy` has `delete`).
    pub cleanup_delete: bool,
    /// Only the last record of each key is kept (`cleanup.policy` has `compact`).
    pub cleanup_compact: bool,
    /// `compression.type`.
    pub compression_type: CompressionType,
    /// `compression.gzip.level`; -1 for the codec's own default.
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`.
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`.
    pub compression_zstd_level: i32,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`; `i64::MAX` for never.
    pub flush_messages: i64,
    /// `flush.ms`; `i64::MAX` for never.
    pub flush_ms: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: i32,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`: the largest batch.
    pub max_message_bytes: i32,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: i64,
    /// `message.timestamp.type`.
    pub message_timestamp_type: TimestampType,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`.
    pub min_insync_replicas: i32,
    /// `preallocate`.
    pub preallocate: bool,
    /// `retention.bytes`; -1 for no limit.
    pub retention_bytes: i64,
    /// `retention.ms`; -1 for no limit.
    pub retention_ms: i64,
    /// `segment.bytes`, or `internal.segment.bytes` where that is set.
    pub segment_bytes: i32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: i32,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
}

/// Until 4.0 Kafka took smaller segments than it does now; a topic from then keeps them.
fn small_segment(name: &str, text: &str) -> Option<i32> {
    const LEAST: i32 = 14;
    let bytes = text.trim().parse().ok().filter(|bytes| *bytes >= LEAST);
    bytes.filter(|_| name == "segment.bytes")
}

/// `compression.type`: the codec of stored batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// None.
    Uncompressed,
    /// gzip.
    Gzip,
    /// Snappy in xerial framing.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

/// `message.timestamp.type`: whose clock a record's timestamp is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, when it appends.
    LogAppendTime,
}

impl TopicConfig {
    /// Resolves the settings `overrides` of a topic over the defaults of `broker`.
    ///
    /// # Errors
    /// The first setting that is unknown, out of bounds, in need of a part that does not exist yet or at odds with another.
    pub fn resolve(overrides: &Overrides, broker: &BrokerConfig) -> Result<Self, ConfigError> {
        let (config, errors) = Self::resolve_lenient(overrides, broker);
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(config),
        }
    }

    /// The same for what is stored already: a setting that cannot be used is left out and returned, since a log must open
    /// whatever an older or newer broker stored.
    #[must_use]
    pub fn resolve_lenient(
        overrides: &Overrides,
        broker: &BrokerConfig,
    ) -> (Self, Vec<ConfigError>) {
        let mut config = broker.topic_defaults;
        let mut errors = Vec::new();
        let judged = overrides
            .iter()
            .map(|(name, text)| (name, text, ChangeTarget::Topic.judge(name, text)));
        let mut internal_segment_bytes = Value::Null;
        for (name, text, judged) in judged {
            match judged {
                Ok(value) if name == INTERNAL_SEGMENT_BYTES => internal_segment_bytes = value,
                Ok(value) => config.apply(name, &value),
                Err(error) => match small_segment(name, text) {
                    Some(bytes) => config.segment_bytes = bytes,
                    None => errors.push(error),
                },
            }
        }
        config.apply(INTERNAL_SEGMENT_BYTES, &internal_segment_bytes);
        errors.extend(config.check().err());
        (config, errors)
    }

    /// What a topic does that sets nothing of its own.
    pub(crate) fn inherited(layers: &Layers) -> Self {
        let mut config = Self::ZERO;
        // `internal.segment.bytes` is null unless it is set, and null changes nothing.
        for setting in settings::all().iter().filter(|setting| setting.scope == Scope::Topic) {
            config.apply(setting.name, &layers.inherited(setting));
        }
        config
    }

    /// What contradicts each other.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.min_compaction_lag_ms <= self.max_compaction_lag_ms {
            return Ok(());
        }
        Err(ConfigError::Conflict(format!(
            "`min.compaction.lag.ms={}` is above `max.compaction.lag.ms={}`: lower the one or raise the other",
            self.min_compaction_lag_ms, self.max_compaction_lag_ms
        )))
    }

    /// How long a segment takes records at most: a compacted topic rolls in time for `max.compaction.lag.ms`.
    #[must_use]
    pub fn max_segment_ms(&self) -> i64 {
        if self.cleanup_compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }

    fn apply(&mut self, name: &str, value: &Value) {
        match value {
            Value::Number(n) => self.apply_number(name, *n),
            Value::Boolean(b) => match name {
                "preallocate" => self.preallocate = *b,
                "unclean.leader.election.enable" => self.unclean_leader_election_enable = *b,
                _ => {}
            },
            Value::Text(text) => match name {
                "compression.type" => self.compression_type = CompressionType::from_name(text),
                "message.timestamp.type" => {
                    self.message_timestamp_type = TimestampType::from_name(text);
                }
                _ => {}
            },
            Value::List(members) if name == "cleanup.policy" => {
                self.cleanup_delete = members.iter().any(|member| member == "delete");
                self.cleanup_compact = members.iter().any(|member| member == "compact");
            }
            Value::Double(d) if name == "min.cleanable.dirty.ratio" => {
                self.min_cleanable_dirty_ratio = *d;
            }
            Value::List(_) | Value::Double(_) | Value::Null => {}
        }
    }

    fn apply_number(&mut self, name: &str, n: i64) {
        let int = i32::try_from(n).unwrap_or(i32::MAX);
        match name {
            "compression.gzip.level" => self.compression_gzip_level = int,
            "compression.lz4.level" => self.compression_lz4_level = int,
            "compression.zstd.level" => self.compression_zstd_level = int,
            "delete.retention.ms" => self.delete_retention_ms = n,
            "file.delete.delay.ms" => self.file_delete_delay_ms = n,
            "flush.messages" => self.flush_messages = n,
            "flush.ms" => self.flush_ms = n,
            "index.interval.bytes" => self.index_interval_bytes = int,
            "max.compaction.lag.ms" => self.max_compaction_lag_ms = n,
            "max.message.bytes" => self.max_message_bytes = int,
            "message.timestamp.after.max.ms" => self.message_timestamp_after_max_ms = n,
            "message.timestamp.before.max.ms" => self.message_timestamp_before_max_ms = n,
            "min.compaction.lag.ms" => self.min_compaction_lag_ms = n,
            "min.insync.replicas" => self.min_insync_replicas = int,
            "retention.bytes" => self.retention_bytes = n,
            "retention.ms" => self.retention_ms = n,
            INTERNAL_SEGMENT_BYTES | "segment.bytes" => self.segment_bytes = int,
            "segment.index.bytes" => self.segment_index_bytes = int,
            "segment.jitter.ms" => self.segment_jitter_ms = n,
            "segment.ms" => self.segment_ms = n,
            _ => {}
        }
    }

    /// Every field is overwritten by [`TopicConfig::inherited`]; a test compares the outcome with Kafka's defaults.
    const ZERO: Self = Self {
        cleanup_delete: false,
        cleanup_compact: false,
        compression_type: CompressionType::Producer,
        compression_gzip_level: 0,
        compression_lz4_level: 0,
        compression_zstd_level: 0,
        delete_retention_ms: 0,
        file_delete_delay_ms: 0,
        flush_messages: 0,
        flush_ms: 0,
        index_interval_bytes: 0,
        max_compaction_lag_ms: 0,
        max_message_bytes: 0,
        message_timestamp_after_max_ms: 0,
        message_timestamp_before_max_ms: 0,
        message_timestamp_type: TimestampType::CreateTime,
        min_cleanable_dirty_ratio: 0.0,
        min_compaction_lag_ms: 0,
        min_insync_replicas: 0,
        preallocate: false,
        retention_bytes: 0,
        retention_ms: 0,
        segment_bytes: 0,
        segment_index_bytes: 0,
        segment_jitter_ms: 0,
        segment_ms: 0,
        unclean_leader_election_enable: false,
    };
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::inherited(&Layers::default())
    }
}

impl CompressionType {
    fn from_name(name: &str) -> Self {
        match name {
            "uncompressed" => Self::Uncompressed,
            "gzip" => Self::Gzip,
            "snappy" => Self::Snappy,
            "lz4" => Self::Lz4,
            "zstd" => Self::Zstd,
            _ => Self::Producer,
        }
    }
}

impl TimestampType {
    fn from_name(name: &str) -> Self {
        if name == "LogAppendTime" { Self::LogAppendTime } else { Self::CreateTime }
    }
}
