//! Old segments in remote storage.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Remote storage";

    Boolean "follower.fetch.last.tiered.offset.enable" = "false", Valid::Any, Medium, ClusterWide, Status::NotYet(parts::TIERED),
        "A new follower begins with what is not in remote storage yet.";
    Long "log.local.retention.bytes" = "-2", Valid::AtLeast(-2), Medium, ClusterWide, Status::NotYet(parts::TIERED),
        "Bytes of a partition kept on local disk once they are in remote storage; -2 follows `log.retention.bytes`.";
    Long "log.local.retention.ms" = "-2", Valid::AtLeast(-2), Medium, ClusterWide, Status::NotYet(parts::TIERED),
        "How long segments are kept on local disk once they are in remote storage; -2 follows `log.retention.ms`.";
    Long "log.remote.copy.lag.bytes" = "-1", Valid::AtLeast(-1), Medium, ClusterWide, Status::NotYet(parts::TIERED),
        "Bytes that a partition keeps back from remote storage; -1 follows the local retention.";
    Long "log.remote.copy.lag.ms" = "0", Valid::AtLeast(-1), Medium, ClusterWide, Status::NotYet(parts::TIERED),
        "How long segments are kept back from remote storage; -1 follows the local retention.";
    Int "remote.fetch.max.wait.ms" = "500", Valid::AtLeast(1), Medium, ClusterWide, Status::Idle(parts::TIERED),
        "How long a fetch waits for remote storage.";
    Long "remote.list.offsets.request.timeout.ms" = "30000", Valid::AtLeast(1), Medium, ClusterWide, Status::Idle(parts::TIERED),
        "How long a search by time waits for remote storage.";
    Long "remote.log.index.file.cache.total.size.bytes" = "1073741824", Valid::AtLeast(1), Low, ClusterWide, Status::Idle(parts::TIERED),
        "Disk space for indexes of remote segments.";
    Long "remote.log.index.file.cache.ttl.ms" = "900000", Valid::AtLeast(-1), Low, ReadOnly, Status::Idle(parts::TIERED),
        "How long an unused index of a remote segment is kept." @internal;
    Int "remote.log.manager.copier.thread.pool.size" = "10", Valid::AtLeast(1), Medium, ClusterWide, Status::NoMeaning,
        "Threads that copy segments to remote storage.";
    Long "remote.log.manager.copy.max.bytes.per.second" = "9223372036854775807", Valid::AtLeast(1), Medium, ClusterWide, Status::Idle(parts::TIERED),
        "Most bytes copied to remote storage in a second.";
    Int "remote.log.manager.copy.quota.window.num" = "11", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::TIERED),
        "Samples kept to measure the rate of copies to remote storage.";
    Int "remote.log.manager.copy.quota.window.size.seconds" = "1", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::TIERED),
        "Length of one sample of the rate of copies to remote storage.";
    Int "remote.log.manager.expiration.thread.pool.size" = "10", Valid::AtLeast(1), Medium, ClusterWide, Status::NoMeaning,
        "Threads that delete expired remote segments.";
    Long "remote.log.manager.fetch.max.bytes.per.second" = "9223372036854775807", Valid::AtLeast(1), Medium, ClusterWide, Status::Idle(parts::TIERED),
        "Most bytes fetched from remote storage in a second.";
    Int "remote.log.manager.fetch.quota.window.num" = "11", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::TIERED),
        "Samples kept to measure the rate of fetches from remote storage.";
    Int "remote.log.manager.fetch.quota.window.size.seconds" = "1", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::TIERED),
        "Length of one sample of the rate of fetches from remote storage.";
    Int "remote.log.manager.follower.thread.pool.size" = "2", Valid::AtLeast(1), Medium, ClusterWide, Status::NoMeaning,
        "Threads of followers that read what is in remote storage.";
    Long "remote.log.manager.task.interval.ms" = "30000", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::TIERED),
        "How often segments are looked through for copies and deletions.";
    Long "remote.log.manager.task.retry.backoff.max.ms" = "30000", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::TIERED),
        "Longest wait after a failure of remote storage." @internal;
    Long "remote.log.manager.task.retry.backoff.ms" = "500", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::TIERED),
        "First wait after a failure of remote storage." @internal;
    Double "remote.log.manager.task.retry.jitter" = "0.2", Valid::Fraction(0.0, 0.5), Low, ReadOnly, Status::Idle(parts::TIERED),
        "Share by which waits after a failure of remote storage vary." @internal;
    Int "remote.log.manager.thread.pool.size" = "2", Valid::AtLeast(1), Medium, ReadOnly, Status::NoMeaning,
        "Threads of the manager of remote storage.";
    Int "remote.log.metadata.custom.metadata.max.bytes" = "128", Valid::AtLeast(0), Low, ReadOnly, Status::Idle(parts::TIERED),
        "Most bytes that a storage plugin may note with a segment.";
    String "remote.log.metadata.manager.class.name" = "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", Valid::NonEmpty, Medium, ReadOnly, Status::Idle(parts::TIERED),
        "Java class that keeps the metadata of remote segments.";
    String "remote.log.metadata.manager.class.path" = null, Valid::Any, Medium, ReadOnly, Status::Idle(parts::TIERED),
        "Where that Java class is found.";
    String "remote.log.metadata.manager.impl.prefix" = "rlmm.config.", Valid::NonEmpty, Medium, ReadOnly, Status::Idle(parts::TIERED),
        "How names of settings handed to that class begin.";
    String "remote.log.metadata.manager.listener.name" = null, Valid::NonEmpty, Medium, ReadOnly, Status::Idle(parts::TIERED),
        "Listener over which that class reaches the brokers.";
    Int "remote.log.reader.max.pending.tasks" = "100", Valid::AtLeast(1), Medium, ReadOnly, Status::NoMeaning,
        "Reads of remote storage that may wait.";
    Int "remote.log.reader.threads" = "10", Valid::AtLeast(1), Medium, ClusterWide, Status::NoMeaning,
        "Threads that read remote storage.";
    String "remote.log.storage.manager.class.name" = null, Valid::NonEmpty, Medium, ReadOnly, Status::Idle(parts::TIERED),
        "Java class that copies segments to remote storage.";
    String "remote.log.storage.manager.class.path" = null, Valid::Any, Medium, ReadOnly, Status::Idle(parts::TIERED),
        "Where that Java class is found.";
    String "remote.log.storage.manager.impl.prefix" = "rsm.config.", Valid::NonEmpty, Medium, ReadOnly, Status::Idle(parts::TIERED),
        "How names of settings handed to that class begin.";
    Boolean "remote.log.storage.system.enable" = "false", Valid::Any, Medium, ReadOnly, Status::NotYet(parts::TIERED),
        "Topics can keep old segments in remote storage.";
}

