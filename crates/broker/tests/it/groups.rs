//! Consumer groups over the wire: every API in every version, restarts, crashes, both protocols.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use millstream_base::{ErrorCode as E, Uuid};
use millstream_wire::messages::consumer_group_describe::*;
use millstream_wire::messages::consumer_group_heartbeat::*;
use millstream_wire::messages::delete_groups::*;
use millstream_wire::messages::describe_groups::*;
use millstream_wire::messages::find_coordinator::*;
use millstream_wire::messages::heartbeat::*;
use millstream_wire::messages::join_group::*;
use millstream_wire::messages::leave_group::*;
use millstream_wire::messages::list_groups::*;
use millstream_wire::messages::offset_commit::*;
use millstream_wire::messages::offset_delete::*;
use millstream_wire::messages::offset_fetch::*;
use millstream_wire::messages::sync_group::*;
use millstream_wire::{Request, Str};

use crate::support::broker::{Stopped, TestBroker};
use crate::support::client::{Client, Topic, code};

const SETTINGS: &[(&str, &str)] =
    &[("group.initial.rebalance.delay.ms", "0"), ("offsets.topic.num.partitions", "5")];

fn broker() -> TestBroker {
    TestBroker::with(SETTINGS)
}

/// Asks until the coordinator has loaded.
fn call<R: Request>(
    client: &mut Client,
    version: i16,
    request: &R,
    error_of: impl Fn(&R::Response) -> i16,
) -> R::Response {
    let start = Instant::now();
    loop {
        let response = client.call(version, request);
        let loading = code(error_of(&response)) == E::CoordinatorLoadInProgress;
        if !loading || start.elapsed() > Duration::from_secs(10) {
            return response;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn find(client: &mut Client, version: i16, group: &str) -> (E, i32) {
    let mut request = FindCoordinatorRequest::default();
    if version < 4 {
        request.key = group.into();
    } else {
        request.coordinator_keys = vec![group.into(), "another".into()];
    }
    let response = client.call(version, &request);
    match version {
        0..4 => (code(response.error_code), response.port),
        _ => {
            assert_eq!(response.coordinators.len(), 2);
            let first = &response.coordinators[0];
            assert_eq!(&*first.key, group);
            (code(first.error_code), first.port)
        }
    }
}

fn subscription() -> Bytes {
    // Version 0, one topic `t`, no user data.
    Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff")
}

fn join_request(group: &str, member_id: &Str, version: i16) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: if version >= 1 { 10_000 } else { -1 },
        member_id: member_id.clone(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: subscription(),
        }],
        ..Default::default()
    }
}

/// Joins a group alone and syncs. The member's id and generation.
fn join(client: &mut Client, group: &str, version: i16) -> (Str, i32) {
    find(client, 0, group);
    let mut member_id = Str::default();
    let mut joined =
        call(client, version, &join_request(group, &member_id, version), |it| it.error_code);
    if version >= 4 {
        assert_eq!(code(joined.error_code), E::MemberIdRequired);
        member_id = joined.member_id;
        joined = client.call(version, &join_request(group, &member_id, version));
    }
    assert_eq!(code(joined.error_code), E::None, "version {version}");
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.protocol_type.as_deref(), (version >= 7).then_some("consumer"));
    (joined.member_id, joined.generation_id)
}

fn sync(client: &mut Client, group: &str, version: i16, member: &Str, generation: i32) -> Bytes {
    let request = SyncGroupRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.clone(),
        protocol_type: (version >= 5).then(|| "consumer".into()),
        protocol_name: (version >= 5).then(|| "range".into()),
        assignments: vec![SyncGroupRequestAssignment {
            member_id: member.clone(),
            assignment: Bytes::from_static(b"all"),
        }],
        ..Default::default()
    };
    let synced = client.call(version, &request);
    assert_eq!(code(synced.error_code), E::None);
    synced.assignment
}

fn beat(client: &mut Client, group: &str, version: i16, member: &Str, generation: i32) -> E {
    let request = HeartbeatRequest {
        group_id: group.into(),
        generation_id: generation,
        member_id: member.clone(),
        ..Default::default()
    };
    code(call(client, version, &request, |it| it.error_code).error_code)
}

