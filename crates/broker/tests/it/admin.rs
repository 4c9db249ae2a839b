//! Topics, partitions, settings and the cluster as admin clients see and change them, in every version.

use std::collections::BTreeSet;

use millstream_base::{ErrorCode as E, Uuid};
use millstream_wire::Str;
use millstream_wire::messages::alter_configs::{self, AlterConfigsRequest};
use millstream_wire::messages::create_partitions::*;
use millstream_wire::messages::create_topics::*;
use millstream_wire::messages::delete_topics::*;
use millstream_wire::messages::describe_cluster::*;
use millstream_wire::messages::describe_configs::*;
use millstream_wire::messages::describe_topic_partitions::*;
use millstream_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use millstream_wire::messages::init_producer_id::InitProducerIdRequest;
use millstream_wire::messages::list_config_resources::*;
use millstream_wire::messages::metadata::*;

use crate::support::batch::batch;
use crate::support::broker::TestBroker;
use crate::support::client::{Client, Topic, code};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

fn metadata(client: &mut Client, version: i16, names: &[&str]) -> MetadataResponse {
    let topic =
        |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
    let topics = Some(names.iter().map(topic).collect());
    client.call(version, &MetadataRequest { topics, ..Default::default() })
}

/// Each topic's name, code and number of partitions.
fn summary(response: &MetadataResponse) -> Vec<(String, E, usize)> {
    let topics = response.topics.iter();
    let line = |t: &MetadataResponseTopic| {
        let name = t.name.as_ref().map_or_else(String::new, ToString::to_string);
        (name, code(t.error_code), t.partitions.len())
    };
    topics.map(line).collect()
}

fn new_topic(name: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: 1,
        ..Default::default()
    }
}

fn create(client: &mut Client, version: i16, topics: Vec<CreatableTopic>) -> CreateTopicsResponse {
    client.call(version, &CreateTopicsRequest { topics, ..Default::default() })
}

#[test]
fn metadata_in_every_version() {
    let broker = TestBroker::with(&[("auto.create.topics.enable", "false"), ("broker.rack", "r1")]);
    let mut client = broker.connect();
    let orders = client.create_topic("orders", 3, &[]);
    for version in 0..=13 {
        let some = metadata(&mut client, version, &["orders", "none", "orders"]);
        let expected =
            [("orders".into(), E::None, 3), ("none".into(), E::UnknownTopicOrPartition, 0)];
        assert_eq!(summary(&some), expected, "version {version}");
        let (told, topic) = (&some.brokers[0], &some.topics[0]);
        assert_eq!(&*told.host, "127.0.0.1");
        assert_eq!(told.port, i32::from(broker.address().port()));
        assert_eq!(told.rack.as_deref(), (version >= 1).then_some("r1"));
        assert_eq!(some.controller_id, if version >= 1 { told.node_id } else { -1 });
        assert_eq!(some.cluster_id.is_some(), version >= 2);
        assert_eq!(topic.topic_id, if version >= 10 { orders.id } else { Uuid::ZERO });
        let partition = &topic.partitions[2];
        assert_eq!((partition.partition_index, partition.leader_id), (2, told.node_id));
        assert_eq!(
            (&partition.replica_nodes, &partition.isr_nodes),
            (&vec![told.node_id], &vec![told.node_id])
        );
        assert_eq!(partition.leader_epoch, if version >= 7 { 0 } else { -1 });
        let none = metadata(&mut client, version, &[]);
        assert_eq!(
            none.topics.len(),
            usize::from(version == 0),
            "an empty list in version {version}"
        );
        if version >= 1 {
            let all = client.call(version, &MetadataRequest { topics: None, ..Default::default() });
            assert_eq!(summary(&all), [("orders".into(), E::None, 3)]);
        }
    }
}

#[test]
fn metadata_by_id_and_with_operations() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let orders = client.create_topic("orders", 1, &[]);
    let by_id = |id| MetadataRequest {
        topics: Some(vec![MetadataRequestTopic { topic_id: id, name: None }]),
        include_topic_authorized_operations: true,
        include_cluster_authorized_operations: true,
        ..Default::default()
    };
    for version in [12, 13] {
        let request =
            MetadataRequest { include_cluster_authorized_operations: false, ..by_id(orders.id) };
        let found = client.call(version, &request);
        assert_eq!(summary(&found), [("orders".into(), E::None, 1)]);
        assert_eq!(found.topics[0].topic_authorized_operations, 0b1101_1111_1000);
        let request = MetadataRequest { topics: by_id(Uuid([7; 16])).topics, ..Default::default() };
        let unknown = client.call(version, &request);
        assert_eq!(summary(&unknown), [(String::new(), E::UnknownTopicId, 0)]);
        assert_eq!(unknown.topics[0].topic_id, Uuid([7; 16]));
    }
    let mut early = by_id(orders.id);
    early.topics.as_mut().unwrap()[0].name = Some("orders".into());
    assert_eq!(summary(&client.call(10, &early)), [("orders".into(), E::InvalidRequest, 0)]);
    early.topics.as_mut().unwrap()[0].topic_id = Uuid::ZERO;
    let told = client.call(10, &early);
    assert_eq!(told.cluster_authorized_operations, 0b1_1111_1010_0000);
}

