//! Directories, and what a topic's log does that sets nothing of its own.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Logs";

    Int "compression.gzip.level" = "-1", Valid::GzipLevel, Medium, ClusterWide, Status::Acts,
        "Level of gzip where the broker compresses batches itself; -1 is the codec's own default.";
    Int "compression.lz4.level" = "9", Valid::Between(1, 17), Medium, ClusterWide, Status::Acts,
        "Level of lz4 where the broker compresses batches itself.";
    String "compression.type" = "producer", Valid::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), High, ClusterWide, Status::Acts,
        "Codec of stored batches; `producer` keeps each batch as it was sent.";
    Int "compression.zstd.level" = "3", Valid::Between(-131_072, 22), Medium, ClusterWide, Status::Acts,
        "Level of zstd where the broker compresses batches itself.";
    List "cordoned.log.dirs" = "", Valid::Any, Medium, PerBroker, Status::NotYet(parts::CORDON),
        "Log directories that get no new partitions.";
    Long "log.cleaner.backoff.ms" = "15000", Valid::AtLeast(0), Medium, ClusterWide, Status::Acts,
        "How long a cleaner that found nothing to do sleeps.";
    Long "log.cleaner.dedupe.buffer.size" = "134217728", Valid::Any, Medium, ClusterWide, Status::Acts,
        "Memory for the keys of the logs being cleaned, over all cleaners.";
    Long "log.cleaner.delete.retention.ms" = "86400000", Valid::AtLeast(0), Medium, ClusterWide, Status::Acts,
        "How long a compacted log keeps tombstones, so that readers see them.";
    Boolean "log.cleaner.enable" = "true", Valid::Any, Medium, ReadOnly, Status::Acts,
        "Compacted logs are cleaned.";
    Double "log.cleaner.io.buffer.load.factor" = "0.9", Valid::Any, Medium, ClusterWide, Status::Acts,
        "How full the table of keys may become.";
    Int "log.cleaner.io.buffer.size" = "524288", Valid::AtLeast(0), Medium, ClusterWide, Status::NoMeaning,
        "Memory for reading and writing of the cleaners.";
    Double "log.cleaner.io.max.bytes.per.second" = "1.7976931348623157E308", Valid::Any, Medium, ClusterWide, Status::Acts,
        "Most bytes that cleaners read and write in a second.";
    Long "log.cleaner.max.compaction.lag.ms" = "9223372036854775807", Valid::AtLeast(1), Medium, ClusterWide, Status::Acts,
        "Longest time that a record stays uncompacted.";
    Double "log.cleaner.min.cleanable.ratio" = "0.5", Valid::Fraction(0.0, 1.0), Medium, ClusterWide, Status::Acts,
        "Share of a log that must be dirty before it is cleaned.";
    Long "log.cleaner.min.compaction.lag.ms" = "0", Valid::AtLeast(0), Medium, ClusterWide, Status::Acts,
        "Shortest time that a record stays uncompacted.";
    Int "log.cleaner.threads" = "1", Valid::AtLeast(0), Medium, ClusterWide, Status::Acts,
        "Logs that are cleaned at a time.";
    List "log.cleanup.policy" = "delete", Valid::Members(&["compact", "delete"]), Medium, ClusterWide, Status::Acts,
        "What becomes of old segments: deleted, compacted, both, or kept when empty.";
    List "log.dir" = "data", Valid::Any, High, ReadOnly, Status::Acts,
        "Directory of the logs where `log.dirs` is not set. Kafka's own default is below the system's temporary directory.";
    Long "log.dir.failure.timeout.ms" = "30000", Valid::AtLeast(1), Low, ReadOnly, Status::NoMeaning,
        "How long a broker whose log directory failed waits for the controller to know.";
    List "log.dirs" = null, Valid::Any, High, ReadOnly, Status::Acts,
        "Directories of the logs; a new partition goes where the fewest are. One that fails leaves the others alone.";
    Long "log.flush.interval.messages" = "9223372036854775807", Valid::AtLeast(1), High, ClusterWide, Status::Acts,
        "A log is forced to disk after this many records.";
    Long "log.flush.interval.ms" = null, Valid::Any, High, ClusterWide, Status::Acts,
        "A log is forced to disk when a record has waited this long.";
    Int "log.flush.offset.checkpoint.interval.ms" = "60000", Valid::AtLeast(0), High, ReadOnly, Status::Acts,
        "How often the offsets up to which logs are on disk are written down.";
    Long "log.flush.scheduler.interval.ms" = "9223372036854775807", Valid::Any, High, ReadOnly, Status::Acts,
        "How often the broker looks for logs to force to disk.";
    Int "log.flush.start.offset.checkpoint.interval.ms" = "60000", Valid::AtLeast(0), High, ReadOnly, Status::Acts,
        "How often the start offsets of logs are written down.";
    Int "log.index.interval.bytes" = "4096", Valid::AtLeast(0), Medium, ClusterWide, Status::Acts,
        "Bytes of a log between two entries of its offset index.";
    Int "log.index.size.max.bytes" = "10485760", Valid::AtLeast(4), Medium, ClusterWide, Status::Acts,
        "Largest offset index.";
    Long "log.initial.task.delay.ms" = "30000", Valid::AtLeast(0), Low, ReadOnly, Status::NoMeaning,
        "How long after the start background work on logs begins." @internal;
    Long "log.message.timestamp.after.max.ms" = "3600000", Valid::AtLeast(0), Medium, ClusterWide, Status::Acts,
        "How far ahead of the broker's clock a record's timestamp may be.";
    Long "log.message.timestamp.before.max.ms" = "9223372036854775807", Valid::AtLeast(0), Medium, ClusterWide, Status::Acts,
        "How far behind the broker's clock a record's timestamp may be.";
    String "log.message.timestamp.type" = "CreateTime", Valid::OneOf(&["CreateTime", "LogAppendTime"]), Medium, ClusterWide, Status::Acts,
        "Whose clock gives a record's timestamp: the producer's or, on append, the broker's.";
    Boolean "log.preallocate" = "false", Valid::Any, Medium, ClusterWide, Status::NotYet(parts::PREALLOCATION),
        "New segments are given their full size on disk at once.";
    Long "log.retention.bytes" = "-1", Valid::Any, High, ClusterWide, Status::Acts,
        "A partition larger than this loses its oldest segments; -1 is no limit.";
    Long "log.retention.check.interval.ms" = "300000", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "How often the broker looks for segments to delete.";
    Int "log.retention.hours" = "168", Valid::Any, High, ReadOnly, Status::Acts,
        "Hours that a segment is kept; -1 is no limit. `log.retention.minutes` and `log.retention.ms` win over it.";
    Int "log.retention.minutes" = null, Valid::Any, High, ReadOnly, Status::Acts,
        "Minutes that a segment is kept; -1 is no limit. `log.retention.ms` wins over it.";
    Long "log.retention.ms" = null, Valid::Any, High, ClusterWide, Status::Acts,
        "How long a segment is kept, by the newest timestamp in it; -1 is no limit.";
    Int "log.roll.hours" = "168", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Hours after which a new segment is begun. `log.roll.ms` wins over it.";
    Int "log.roll.jitter.hours" = "0", Valid::AtLeast(0), High, ReadOnly, Status::Acts,
        "Hours by which the age of rolling is varied. `log.roll.jitter.ms` wins over it.";
    Long "log.roll.jitter.ms" = null, Valid::Any, High, ClusterWide, Status::Acts,
        "Time by which the age of rolling is varied, so that logs do not roll together.";
    Long "log.roll.ms" = null, Valid::Any, High, ClusterWide, Status::Acts,
        "A segment of this age is closed and a new one begun.";
    Int "log.segment.bytes" = "1073741824", Valid::AtLeast(1_048_576), High, ClusterWide, Status::Acts,
        "A segment of this size is closed and a new one begun.";
    Long "log.segment.delete.delay.ms" = "60000", Valid::AtLeast(0), High, ClusterWide, Status::Acts,
        "How long a deleted segment's files stay before they are removed.";
    Int "message.max.bytes" = "1048588", Valid::AtLeast(0), High, ClusterWide, Status::Acts,
        "Largest record batch that is taken, after compression.";
    Int "min.insync.replicas" = "1", Valid::AtLeast(1), High, ClusterWide, Status::Acts,
        "Replicas that must have a record before acks=all is answered.";
    Int "num.recovery.threads.per.data.dir" = "2", Valid::AtLeast(1), High, ClusterWide, Status::ActsAtStart,
        "Threads that open logs at start.";
}
