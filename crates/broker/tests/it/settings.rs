//! Settings as admin clients see and change them, in every version.

use millstream_base::ErrorCode as E;
use millstream_wire::Str;
use millstream_wire::messages::alter_configs::{self, AlterConfigsRequest};
use millstream_wire::messages::consumer_group_describe::ConsumerGroupDescribeRequest;
use millstream_wire::messages::consumer_group_heartbeat::*;
use millstream_wire::messages::describe_configs::*;
use millstream_wire::messages::find_coordinator::FindCoordinatorRequest;
use millstream_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use millstream_wire::messages::list_config_resources::*;
use millstream_wire::messages::metadata::MetadataRequest;

use crate::support::batch::batch;
use crate::support::broker::TestBroker;
use crate::support::client::{Client, code};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

/// The id of the only broker.
fn broker_id(client: &mut Client) -> i32 {
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    client.call(12, &request).brokers[0].node_id
}

fn describe(
    client: &mut Client,
    version: i16,
    kind: i8,
    name: &str,
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource {
        resource_type: kind,
        resource_name: name.into(),
        configuration_keys: keys.map(|keys| keys.iter().map(|key| (*key).into()).collect()),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: version >= 3,
    };
    client.call(version, &request).results.remove(0)
}

#[test]
fn describe_configs_in_every_version() {
    let broker = TestBroker::with(&[("log.retention.hours", "2")]);
    let mut client = broker.connect();
    client.create_topic("orders", 1, &[("segment.bytes", "2000000")]);
    for version in 1..=4 {
        let result = describe(&mut client, version, TOPIC, "orders", None);
        assert_eq!(code(result.error_code), E::None);
        assert!(result.configs.len() >= 30, "{}", result.configs.len());
        let setting = |name: &str| result.configs.iter().find(|c| c.name == name).unwrap();
        let (segment, retention) = (setting("segment.bytes"), setting("retention.ms"));
        assert_eq!((segment.value.as_deref(), segment.config_source), (Some("2000000"), 1));
        assert_eq!(segment.synonyms.iter().map(|s| s.source).collect::<Vec<_>>(), [1, 5]);
        assert_eq!((retention.value.as_deref(), retention.config_source), (Some("7200000"), 4));
        assert_eq!(&*retention.synonyms[0].name, "log.retention.hours");
        let told = retention.documentation.as_deref().is_some_and(|text| !text.is_empty());
        assert_eq!(told, version >= 3);
        assert_eq!(retention.config_type, if version >= 3 { 5 } else { 0 });
        let one = describe(&mut client, version, TOPIC, "orders", Some(&["retention.ms", "none"]));
        assert_eq!(one.configs.len(), 1);
        let missing = describe(&mut client, version, TOPIC, "none", None);
        assert_eq!(code(missing.error_code), E::UnknownTopicOrPartition);
    }
    let me = broker_id(&mut client);
    let here = describe(
        &mut client,
        4,
        BROKER,
        &me.to_string(),
        Some(&["log.retention.hours", "node.id"]),
    );
    assert_eq!(here.configs.len(), 2);
    assert!(here.configs.iter().find(|c| c.name == "node.id").unwrap().read_only);
    assert!(describe(&mut client, 4, BROKER, "", None).configs.is_empty());
    let other = describe(&mut client, 4, BROKER, &(me + 1).to_string(), None);
    assert_eq!(code(other.error_code), E::InvalidRequest);
    let group = describe(&mut client, 4, GROUP, "g", None);
    assert!(group.configs.iter().any(|c| c.name == "consumer.session.timeout.ms"));
    assert_eq!(code(describe(&mut client, 4, 77, "x", None).error_code), E::InvalidRequest);
}

fn edit(name: &str, op: i8, value: Option<&str>) -> AlterableConfig {
    AlterableConfig { name: name.into(), config_operation: op, value: value.map(Into::into) }
}

fn alter(
    client: &mut Client,
    kind: i8,
    name: &str,
    edits: Vec<AlterableConfig>,
) -> (E, Option<Str>) {
    let resource =
        AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs: edits };
    let request =
        IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let mut results: Vec<_> = Vec::new();
    for validate_only in [true, false] {
        let request = IncrementalAlterConfigsRequest { validate_only, ..request.clone() };
        let answer = client.call(1, &request).responses.remove(0);
        results.push((code(answer.error_code), answer.error_message));
    }
    assert_eq!(results[0], results[1], "validate only says the same");
    results.remove(1)
}

fn value(client: &mut Client, kind: i8, name: &str, setting: &str) -> (Option<String>, i8) {
    let found = describe(client, 4, kind, name, Some(&[setting])).configs.remove(0);
    (found.value.map(String::from), found.config_source)
}

