//! Controllers, the metadata log, and registration of brokers.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Metadata quorum";

    Int "broker.heartbeat.interval.ms" = "2000", Valid::Any, Medium, ReadOnly, Status::Acts,
        "How often a broker tells the controller that it lives.";
    Int "broker.session.timeout.ms" = "9000", Valid::Any, Medium, ReadOnly, Status::Acts,
        "How long a broker may be silent before the controller fences it.";
    List "controller.listener.names" = "CONTROLLER", Valid::Any, High, ReadOnly, Status::Acts,
        "Names of the listeners over which controllers are reached; a node alone needs none.";
    Int "controller.quorum.append.linger.ms" = "25", Valid::AtLeast(0), Medium, ReadOnly, Status::NoMeaning,
        "How long the leader of the quorum gathers records before it writes them.";
    Boolean "controller.quorum.auto.join.enable" = "false", Valid::Any, Low, ReadOnly, Status::NotYet(parts::AUTO_JOIN),
        "A controller adds itself to the voters when it starts.";
    List "controller.quorum.bootstrap.servers" = "", Valid::Any, High, ReadOnly, Status::Acts,
        "Where to find a quorum whose voters are not named, as HOST:PORT of controller listeners.";
    Int "controller.quorum.election.backoff.max.ms" = "1000", Valid::AtLeast(0), High, ReadOnly, Status::NoMeaning,
        "Longest wait before a lost election is tried again.";
    Int "controller.quorum.election.timeout.ms" = "1000", Valid::AtLeast(0), High, ReadOnly, Status::Acts,
        "Within this time after it lost its leader a voter asks for votes.";
    Int "controller.quorum.fetch.max.bytes" = "1048576", Valid::AtLeast(1), Low, ReadOnly, Status::NoMeaning,
        "Most bytes of one fetch of the metadata log.";
    Int "controller.quorum.fetch.snapshot.max.bytes" = "1048576", Valid::AtLeast(1), Low, ReadOnly, Status::NoMeaning,
        "Most bytes of one fetch of a metadata snapshot.";
    Int "controller.quorum.fetch.timeout.ms" = "2000", Valid::AtLeast(0), High, ReadOnly, Status::NoMeaning,
        "How long a voter goes without a fetch before it calls an election; here `controller.quorum.election.timeout.ms` says.";
    Int "controller.quorum.request.timeout.ms" = "2000", Valid::AtLeast(0), Medium, ReadOnly, Status::NoMeaning,
        "How long a request within the quorum may take.";
    Int "controller.quorum.retry.backoff.ms" = "20", Valid::AtLeast(0), Low, ReadOnly, Status::NoMeaning,
        "Wait before a request within the quorum is tried again.";
    List "controller.quorum.voters" = "", Valid::Any, High, ReadOnly, Status::Acts,
        "The voters that a new cluster begins with, as ID@HOST:PORT, the same on every node. None is this node alone.";
    Int "controller.socket.timeout.ms" = "30000", Valid::Any, Medium, ReadOnly, Status::NoMeaning,
        "How long a request from the controller to a broker may take.";
    Int "initial.broker.registration.timeout.ms" = "60000", Valid::Any, Medium, ReadOnly, Status::Acts,
        "How long a starting broker tries to register before it gives up.";
    Long "internal.metadata.delete.delay.millis" = "60000", Valid::Any, Low, ReadOnly, Status::NoMeaning,
        "How long old metadata snapshots and segments are kept after they were given up." @internal;
    Int "internal.metadata.log.segment.bytes" = null, Valid::Any, Low, ReadOnly, Status::NoMeaning,
        "Size of a segment of the metadata log, for tests." @internal;
    Int "internal.metadata.max.batch.size.in.bytes" = "8388608", Valid::Any, Low, ReadOnly, Status::NoMeaning,
        "Largest batch of the metadata log." @internal;
    String "metadata.log.dir" = null, Valid::Any, High, ReadOnly, Status::Acts,
        "Directory of the metadata log; without it the first log directory.";
    Long "metadata.log.max.record.bytes.between.snapshots" = "20971520", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Bytes of metadata after which a snapshot is written.";
    Long "metadata.log.max.snapshot.interval.ms" = "3600000", Valid::AtLeast(0), High, ReadOnly, Status::NoMeaning,
        "Time after which a snapshot of the metadata is written.";
    Int "metadata.log.segment.bytes" = "1073741824", Valid::AtLeast(8_388_608), High, ReadOnly, Status::NoMeaning,
        "Size of a segment of the metadata log.";
    Long "metadata.log.segment.ms" = "604800000", Valid::Any, High, ReadOnly, Status::NoMeaning,
        "Age at which a segment of the metadata log is closed.";
    Int "metadata.max.idle.interval.ms" = "500", Valid::AtLeast(0), Low, ReadOnly, Status::NoMeaning,
        "How often an idle leader of the quorum writes a record, to show that it lives.";
    Long "metadata.max.retention.bytes" = "104857600", Valid::Any, High, ReadOnly, Status::NoMeaning,
        "Bytes of metadata log and snapshots beyond which old ones are deleted.";
    Long "metadata.max.retention.ms" = "604800000", Valid::Any, High, ReadOnly, Status::NoMeaning,
        "Age beyond which old metadata segments and snapshots are deleted.";
}