fn leave(client: &mut Client, group: &str, version: i16, member: &Str) -> E {
    let mut request = LeaveGroupRequest { group_id: group.into(), ..Default::default() };
    if version < 3 {
        request.member_id = member.clone();
    } else {
        let reason = (version >= 5).then(|| "done".into());
        let member_id = member.clone();
        request.members = vec![MemberIdentity { member_id, reason, ..Default::default() }];
    }
    let response = client.call(version, &request);
    assert_eq!(response.members.len(), usize::from(version >= 3));
    match response.members.first() {
        Some(member) => code(member.error_code),
        None => code(response.error_code),
    }
}

fn commit(
    client: &mut Client,
    version: i16,
    (group, member, generation): (&str, &Str, i32),
    topic: (&str, Uuid),
    offset: i64,
) -> E {
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member.clone(),
        topics: vec![OffsetCommitRequestTopic {
            name: if version < 10 { topic.0.into() } else { Str::default() },
            topic_id: if version < 10 { Uuid::ZERO } else { topic.1 },
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: 1,
                committed_offset: offset,
                committed_leader_epoch: if version >= 6 { 0 } else { -1 },
                committed_metadata: Some("note".into()),
            }],
        }],
        ..Default::default()
    };
    let response = client.call(version, &request);
    code(response.topics[0].partitions[0].error_code)
}

/// The committed offset of partition 1 and its metadata.
fn committed(
    client: &mut Client,
    version: i16,
    group: &str,
    topic: &Topic,
    all: bool,
) -> (E, i64, String) {
    let mut request = OffsetFetchRequest::default();
    if version < 8 {
        request.group_id = group.into();
        let topics = vec![OffsetFetchRequestTopic { name: "t".into(), partition_indexes: vec![1] }];
        request.topics = (!all).then_some(topics);
        let response = call(client, version, &request, |it| it.error_code);
        if response.error_code != 0 {
            return (code(response.error_code), -1, String::new());
        }
        let partition = &response.topics[0].partitions[0];
        let metadata = partition.metadata.as_deref().unwrap_or_default().to_owned();
        return (code(partition.error_code), partition.committed_offset, metadata);
    }
    let topics = vec![OffsetFetchRequestTopics {
        name: if version < 10 { "t".into() } else { Str::default() },
        topic_id: if version < 10 { Uuid::ZERO } else { topic.id },
        partition_indexes: vec![1],
    }];
    let topics = (!all).then_some(topics);
    request.groups =
        vec![OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() }];
    let response = call(client, version, &request, |it| it.groups[0].error_code);
    let group = &response.groups[0];
    if group.error_code != 0 {
        return (code(group.error_code), -1, String::new());
    }
    let found = &group.topics[0];
    assert_eq!(found.topic_id, if version < 10 { Uuid::ZERO } else { topic.id });
    let partition = &found.partitions[0];
    let metadata = partition.metadata.as_deref().unwrap_or_default().to_owned();
    (code(partition.error_code), partition.committed_offset, metadata)
}

#[test]
fn the_coordinator_is_found_in_every_version() {
    let broker = broker();
    let mut client = broker.connect();
    for version in 0..=6 {
        let found = find(&mut client, version, "g");
        assert_eq!(found, (E::None, i32::from(broker.address().port())), "version {version}");
    }
    let request = FindCoordinatorRequest { key: "x".into(), key_type: 77, ..Default::default() };
    assert_eq!(code(client.call(1, &request).error_code), E::InvalidRequest);
}

#[test]
fn a_member_lives_in_every_version() {
    let broker = broker();
    let mut client = broker.connect();
    for version in 0..=9 {
        let group = format!("g{version}");
        let (member, generation) = join(&mut client, &group, version);
        let wire = |max: i16| version.min(max);
        assert_eq!(sync(&mut client, &group, wire(5), &member, generation), "all");
        assert_eq!(beat(&mut client, &group, wire(4), &member, generation), E::None);
        assert_eq!(beat(&mut client, &group, wire(4), &member, 99), E::IllegalGeneration);
        assert_eq!(beat(&mut client, &group, wire(4), &"x".into(), 1), E::UnknownMemberId);
        assert_eq!(leave(&mut client, &group, wire(5), &member), E::None);
        assert_eq!(leave(&mut client, &group, wire(5), &member), E::UnknownMemberId);
    }
}