#[test]
fn settings_are_changed_step_by_step_and_act_and_stay() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let topic = client.create_topic("orders", 1, &[]);
    let set = |value: &str| vec![edit("max.message.bytes", 0, Some(value))];
    assert_eq!(alter(&mut client, TOPIC, "orders", set("200")).0, E::None);
    assert_eq!(value(&mut client, TOPIC, "orders", "max.message.bytes"), (Some("200".into()), 1));
    let large = "x".repeat(300);
    let refused = client.try_produce(&topic, 0, -1, batch(&[&large]));
    assert_eq!(code(refused.error_code), E::MessageTooLarge);
    let appended =
        alter(&mut client, TOPIC, "orders", vec![edit("cleanup.policy", 2, Some("compact"))]);
    assert_eq!(appended.0, E::None);
    assert_eq!(value(&mut client, TOPIC, "orders", "cleanup.policy").0.unwrap(), "delete,compact");
    let taken =
        alter(&mut client, TOPIC, "orders", vec![edit("cleanup.policy", 3, Some("compact"))]);
    assert_eq!(taken.0, E::None);
    let broker = broker.crash().start();
    let mut client = broker.connect();
    let refused = client.try_produce(&topic, 0, -1, batch(&[&large]));
    assert_eq!(code(refused.error_code), E::MessageTooLarge);
    let deleted = alter(&mut client, TOPIC, "orders", vec![edit("max.message.bytes", 1, None)]);
    assert_eq!(deleted.0, E::None);
    assert_eq!(value(&mut client, TOPIC, "orders", "max.message.bytes").1, 5);
    client.produce(&topic, 0, batch(&[&large]));
}

#[test]
fn wrong_changes_are_refused_with_the_reason() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("orders", 1, &[]);
    let mut check = |kind, name: &str, edits, expected: E, text: &str| {
        let (found, message) = alter(&mut client, kind, name, edits);
        assert_eq!(found, expected, "{message:?}");
        assert!(message.as_ref().unwrap().contains(text), "{message:?}");
    };
    let one = |name: &str, op, value| vec![edit(name, op, value)];
    check(
        TOPIC,
        "orders",
        one("retention.ms", 0, Some("soon")),
        E::InvalidConfig,
        "retention.ms=soon",
    );
    check(TOPIC, "orders", one("retention.mss", 0, Some("1")), E::InvalidConfig, "retention.ms");
    check(TOPIC, "orders", one("retention.ms", 2, Some("1")), E::InvalidConfig, "list");
    check(TOPIC, "orders", one("retention.ms", 9, Some("1")), E::InvalidRequest, "operation 9");
    check(TOPIC, "orders", one("retention.ms", 0, None), E::InvalidRequest, "no value");
    let twice = vec![edit("retention.ms", 0, Some("1")), edit("retention.ms", 1, None)];
    check(TOPIC, "orders", twice, E::InvalidRequest, "twice");
    check(TOPIC, "none", one("retention.ms", 0, Some("1")), E::UnknownTopicOrPartition, "none");
    check(BROKER, "77", one("log.retention.ms", 0, Some("1")), E::BrokerIdNotRegistered, "77");
    check(BROKER, "x", one("log.retention.ms", 0, Some("1")), E::InvalidRequest, "x");
    check(BROKER, "", one("log.dirs", 0, Some("/x")), E::InvalidRequest, "log.dirs");
    check(1, "x", one("a", 0, Some("1")), E::InvalidRequest, "type 1");
    let resource = |name: &str| AlterConfigsResource {
        resource_type: TOPIC,
        resource_name: name.into(),
        configs: one("retention.ms", 0, Some("1")),
    };
    let resources = vec![resource("orders"), resource("orders")];
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    let answer = client.call(1, &request);
    assert_eq!(code(answer.responses[0].error_code), E::InvalidRequest);
}

#[test]
fn broker_settings_change_for_one_and_for_all() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let me = broker_id(&mut client).to_string();
    let set = |value: &str| vec![edit("log.retention.ms", 0, Some(value))];
    assert_eq!(alter(&mut client, BROKER, "", set("5000")).0, E::None);
    assert_eq!(value(&mut client, BROKER, &me, "log.retention.ms"), (Some("5000".into()), 3));
    assert_eq!(alter(&mut client, BROKER, &me, set("6000")).0, E::None);
    assert_eq!(value(&mut client, BROKER, &me, "log.retention.ms"), (Some("6000".into()), 2));
    client.create_topic("orders", 1, &[]);
    assert_eq!(value(&mut client, TOPIC, "orders", "retention.ms"), (Some("6000".into()), 2));
    let broker = broker.crash().start();
    let mut client = broker.connect();
    assert_eq!(value(&mut client, BROKER, &me, "log.retention.ms"), (Some("6000".into()), 2));
}

