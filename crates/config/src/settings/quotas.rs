//! Limits of users, clients and addresses, and how rates are measured.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Quotas";

    Int "alter.log.dirs.replication.quota.window.num" = "11", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::QUOTAS),
        "Samples kept to measure the rate of moves between log directories.";
    Int "alter.log.dirs.replication.quota.window.size.seconds" = "1", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::QUOTAS),
        "Length of one sample of the rate of moves between log directories.";
    Class "client.quota.callback.class" = null, Valid::Any, Low, ReadOnly, Status::NoMeaning,
        "Java class that computes quotas.";
    Int "controller.quota.window.num" = "11", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::QUOTAS),
        "Samples kept to measure the rate of changes to topics.";
    Int "controller.quota.window.size.seconds" = "1", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::QUOTAS),
        "Length of one sample of the rate of changes to topics.";
    Int "quota.window.num" = "11", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::QUOTAS),
        "Samples kept to measure the rates of clients.";
    Int "quota.window.size.seconds" = "1", Valid::AtLeast(1), Low, ReadOnly, Status::Idle(parts::QUOTAS),
        "Length of one sample of the rates of clients.";
    Int "replication.quota.window.num" = "11", Valid::AtLeast(1), Low, ReadOnly, Status::NoMeaning,
        "Samples kept to measure the rate of throttled replication.";
    Int "replication.quota.window.size.seconds" = "1", Valid::AtLeast(1), Low, ReadOnly, Status::NoMeaning,
        "Length of one sample of the rate of throttled replication.";
}

settings! {
    USER_ROWS: User, "Quotas and credentials of users and clients";

    String "SCRAM-SHA-256" = null, Valid::Any, Medium, Resource, Status::NotYet(parts::SECURITY),
        "The user's password for SCRAM-SHA-256, salted and hashed.";
    String "SCRAM-SHA-512" = null, Valid::Any, Medium, Resource, Status::NotYet(parts::SECURITY),
        "The user's password for SCRAM-SHA-512, salted and hashed.";
    Long "consumer_byte_rate" = "9223372036854775807", Valid::Any, Medium, Resource, Status::NotYet(parts::QUOTAS),
        "Most bytes that are fetched in a second.";
    Double "controller_mutation_rate" = "2.147483647E9", Valid::Any, Medium, Resource, Status::NotYet(parts::QUOTAS),
        "Most partitions that are created or deleted in a second.";
    Long "producer_byte_rate" = "9223372036854775807", Valid::Any, Medium, Resource, Status::NotYet(parts::QUOTAS),
        "Most bytes that are produced in a second.";
    Double "request_percentage" = "2.147483647E9", Valid::Any, Medium, Resource, Status::NotYet(parts::QUOTAS),
        "Most time that requests take, in percent of one thread.";
}

settings! {
    IP_ROWS: Ip, "Quotas of addresses";

    Int "connection_creation_rate" = "2147483647", Valid::AtLeast(0), Medium, Resource, Status::NotYet(parts::QUOTAS),
        "Most new connections in a second.";
}