#[test]
fn offsets_are_committed_and_fetched_in_every_version() {
    let broker = broker();
    let mut client = broker.connect();
    let topic = client.create_topic("t", 2, &[]);
    let (member, generation) = join(&mut client, "g", 5);
    sync(&mut client, "g", 3, &member, generation);
    for version in 2..=10 {
        let offset = i64::from(version) * 10;
        let who = ("g", &member, generation);
        assert_eq!(commit(&mut client, version, who, ("t", topic.id), offset), E::None);
        for fetch in 1..=10 {
            let expected = (E::None, offset, "note".to_owned());
            assert_eq!(
                committed(&mut client, fetch, "g", &topic, false),
                expected,
                "version {fetch}"
            );
            if fetch >= 2 {
                assert_eq!(committed(&mut client, fetch, "g", &topic, true), expected);
            }
        }
        let stranger = ("g", &"x".into(), generation);
        assert_eq!(commit(&mut client, version, stranger, ("t", topic.id), 1), E::UnknownMemberId);
        let expected = if version < 10 { E::UnknownTopicOrPartition } else { E::UnknownTopicId };
        assert_eq!(commit(&mut client, version, who, ("none", Uuid([9; 16])), 1), expected);
    }
    let nothing = committed(&mut client, 7, "unheard-of", &topic, false);
    assert_eq!(nothing, (E::None, -1, String::new()));
}

#[test]
fn groups_are_listed_described_and_deleted_in_every_version() {
    let broker = broker();
    let mut client = broker.connect();
    let topic = client.create_topic("t", 2, &[]);
    let (member, generation) = join(&mut client, "live", 5);
    sync(&mut client, "live", 3, &member, generation);
    for version in 0..=5 {
        let listed = client.call(version, &ListGroupsRequest::default());
        assert_eq!(code(listed.error_code), E::None);
        let group = &listed.groups[0];
        assert_eq!((&*group.group_id, &*group.protocol_type), ("live", "consumer"));
        assert_eq!(&*group.group_state, if version >= 4 { "Stable" } else { "" });
        assert_eq!(&*group.group_type, if version >= 5 { "classic" } else { "" });
    }
    let none = ListGroupsRequest { states_filter: vec!["empty".into()], ..Default::default() };
    assert!(client.call(5, &none).groups.is_empty());
    for version in 0..=6 {
        let request = DescribeGroupsRequest {
            groups: vec!["live".into(), "none".into()],
            include_authorized_operations: version >= 3,
        };
        let described = client.call(version, &request);
        let live = &described.groups[0];
        assert_eq!((&*live.group_state, &*live.protocol_data), ("Stable", "range"));
        let shown = &live.members[0];
        assert_eq!((&shown.member_id, &*shown.client_host), (&member, "/127.0.0.1"));
        assert_eq!(
            (&shown.member_metadata, &*shown.member_assignment),
            (&subscription(), &b"all"[..])
        );
        let none = &described.groups[1];
        let expected = if version >= 6 { E::GroupIdNotFound } else { E::None };
        assert_eq!((code(none.error_code), &*none.group_state), (expected, "Dead"));
    }
    let names = vec!["live".into(), "none".into()];
    for version in 0..=3 {
        let request = DeleteGroupsRequest { groups_names: names.clone() };
        let codes: Vec<E> =
            client.call(version, &request).results.iter().map(|it| code(it.error_code)).collect();
        assert_eq!(codes, [E::NonEmptyGroup, E::GroupIdNotFound], "version {version}");
    }
    let who = ("live", &member, generation);
    commit(&mut client, 8, who, ("t", topic.id), 5);
    let partitions = vec![OffsetDeleteRequestPartition { partition_index: 1 }];
    let topics = vec![OffsetDeleteRequestTopic { name: "t".into(), partitions }];
    let request = OffsetDeleteRequest { group_id: "live".into(), topics };
    let partition_code = |it: &OffsetDeleteResponse| code(it.topics[0].partitions[0].error_code);
    assert_eq!(partition_code(&client.call(0, &request)), E::GroupSubscribedToTopic);
    leave(&mut client, "live", 5, &member);
    assert_eq!(partition_code(&client.call(0, &request)), E::None);
    assert_eq!(committed(&mut client, 7, "live", &topic, false).1, -1);
    let request = DeleteGroupsRequest { groups_names: vec!["live".into()] };
    assert_eq!(client.call(2, &request).results[0].error_code, 0);
    assert!(client.call(5, &ListGroupsRequest::default()).groups.is_empty());
}

