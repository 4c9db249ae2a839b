//! Identity of the node, topics made without asking, and limits of requests.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "The node";

    Class "alter.config.policy.class.name" = null, Valid::Any, Low, ReadOnly, Status::NoMeaning,
        "Java class that judges changes of settings.";
    Boolean "auto.create.topics.enable" = "true", Valid::Any, High, ReadOnly, Status::Acts,
        "A topic that a client asks for and that does not exist is created, with the default partitions and replicas.";
    Int "background.threads" = "10", Valid::AtLeast(1), High, ClusterWide, Status::NoMeaning,
        "Threads for background work.";
    Int "broker.id" = "-1", Valid::Any, High, ReadOnly, Status::Acts,
        "Older name of `node.id`; counts where that is not set.";
    String "broker.rack" = null, Valid::Any, Medium, ReadOnly, Status::Acts,
        "Rack or zone of the broker, told to clients and used to spread replicas.";
    List "config.providers" = "", Valid::Any, Low, ClusterWide, Status::NotYet(parts::PROVIDERS),
        "Names of the sources that placeholders in values are filled from.";
    Long "controller.performance.always.log.threshold.ms" = "2000", Valid::AtLeast(0), Medium, ReadOnly, Status::NoMeaning,
        "Controller events slower than this are logged." @internal;
    Long "controller.performance.sample.period.ms" = "60000", Valid::AtLeast(100), Medium, ReadOnly, Status::NoMeaning,
        "How often the slowest controller event is logged." @internal;
    Class "create.topic.policy.class.name" = null, Valid::Any, Low, ReadOnly, Status::NoMeaning,
        "Java class that judges new topics.";
    Int "delete.records.purgatory.purge.interval.requests" = "1", Valid::Any, Medium, ReadOnly, Status::NoMeaning,
        "How often waiting requests to delete records are tidied away.";
    Boolean "delete.topic.enable" = "true", Valid::Any, High, ReadOnly, Status::Acts,
        "Topics can be deleted.";
    Int "fetch.max.bytes" = "57671680", Valid::AtLeast(1024), Medium, ReadOnly, Status::Acts,
        "Most bytes in the answer to one fetch, whatever the client asks for.";
    Int "fetch.purgatory.purge.interval.requests" = "1000", Valid::Any, Medium, ReadOnly, Status::NoMeaning,
        "How often waiting fetches are tidied away.";
    Int "max.incremental.fetch.session.cache.slots" = "1000", Valid::AtLeast(0), Medium, ReadOnly, Status::Acts,
        "Fetch sessions that a broker keeps.";
    Int "max.request.partition.size.limit" = "2000", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "Most partitions in one answer to a request that describes partitions.";
    Int "node.id" = "1", Valid::AtLeast(0), High, ReadOnly, Status::Acts,
        "Number of the node, distinct in its cluster. Kafka has no default for it.";
    Int "num.partitions" = "1", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "Partitions of topics that are created without a number of their own.";
    List "process.roles" = "broker,controller", Valid::SomeMembers(&["broker", "controller"]), High, ReadOnly, Status::Acts,
        "What the node is: broker, controller, or both. Kafka has no default for it.";
    Int "producer.purgatory.purge.interval.requests" = "1000", Valid::Any, Medium, ReadOnly, Status::NoMeaning,
        "How often waiting produce requests are tidied away.";
    Int "request.timeout.ms" = "30000", Valid::Any, High, ReadOnly, Status::NoMeaning,
        "How long a request of this node to another may take.";
    Long "server.max.startup.time.ms" = "9223372036854775807", Valid::AtLeast(0), Medium, ReadOnly, Status::NoMeaning,
        "How long a start may take." @internal;
    Boolean "unstable.api.versions.enable" = "false", Valid::Any, High, ReadOnly, Status::NoMeaning,
        "Versions of requests that Kafka has not released are spoken." @internal;
    Boolean "unstable.feature.versions.enable" = "false", Valid::Any, High, ReadOnly, Status::NoMeaning,
        "Feature levels that Kafka has not released can be chosen." @internal;
}
