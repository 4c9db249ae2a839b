//! Loading, listeners, layers, topics, descriptions and changes, from the outside.

use super::*;
use crate::alter::{Change, Op};
use crate::describe::{ConfigSource, Resource};
use crate::group::ConsumerGroupConfig;
use crate::layers::Overrides;
use crate::topic::{CompressionType, TimestampType};
use crate::{Scope, settings};
use proptest::prelude::*;

/// Loads what a file says; lines in messages are left out unless a test asks for them.
pub(super) fn load(text: &str) -> Result<BrokerConfig, String> {
    let file = ServerProperties::parse(text).unwrap();
    let mut properties = ServerProperties::default();
    for (name, value) in file.iter() {
        properties.set(name, value);
    }
    BrokerConfig::load(&properties).map_err(|errors| errors.to_string())
}

fn overrides(pairs: &[(&str, &str)]) -> Overrides {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(super) fn refused(text: &str, expected: &str) {
    let message = load(text).expect_err(text);
    assert_eq!(message, expected, "{text}");
}

/// The defaults of Kafka's own sample file for one node, with a comment or two.
const KAFKA_SAMPLE: &str = "
# one node
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

#[test]
fn nothing_needs_to_be_set() {
    let config = load("").unwrap();
    assert_eq!(config, BrokerConfig::default());
    assert_eq!(config.node.node_id, 1);
    assert_eq!(config.log_dirs(), ["data"]);
    assert_eq!(config.listeners.len(), 1);
    assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://:9092");
    assert_eq!(config.advertised_listeners, None);
    assert_eq!(config.socket_send_buffer_bytes(), None);
    assert_eq!(config.internal_replication_factor(InternalTopic::Offsets, 1), 1);
    assert_eq!(config.internal_replication_factor(InternalTopic::Offsets, 5), 3);
    assert_eq!(config.internal_min_insync_replicas(InternalTopic::Transactions, 1), 1);
    assert_eq!(config.internal_min_insync_replicas(InternalTopic::Transactions, 3), 2);
    assert!(config.notices().is_empty());
}

#[test]
fn kafkas_sample_works_as_it_stands() {
    let config = load(KAFKA_SAMPLE).unwrap();
    assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://:9092");
    assert_eq!(config.controller_listeners[0].to_string(), "CONTROLLER://:9093");
    assert_eq!(config.socket_receive_buffer_bytes(), Some(102_400));
    let advertised = config.advertised_listeners.as_deref().unwrap();
    assert_eq!(advertised.len(), 1);
    assert_eq!(advertised[0].to_string(), "PLAINTEXT://localhost:9092");
    let notices: Vec<String> = config.notices().iter().map(ToString::to_string).collect();
    assert!(notices.contains(&"num.io.threads: has no meaning here".to_owned()), "{notices:?}");
    let unused =
        "share.coordinator.state.topic.min.isr: unused, Millstream has no share groups yet";
    assert!(notices.contains(&unused.to_owned()), "{notices:?}");
}

#[test]
fn a_factor_that_was_set_is_kept() {
    let config = load("offsets.topic.replication.factor=3").unwrap();
    assert_eq!(config.internal_replication_factor(InternalTopic::Offsets, 1), 3);
}

#[test]
fn what_is_unknown_is_refused_with_what_was_meant() {
    refused(
        "num.partition=3",
        "unknown broker setting `num.partition`. Did you mean `num.partitions`?",
    );
    refused(
        "log.retension.ms=3",
        "unknown broker setting `log.retension.ms`. Did you mean `log.retention.ms`?",
    );
    refused(
        "retention.ms=3",
        "unknown broker setting `retention.ms`: it is set on topics; for all topics set `log.retention.ms`",
    );
    refused(
        "quite.something.else=3",
        "unknown broker setting `quite.something.else`. docs/reference/settings.md lists all",
    );
}

#[test]
fn what_is_wrong_is_said_all_at_once() {
    refused(
        "num.partitions=0\nlog.segment.bytes=1000\n",
        "`log.segment.bytes=1000` is not valid: it takes an int, at least 1048576\n\
         `num.partitions=0` is not valid: it takes an int, at least 1",
    );
    refused(
        "group.min.session.timeout.ms=10\ngroup.max.session.timeout.ms=5",
        "`group.min.session.timeout.ms=10` is above `group.max.session.timeout.ms=5`: lower the one or raise the other",
    );
    refused(
        "log.retention.hours=0",
        "`log.retention.hours=0` is not valid: it takes at least 1, or -1 for no limit",
    );
    refused(
        "group.coordinator.rebalance.protocols=consumer",
        "`group.coordinator.rebalance.protocols=consumer` leaves out classic, which cannot be switched off: add it",
    );
    refused("node.id=1\nbroker.id=2", "`node.id=1` and `broker.id=2` differ: keep `node.id` alone");
}

#[test]
fn times_of_consumer_groups_lie_within_their_bounds() {
    refused(
        "group.consumer.session.timeout.ms=30000",
        "`group.consumer.min.session.timeout.ms=45000` is above `group.consumer.session.timeout.ms=30000`: lower the one or raise the other",
    );
    refused(
        "group.consumer.heartbeat.interval.ms=20000",
        "`group.consumer.heartbeat.interval.ms=20000` is above `group.consumer.max.heartbeat.interval.ms=15000`: lower the one or raise the other",
    );
    refused(
        "group.consumer.min.assignment.interval.ms=20000",
        "`group.consumer.min.assignment.interval.ms=20000` is above `group.consumer.max.assignment.interval.ms=15000`: lower the one or raise the other",
    );
    refused(
        "group.consumer.min.session.timeout.ms=1\ngroup.consumer.session.timeout.ms=5000",
        "`group.consumer.heartbeat.interval.ms=5000` is not below `group.consumer.session.timeout.ms=5000`: lower the one or raise the other",
    );
    refused(
        "group.consumer.assignors=uniform,com.example.Own",
        "`group.consumer.assignors=uniform,com.example.Own` is not valid: it takes at least one of uniform, range, org.apache.kafka.coordinator.group.assignor.UniformAssignor, org.apache.kafka.coordinator.group.assignor.RangeAssignor",
    );
    let low = "group.consumer.min.session.timeout.ms=1000\ngroup.consumer.session.timeout.ms=6000";
    assert_eq!(load(low).unwrap().groups.consumer_session_timeout_ms, 6000);
}

#[test]
fn protocols_that_are_listed_and_not_spoken_are_noticed() {
    let config = load("group.coordinator.rebalance.protocols=classic,consumer,share").unwrap();
    let notices: Vec<String> = config.notices().iter().map(ToString::to_string).collect();
    assert_eq!(
        notices,
        [
            "group.coordinator.rebalance.protocols: `share` is unused, Millstream has no share groups yet"
        ]
    );
}

#[test]
fn a_consumer_group_sets_its_own_within_the_brokers_bounds() {
    let broker = load("group.consumer.heartbeat.interval.ms=6000").unwrap();
    let of =
        |pairs: &[(&str, &str)]| ConsumerGroupConfig::resolve_lenient(&overrides(pairs), &broker);
    let (config, errors) = of(&[]);
    assert_eq!((config.session_timeout_ms, config.heartbeat_interval_ms), (45_000, 6000));
    assert_eq!((config.assignment_interval_ms, errors.len()), (1000, 0));
    let (config, errors) = of(&[
        ("consumer.session.timeout.ms", "50000"),
        ("consumer.heartbeat.interval.ms", "7000"),
        ("consumer.assignment.interval.ms", "0"),
    ]);
    assert_eq!((config.session_timeout_ms, config.heartbeat_interval_ms), (50_000, 7000));
    assert_eq!((config.assignment_interval_ms, errors.len()), (0, 0));
    // Stored under other bounds, or by a newer broker.
    let (config, errors) = of(&[
        ("consumer.session.timeout.ms", "1000"),
        ("consumer.heartbeat.interval.ms", "often"),
        ("consumer.of.the.future", "1"),
    ]);
    assert_eq!((config.session_timeout_ms, config.heartbeat_interval_ms), (45_000, 6000));
    assert_eq!(errors.len(), 2, "{errors:?}");
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_line() {
    let mut properties =
        ServerProperties::parse("# c\nnum.partitions=0\nnum.io.threads=x").unwrap();
    properties.set("num.io.threads", "y");
    assert_eq!(
        BrokerConfig::load(&properties).unwrap_err().to_string(),
        "`num.io.threads=y` is not valid: it takes an int, at least 1\n\
         line 2: `num.partitions=0` is not valid: it takes an int, at least 1"
    );
}

#[test]
fn what_cannot_act_yet_is_refused_by_name() {
    refused(
        "remote.log.storage.system.enable=true",
        "`remote.log.storage.system.enable=true` cannot act yet: Millstream has no tiered storage. Leave it out or set it to false",
    );
    refused(
        "ssl.keystore.password=secret",
        "`ssl.keystore.password=[hidden]` cannot act yet: Millstream has no TLS, SASL and access control. Leave it out",
    );
    refused("log.dirs=a,b,a", "`log.dirs` names `a` twice: name it once");
    refused(
        "listener.name.internal.ssl.keystore.password=x",
        "`listener.name.internal.ssl.keystore.password=[hidden]` cannot act yet: Millstream has no settings of single listeners. Leave it out",
    );
    assert!(
        load("remote.log.storage.system.enable=false").is_ok(),
        "the default may be spelled out"
    );
}

#[test]
fn what_kafka_dropped_is_noticed() {
    let config = load("zookeeper.connect=localhost:2181\nport=9092\nbroker.id=7").unwrap();
    assert_eq!(config.node.node_id, 7);
    let notices: Vec<String> = config.notices().iter().map(ToString::to_string).collect();
    assert_eq!(
        notices,
        [
            "port: it has no effect; use `listeners`",
            "zookeeper.connect: there is no ZooKeeper; the metadata is kept by the brokers themselves"
        ]
    );
}

#[test]
fn listeners_are_read() {
    let listener = |text: &str| load(&format!("listeners={text}")).map(|c| c.listeners[0].clone());
    assert_eq!(listener("plaintext://10.0.0.1:1").unwrap().to_string(), "PLAINTEXT://10.0.0.1:1");
    let v6 = listener("PLAINTEXT://[::1]:0").unwrap();
    assert_eq!((v6.host.as_str(), v6.port), ("::1", 0));
    assert_eq!(v6.to_string(), "PLAINTEXT://[::1]:0");
    for broken in
        ["9092", "PLAINTEXT://host", "PLAINTEXT://:99999", "://:1", "PLAINTEXT://::1:9092"]
    {
        let message = listener(broken).unwrap_err();
        assert!(message.contains("NAME://HOST:PORT"), "{broken}: {message}");
    }
    refused(
        "listeners=",
        "`listeners` has none for clients: add one whose name is not in `controller.listener.names`, for example PLAINTEXT://:9092",
    );
    refused(
        "listeners=PLAINTEXT://:1,PLAINTEXT://:2",
        "`listeners` names `PLAINTEXT` twice: give each listener a name of its own",
    );
    refused(
        "listeners=PLAINTEXT://:1,CONTROLLER://:1",
        "`listeners` uses port 1 twice: give each listener a port of its own",
    );
    refused(
        "listeners=INSIDE://:1",
        "listener `INSIDE` has no security protocol: add `INSIDE:PLAINTEXT` to `listener.security.protocol.map`",
    );
    refused(
        "listeners=SSL://:1",
        "`listeners=SSL://:1` cannot act yet: Millstream has no TLS, SASL and access control. Leave it out, or map its name to PLAINTEXT in `listener.security.protocol.map`",
    );
    refused(
        "advertised.listeners=PLAINTEXT://0.0.0.0:1",
        "`advertised.listeners` tells clients to connect to 0.0.0.0, which is no address: name a host that they can reach, or leave the setting out",
    );
    refused(
        "advertised.listeners=OTHER://a:1",
        "`advertised.listeners` names `OTHER`, which is not among `listeners`: use the name of a listener",
    );
    refused(
        "inter.broker.listener.name=OTHER",
        "`inter.broker.listener.name=OTHER` is not among `listeners`: name one of them",
    );
    let named = load(
        "listeners=IN://:1,OUT://:2\nlistener.security.protocol.map=IN:PLAINTEXT,OUT:plaintext",
    )
    .unwrap();
    assert_eq!(named.listeners.len(), 2);
}

#[test]
fn the_views_read_what_the_table_declares() {
    let all = [
        NodeConfig::FIELDS,
        NetworkConfig::FIELDS,
        LogConfig::FIELDS,
        CleanerConfig::FIELDS,
        GroupsConfig::FIELDS,
        TransactionsConfig::FIELDS,
        QuorumConfig::FIELDS,
        ClusterConfig::FIELDS,
        ReplicationConfig::FIELDS,
    ];
    for (name, field) in all.into_iter().flatten() {
        let setting = find(Scope::Broker, name).unwrap_or_else(|| panic!("{name}"));
        let (optional, inner) = match field.strip_prefix("Option<") {
            Some(inner) => (true, inner.strip_suffix('>').unwrap()),
            None => (false, *field),
        };
        let kind = match inner {
            "bool" => "boolean",
            "i16" => "short",
            "i32" => "int",
            "i64" => "long",
            "f64" => "double",
            "String" => "string",
            "Vec<String>" => "list",
            other => panic!("{name}: {other}"),
        };
        assert_eq!(setting.kind.to_string(), kind, "{name}");
        assert_eq!(setting.default.is_none(), optional, "{name} is null or not");
    }
}

#[test]
fn a_topic_takes_kafkas_defaults() {
    let topic = TopicConfig::default();
    assert_eq!(
        topic,
        TopicConfig {
            cleanup_delete: true,
            cleanup_compact: false,
            compression_type: CompressionType::Producer,
            compression_gzip_level: -1,
            compression_lz4_level: 9,
            compression_zstd_level: 3,
            delete_retention_ms: 86_400_000,
            file_delete_delay_ms: 60_000,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            index_interval_bytes: 4096,
            max_compaction_lag_ms: i64::MAX,
            max_message_bytes: 1_048_588,
            message_timestamp_after_max_ms: 3_600_000,
            message_timestamp_before_max_ms: i64::MAX,
            message_timestamp_type: TimestampType::CreateTime,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag_ms: 0,
            min_insync_replicas: 1,
            preallocate: false,
            retention_bytes: -1,
            retention_ms: 604_800_000,
            segment_bytes: 1 << 30,
            segment_index_bytes: 10 << 20,
            segment_jitter_ms: 0,
            segment_ms: 604_800_000,
            unclean_leader_election_enable: false,
        }
    );
}

#[test]
fn a_topic_sets_its_own_over_the_brokers() {
    let broker =
        load("log.retention.minutes=2\nlog.roll.hours=1\nlog.segment.bytes=2000000").unwrap();
    let own = overrides(&[("segment.bytes", "3000000"), ("cleanup.policy", "compact,delete")]);
    let topic = TopicConfig::resolve(&own, &broker).unwrap();
    assert_eq!(topic.retention_ms, 120_000);
    assert_eq!(topic.segment_ms, 3_600_000);
    assert_eq!(topic.segment_bytes, 3_000_000);
    assert!(topic.cleanup_compact && topic.cleanup_delete);
    let tiny = overrides(&[("segment.bytes", "3000000"), ("internal.segment.bytes", "500")]);
    assert_eq!(TopicConfig::resolve(&tiny, &broker).unwrap().segment_bytes, 500);
    let forever = load("log.retention.hours=-1").unwrap();
    assert_eq!(forever.topic_defaults.retention_ms, -1);
    let most_specific = load("log.retention.hours=1\nlog.retention.ms=5").unwrap();
    assert_eq!(most_specific.topic_defaults.retention_ms, 5);
}

#[test]
fn a_topic_is_refused_what_cannot_act() {
    let broker = BrokerConfig::default();
    let error = |name: &str, value: &str| {
        TopicConfig::resolve(&overrides(&[(name, value)]), &broker).unwrap_err().to_string()
    };
    assert_eq!(
        error("remote.storage.enable", "true"),
        "`remote.storage.enable=true` cannot act yet: Millstream has no tiered storage. Leave it out or set it to false"
    );
    assert_eq!(
        error("retention.mss", "1"),
        "unknown topic setting `retention.mss`. Did you mean `retention.ms`?"
    );
    let stored =
        overrides(&[("remote.storage.enable", "true"), ("retention.ms", "5"), ("from.later", "x")]);
    let (config, errors) = TopicConfig::resolve_lenient(&stored, &broker);
    assert_eq!((config.retention_ms, errors.len()), (5, 2));
    // As Kafka 4.0 stored it.
    let (config, errors) =
        TopicConfig::resolve_lenient(&overrides(&[("segment.bytes", "65536")]), &broker);
    assert_eq!((config.segment_bytes, errors.len()), (65_536, 0));
}

#[test]
fn run_time_settings_lie_over_the_static_ones() {
    let config = load("log.retention.ms=1\nmessage.max.bytes=100").unwrap();
    let cluster = overrides(&[("log.retention.ms", "2"), ("message.max.bytes", "200")]);
    let node =
        overrides(&[("message.max.bytes", "300"), ("node.id", "4"), ("max.connections", "x")]);
    let (changed, errors) = config.with_dynamic(&cluster, &node);
    assert_eq!(changed.topic_defaults.retention_ms, 2);
    assert_eq!(changed.topic_defaults.max_message_bytes, 300);
    assert_eq!(changed.node.node_id, 1);
    assert_eq!(errors.len(), 2, "{errors:?}");
    let (back, errors) = changed.with_dynamic(&Overrides::new(), &Overrides::new());
    assert_eq!((back, errors.len()), (config, 0));
}

fn entry(config: &BrokerConfig, resource: Resource<'_>, name: &str) -> String {
    let entries = config.describe(resource, |wanted| wanted == name);
    let Some(entry) = entries.first() else { return "none".to_owned() };
    let synonyms: Vec<String> = entry
        .synonyms
        .iter()
        .map(|s| format!("{}={}@{}", s.name, s.value.as_deref().unwrap_or("null"), s.source.code()))
        .collect();
    format!(
        "{}@{} {} [{}]",
        entry.value.as_deref().unwrap_or("null"),
        entry.source.code(),
        if entry.read_only { "ro" } else { "rw" },
        synonyms.join(" ")
    )
}

#[test]
fn settings_are_described_with_their_sources() {
    let config = load("log.retention.hours=2\nnum.partitions=3").unwrap();
    let (config, _) =
        config.with_dynamic(&overrides(&[("log.retention.ms", "9")]), &Overrides::new());
    let own = overrides(&[("retention.ms", "7")]);
    let none = Overrides::new();
    let check =
        |resource, name: &str, expected: &str| assert_eq!(entry(&config, resource, name), expected);
    check(
        Resource::Topic(&own),
        "retention.ms",
        "7@1 rw [retention.ms=7@1 log.retention.ms=9@3 log.retention.hours=2@4 log.retention.hours=168@5]",
    );
    check(
        Resource::Topic(&none),
        "retention.ms",
        "9@3 rw [log.retention.ms=9@3 log.retention.hours=2@4 log.retention.hours=168@5]",
    );
    check(Resource::Topic(&none), "segment.ms", "604800000@5 rw [log.roll.hours=168@5]");
    check(
        Resource::Topic(&none),
        "remote.storage.enable",
        "false@5 rw [remote.storage.enable=false@5]",
    );
    check(Resource::Topic(&none), "internal.segment.bytes", "none");
    check(Resource::Broker, "num.partitions", "3@4 ro [num.partitions=3@4 num.partitions=1@5]");
    check(Resource::Broker, "log.retention.ms", "9@3 rw [log.retention.ms=9@3]");
    check(Resource::Broker, "ssl.keystore.password", "null@5 rw []");
    check(Resource::BrokerDefault, "log.retention.ms", "9@3 rw [log.retention.ms=9@3]");
    check(Resource::BrokerDefault, "num.partitions", "none");
    check(
        Resource::Group(&none),
        "consumer.session.timeout.ms",
        "45000@5 rw [group.consumer.session.timeout.ms=45000@5]",
    );
    check(Resource::ClientMetrics(&none), "interval.ms", "300000@5 rw [interval.ms=300000@5]");
    assert_eq!(config.describe(Resource::Topic(&none), |_| true).len(), 36);
    assert!(config.describe(Resource::Broker, |_| true).windows(2).all(|w| w[0].name < w[1].name));
    assert_eq!(ConfigSource::Group.code(), 8);
}

fn plan(
    target: ChangeTarget,
    current: &[(&str, &str)],
    op: Op,
    name: &str,
    value: Option<&str>,
) -> String {
    let config = BrokerConfig::default();
    match config.plan(target, &overrides(current), &[Change { name, op, value }]) {
        Ok(edits) => {
            format!("{}={}", edits[0].name, edits[0].value.as_deref().unwrap_or("<deleted>"))
        }
        Err(error) => format!("{:?}: {error}", error.code()),
    }
}

#[test]
fn changes_are_judged() {
    use ChangeTarget::{Broker, BrokerDefault, Group, Topic};
    let check = |got: String, expected: &str| assert_eq!(got, expected);
    check(plan(Topic, &[], Op::Set, "retention.ms", Some("5")), "retention.ms=5");
    check(plan(Topic, &[], Op::Delete, "retention.ms", None), "retention.ms=<deleted>");
    check(
        plan(Topic, &[], Op::Append, "cleanup.policy", Some("compact")),
        "cleanup.policy=delete,compact",
    );
    check(
        plan(
            Topic,
            &[("cleanup.policy", "delete,compact")],
            Op::Subtract,
            "cleanup.policy",
            Some("delete"),
        ),
        "cleanup.policy=compact",
    );
    check(
        plan(Topic, &[], Op::Append, "retention.ms", Some("1")),
        "InvalidConfig: `retention.ms` is no list, so that nothing can be added to it or taken from it: set it instead",
    );
    check(
        plan(Topic, &[], Op::Set, "retention.ms", Some("x")),
        "InvalidConfig: `retention.ms=x` is not valid: it takes a long, at least -1",
    );
    check(
        plan(Topic, &[], Op::Set, "retention.ms", None),
        "InvalidRequest: `retention.ms` has no value: delete it to go back to its default",
    );
    check(
        plan(Broker, &[], Op::Set, "num.partitions", Some("5")),
        "InvalidRequest: `num.partitions` cannot be changed while the broker runs: set it in server.properties and restart",
    );
    check(
        plan(BrokerDefault, &[], Op::Set, "listeners", Some("PLAINTEXT://:1")),
        "InvalidRequest: `listeners` cannot be changed while the broker runs: set it on each broker by its id",
    );
    check(
        plan(Broker, &[], Op::Set, "num.io.threads", Some("5")),
        "InvalidRequest: `num.io.threads` cannot be changed: it has no meaning in Millstream",
    );
    check(
        plan(Broker, &[], Op::Set, "listeners", Some("PLAINTEXT://:1")),
        "InvalidRequest: `listeners` cannot be changed while the broker runs: set it in server.properties and restart",
    );
    check(
        plan(Broker, &[], Op::Set, "log.retention.ms", Some("0")),
        "InvalidRequest: `log.retention.ms=0` is not valid: it takes at least 1, or -1 for no limit",
    );
    check(plan(Broker, &[], Op::Set, "message.max.bytes", Some("5")), "message.max.bytes=5");
    check(
        plan(Group, &[], Op::Set, "consumer.session.timeout.ms", Some("50000")),
        "consumer.session.timeout.ms=50000",
    );
    check(
        plan(Group, &[], Op::Set, "consumer.session.timeout.ms", Some("60001")),
        "InvalidConfig: `consumer.session.timeout.ms=60001` is not valid: it takes 45000 to 60000, the broker's `group.consumer.min.session.timeout.ms` and `group.consumer.max.session.timeout.ms`",
    );
    check(
        plan(Group, &[], Op::Set, "consumer.heartbeat.interval.ms", Some("4999")),
        "InvalidConfig: `consumer.heartbeat.interval.ms=4999` is not valid: it takes 5000 to 15000, the broker's `group.consumer.min.heartbeat.interval.ms` and `group.consumer.max.heartbeat.interval.ms`",
    );
    check(
        plan(Group, &[], Op::Set, "share.session.timeout.ms", Some("50000")),
        "InvalidConfig: `share.session.timeout.ms=50000` cannot act yet: Millstream has no share groups. Leave it out or set it to 45000",
    );
    check(plan(Topic, &[], Op::Delete, "no.such.thing", None), "no.such.thing=<deleted>");
}

#[test]
fn a_replacement_deletes_what_it_does_not_name() {
    let config = BrokerConfig::default();
    let current = overrides(&[("retention.ms", "5"), ("segment.ms", "6")]);
    let edits = config
        .plan_replacement(ChangeTarget::Topic, &current, &[("segment.ms", Some("7"))])
        .unwrap();
    let shown: Vec<String> = edits.iter().map(|e| format!("{}={:?}", e.name, e.value)).collect();
    assert_eq!(shown, ["segment.ms=Some(\"7\")", "retention.ms=None"]);
    let twice = [("segment.ms", Some("7")), ("segment.ms", Some("8"))];
    let error = config.plan_replacement(ChangeTarget::Topic, &current, &twice).unwrap_err();
    assert_eq!(error.to_string(), "`segment.ms` is changed twice");
}

#[test]
fn no_setting_panics_on_any_text() {
    let texts = ["", "-1", "9223372036854775807", "é", ",,", "a:b", "NaN", "://:"];
    let broker = BrokerConfig::default();
    for setting in settings::all() {
        for text in texts {
            if setting.scope == Scope::Broker {
                let mut properties = ServerProperties::default();
                properties.set(setting.name, text);
                let _ = BrokerConfig::load(&properties);
            } else {
                let _ = TopicConfig::resolve(&overrides(&[(setting.name, text)]), &broker);
                let own = overrides(&[(setting.name, text)]);
                let _ = ConsumerGroupConfig::resolve_lenient(&own, &broker);
            }
        }
    }
}

proptest! {
    #[test]
    fn listeners_never_panic(text in "[A-Z:/,\\[\\]0-9é. ]{0,40}") {
        let mut properties = ServerProperties::default();
        properties.set("listeners", text.clone());
        properties.set("advertised.listeners", text.clone());
        properties.set("listener.security.protocol.map", text.clone());
        properties.set("max.connections.per.ip.overrides", text);
        let _ = BrokerConfig::load(&properties);
    }
}
