//! Who belongs to a cluster, and what those are told that do not.

use std::time::Duration;

use super::support::{Node, Plan, Role};

#[test]
fn a_second_broker_of_an_id_is_refused() {
    let plan = Plan::new(&[Role::Combined, Role::Broker])
        .set("broker.session.timeout.ms", "1000")
        .set("broker.heartbeat.interval.ms", "200");
    let nodes = plan.start(&[1, 2]);
    // Another process with the id of node 2, elsewhere.
    let mut twin = plan.properties(2);
    twin.set("listeners", "PLAINTEXT://127.0.0.1:0");
    twin.set("log.dirs", plan.path(2).join("../twin").to_str().unwrap());
    let reason = plan.refuses(&twin);
    assert!(reason.contains("node 2") && reason.contains("node.id"), "{reason}");
    plan.await_brokers(1, &[1, 2]);
    nodes.into_iter().rev().for_each(Node::end);
}

#[test]
fn a_broker_of_another_cluster_is_refused() {
    let plan = Plan::new(&[Role::Combined, Role::Broker]);
    let nodes = plan.start(&[1, 2]);
    let other = Plan::new(&[Role::Combined, Role::Broker]);
    let others = other.start(&[1, 2]);
    others.into_iter().rev().for_each(Node::end);
    // The second cluster's broker is pointed at the first cluster.
    let mut lost = other.properties(2);
    lost.set(
        "controller.quorum.voters",
        plan.properties(1).get("controller.quorum.voters").unwrap(),
    );
    lost.set("initial.broker.registration.timeout.ms", "3000");
    let reason = plan.refuses(&lost);
    assert!(reason.contains("cluster"), "{reason}");
    plan.await_brokers(1, &[1, 2]);
    nodes.into_iter().rev().for_each(Node::end);
}

#[test]
fn a_broker_without_controllers_gives_up_and_says_why() {
    let plan = Plan::new(&[Role::Controller, Role::Broker])
        .set("initial.broker.registration.timeout.ms", "1500");
    let reason = plan.refuses(&plan.properties(2));
    assert!(reason.contains("controller"), "{reason}");
    std::thread::sleep(Duration::from_millis(10));
}
