//! What a topic's settings and its name ask of records.

use millstream_base::ErrorCode;
use millstream_config::{CompressionType, TimestampType, TopicConfig};
use millstream_log::LogConfig;
use millstream_records::{
    self as records, BatchHeader, Codec, Compression, ProduceRules, TargetCompression,
};

/// Kafka's admin tools may write to internal topics; they call themselves this.
pub(crate) const ADMIN_CLIENT_ID: &str = "__admin_client";

/// The topic that holds committed offsets and groups.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// The topic that holds transactions.
pub(crate) const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// Whether only the broker itself writes to the topic.
pub(crate) fn is_internal(topic: &str) -> bool {
    topic == OFFSETS_TOPIC || topic == TRANSACTIONS_TOPIC
}

/// zstd came with Produce v7 (KIP-110); an older client that sends it has older readers beside it.
pub(crate) fn check_codec_version(batch: &[u8], version: i16) -> Result<(), ErrorCode> {
    const FIRST_WITH_ZSTD: i16 = 7;
    if version >= FIRST_WITH_ZSTD {
        return Ok(());
    }
    let codec = BatchHeader::parse(batch).ok().map(|header| header.attributes.compression());
    if matches!(codec, Some(Ok(Compression::Zstd))) {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    Ok(())
}

/// What the topic asks of a produced batch.
pub(crate) fn produce_rules(config: &TopicConfig) -> ProduceRules {
    ProduceRules {
        max_message_bytes: usize::try_from(config.max_message_bytes).unwrap_or_default(),
        compacted: config.cleanup_compact,
        timestamp_type: match config.message_timestamp_type {
            TimestampType::CreateTime => records::TimestampType::CreateTime,
            TimestampType::LogAppendTime => records::TimestampType::LogAppendTime,
        },
        timestamp_before_max_ms: config.message_timestamp_before_max_ms,
        timestamp_after_max_ms: config.message_timestamp_after_max_ms,
        compression: target(config),
        ..ProduceRules::default()
    }
}

fn target(config: &TopicConfig) -> TargetCompression {
    let level =
        |compression, level| TargetCompression::Codec(Codec::with_level(compression, level));
    let plain = |compression| TargetCompression::Codec(Codec::from(compression));
    match config.compression_type {
        CompressionType::Producer => TargetCompression::Producer,
        CompressionType::Uncompressed => plain(Compression::None),
        CompressionType::Snappy => plain(Compression::Snappy),
        CompressionType::Gzip if config.compression_gzip_level < 0 => plain(Compression::Gzip),
        CompressionType::Gzip => level(Compression::Gzip, config.compression_gzip_level),
        CompressionType::Lz4 => level(Compression::Lz4, config.compression_lz4_level),
        CompressionType::Zstd => level(Compression::Zstd, config.compression_zstd_level),
    }
}

/// What the topic asks of its log.
pub(crate) fn log_config(config: &TopicConfig, producer_id_expiration_ms: i64) -> LogConfig {
    let bytes = |value: i32| u32::try_from(value).unwrap_or_default();
    LogConfig {
        segment_bytes: bytes(config.segment_bytes),
        // What must be compacted by then must have left the active segment.
        segment_ms: match config.cleanup_compact {
            true => config.segment_ms.min(config.max_compaction_lag_ms),
            false => config.segment_ms,
        },
        segment_jitter_ms: config.segment_jitter_ms,
        index_interval_bytes: bytes(config.index_interval_bytes),
        segment_index_bytes: bytes(config.segment_index_bytes),
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        delete: config.cleanup_delete,
        compact: config.cleanup_compact,
        file_delete_delay_ms: config.file_delete_delay_ms,
        flush_messages: config.flush_messages,
        flush_ms: config.flush_ms,
        min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: config.min_compaction_lag_ms,
        max_compaction_lag_ms: config.max_compaction_lag_ms,
        delete_retention_ms: config.delete_retention_ms,
        producer_id_expiration_ms,
    }
}
