//! Topics, partitions and the cluster as admin clients see and change them, in every version.

use std::collections::BTreeSet;

use millstream_base::{ErrorCode as E, Uuid};
use millstream_wire::Str;
use millstream_wire::messages::create_partitions::*;
use millstream_wire::messages::create_topics::*;
use millstream_wire::messages::delete_topics::*;
use millstream_wire::messages::describe_cluster::*;
use millstream_wire::messages::describe_topic_partitions::*;
use millstream_wire::messages::init_producer_id::InitProducerIdRequest;
use millstream_wire::messages::metadata::*;

use crate::support::batch::batch;
use crate::support::broker::TestBroker;
use crate::support::client::{Client, Topic, code};

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