fn delete_topic(client: &mut Client, name: &str) {
    let request = millstream_wire::messages::delete_topics::DeleteTopicsRequest {
        topic_names: vec![name.into()],
        timeout_ms: 1_000,
        ..Default::default()
    };
    client.call(5, &request);
}

fn survives(end: impl Fn(TestBroker) -> Stopped) {
    let broker = broker();
    let mut client = broker.connect();
    let topic = client.create_topic("t", 2, &[]);
    let (member, generation) = join(&mut client, "g", 5);
    sync(&mut client, "g", 3, &member, generation);
    commit(&mut client, 8, ("g", &member, generation), ("t", topic.id), 77);
    let broker = end(broker).start();
    let mut client = broker.connect();
    assert_eq!(
        beat(&mut client, "g", 3, &member, generation),
        E::None,
        "it goes on without a rebalance"
    );
    assert_eq!(committed(&mut client, 9, "g", &topic, false), (E::None, 77, "note".to_owned()));
    assert_eq!(beat(&mut client, "g", 3, &member, generation + 1), E::IllegalGeneration);
}

#[test]
fn a_group_survives_a_restart() {
    survives(TestBroker::stop);
}

#[test]
fn a_group_survives_a_crash() {
    survives(TestBroker::crash);
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let broker = broker();
    let mut client = broker.connect();
    let topic = client.create_topic("t", 2, &[]);
    find(&mut client, 3, "g");
    let who = ("g", &Str::default(), -1);
    assert_eq!(commit(&mut client, 8, who, ("t", topic.id), 5), E::None);
    delete_topic(&mut client, "t");
    let topic = client.create_topic("t", 2, &[]);
    assert_eq!(committed(&mut client, 7, "g", &topic, false).1, -1);
}

#[test]
fn a_crash_before_the_tombstones_leaves_no_offsets_to_a_new_topic() {
    let broker = broker();
    let mut client = broker.connect();
    let topic = client.create_topic("t", 2, &[]);
    find(&mut client, 3, "g");
    let who = ("g", &Str::default(), -1);
    assert_eq!(commit(&mut client, 8, who, ("t", topic.id), 5), E::None);
    let broker = broker.crash();
    let logs: Vec<PathBuf> = (0..5)
        .map(|it| broker.path().join(format!("__consumer_offsets-{it}/{:020}.log", 0)))
        .collect();
    // A log that holds nothing has no file yet.
    let length = |log: &PathBuf| std::fs::metadata(log).map_or(0, |file| file.len());
    let before: Vec<u64> = logs.iter().map(length).collect();
    let broker = broker.start();
    let mut client = broker.connect();
    delete_topic(&mut client, "t");
    let topic = client.create_topic("t", 2, &[]);
    // What the crash loses is what was written last.
    let broker = broker.crash();
    for (log, length) in logs.iter().zip(&before).filter(|(log, _)| log.exists()) {
        std::fs::OpenOptions::new().write(true).open(log).unwrap().set_len(*length).unwrap();
    }
    let broker = broker.start();
    let mut client = broker.connect();
    assert_eq!(committed(&mut client, 7, "g", &topic, false), (E::None, -1, String::new()));
    let after: u64 = logs.iter().map(length).sum();
    assert!(after > before.iter().sum::<u64>(), "they are deleted now");
}

#[test]
fn a_member_that_waits_is_told_when_the_broker_stops() {
    let broker = TestBroker::with(&[("group.initial.rebalance.delay.ms", "60000")]);
    let mut client = broker.connect();
    find(&mut client, 3, "g");
    let sent = client.send(3, &join_request("g", &Str::default(), 3));
    std::thread::sleep(Duration::from_millis(100));
    let _stopped = broker.stop();
    let joined = client.receive::<JoinGroupRequest>(sent);
    assert_eq!(code(joined.error_code), E::NotCoordinator);
}

