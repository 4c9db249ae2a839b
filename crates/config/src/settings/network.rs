//! Listeners, sockets and connections.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Network";

    List "advertised.listeners" = null, Valid::Any, High, ReadOnly, Status::Acts,
        "Addresses that clients are told to connect to. Without it a client is told the address that it dialled.";
    Long "connections.max.idle.ms" = "600000", Valid::Any, Medium, ReadOnly, Status::Acts,
        "A connection without a request for this long is closed.";
    String "inter.broker.listener.name" = null, Valid::Any, Medium, ReadOnly, Status::Acts,
        "Listener over which brokers reach each other; one of `listeners`.";
    String "listener.security.protocol.map" = "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", Valid::Any, Low, PerBroker, Status::ActsAtStart,
        "What is spoken on each listener, as NAME:PROTOCOL pairs. Controller listeners are plain unless the map is set.";
    List "listeners" = "PLAINTEXT://:9092", Valid::Any, High, PerBroker, Status::ActsAtStart,
        "Where the broker listens, as NAME://HOST:PORT; without a host on all interfaces.";
    Int "max.connection.creation.rate" = "2147483647", Valid::AtLeast(0), Medium, ClusterWide, Status::NotYet(parts::QUOTAS),
        "Most new connections in a second.";
    Int "max.connections" = "2147483647", Valid::AtLeast(0), Medium, ClusterWide, Status::ActsAtStart,
        "Most connections at a time.";
    Int "max.connections.per.ip" = "2147483647", Valid::AtLeast(0), Medium, ClusterWide, Status::ActsAtStart,
        "Most connections at a time from one address.";
    String "max.connections.per.ip.overrides" = "", Valid::Any, Medium, ClusterWide, Status::ActsAtStart,
        "Limits of single addresses, as HOST:COUNT pairs.";
    Int "num.io.threads" = "8", Valid::AtLeast(1), High, ClusterWide, Status::NoMeaning,
        "Threads that handle requests.";
    Int "num.network.threads" = "3", Valid::AtLeast(1), High, ClusterWide, Status::NoMeaning,
        "Threads that read and write sockets.";
    Long "queued.max.request.bytes" = "-1", Valid::Any, Medium, ReadOnly, Status::Acts,
        "Bytes of requests that may wait before sockets are no longer read; -1 is no limit.";
    Int "queued.max.requests" = "500", Valid::AtLeast(1), High, ReadOnly, Status::NoMeaning,
        "Requests that may wait before sockets are no longer read.";
    Int "socket.listen.backlog.size" = "50", Valid::AtLeast(1), Medium, ReadOnly, Status::Acts,
        "Connections that may wait to be accepted; unless it is set, as many as the system allows.";
    Int "socket.receive.buffer.bytes" = "102400", Valid::Any, High, ReadOnly, Status::Acts,
        "Receive buffer of a client's socket; unless it is set, and with -1, the system chooses.";
    Int "socket.request.max.bytes" = "104857600", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Largest request that is taken.";
    Int "socket.send.buffer.bytes" = "102400", Valid::Any, High, ReadOnly, Status::Acts,
        "Send buffer of a client's socket; unless it is set, and with -1, the system chooses.";
}