#[test]
fn a_replacement_in_every_version() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("orders", 1, &[("retention.ms", "1000"), ("retention.bytes", "2000")]);
    for version in 0..=2 {
        let wanted = alter_configs::AlterableConfig {
            name: "retention.bytes".into(),
            value: Some("3000".into()),
        };
        let resource = alter_configs::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "orders".into(),
            configs: vec![wanted],
        };
        let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
        let answer = client.call(version, &request);
        assert_eq!(code(answer.responses[0].error_code), E::None);
        assert_eq!(value(&mut client, TOPIC, "orders", "retention.ms").1, 5);
        assert_eq!(value(&mut client, TOPIC, "orders", "retention.bytes").0.unwrap(), "3000");
    }
}

#[test]
fn config_resources_are_listed() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.create_topic("orders", 1, &[]);
    let session = vec![edit("consumer.session.timeout.ms", 0, Some("50000"))];
    let (set, message) = alter(&mut client, GROUP, "g", session);
    let mut list = |version, types: &[i8]| {
        let request = ListConfigResourcesRequest { resource_types: types.to_vec() };
        let response = client.call(version, &request);
        let kinds = response.config_resources.iter().map(|r| r.resource_type);
        (code(response.error_code), kinds.collect::<Vec<_>>())
    };
    assert_eq!(list(0, &[]), (E::None, vec![]));
    assert_eq!(list(1, &[TOPIC]), (E::None, vec![TOPIC]));
    assert_eq!(list(1, &[BROKER, TOPIC, BROKER]), (E::None, vec![TOPIC, BROKER]));
    assert_eq!(list(1, &[1]).0, E::UnsupportedVersion);
    assert_eq!(set, E::None, "{message:?}");
    assert_eq!(list(1, &[GROUP]), (E::None, vec![GROUP]));
}

/// Joins a consumer group, as soon as its coordinator is loaded.
fn join(client: &mut Client, group: &str, member: &str) -> ConsumerGroupHeartbeatResponse {
    let find = FindCoordinatorRequest {
        coordinator_keys: vec![group.into()],
        ..FindCoordinatorRequest::default()
    };
    client.call(4, &find);
    let request = ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        rebalance_timeout_ms: 10_000,
        subscribed_topic_names: Some(vec!["t".into()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    for _ in 0..1000 {
        let response = client.call(1, &request);
        if code(response.error_code) != E::CoordinatorLoadInProgress {
            return response;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("the coordinator does not load");
}

#[test]
fn settings_of_consumer_groups_act() {
    let broker = TestBroker::with(&[
        ("offsets.topic.num.partitions", "1"),
        ("group.consumer.heartbeat.interval.ms", "6000"),
        ("group.consumer.max.heartbeat.interval.ms", "9000"),
        ("group.consumer.max.size", "2"),
    ]);
    let mut client = broker.connect();
    client.create_topic("t", 2, &[]);
    let joined = join(&mut client, "g", "a");
    assert_eq!((code(joined.error_code), joined.heartbeat_interval_ms), (E::None, 6000));
    let mut set = |name: &str, value: &str| {
        alter(&mut client, GROUP, "g", vec![edit(name, 0, Some(value))]).0
    };
    assert_eq!(set("consumer.heartbeat.interval.ms", "9001"), E::InvalidConfig);
    assert_eq!(set("consumer.session.timeout.ms", "44999"), E::InvalidConfig);
    assert_eq!(set("consumer.heartbeat.interval.ms", "7000"), E::None);
    assert_eq!(join(&mut client, "g", "a").heartbeat_interval_ms, 7000);
    assert_eq!(join(&mut client, "other", "a").heartbeat_interval_ms, 6000);

    // The second member's share is worked out with what else comes within the interval.
    let late = join(&mut client, "g", "b");
    assert_eq!((code(late.error_code), late.member_epoch), (E::None, 1));
    assert_eq!(late.assignment.unwrap().topic_partitions, []);
    assert_eq!(code(join(&mut client, "g", "c").error_code), E::GroupMaxSizeReached);
    let at_once = vec![edit("group.consumer.assignment.interval.ms", 0, Some("0"))];
    assert_eq!(alter(&mut client, BROKER, "", at_once).0, E::None);
    assert_eq!(join(&mut client, "other", "b").member_epoch, 2);
}

#[test]
fn a_protocol_that_is_left_out_is_not_spoken() {
    let broker = TestBroker::with(&[
        ("offsets.topic.num.partitions", "1"),
        ("group.coordinator.rebalance.protocols", "classic"),
    ]);
    let mut client = broker.connect();
    assert_eq!(code(join(&mut client, "g", "a").error_code), E::UnsupportedVersion);
    let request =
        ConsumerGroupDescribeRequest { group_ids: vec!["g".into()], ..Default::default() };
    let described = client.call(1, &request);
    assert_eq!(code(described.groups[0].error_code), E::UnsupportedVersion);
}
