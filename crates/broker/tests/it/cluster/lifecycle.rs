//! Nodes come, go, die and come back.

use std::time::{Duration, Instant};

use super::support::{Node, Plan, Role, take};
use crate::support::eventually;

const COMBINED: [Role; 3] = [Role::Combined; 3];

#[test]
fn three_nodes_form_a_cluster_and_make_a_topic_of_three_replicas() {
    let plan = Plan::new(&COMBINED);
    let nodes = plan.start(&[1, 2, 3]);
    for id in 1..=3 {
        plan.await_brokers(id, &[1, 2, 3]);
    }
    let ids: Vec<&str> = nodes.iter().map(|node| node.running.cluster_id()).collect();
    assert!(!ids[0].is_empty() && ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    // One of them is not the active controller, so one of these is handed on.
    for by in 1..=3 {
        plan.create_topic(by, &format!("by-{by}"), 3, 3);
    }
    for id in 1..=3 {
        let topic = plan.topic(id, "by-3");
        assert_eq!(topic.partitions.len(), 3);
        for partition in &topic.partitions {
            assert_eq!(partition.replica_nodes.len(), 3, "{partition:?}");
            assert_eq!(partition.isr_nodes.len(), 3, "{partition:?}");
        }
        let mut leaders: Vec<i32> = topic.partitions.iter().map(|p| p.leader_id).collect();
        leaders.sort_unstable();
        assert_eq!(leaders, [1, 2, 3]);
    }
    let quorum = plan.quorum(2);
    assert_eq!(quorum.current_voters.len(), 3);
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn a_cluster_comes_back_as_it_was() {
    let plan = Plan::new(&COMBINED);
    let nodes = plan.start(&[1, 2, 3]);
    let cluster_id = nodes[0].running.cluster_id().to_owned();
    plan.create_topic(1, "kept", 6, 3);
    let id = plan.topic(2, "kept").topic_id;
    nodes.into_iter().for_each(Node::end);
    let nodes = plan.start(&[1, 2, 3]);
    assert!(nodes.iter().all(|node| node.running.cluster_id() == cluster_id));
    assert_eq!(plan.topic(3, "kept").topic_id, id);
    nodes.into_iter().for_each(Node::crash);
    let nodes = plan.start(&[1, 2, 3]);
    let topic = plan.topic(1, "kept");
    assert_eq!((topic.topic_id, topic.partitions.len()), (id, 6));
    // Where only one replica was in sync, its node has to be there first.
    eventually("every partition is led again", || {
        plan.topic(1, "kept").partitions.iter().all(|it| it.leader_id > 0).then_some(())
    });
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn a_node_that_stops_hands_its_leaders_over_and_gets_them_again() {
    let plan = Plan::new(&COMBINED).set("leader.imbalance.check.interval.seconds", "1");
    let mut nodes = plan.start(&[1, 2, 3]);
    plan.create_topic(1, "moved", 3, 3);
    plan.topic(2, "moved");
    let took = take(&mut nodes, 3).stop();
    assert!(took < Duration::from_secs(3), "{took:?}");
    let left = plan.topic(1, "moved");
    for partition in &left.partitions {
        assert!([1, 2].contains(&partition.leader_id), "{partition:?}");
    }
    plan.await_brokers(1, &[1, 2]);
    nodes.push(plan.start_one(3));
    plan.await_brokers(1, &[1, 2, 3]);
    eventually("node 3 leads again", || {
        let topic = plan.topic(1, "moved");
        topic.partitions.iter().any(|partition| partition.leader_id == 3).then_some(())
    });
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn a_dead_controller_is_replaced_and_its_leaders_are_moved() {
    let plan = Plan::new(&COMBINED);
    let mut nodes = plan.start(&[1, 2, 3]);
    plan.create_topic(1, "moved", 3, 3);
    let leader = plan.quorum(1).leader_id;
    let other = if leader == 1 { 2 } else { 1 };
    plan.topic(other, "moved");
    let began = Instant::now();
    take(&mut nodes, leader).crash();
    eventually("all partitions are led by others", || {
        let topic = plan.topic(other, "moved");
        topic.partitions.iter().all(|it| it.leader_id > 0 && it.leader_id != leader).then_some(())
    });
    println!("leaders moved {:?} after the active controller died", began.elapsed());
    assert_ne!(plan.quorum(other).leader_id, leader);
    plan.create_topic(other, "after", 1, 2);
    nodes.push(plan.start_one(leader));
    plan.await_brokers(leader, &[1, 2, 3]);
    plan.topic(leader, "after");
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn a_minority_cannot_decide_and_can_be_read() {
    let plan = Plan::new(&COMBINED);
    let mut nodes = plan.start(&[1, 2, 3]);
    plan.create_topic(1, "there", 1, 3);
    plan.topic(1, "there");
    take(&mut nodes, 2).crash();
    take(&mut nodes, 3).crash();
    assert_eq!(plan.topic(1, "there").partitions.len(), 1);
    nodes.push(plan.start_one(3));
    plan.create_topic(3, "again", 1, 1);
    plan.topic(1, "again");
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn a_controller_that_is_no_broker_notices_a_dead_broker_at_once() {
    let plan = Plan::new(&[Role::Controller, Role::Broker, Role::Broker]);
    let mut nodes = plan.start(&[1, 2, 3]);
    plan.await_brokers(2, &[2, 3]);
    let crashed = Instant::now();
    take(&mut nodes, 3).crash();
    plan.await_brokers(2, &[2]);
    let noticed = crashed.elapsed();
    println!("fenced after {noticed:?}");
    assert!(noticed < Duration::from_secs(5), "the session lasts 9 s: {noticed:?}");
    nodes.into_iter().rev().for_each(Node::end);
}

#[test]
fn brokers_and_controllers_may_be_apart() {
    let plan = Plan::new(&[Role::Controller, Role::Broker, Role::Broker]);
    let nodes = plan.start(&[1, 2, 3]);
    plan.await_brokers(2, &[2, 3]);
    plan.create_topic(3, "apart", 2, 2);
    assert_eq!(plan.topic(2, "apart").partitions.len(), 2);
    let quorum = plan.quorum(2);
    assert_eq!((quorum.leader_id, quorum.current_voters.len()), (1, 1));
    eventually("both brokers follow the log", || {
        (plan.quorum(3).observers.len() == 2).then_some(())
    });
    nodes.into_iter().rev().for_each(Node::end);
}
