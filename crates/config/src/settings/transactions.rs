//! Idempotent producers, transactions and the topic of their state.

use crate::setting::{Status, Valid};
use crate::settings::{parts, settings};

settings! {
    ROWS: Broker, "Producers and transactions";

    Int "add.partitions.to.txn.retry.backoff.max.ms" = "100", Valid::AtLeast(0), High, ReadOnly, Status::Acts,
        "How long the broker tries to add a partition to a transaction while the producer's last one is being completed.";
    Int "add.partitions.to.txn.retry.backoff.ms" = "20", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Wait of the broker between two tries to add a partition to a transaction.";
    Int "producer.id.expiration.check.interval.ms" = "600000", Valid::AtLeast(1), Low, ReadOnly, Status::Acts,
        "How often producers that fell silent are forgotten." @internal;
    Int "producer.id.expiration.ms" = "86400000", Valid::AtLeast(1), Low, ClusterWide, Status::Acts,
        "How long the state of an idempotent producer is kept after its last record.";
    Int "transaction.abort.timed.out.transaction.cleanup.interval.ms" = "10000", Valid::AtLeast(1), Low, ReadOnly, Status::Acts,
        "How often transactions that took too long are aborted.";
    Int "transaction.max.timeout.ms" = "900000", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Longest time-out that a producer may ask for.";
    Boolean "transaction.partition.verification.enable" = "true", Valid::Any, Low, ClusterWide, Status::Acts,
        "A partition asks the coordinator whether a transaction is open before it takes the first record of it.";
    Int "transaction.remove.expired.transaction.cleanup.interval.ms" = "3600000", Valid::AtLeast(1), Low, ReadOnly, Status::Acts,
        "How often transactional ids that expired are forgotten.";
    Int "transaction.state.log.load.buffer.size" = "5242880", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Bytes read at a time when transactions are loaded.";
    Int "transaction.state.log.min.isr" = "2", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Replicas that must have a record of transaction state before it counts; unless it is set, not more than the topic has.";
    Int "transaction.state.log.num.partitions" = "50", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Partitions of the topic of transaction state, when it is created.";
    Short "transaction.state.log.replication.factor" = "3", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Replicas of the topic of transaction state; unless it is set, not more than there are brokers.";
    Int "transaction.state.log.segment.bytes" = "104857600", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "Size of a segment of the topic of transaction state.";
    Boolean "transaction.two.phase.commit.enable" = "false", Valid::Any, Low, ReadOnly, Status::NotYet(parts::TWO_PHASE),
        "Producers may take part in a commit that an outside coordinator decides.";
    Int "transactional.id.expiration.ms" = "604800000", Valid::AtLeast(1), High, ReadOnly, Status::Acts,
        "How long an unused transactional id is kept.";
}
