//! The settings of one partition's log, resolved from its topic and the broker.
//!
//! Key type: [`LogConfig`]. Plain values with Kafka's defaults; the broker fills it and swaps it at run time by
//! [`crate::Log::set_config`].

/// The settings of one log; names and units are those of Kafka's topic settings.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.ms`.
    pub segment_ms: i64,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: i64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `retention.ms`; negative: for ever.
    pub retention_ms: i64,
    /// `retention.bytes`; negative: without limit.
    pub retention_bytes: i64,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: i64,
    /// `flush.messages`.
    pub flush_messages: i64,
    /// `flush.ms`.
    pub flush_ms: i64,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
    /// `producer.id.expiration.ms` of the broker.
    pub producer_id_expiration_ms: i64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1024 * 1024 * 1024,
            segment_ms: 7 * 24 * 3600 * 1000,
            segment_jitter_ms: 0,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 * 1024 * 1024,
            retention_ms: 7 * 24 * 3600 * 1000,
            retention_bytes: -1,
            delete: true,
            compact: false,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            delete_retention_ms: 24 * 3600 * 1000,
            producer_id_expiration_ms: 24 * 3600 * 1000,
        }
    }
}

impl LogConfig {
    /// How old a segment may become: with compaction also `max.compaction.lag.ms`, since only sealed segments are
    /// compacted.
    pub(crate) fn max_segment_ms(&self) -> i64 {
        match self.compact && self.max_compaction_lag_ms > 0 {
            true => self.segment_ms.min(self.max_compaction_lag_ms),
            false => self.segment_ms,
        }
    }

    /// How many entries an index of `entry_bytes` per entry may hold.
    pub(crate) fn max_index_entries(&self, entry_bytes: usize) -> u32 {
        let entries = self.segment_index_bytes as usize / entry_bytes;
        u32::try_from(entries.max(1)).unwrap_or(u32::MAX)
    }

    /// What to take off `segment.ms` for the segment at `base_offset`, so that segments of many partitions do
    /// not roll at once. The same segment always gets the same jitter.
    pub(crate) fn jitter_ms(&self, partition: u64, base_offset: i64) -> i64 {
        let bound = self.segment_jitter_ms.min(self.segment_ms).max(0);
        if bound == 0 {
            return 0;
        }
        let mixed = (partition ^ base_offset.unsigned_abs().rotate_left(32))
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29)
            .wrapping_mul(0xBF58_476D_1CE4_E5B9);
        i64::try_from(mixed % bound.unsigned_abs()).unwrap_or(0)
    }
}
