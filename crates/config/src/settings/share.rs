//! Share groups, the topic of their state, and dead letters.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Share groups";

    Boolean "errors.deadletterqueue.auto.create.topics.enable" = "false", Valid::Any, Medium, ClusterWide, Status::NotYet(parts::DEAD_LETTERS),
        "Topics of dead letters are created when they are needed.";
    String "errors.deadletterqueue.topic.name.prefix" = "dlq.", Valid::Any, Medium, ClusterWide, Status::Idle(parts::DEAD_LETTERS),
        "How names of topics of dead letters begin.";
    Int "group.share.assignment.interval.ms" = "1000", Valid::AtLeast(0), Medium, ClusterWide, Status::Idle(parts::SHARE),
        "Least time between two assignments of a share group.";
    Boolean "group.share.assignor.offload.enable" = "true", Valid::Any, Medium, ClusterWide, Status::NoMeaning,
        "Assignments of share groups are computed on threads of their own.";
    List "group.share.assignors" = "simple", Valid::Any, Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Assignors of share groups; one is allowed.";
    Int "group.share.delivery.count.limit" = "5", Valid::Between(2, 10), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "How often a record is delivered to a share group before it counts as failed.";
    String "group.share.dlq.manager.class.name" = "org.apache.kafka.server.share.dlq.DefaultShareGroupDLQManager", Valid::Any, Medium, ReadOnly, Status::NoMeaning,
        "Java class that writes dead letters." @internal;
    Int "group.share.heartbeat.interval.ms" = "5000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "How often a member of a share group sends a heartbeat.";
    Int "group.share.initialize.retry.interval.ms" = "30000", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::SHARE),
        "Wait before the state of a share partition is initialised again." @internal;
    Int "group.share.max.assignment.interval.ms" = "15000", Valid::AtLeast(0), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Upper bound of a share group's own assignment interval.";
    Int "group.share.max.delivery.count.limit" = "10", Valid::Between(5, 25), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Upper bound of a share group's own delivery limit.";
    Int "group.share.max.heartbeat.interval.ms" = "15000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Upper bound of a share group's own heartbeat interval.";
    Int "group.share.max.partition.max.record.locks" = "4000", Valid::Between(2000, 10_000), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Upper bound of a share group's own limit of locked records.";
    Int "group.share.max.record.lock.duration.ms" = "60000", Valid::Between(30_000, 3_600_000), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Upper bound of a share group's own lock duration.";
    Int "group.share.max.session.timeout.ms" = "60000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Upper bound of a share group's own session timeout.";
    Int "group.share.max.share.sessions" = "2000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Most share sessions that a broker keeps.";
    Int "group.share.max.size" = "200", Valid::Between(1, 1000), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Most members of a share group.";
    Int "group.share.min.assignment.interval.ms" = "0", Valid::AtLeast(0), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Lower bound of a share group's own assignment interval.";
    Int "group.share.min.delivery.count.limit" = "2", Valid::Between(2, 5), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Lower bound of a share group's own delivery limit.";
    Int "group.share.min.heartbeat.interval.ms" = "5000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Lower bound of a share group's own heartbeat interval.";
    Int "group.share.min.partition.max.record.locks" = "100", Valid::Between(100, 2000), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Lower bound of a share group's own limit of locked records.";
    Int "group.share.min.record.lock.duration.ms" = "15000", Valid::Between(1000, 30_000), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Lower bound of a share group's own lock duration.";
    Int "group.share.min.session.timeout.ms" = "45000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Lower bound of a share group's own session timeout.";
    Int "group.share.partition.max.record.locks" = "2000", Valid::Between(100, 10_000), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Most records of a partition that a share group holds at a time.";
    String "group.share.persister.class.name" = "org.apache.kafka.server.share.persister.DefaultStatePersister", Valid::Any, Medium, ReadOnly, Status::NoMeaning,
        "Java class that stores the state of share groups." @internal;
    Int "group.share.record.lock.duration.ms" = "30000", Valid::Between(1000, 3_600_000), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "How long a member of a share group holds a record before it goes to another.";
    Int "group.share.session.timeout.ms" = "45000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "How long a member of a share group may be silent before it is removed.";
    Int "share.coordinator.append.linger.ms" = "-1", Valid::AtLeast(-1), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "How long share state is gathered before it is written; -1 adapts to the load.";
    Int "share.coordinator.cached.buffer.max.bytes" = "1048588", Valid::AtLeast(524_288), Medium, ClusterWide, Status::NoMeaning,
        "Largest write buffer that a share coordinator keeps for reuse.";
    Int "share.coordinator.cold.partition.snapshot.interval.ms" = "300000", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::SHARE),
        "How often the state of an idle share partition is written whole." @internal;
    Int "share.coordinator.load.buffer.size" = "5242880", Valid::AtLeast(1), High, ReadOnly, Status::Idle(parts::SHARE),
        "Bytes read at a time when share state is loaded.";
    Int "share.coordinator.snapshot.update.records.per.snapshot" = "500", Valid::Between(0, 500), Medium, ReadOnly, Status::Idle(parts::SHARE),
        "Changes of share state between two whole ones.";
    Int "share.coordinator.state.topic.compression.codec" = "0", Valid::Any, High, ReadOnly, Status::Idle(parts::SHARE),
        "Codec of the topic of share state: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.";
    Short "share.coordinator.state.topic.min.isr" = "2", Valid::AtLeast(1), High, ReadOnly, Status::Idle(parts::SHARE),
        "Replicas that must have a record of share state before it counts.";
    Int "share.coordinator.state.topic.num.partitions" = "50", Valid::AtLeast(1), High, ReadOnly, Status::Idle(parts::SHARE),
        "Partitions of the topic of share state, when it is created.";
    Int "share.coordinator.state.topic.prune.interval.ms" = "300000", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::SHARE),
        "How often old share state is removed." @internal;
    Short "share.coordinator.state.topic.replication.factor" = "3", Valid::AtLeast(1), High, ReadOnly, Status::Idle(parts::SHARE),
        "Replicas of the topic of share state; unless it is set, not more than there are brokers.";
    Int "share.coordinator.state.topic.segment.bytes" = "104857600", Valid::AtLeast(1), High, ReadOnly, Status::Idle(parts::SHARE),
        "Size of a segment of the topic of share state.";
    Int "share.coordinator.threads" = "1", Valid::AtLeast(1), Medium, ReadOnly, Status::NoMeaning,
        "Threads of the share coordinator.";
    Int "share.coordinator.write.timeout.ms" = "5000", Valid::AtLeast(1), High, ReadOnly, Status::Idle(parts::SHARE),
        "How long a write of share state waits for its replicas.";
    Int "share.fetch.purgatory.purge.interval.requests" = "1000", Valid::Any, Medium, ReadOnly, Status::NoMeaning,
        "How often waiting share fetches are tidied away.";
}
