//! Settings of single groups.

use crate::setting::{Status, Valid};
use crate::settings::{parts, same, settings};

settings! {
    ROWS: Group, "Settings of single groups";

    Int "consumer.assignment.interval.ms" = "1000", Valid::AtLeast(0), Medium, Resource, Status::Acts,
        "Least time between two assignments." <- [same("group.consumer.assignment.interval.ms")];
    Boolean "consumer.assignor.offload.enable" = "true", Valid::Any, Medium, Resource, Status::NoMeaning,
        "Assignments are computed on threads of their own." <- [same("group.consumer.assignor.offload.enable")];
    Int "consumer.heartbeat.interval.ms" = "5000", Valid::AtLeast(1), Medium, Resource, Status::Acts,
        "How often a member sends a heartbeat." <- [same("group.consumer.heartbeat.interval.ms")];
    Int "consumer.session.timeout.ms" = "45000", Valid::AtLeast(1), Medium, Resource, Status::Acts,
        "How long a member may be silent before it is removed." <- [same("group.consumer.session.timeout.ms")];
    Boolean "errors.deadletterqueue.copy.record.enable" = "false", Valid::Any, Medium, Resource, Status::NotYet(parts::DEAD_LETTERS),
        "A dead letter carries key and value of the record that failed.";
    String "errors.deadletterqueue.topic.name" = "", Valid::Any, Medium, Resource, Status::NotYet(parts::DEAD_LETTERS),
        "Topic that dead letters are written to.";
    Int "share.assignment.interval.ms" = "1000", Valid::AtLeast(0), Medium, Resource, Status::NotYet(parts::SHARE),
        "Least time between two assignments." <- [same("group.share.assignment.interval.ms")];
    Boolean "share.assignor.offload.enable" = "true", Valid::Any, Medium, Resource, Status::NoMeaning,
        "Assignments are computed on threads of their own." <- [same("group.share.assignor.offload.enable")];
    String "share.auto.offset.reset" = "latest", Valid::OffsetReset, Medium, Resource, Status::NotYet(parts::SHARE),
        "Where a new share group begins.";
    Int "share.delivery.count.limit" = "5", Valid::AtLeast(2), Medium, Resource, Status::NotYet(parts::SHARE),
        "How often a record is delivered before it counts as failed." <- [same("group.share.delivery.count.limit")];
    Int "share.heartbeat.interval.ms" = "5000", Valid::AtLeast(1), Medium, Resource, Status::NotYet(parts::SHARE),
        "How often a member sends a heartbeat." <- [same("group.share.heartbeat.interval.ms")];
    String "share.isolation.level" = "read_uncommitted", Valid::OneOf(&["read_committed", "read_uncommitted"]), Medium, Resource, Status::NotYet(parts::SHARE),
        "Whether records of open and aborted transactions are read.";
    Int "share.partition.max.record.locks" = "2000", Valid::AtLeast(100), Medium, Resource, Status::NotYet(parts::SHARE),
        "Most records of a partition that the group holds at a time." <- [same("group.share.partition.max.record.locks")];
    Int "share.record.lock.duration.ms" = "30000", Valid::AtLeast(1000), Medium, Resource, Status::NotYet(parts::SHARE),
        "How long a member holds a record before it goes to another." <- [same("group.share.record.lock.duration.ms")];
    Boolean "share.renew.acknowledge.enable" = "true", Valid::Any, Medium, Resource, Status::NotYet(parts::SHARE),
        "A member may prolong its hold on a record.";
    Int "share.session.timeout.ms" = "45000", Valid::AtLeast(1), Medium, Resource, Status::NotYet(parts::SHARE),
        "How long a member may be silent before it is removed." <- [same("group.share.session.timeout.ms")];
    Long "streams.acceptable.recovery.lag" = "10000", Valid::AtLeast(0), Medium, Resource, Status::NotYet(parts::STREAMS),
        "How far behind a copy of a task's state may be to count as caught up." <- [same("group.streams.acceptable.recovery.lag")];
    Int "streams.assignment.interval.ms" = "1000", Valid::AtLeast(0), Medium, Resource, Status::NotYet(parts::STREAMS),
        "Least time between two assignments." <- [same("group.streams.assignment.interval.ms")];
    String "streams.assignor.name" = null, Valid::Any, Medium, Resource, Status::NotYet(parts::STREAMS),
        "Assignor of the group.";
    Boolean "streams.assignor.offload.enable" = "true", Valid::Any, Medium, Resource, Status::NoMeaning,
        "Assignments are computed on threads of their own." <- [same("group.streams.assignor.offload.enable")];
    Int "streams.heartbeat.interval.ms" = "5000", Valid::AtLeast(1), Medium, Resource, Status::NotYet(parts::STREAMS),
        "How often a member sends a heartbeat." <- [same("group.streams.heartbeat.interval.ms")];
    Int "streams.initial.rebalance.delay.ms" = "3000", Valid::AtLeast(0), Medium, Resource, Status::NotYet(parts::STREAMS),
        "How long a new group waits for more members before its first assignment." <- [same("group.streams.initial.rebalance.delay.ms")];
    Int "streams.num.standby.replicas" = "0", Valid::AtLeast(0), Medium, Resource, Status::NotYet(parts::STREAMS),
        "Copies of each task's state that are kept ready." <- [same("group.streams.num.standby.replicas")];
    Int "streams.num.warmup.replicas" = "2", Valid::AtLeast(0), Medium, Resource, Status::NotYet(parts::STREAMS),
        "Most copies that catch up before they take a task over." <- [same("group.streams.num.warmup.replicas")];
    List "streams.rack.aware.assignment.tags" = "", Valid::Any, Low, Resource, Status::NotYet(parts::STREAMS),
        "Client tags by which copies of a task's state are spread." <- [same("group.streams.rack.aware.assignment.tags")];
    Int "streams.session.timeout.ms" = "45000", Valid::AtLeast(1), Medium, Resource, Status::NotYet(parts::STREAMS),
        "How long a member may be silent before it is removed." <- [same("group.streams.session.timeout.ms")];
    Int "streams.task.offset.interval.ms" = "60000", Valid::AtLeast(1), Medium, Resource, Status::NotYet(parts::STREAMS),
        "How often members report how far their tasks have come." <- [same("group.streams.task.offset.interval.ms")];
}