#[test]
fn a_topic_that_is_asked_for_is_made_when_both_sides_allow_it() {
    let broker = TestBroker::with(&[("num.partitions", "4")]);
    let mut client = broker.connect();
    let mut ask = |name: &str, allow_auto_topic_creation| {
        let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![topic]),
            allow_auto_topic_creation,
            ..Default::default()
        };
        summary(&client.call(12, &request)).remove(0)
    };
    assert_eq!(ask("orders", false), ("orders".into(), E::UnknownTopicOrPartition, 0));
    assert_eq!(ask("orders", true), ("orders".into(), E::None, 4));
    assert_eq!(ask("a/b", true), ("a/b".into(), E::InvalidTopicException, 0));
    assert_eq!(ask("a/b", false), ("a/b".into(), E::InvalidTopicException, 0));
    let offsets = ask("__consumer_offsets", true);
    assert_eq!((offsets.1, offsets.2), (E::None, 50));
    let mut other = broker.connect();
    let plain = metadata(&mut other, 12, &["orders", "__consumer_offsets"]);
    assert!(plain.topics[1].is_internal && !plain.topics[0].is_internal);
}

#[test]
fn a_created_topic_is_writable_and_comes_back() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let topic = client.create_topic("orders", 50, &[]);
    for partition in 0..50 {
        assert_eq!(client.produce(&topic, partition, batch(&["a"])), 0);
    }
    let broker = broker.crash().start();
    let mut client = broker.connect();
    assert_eq!(metadata(&mut client, 12, &["orders"]).topics[0].topic_id, topic.id);
    assert_eq!(client.produce(&topic, 49, batch(&["b"])), 1);
}

#[test]
fn create_topics_in_every_version() {
    let broker = TestBroker::with(&[("num.partitions", "2")]);
    let mut client = broker.connect();
    for version in 2..=7 {
        let name = format!("topic-{version}");
        let setting =
            CreatableTopicConfig { name: "retention.ms".into(), value: Some("5000".into()) };
        let good = CreatableTopic { configs: vec![setting], ..new_topic(&name, -1) };
        let dry = CreateTopicsRequest {
            topics: vec![good.clone()],
            validate_only: true,
            ..Default::default()
        };
        assert_eq!(code(client.call(version, &dry).topics[0].error_code), E::None);
        let wrong = CreatableTopicConfig { name: "no.such".into(), value: Some("1".into()) };
        let wrong = CreatableTopic { configs: vec![wrong], ..new_topic("wrong", 1) };
        let response = create(&mut client, version, vec![good, wrong, new_topic("a b", 1)]);
        let codes: Vec<_> = response.topics.iter().map(|t| code(t.error_code)).collect();
        assert_eq!(codes, [E::None, E::InvalidConfig, E::InvalidTopicException], "v{version}");
        let (made, refused) = (&response.topics[0], &response.topics[1]);
        assert!(refused.error_message.as_ref().unwrap().contains("no.such"));
        assert_eq!(made.num_partitions, if version >= 5 { 2 } else { -1 });
        assert_eq!(made.topic_id != Uuid::ZERO, version >= 7);
        if version >= 5 {
            let settings = made.configs.as_ref().unwrap();
            let retention = settings.iter().find(|s| s.name == "retention.ms").unwrap();
            assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5000"), 1));
            assert!(settings.iter().any(|s| s.name == "cleanup.policy" && s.config_source == 5));
        }
        let again = create(&mut client, version, vec![new_topic(&name, 1)]);
        assert_eq!(code(again.topics[0].error_code), E::TopicAlreadyExists);
        let twice = create(&mut client, version, vec![new_topic("x", 1), new_topic("x", 1)]);
        assert_eq!((twice.topics.len(), code(twice.topics[0].error_code)), (1, E::InvalidRequest));
    }
    let all = client.call(12, &MetadataRequest { topics: None, ..Default::default() });
    assert_eq!(all.topics.len(), 6);
}

