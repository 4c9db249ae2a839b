//! Topics: each setting has the broker settings that give its default.

use crate::setting::{Status, Valid};
use crate::settings::{hours, minutes, parts, same, settings};

settings! {
    ROWS: Topic, "Topics";

    List "cleanup.policy" = "delete", Valid::Members(&["compact", "delete"]), Medium, Resource, Status::Acts,
        "What becomes of old segments: deleted, compacted, both, or kept when empty." <- [same("log.cleanup.policy")];
    Int "compression.gzip.level" = "-1", Valid::GzipLevel, Medium, Resource, Status::Acts,
        "Level of gzip where the broker compresses batches itself; -1 is the codec's own default." <- [same("compression.gzip.level")];
    Int "compression.lz4.level" = "9", Valid::Between(1, 17), Medium, Resource, Status::Acts,
        "Level of lz4 where the broker compresses batches itself." <- [same("compression.lz4.level")];
    String "compression.type" = "producer", Valid::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), Medium, Resource, Status::Acts,
        "Codec of stored batches; `producer` keeps each batch as it was sent." <- [same("compression.type")];
    Int "compression.zstd.level" = "3", Valid::Between(-131_072, 22), Medium, Resource, Status::Acts,
        "Level of zstd where the broker compresses batches itself." <- [same("compression.zstd.level")];
    Long "delete.retention.ms" = "86400000", Valid::AtLeast(0), Medium, Resource, Status::Acts,
        "How long a compacted log keeps tombstones, so that readers see them." <- [same("log.cleaner.delete.retention.ms")];
    Boolean "errors.deadletterqueue.group.enable" = "false", Valid::Any, Medium, Resource, Status::NotYet(parts::DEAD_LETTERS),
        "Share groups may write their dead letters to the topic.";
    Long "file.delete.delay.ms" = "60000", Valid::AtLeast(0), Medium, Resource, Status::Acts,
        "How long a deleted segment's files stay before they are removed." <- [same("log.segment.delete.delay.ms")];
    Long "flush.messages" = "9223372036854775807", Valid::AtLeast(1), Medium, Resource, Status::Acts,
        "The log is forced to disk after this many records." <- [same("log.flush.interval.messages")];
    Long "flush.ms" = "9223372036854775807", Valid::AtLeast(0), Medium, Resource, Status::Acts,
        "The log is forced to disk when a record has waited this long." <- [same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")];
    List "follower.replication.throttled.replicas" = "", Valid::ThrottledReplicas, Medium, Resource, Status::Acts,
        "Replicas whose followers fetch at a limited rate.";
    Int "index.interval.bytes" = "4096", Valid::AtLeast(0), Medium, Resource, Status::Acts,
        "Bytes of the log between two entries of its offset index." <- [same("log.index.interval.bytes")];
    Int "internal.segment.bytes" = null, Valid::Any, Medium, Resource, Status::Acts,
        "Wins over `segment.bytes`, without its lower bound, for tests." @internal;
    List "leader.replication.throttled.replicas" = "", Valid::ThrottledReplicas, Medium, Resource, Status::Acts,
        "Replicas whose leaders serve followers at a limited rate.";
    Long "local.retention.bytes" = "-2", Valid::AtLeast(-2), Medium, Resource, Status::NotYet(parts::TIERED),
        "Bytes of a partition kept on local disk once they are in remote storage; -2 follows `retention.bytes`." <- [same("log.local.retention.bytes")];
    Long "local.retention.ms" = "-2", Valid::AtLeast(-2), Medium, Resource, Status::NotYet(parts::TIERED),
        "How long segments are kept on local disk once they are in remote storage; -2 follows `retention.ms`." <- [same("log.local.retention.ms")];
    Long "max.compaction.lag.ms" = "9223372036854775807", Valid::AtLeast(1), Medium, Resource, Status::Acts,
        "Longest time that a record stays uncompacted." <- [same("log.cleaner.max.compaction.lag.ms")];
    Int "max.message.bytes" = "1048588", Valid::AtLeast(0), Medium, Resource, Status::Acts,
        "Largest record batch that is taken, after compression." <- [same("message.max.bytes")];
    Long "message.timestamp.after.max.ms" = "3600000", Valid::AtLeast(0), Medium, Resource, Status::Acts,
        "How far ahead of the broker's clock a record's timestamp may be." <- [same("log.message.timestamp.after.max.ms")];
    Long "message.timestamp.before.max.ms" = "9223372036854775807", Valid::AtLeast(0), Medium, Resource, Status::Acts,
        "How far behind the broker's clock a record's timestamp may be." <- [same("log.message.timestamp.before.max.ms")];
    String "message.timestamp.type" = "CreateTime", Valid::OneOf(&["CreateTime", "LogAppendTime"]), Medium, Resource, Status::Acts,
        "Whose clock gives a record's timestamp: the producer's or, on append, the broker's." <- [same("log.message.timestamp.type")];
    Double "min.cleanable.dirty.ratio" = "0.5", Valid::Fraction(0.0, 1.0), Medium, Resource, Status::Acts,
        "Share of the log that must be dirty before it is cleaned." <- [same("log.cleaner.min.cleanable.ratio")];
    Long "min.compaction.lag.ms" = "0", Valid::AtLeast(0), Medium, Resource, Status::Acts,
        "Shortest time that a record stays uncompacted." <- [same("log.cleaner.min.compaction.lag.ms")];
    Int "min.insync.replicas" = "1", Valid::AtLeast(1), Medium, Resource, Status::Acts,
        "Replicas that must have a record before acks=all is answered." <- [same("min.insync.replicas")];
    Boolean "preallocate" = "false", Valid::Any, Medium, Resource, Status::NotYet(parts::PREALLOCATION),
        "New segments are given their full size on disk at once." <- [same("log.preallocate")];
    Long "remote.copy.lag.bytes" = "-1", Valid::AtLeast(-1), Medium, Resource, Status::NotYet(parts::TIERED),
        "Bytes kept back from remote storage; -1 follows the local retention." <- [same("log.remote.copy.lag.bytes")];
    Long "remote.copy.lag.ms" = "0", Valid::AtLeast(-1), Medium, Resource, Status::NotYet(parts::TIERED),
        "How long segments are kept back from remote storage; -1 follows the local retention." <- [same("log.remote.copy.lag.ms")];
    Boolean "remote.log.copy.disable" = "false", Valid::Any, Medium, Resource, Status::NotYet(parts::TIERED),
        "Nothing more is copied to remote storage; what is there stays readable.";
    Boolean "remote.log.delete.on.disable" = "false", Valid::Any, Medium, Resource, Status::NotYet(parts::TIERED),
        "What is in remote storage is deleted when remote storage is switched off.";
    Boolean "remote.storage.enable" = "false", Valid::Any, Medium, Resource, Status::NotYet(parts::TIERED),
        "Old segments are kept in remote storage.";
    Long "retention.bytes" = "-1", Valid::Any, Medium, Resource, Status::Acts,
        "A partition larger than this loses its oldest segments; -1 is no limit." <- [same("log.retention.bytes")];
    Long "retention.ms" = "604800000", Valid::AtLeast(-1), Medium, Resource, Status::Acts,
        "How long a segment is kept, by the newest timestamp in it; -1 is no limit." <- [same("log.retention.ms"), minutes("log.retention.minutes"), hours("log.retention.hours")];
    Int "segment.bytes" = "1073741824", Valid::AtLeast(1_048_576), Medium, Resource, Status::Acts,
        "A segment of this size is closed and a new one begun." <- [same("log.segment.bytes")];
    Int "segment.index.bytes" = "10485760", Valid::AtLeast(4), Medium, Resource, Status::Acts,
        "Largest offset index." <- [same("log.index.size.max.bytes")];
    Long "segment.jitter.ms" = "0", Valid::AtLeast(0), Medium, Resource, Status::Acts,
        "Time by which the age of rolling is varied, so that logs do not roll together." <- [same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")];
    Long "segment.ms" = "604800000", Valid::AtLeast(1), Medium, Resource, Status::Acts,
        "A segment of this age is closed and a new one begun." <- [same("log.roll.ms"), hours("log.roll.hours")];
    Boolean "unclean.leader.election.enable" = "false", Valid::Any, Medium, Resource, Status::Acts,
        "A replica that is not in sync may become leader when no other is left, at the price of records." <- [same("unclean.leader.election.enable")];
}
