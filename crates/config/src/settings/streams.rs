//! Streams groups.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Streams groups";

    Long "group.streams.acceptable.recovery.lag" = "10000", Valid::AtLeast(0), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "How far behind a copy of a task's state may be to count as caught up.";
    Int "group.streams.assignment.interval.ms" = "1000", Valid::AtLeast(0), Medium, ClusterWide, Status::Idle(parts::STREAMS),
        "Least time between two assignments of a streams group.";
    Boolean "group.streams.assignor.offload.enable" = "true", Valid::Any, Medium, ClusterWide, Status::NoMeaning,
        "Assignments of streams groups are computed on threads of their own.";
    List "group.streams.assignors" = "sticky", Valid::Any, Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Assignors of streams groups, the default first.";
    Int "group.streams.heartbeat.interval.ms" = "5000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "How often a member of a streams group sends a heartbeat.";
    Int "group.streams.initial.rebalance.delay.ms" = "3000", Valid::AtLeast(0), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "How long a new streams group waits for more members before its first assignment.";
    Int "group.streams.max.assignment.interval.ms" = "15000", Valid::AtLeast(0), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Upper bound of a streams group's own assignment interval.";
    Int "group.streams.max.heartbeat.interval.ms" = "15000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Upper bound of a streams group's own heartbeat interval.";
    Int "group.streams.max.session.timeout.ms" = "60000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Upper bound of a streams group's own session timeout.";
    Int "group.streams.max.size" = "2147483647", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Most members of a streams group.";
    Int "group.streams.max.standby.replicas" = "2", Valid::AtLeast(0), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Upper bound of a streams group's own number of standby replicas.";
    Int "group.streams.max.warmup.replicas" = "20", Valid::AtLeast(0), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Upper bound of a streams group's own number of warm-up replicas.";
    Int "group.streams.min.assignment.interval.ms" = "0", Valid::AtLeast(0), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Lower bound of a streams group's own assignment interval.";
    Int "group.streams.min.heartbeat.interval.ms" = "5000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Lower bound of a streams group's own heartbeat interval.";
    Int "group.streams.min.session.timeout.ms" = "45000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Lower bound of a streams group's own session timeout.";
    Int "group.streams.min.task.offset.interval.ms" = "15000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Lower bound of a streams group's own task offset interval.";
    Int "group.streams.num.standby.replicas" = "0", Valid::AtLeast(0), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Copies of each task's state that are kept ready.";
    Int "group.streams.num.warmup.replicas" = "2", Valid::AtLeast(0), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "Most copies that catch up before they take a task over.";
    List "group.streams.rack.aware.assignment.tags" = "", Valid::Any, Low, ReadOnly, Status::Idle(parts::STREAMS),
        "Client tags by which copies of a task's state are spread.";
    Int "group.streams.session.timeout.ms" = "45000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "How long a member of a streams group may be silent before it is removed.";
    Int "group.streams.task.offset.interval.ms" = "60000", Valid::AtLeast(1), Medium, ReadOnly, Status::Idle(parts::STREAMS),
        "How often members report how far their tasks have come.";
    Class "group.streams.topology.description.plugin.class" = null, Valid::Any, Medium, ReadOnly, Status::NoMeaning,
        "Java class that stores descriptions of topologies.";
}
