//! Settings that Kafka itself dropped: files that still carry them work as they stand, and the notice says what to know.

const ZOOKEEPER: &str = "there is no ZooKeeper; the metadata is kept by the brokers themselves";
const GONE: &str = "Kafka dropped it; it has no effect";
const LISTENERS: &str = "it has no effect; use `listeners`";
const ADVERTISED: &str = "it has no effect; use `advertised.listeners`";

const RETIRED: &[(&str, &str)] = &[
    ("advertised.host.name", ADVERTISED),
    ("advertised.port", ADVERTISED),
    ("auto.include.jmx.reporter", GONE),
    ("broker.id.generation.enable", ZOOKEEPER),
    ("control.plane.listener.name", GONE),
    ("controlled.shutdown.max.retries", GONE),
    ("controlled.shutdown.retry.backoff.ms", GONE),
    ("delegation.token.master.key", "it has no effect; use `delegation.token.secret.key`"),
    ("eligible.leader.replicas.enable", GONE),
    ("group.coordinator.new.enable", GONE),
    ("group.share.enable", GONE),
    ("group.share.max.groups", GONE),
    ("host.name", LISTENERS),
    ("inter.broker.protocol.version", GONE),
    ("leader.imbalance.per.broker.percentage", GONE),
    ("log.message.downconversion.enable", GONE),
    ("log.message.format.version", GONE),
    (
        "log.message.timestamp.difference.max.ms",
        "it has no effect; use `log.message.timestamp.before.max.ms` and `log.message.timestamp.after.max.ms`",
    ),
    ("metadata.log.segment.min.bytes", GONE),
    ("offsets.commit.required.acks", GONE),
    ("password.encoder.cipher.algorithm", ZOOKEEPER),
    ("password.encoder.iterations", ZOOKEEPER),
    ("password.encoder.key.length", ZOOKEEPER),
    ("password.encoder.keyfactory.algorithm", ZOOKEEPER),
    ("password.encoder.old.secret", ZOOKEEPER),
    ("password.encoder.secret", ZOOKEEPER),
    ("port", LISTENERS),
    ("quota.consumer.default", "it has no effect; quotas are set on users and clients"),
    ("quota.producer.default", "it has no effect; quotas are set on users and clients"),
    ("reserved.broker.max.id", ZOOKEEPER),
    ("share.fetch.max.fetch.records", GONE),
];

/// What to know about a setting that Kafka dropped; `None` when it is none of these.
#[must_use]
pub fn retired(name: &str) -> Option<&'static str> {
    if name.starts_with("zookeeper.") {
        return Some(ZOOKEEPER);
    }
    RETIRED.iter().find(|(retired, _)| *retired == name).map(|(_, advice)| *advice)
}