#[test]
fn delete_topics_in_every_version() {
    let broker = TestBroker::with(&[("auto.create.topics.enable", "false")]);
    let mut client = broker.connect();
    let by_name = |names: &[&str]| {
        let names: Vec<Str> = names.iter().map(|name| (*name).into()).collect();
        let states =
            names.iter().map(|n| DeleteTopicState { name: Some(n.clone()), ..Default::default() });
        (
            DeleteTopicsRequest { topics: states.collect(), ..Default::default() },
            DeleteTopicsRequest { topic_names: names, ..Default::default() },
        )
    };
    for version in 1..=6 {
        let topic = client.create_topic("orders", 2, &[("retention.ms", "5000")]);
        client.produce(&topic, 0, batch(&["a"]));
        let (states, names) = by_name(&["orders", "none"]);
        let response = client.call(version, if version >= 6 { &states } else { &names });
        let codes: Vec<_> = response.responses.iter().map(|t| code(t.error_code)).collect();
        assert_eq!(codes, [E::None, E::UnknownTopicOrPartition], "version {version}");
        assert_eq!(
            response.responses[0].topic_id,
            if version >= 6 { topic.id } else { Uuid::ZERO }
        );
        let gone = metadata(&mut client, 12, &["orders"]);
        assert_eq!(summary(&gone)[0].1, E::UnknownTopicOrPartition);
        let refused = client.try_produce(&topic, 0, -1, batch(&["a"]));
        assert_eq!(code(refused.error_code), E::UnknownTopicId);
    }
    let topic = client.create_topic("orders", 2, &[]);
    let state =
        |name: Option<&str>, topic_id| DeleteTopicState { name: name.map(Into::into), topic_id };
    let mut delete = |topics| {
        let response = client.call(6, &DeleteTopicsRequest { topics, ..Default::default() });
        response.responses.into_iter().map(|t| code(t.error_code)).collect::<Vec<_>>()
    };
    assert_eq!(delete(vec![state(Some("orders"), topic.id)]), [E::InvalidRequest]);
    assert_eq!(delete(vec![state(None, Uuid::ZERO)]), [E::InvalidRequest]);
    assert_eq!(delete(vec![state(None, Uuid([9; 16]))]), [E::UnknownTopicId]);
    assert_eq!(delete(vec![state(None, topic.id)]), [E::None]);
    let broker = broker.stop().set("delete.topic.enable", "false").start();
    let mut client = broker.connect();
    client.create_topic("orders", 1, &[]);
    for (version, expected) in
        [(2, E::InvalidRequest), (3, E::TopicDeletionDisabled), (6, E::TopicDeletionDisabled)]
    {
        let (states, names) = by_name(&["orders"]);
        let response = client.call(version, if version >= 6 { &states } else { &names });
        assert_eq!(code(response.responses[0].error_code), expected);
    }
}

#[test]
fn a_topic_made_again_is_another_topic() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let old = client.create_topic("orders", 1, &[]);
    client.produce(&old, 0, batch(&["old"]));
    let names = vec!["orders".into()];
    client.call(1, &DeleteTopicsRequest { topic_names: names, ..Default::default() });
    let new = client.create_topic("orders", 1, &[]);
    assert_ne!(old.id, new.id);
    assert_eq!(client.produce(&new, 0, batch(&["new"])), 0);
    assert_eq!(code(client.try_produce(&old, 0, -1, batch(&["x"])).error_code), E::UnknownTopicId);
    let broker = broker.crash().start();
    assert_eq!(broker.connect().read_values(&new, 0), ["new"]);
}

