//! Leaders, followers and in-sync replicas.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Replication";

    Boolean "auto.leader.rebalance.enable" = "true", Valid::Any, High, ReadOnly, Status::Acts,
        "Leadership is handed back to the preferred replicas from time to time.";
    Boolean "controlled.shutdown.enable" = "true", Valid::Any, Medium, ReadOnly, Status::Acts,
        "A broker that stops hands its leaderships over first.";
    Int "default.replication.factor" = "1", Valid::Any, Medium, ReadOnly, Status::Acts,
        "Replicas of topics that are created without a number of their own.";
    Long "follower.replication.throttled.rate" = "9223372036854775807", Valid::AtLeast(0), Medium, ClusterWide, Status::Acts,
        "Most bytes that throttled followers fetch in a second.";
    Long "leader.imbalance.check.interval.seconds" = "300", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "How often the controller looks whether leadership is out of balance.";
    Long "leader.replication.throttled.rate" = "9223372036854775807", Valid::AtLeast(0), Medium, ClusterWide, Status::Acts,
        "Most bytes that leaders serve to throttled followers in a second.";
    Int "num.replica.alter.log.dirs.threads" = null, Valid::Any, High, ReadOnly, Status::NoMeaning,
        "Threads that move logs between directories.";
    Int "num.replica.fetchers" = "1", Valid::AtLeast(1), High, ClusterWide, Status::ActsAtStart,
        "Connections over which a follower fetches from each leader.";
    Long "replica.alter.log.dirs.io.max.bytes.per.second" = "9223372036854775807", Valid::AtLeast(0), Medium, ClusterWide, Status::NotYet(parts::MOVING_LOGS),
        "Most bytes that moves between log directories read and write in a second.";
    Int "replica.fetch.backoff.ms" = "1000", Valid::AtLeast(0), Medium, ReadOnly, Status::Acts,
        "Wait of a follower after a fetch that failed.";
    Int "replica.fetch.max.bytes" = "1048576", Valid::AtLeast(0), Medium, ReadOnly, Status::Acts,
        "Bytes of one partition that a follower asks for.";
    Int "replica.fetch.min.bytes" = "1", Valid::Any, High, ReadOnly, Status::Acts,
        "Bytes that a follower's fetch waits for.";
    Int "replica.fetch.response.max.bytes" = "10485760", Valid::AtLeast(0), Medium, ReadOnly, Status::Acts,
        "Bytes of the whole answer that a follower asks for.";
    Int "replica.fetch.wait.max.ms" = "500", Valid::Any, High, ReadOnly, Status::Acts,
        "How long a follower's fetch waits for data.";
    Long "replica.high.watermark.checkpoint.interval.ms" = "5000", Valid::Any, High, ReadOnly, Status::Acts,
        "How often high watermarks are written down.";
    Long "replica.lag.time.max.ms" = "30000", Valid::Any, High, ReadOnly, Status::Acts,
        "How long a follower may lag before it leaves the in-sync replicas.";
    String "replica.selector.class" = null, Valid::Any, Medium, ReadOnly, Status::Acts,
        "What chooses the replica that a consumer reads from.";
    Int "replica.socket.receive.buffer.bytes" = "65536", Valid::Any, High, ReadOnly, Status::NoMeaning,
        "Receive buffer of a follower's socket.";
    Int "replica.socket.timeout.ms" = "30000", Valid::Any, High, ReadOnly, Status::Acts,
        "How long a follower's request may take.";
    Long "socket.connection.setup.timeout.max.ms" = "30000", Valid::Any, Medium, ReadOnly, Status::NoMeaning,
        "Longest time that a connection to another broker may take to open.";
    Long "socket.connection.setup.timeout.ms" = "10000", Valid::Any, Medium, ReadOnly, Status::NoMeaning,
        "First time-out of opening a connection to another broker.";
    Boolean "unclean.leader.election.enable" = "false", Valid::Any, High, ClusterWide, Status::Acts,
        "A replica that is not in sync may become leader when no other is left, at the price of records.";
    Long "unclean.leader.election.interval.ms" = "300000", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "How often partitions without a leader are looked through for an unclean election." @internal;
}
