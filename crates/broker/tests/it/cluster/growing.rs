//! Clusters that grow, lose more than half, or are told wrong things.

use std::time::Duration;

use millstream_base::ErrorCode as E;
use millstream_wire::messages::add_raft_voter::{AddRaftVoterRequest, Listener};
use millstream_wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use millstream_wire::messages::find_coordinator::FindCoordinatorRequest;
use millstream_wire::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

use super::support::{Node, Plan, Role, take};
use crate::support::batch::{batch, big};
use crate::support::client::{PRODUCE, Topic, code, produce};
use crate::support::{eventually, logs};
use crate::transactions::producer::{Producer, Version, read_committed};

const COMBINED: [Role; 3] = [Role::Combined; 3];

fn topic(plan: &Plan, name: &str, partitions: i32) -> Topic {
    plan.create_topic(1, name, partitions, 3);
    // Its leader may learn of it later than others do.
    let known: Vec<_> = plan.ids().into_iter().map(|id| plan.topic(id, name).topic_id).collect();
    plan.await_in_sync(1);
    Topic { name: name.into(), id: known[0] }
}

fn leader(plan: &Plan, by: i32, topic: &Topic) -> i32 {
    plan.topic(by, &topic.name).partitions[0].leader_id
}

#[test]
fn one_node_grows_to_three_voters_and_may_lose_the_first() {
    let mut plan = Plan::new(&COMBINED);
    plan.voters = Some(vec![1]);
    let mut nodes = plan.start(&[1]);
    for id in [2, 3] {
        let mut properties = plan.properties(id);
        properties.set("controller.quorum.voters", "");
        let first = plan.controller_address(1).to_string();
        properties.set("controller.quorum.bootstrap.servers", &first);
        nodes.push(plan.start_as(id, &properties));
        let observer = eventually("the node follows the metadata log", || {
            plan.quorum(1).observers.into_iter().find(|it| it.replica_id == id)
        });
        let listener = Listener {
            name: "CONTROLLER".into(),
            host: "127.0.0.1".into(),
            port: plan.controller_address(id).port(),
        };
        let request = AddRaftVoterRequest {
            cluster_id: None,
            timeout_ms: 10_000,
            voter_id: id,
            voter_directory_id: observer.replica_directory_id,
            listeners: vec![listener],
            ..Default::default()
        };
        let answer = plan.client(1).call(1, &request);
        assert_eq!(code(answer.error_code), E::None, "{:?}", answer.error_message);
        let again = plan.client(1).call(1, &request);
        assert_eq!(code(again.error_code), E::DuplicateVoter, "{:?}", again.error_message);
    }
    assert_eq!(plan.quorum(2).current_voters.len(), 3);
    let kept = topic(&plan, "kept", 1);
    let by = leader(&plan, 1, &kept);
    plan.client(by).produce(&kept, 0, batch(&["kept"]));
    take(&mut nodes, 1).crash();
    eventually("the other two decide by themselves", || {
        let quorum = plan.quorum(2);
        (quorum.leader_id != 1 && leader(&plan, 2, &kept) > 1).then_some(())
    });
    plan.create_topic(2, "after", 1, 2);
    // A new leader learns from its followers how far the records were committed.
    eventually("the record is there", || {
        let values = plan.client(leader(&plan, 2, &kept)).read_values(&kept, 0);
        (values == ["kept"]).then_some(())
    });
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn what_two_of_three_would_have_to_hold_is_refused_without_them() {
    let plan = Plan::new(&COMBINED).set("min.insync.replicas", "2");
    let mut nodes = plan.start(&[1, 2, 3]);
    let topic = topic(&plan, "t", 1);
    let last = leader(&plan, 1, &topic);
    plan.client(last).produce(&topic, 0, batch(&["before"]));
    let others: Vec<i32> = plan.ids().into_iter().filter(|id| *id != last).collect();
    others.iter().for_each(|id| take(&mut nodes, *id).crash());
    let mut request = produce(&topic, 0, -1, batch(&["in doubt"]));
    request.timeout_ms = 1000;
    let mut answer = plan.client(last).call(PRODUCE, &request);
    let refused = code(answer.responses.remove(0).partition_responses.remove(0).error_code);
    println!("refused with {refused:?}");
    assert_ne!(refused, E::None, "two replicas are gone");
    nodes.extend(plan.start(&others));
    plan.await_in_sync(last);
    let by = leader(&plan, last, &topic);
    plan.client(by).produce(&topic, 0, batch(&["after"]));
    let values = plan.client(by).read_values(&topic, 0);
    assert_eq!((&*values[0], &*values[values.len() - 1]), ("before", "after"), "{values:?}");
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn followers_show_what_is_committed_and_nothing_else() {
    let plan = Plan::new(&COMBINED);
    let nodes = plan.start(&[1, 2, 3]);
    let topic = topic(&plan, "t", 1);
    let by = leader(&plan, 1, &topic);
    let coordinator = |name: &str| {
        eventually("the coordinator answers", || {
            let request = FindCoordinatorRequest {
                key_type: 1,
                coordinator_keys: vec![name.into()],
                ..Default::default()
            };
            let found = plan.client(1).call(4, &request).coordinators.remove(0);
            (found.error_code == 0).then_some(found.node_id)
        })
    };
    for (name, commit) in [("kept", true), ("dropped", false)] {
        let client = plan.client(coordinator(name));
        let mut producer = Producer::new(client, name, Version::New);
        let ends = std::mem::replace(&mut producer.client, plan.client(by));
        producer.send(&topic, 0, &[name]);
        producer.client = ends;
        if commit { producer.commit() } else { producer.abort() }
    }
    for follower in plan.ids().into_iter().filter(|id| *id != by) {
        eventually("the follower shows what is committed", || {
            let values = read_committed(&mut plan.client(follower), &topic, 0);
            assert!(values.is_empty() || values == ["kept"], "{values:?}");
            let whole = plan.client(follower).fetch(&topic, 0, 0).last_stable_offset >= 4;
            (whole && values == ["kept"]).then_some(())
        });
    }
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn a_replica_that_comes_back_is_no_faster_than_its_throttle() {
    let plan = Plan::new(&COMBINED).set("follower.replication.throttled.rate", "400000");
    let mut nodes = plan.start(&[1, 2, 3]);
    let topic = topic(&plan, "t", 1);
    let by = leader(&plan, 1, &topic);
    let away = if by == 3 { 2 } else { 3 };
    let set = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: 2,
            resource_name: "t".into(),
            configs: vec![AlterableConfig {
                name: "follower.replication.throttled.replicas".into(),
                config_operation: 0,
                value: Some("*".into()),
            }],
        }],
        validate_only: false,
    };
    let answer = plan.client(by).call(1, &set);
    assert_eq!(code(answer.responses[0].error_code), E::None);
    take(&mut nodes, away).crash();
    let mut client = plan.client(by);
    for _ in 0..8 {
        let mut request = produce(&topic, 0, 1, big(200_000));
        request.timeout_ms = 5000;
        let mut answer = client.call(PRODUCE, &request);
        let answer = answer.responses.remove(0).partition_responses.remove(0);
        assert_eq!(code(answer.error_code), E::None);
    }
    let began = std::time::Instant::now();
    nodes.push(plan.start_one(away));
    plan.await_in_sync(by);
    let took = began.elapsed();
    println!("1.6 MB at 0.4 MB/s in {took:?}");
    assert!(took > Duration::from_millis(1500), "{took:?}");
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn an_address_that_leads_nowhere_is_named_and_not_again_and_again() {
    let plan = Plan::new(&COMBINED);
    let mut nodes = plan.start(&[1, 2]);
    let nowhere = super::support::free_ports(1)[0];
    let mut properties = plan.properties(3);
    properties.set("advertised.listeners", format!("PLAINTEXT://127.0.0.1:{nowhere}"));
    nodes.push(plan.start_as(3, &properties));
    plan.create_topic(1, "t", 6, 3);
    let named = [&*format!("127.0.0.1:{nowhere}"), "cannot be reached"];
    let line = logs::wait_for(&named);
    assert!(line.contains("advertised.listeners"), "{line}");
    std::thread::sleep(Duration::from_secs(3));
    let lines = logs::all().lines().filter(|it| named.iter().all(|n| it.contains(n))).count();
    println!("{lines} lines");
    assert!(lines <= 12, "{lines} lines in three seconds");
    nodes.into_iter().rev().for_each(Node::end);
}

#[test]
fn a_second_voter_of_an_id_is_told_so_and_disturbs_nobody() {
    let plan = Plan::new(&COMBINED);
    let nodes = plan.start(&[1, 2, 3]);
    let mut twin = plan.properties(2);
    twin.set("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0");
    twin.set("log.dirs", plan.path(2).join("../twin").to_str().unwrap());
    let (runtime, starting) = plan.begin_as(&twin);
    let line = logs::wait_for(&["voter 2 has metadata directory"]);
    println!("{line}");
    plan.create_topic(1, "t", 3, 3);
    plan.await_in_sync(1);
    assert_eq!(plan.quorum(2).current_voters.len(), 3);
    assert!(!starting.is_finished() || runtime.block_on(starting).unwrap().is_err());
    runtime.shutdown_timeout(super::support::SOON);
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn what_moved_away_while_a_node_was_down_is_removed_when_it_is_back() {
    let plan = Plan::new(&COMBINED);
    let mut nodes = plan.start(&[1, 2, 3]);
    let topic = topic(&plan, "t", 1);
    let stays = self::topic(&plan, "stays", 1);
    plan.client(leader(&plan, 1, &topic)).produce(&topic, 0, batch(&["kept"]));
    take(&mut nodes, 3).end();
    let logs = |name: &str| plan.path(3).join(name);
    assert!(logs("t-0").exists() && logs("stays-0").exists());
    let partition = ReassignablePartition { partition_index: 0, replicas: Some(vec![2, 1]) };
    let moved = ReassignableTopic { name: "t".into(), partitions: vec![partition] };
    let request = AlterPartitionReassignmentsRequest {
        timeout_ms: 10_000,
        topics: vec![moved],
        ..Default::default()
    };
    let answer = plan.client(1).call(1, &request);
    assert_eq!(code(answer.error_code), E::None, "{:?}", answer.error_message);
    eventually("the partition has two replicas", || {
        (plan.topic(1, "t").partitions[0].replica_nodes.len() == 2).then_some(())
    });
    nodes.push(plan.start_one(3));
    plan.await_brokers(1, &[1, 2, 3]);
    assert!(!logs("t-0").exists(), "what moved away is removed");
    let left: Vec<_> =
        std::fs::read_dir(plan.path(3)).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("t-0")), "{left:?}");
    assert!(logs("stays-0").exists());
    let mut client = plan.client(leader(&plan, 1, &topic));
    assert_eq!(client.read_values(&topic, 0), ["kept"]);
    plan.client(leader(&plan, 3, &stays)).produce(&stays, 0, batch(&["on"]));
    nodes.into_iter().for_each(Node::end);
}