fn heartbeat(
    group: &str,
    member: &str,
    epoch: i32,
    owned: &[(Uuid, Vec<i32>)],
) -> ConsumerGroupHeartbeatRequest {
    let owned = owned.iter().map(|(topic_id, partitions)| RequestTopicPartitions {
        topic_id: *topic_id,
        partitions: partitions.clone(),
    });
    ConsumerGroupHeartbeatRequest {
        group_id: group.into(),
        member_id: member.into(),
        member_epoch: epoch,
        rebalance_timeout_ms: if epoch == 0 { 10_000 } else { -1 },
        subscribed_topic_names: (epoch == 0).then(|| vec!["t".into()]),
        topic_partitions: Some(owned.collect()),
        ..Default::default()
    }
}

#[test]
fn the_consumer_protocol_hands_partitions_over_one_by_one() {
    // Each change is followed at once, so that the steps can be told apart.
    let at_once = ("group.consumer.assignment.interval.ms", "0");
    let broker = TestBroker::with(&[SETTINGS, &[at_once]].concat());
    let mut client = broker.connect();
    let topic = client.create_topic("t", 2, &[]);
    find(&mut client, 3, "c");
    let given = |response: &ConsumerGroupHeartbeatResponse| -> Option<Vec<i32>> {
        let topics = &response.assignment.as_ref()?.topic_partitions;
        Some(topics.iter().flat_map(|it| it.partitions.clone()).collect())
    };
    let a = client.call(1, &heartbeat("c", "a", 0, &[]));
    assert_eq!((code(a.error_code), a.member_epoch, given(&a)), (E::None, 1, Some(vec![0, 1])));
    assert_eq!(a.heartbeat_interval_ms, 5_000);
    let b = client.call(1, &heartbeat("c", "b", 0, &[]));
    assert_eq!((b.member_epoch, given(&b)), (2, Some(vec![])));
    let a = client.call(1, &heartbeat("c", "a", 1, &[(topic.id, vec![0, 1])]));
    assert_eq!((a.member_epoch, given(&a)), (1, Some(vec![0])));
    let b = client.call(0, &heartbeat("c", "b", 2, &[]));
    assert_eq!(given(&b), None, "not before it is given back");
    let a = client.call(1, &heartbeat("c", "a", 1, &[(topic.id, vec![0])]));
    assert_eq!(a.member_epoch, 2);
    let b = client.call(1, &heartbeat("c", "b", 2, &[]));
    assert_eq!(given(&b), Some(vec![1]));

    for version in 0..=1 {
        let request = ConsumerGroupDescribeRequest {
            group_ids: vec!["c".into(), "no".into()],
            ..Default::default()
        };
        let described = client.call(version, &request);
        let group = &described.groups[0];
        assert_eq!(
            (&*group.group_state, group.group_epoch, &*group.assignor_name),
            ("Stable", 2, "uniform")
        );
        let member = &group.members[1];
        assert_eq!(
            (&*member.member_id, &*member.assignment.topic_partitions[0].topic_name),
            ("b", "t")
        );
        assert_eq!(member.member_type, if version >= 1 { 1 } else { -1 });
        assert_eq!(code(described.groups[1].error_code), E::GroupIdNotFound);
    }
    let who = ("c", &Str::from("b"), 2);
    assert_eq!(commit(&mut client, 9, who, ("t", topic.id), 3), E::None);
    assert_eq!(
        commit(&mut client, 9, ("c", &"b".into(), 7), ("t", topic.id), 3),
        E::StaleMemberEpoch
    );

    let broker = broker.crash().start();
    let mut client = broker.connect();
    let again = heartbeat("c", "b", 2, &[(topic.id, vec![1])]);
    let b = call(&mut client, 1, &again, |it| it.error_code);
    assert_eq!((code(b.error_code), b.member_epoch, given(&b)), (E::None, 2, None), "it goes on");
    let gone = client.call(1, &heartbeat("c", "a", -1, &[]));
    assert_eq!((code(gone.error_code), gone.member_epoch), (E::None, -1));
    let b = client.call(1, &again);
    assert_eq!((b.member_epoch, given(&b)), (3, Some(vec![0, 1])));
    let bad = ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some("(".into()),
        subscribed_topic_names: None,
        ..heartbeat("c", "z", 0, &[])
    };
    assert_eq!(code(client.call(1, &bad).error_code), E::InvalidRegularExpression);
}