settings! {
    METADATA_ROWS: RemoteMetadata, "Metadata of remote segments (prefix `rlmm.config.`)";

    Long "remote.log.metadata.consume.wait.ms" = "120000", Valid::AtLeast(0), Low, ReadOnly, Status::Idle(parts::TIERED),
        "How long a change of the metadata of remote segments waits to be seen.";
    Long "remote.log.metadata.initialization.retry.interval.ms" = "100", Valid::AtLeast(0), Low, ReadOnly, Status::Idle(parts::TIERED),
        "Wait between two tries to start the store of remote metadata.";
    Long "remote.log.metadata.initialization.retry.max.timeout.ms" = "120000", Valid::AtLeast(0), Low, ReadOnly, Status::Idle(parts::TIERED),
        "How long the store of remote metadata is tried to start.";
    Short "remote.log.metadata.topic.min.isr" = "2", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::TIERED),
        "Replicas that must have a record of remote metadata before it counts.";
    Int "remote.log.metadata.topic.num.partitions" = "50", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::TIERED),
        "Partitions of the topic of remote metadata, when it is created.";
    Short "remote.log.metadata.topic.replication.factor" = "3", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::TIERED),
        "Replicas of the topic of remote metadata.";
    Long "remote.log.metadata.topic.retention.ms" = "-1", Valid::Any, Low, ReadOnly, Status::Idle(parts::TIERED),
        "How long remote metadata is kept; -1 is no limit.";
}
