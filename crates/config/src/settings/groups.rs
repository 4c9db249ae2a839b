//! Classic and consumer groups and the topic of their offsets.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

/// Kafka's short names, and the classes that older versions of Kafka name in their place.
const ASSIGNORS: &[&str] = &[
    "uniform",
    "range",
    "org.apache.kafka.coordinator.group.assignor.UniformAssignor",
    "org.apache.kafka.coordinator.group.assignor.RangeAssignor",
];

settings! {
    ROWS: Broker, "Groups";

    Int "group.consumer.assignment.interval.ms" = "1000", Valid::AtLeast(0), Medium, ClusterWide, Status::Acts,
        "Least time between two assignments of a consumer group.";
    Boolean "group.consumer.assignor.offload.enable" = "true", Valid::Any, Medium, ClusterWide, Status::NoMeaning,
        "Assignments of consumer groups are computed on threads of their own.";
    List "group.consumer.assignors" = "uniform,range", Valid::SomeMembers(ASSIGNORS), Medium, ReadOnly, Status::Acts,
        "Assignors of consumer groups, the default first.";
    Int "group.consumer.heartbeat.interval.ms" = "5000", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "How often a member of a consumer group sends a heartbeat.";
    Int "group.consumer.max.assignment.interval.ms" = "15000", Valid::AtLeast(0), Medium, ReadOnly, Status::Acts,
        "Upper bound of a consumer group's own assignment interval.";
    Int "group.consumer.max.heartbeat.interval.ms" = "15000", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "Upper bound of a consumer group's own heartbeat interval.";
    Int "group.consumer.max.session.timeout.ms" = "60000", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "Upper bound of a consumer group's own session timeout.";
    Int "group.consumer.max.size" = "2147483647", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "Most members of a consumer group.";
    String "group.consumer.migration.policy" = "bidirectional", Valid::OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium, ReadOnly, Status::Acts,
        "Which way a group may change between the classic and the consumer protocol while it has members.";
    Int "group.consumer.min.assignment.interval.ms" = "0", Valid::AtLeast(0), Medium, ReadOnly, Status::Acts,
        "Lower bound of a consumer group's own assignment interval.";
    Int "group.consumer.min.heartbeat.interval.ms" = "5000", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "Lower bound of a consumer group's own heartbeat interval.";
    Int "group.consumer.min.session.timeout.ms" = "45000", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "Lower bound of a consumer group's own session timeout.";
    Int "group.consumer.regex.refresh.interval.ms" = "600000", Valid::AtLeast(10_000), Medium, ReadOnly, Status::Acts,
        "How often subscriptions by regular expression are evaluated again." @internal;
    Int "group.consumer.session.timeout.ms" = "45000", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "How long a member of a consumer group may be silent before it is removed.";
    Int "group.coordinator.append.linger.ms" = "-1", Valid::AtLeast(-1), Medium, ReadOnly, Status::Idle(parts::GROUP_LINGER),
        "How long a group's records are gathered before they are written; -1 adapts to the load.";
    Int "group.coordinator.background.threads" = "2", Valid::AtLeast(1), High, ReadOnly, Status::NoMeaning,
        "Threads for slow work of the group coordinator.";
    Int "group.coordinator.cached.buffer.max.bytes" = "1048588", Valid::AtLeast(524_288), Medium, ClusterWide, Status::NoMeaning,
        "Largest write buffer that a group coordinator keeps for reuse.";
    List "group.coordinator.rebalance.protocols" = "classic,consumer,streams", Valid::SomeMembers(&["consumer", "classic", "share", "streams"]), Medium, ReadOnly, Status::Acts,
        "Which group protocols are spoken; classic must be among them, and share and streams do nothing yet.";
    Int "group.coordinator.threads" = "4", Valid::AtLeast(1), High, ReadOnly, Status::NoMeaning,
        "Threads of the group coordinator.";
    Int "group.initial.rebalance.delay.ms" = "3000", Valid::Any, Medium, ReadOnly, Status::Acts,
        "How long a group that was empty waits for more members before its first rebalance.";
    Int "group.max.session.timeout.ms" = "1800000", Valid::Any, Medium, ReadOnly, Status::Acts,
        "Longest session timeout that a member of a classic group may ask for.";
    Int "group.max.size" = "2147483647", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "Most members of a classic group.";
    Int "group.min.session.timeout.ms" = "6000", Valid::Any, Medium, ReadOnly, Status::Acts,
        "Shortest session timeout that a member of a classic group may ask for.";
    Int "offset.metadata.max.bytes" = "4096", Valid::Any, High, ReadOnly, Status::Acts,
        "Longest note that a consumer may commit with an offset.";
    Int "offsets.commit.timeout.ms" = "5000", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "How long a commit waits for its replicas.";
    Int "offsets.load.buffer.size" = "5242880", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Bytes read at a time when committed offsets are loaded.";
    Long "offsets.retention.check.interval.ms" = "600000", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "How often the broker looks for offsets that expired.";
    Int "offsets.retention.minutes" = "10080", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Minutes that offsets are kept after their group became empty.";
    Int "offsets.topic.compression.codec" = "0", Valid::Any, High, ReadOnly, Status::NotYet(parts::INTERNAL_CODEC),
        "Codec of the topic of committed offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.";
    Int "offsets.topic.num.partitions" = "50", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Partitions of the topic of committed offsets, when it is created.";
    Short "offsets.topic.replication.factor" = "3", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Replicas of the topic of committed offsets; unless it is set, not more than there are brokers.";
    Int "offsets.topic.segment.bytes" = "104857600", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Size of a segment of the topic of committed offsets.";
}