#[test]
fn create_partitions_in_every_version() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let topic = client.create_topic("orders", 1, &[]);
    for version in 0..=3 {
        let count = i32::from(version) + 2;
        let more = |name: &str, count| CreatePartitionsTopic {
            name: name.into(),
            count,
            assignments: None,
        };
        let mut ask = |topics: Vec<CreatePartitionsTopic>, validate_only| {
            let request = CreatePartitionsRequest { topics, validate_only, ..Default::default() };
            let response = client.call(version, &request);
            response.results.into_iter().map(|t| code(t.error_code)).collect::<Vec<_>>()
        };
        assert_eq!(ask(vec![more("orders", count)], true), [E::None]);
        let both = vec![more("orders", count), more("none", 9)];
        assert_eq!(ask(both, false), [E::None, E::UnknownTopicOrPartition]);
        assert_eq!(ask(vec![more("orders", count)], false), [E::InvalidPartitions]);
        assert_eq!(client.produce(&topic, count - 1, batch(&["a"])), 0);
    }
    assert_eq!(summary(&metadata(&mut client, 12, &["orders"]))[0].2, 5);
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
    let me = metadata(&mut client, 12, &[]).brokers[0].node_id;
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
    let me = metadata(&mut client, 12, &[]).brokers[0].node_id.to_string();
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
fn topics_come_in_pages() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for (name, partitions) in [("a", 2), ("b", 5), ("c", 3)] {
        client.create_topic(name, partitions, &[]);
    }
    let mut page = |topics: &[&str], limit, cursor: Option<(&str, i32)>| {
        let request = DescribeTopicPartitionsRequest {
            topics: topics.iter().map(|name| TopicRequest { name: (*name).into() }).collect(),
            response_partition_limit: limit,
            cursor: cursor.map(|(topic, partition_index)| RequestCursor {
                topic_name: topic.into(),
                partition_index,
            }),
        };
        let response = client.call(0, &request);
        let topics = response.topics.iter().map(|t| {
            let name = t.name.as_ref().unwrap().to_string();
            let parts: Vec<_> = t.partitions.iter().map(|p| p.partition_index).collect();
            (name, code(t.error_code), parts)
        });
        let next =
            response.next_cursor.as_ref().map(|c| (c.topic_name.to_string(), c.partition_index));
        (topics.collect::<Vec<_>>(), next)
    };
    let line = |name: &str, parts: &[i32]| (name.to_owned(), E::None, parts.to_vec());
    let first = (vec![line("a", &[0, 1]), line("b", &[0, 1])], Some(("b".to_owned(), 2)));
    assert_eq!(page(&[], 4, None), first);
    let second = (vec![line("b", &[2, 3, 4])], Some(("c".to_owned(), 0)));
    assert_eq!(page(&[], 3, Some(("b", 2))), second);
    assert_eq!(page(&[], 2000, Some(("c", 0))), (vec![line("c", &[0, 1, 2])], None));
    let (named, next) = page(&["c", "x", "a"], 2000, None);
    let unknown = ("x".to_owned(), E::UnknownTopicOrPartition, vec![]);
    assert_eq!((named, next), (vec![line("a", &[0, 1]), line("c", &[0, 1, 2]), unknown], None));
    assert_eq!(page(&["a"], 0, None).0, [line("a", &[0])], "at least one");
    assert_eq!(page(&["a"], 9, Some(("a", -1))).0[0].1, E::InvalidRequest);
}

#[test]
fn the_cluster_is_described_in_every_version() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let known = metadata(&mut client, 12, &[]);
    for version in 0..=2 {
        let request = DescribeClusterRequest {
            include_cluster_authorized_operations: true,
            ..Default::default()
        };
        let told = client.call(version, &request);
        assert_eq!(Some(told.cluster_id), known.cluster_id);
        assert_eq!((told.brokers.len(), told.controller_id), (1, known.controller_id));
        assert_eq!(told.brokers[0].port, i32::from(broker.address().port()));
        assert!(told.cluster_authorized_operations > 0);
    }
    for (endpoint_type, expected) in
        [(2, E::MismatchedEndpointType), (3, E::UnsupportedEndpointType)]
    {
        let told = client.call(1, &DescribeClusterRequest { endpoint_type, ..Default::default() });
        assert_eq!(code(told.error_code), expected);
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
    let groups = if set == E::None { vec![GROUP] } else { vec![] };
    assert_eq!(list(1, &[GROUP]), (E::None, groups), "{message:?}");
}

#[test]
fn producer_ids_are_never_given_twice() {
    let mut broker = TestBroker::start();
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let mut client = broker.connect();
        for version in 0..=5 {
            for _ in 0..300 {
                let request = InitProducerIdRequest {
                    transactional_id: None,
                    transaction_timeout_ms: 60_000,
                    ..Default::default()
                };
                let response = client.call(version, &request);
                assert_eq!((code(response.error_code), response.producer_epoch), (E::None, 0));
                assert!(seen.insert(response.producer_id));
            }
        }
        broker = broker.crash().start();
    }
}

#[test]
fn many_partitions_are_made_and_found_again() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let start = std::time::Instant::now();
    let topic: Topic = client.create_topic("wide", 1000, &[]);
    println!("1000 partitions in {:?}", start.elapsed());
    assert_eq!(client.produce(&topic, 999, batch(&["a"])), 0);
    let stopped = broker.crash();
    let start = std::time::Instant::now();
    let broker = stopped.start();
    println!("restart with 1000 partitions after a crash in {:?}", start.elapsed());
    assert_eq!(broker.connect().read_values(&topic, 999), ["a"]);
    assert_eq!(summary(&metadata(&mut broker.connect(), 12, &["wide"]))[0].2, 1000);
}
