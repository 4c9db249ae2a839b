//! Roles, voters and listeners of controllers: what is read, and what is refused with which words.

use super::tests::{load, refused};
use super::*;

/// Node `id` of three that are both broker and controller.
fn three(id: i32) -> String {
    format!(
        "node.id={id}\nprocess.roles=broker,controller\ncontroller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:909{id},CONTROLLER://127.0.0.1:919{id}\n\
         controller.quorum.voters=1@127.0.0.1:9191,2@127.0.0.1:9192,3@[::1]:9193\n"
    )
}

#[test]
fn three_combined_nodes_are_read() {
    let config = load(&three(2)).unwrap();
    assert_eq!(config.formation, Formation::Voters);
    assert_eq!((config.roles.broker, config.roles.controller), (true, true));
    assert!(config.is_voter());
    let voters: Vec<String> = config.voters.iter().map(ToString::to_string).collect();
    assert_eq!(voters, ["1@127.0.0.1:9191", "2@127.0.0.1:9192", "3@[::1]:9193"]);
    assert_eq!(config.controller_listeners[0].to_string(), "CONTROLLER://127.0.0.1:9192");
    assert_eq!(config.inter_broker_listener, "PLAINTEXT");
    assert!(config.notices().is_empty(), "{:?}", config.notices());
}

#[test]
fn brokers_and_controllers_apart_are_read() {
    let broker = load(
        "node.id=4\nprocess.roles=broker\nlisteners=IN://a:1,OUT://a:2\ninter.broker.listener.name=in\n\
         listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         controller.quorum.bootstrap.servers=c1:9093,c2:9093",
    )
    .unwrap();
    assert_eq!((broker.formation, broker.is_voter()), (Formation::Join, false));
    assert_eq!(broker.inter_broker_listener, "IN");
    assert_eq!(broker.bootstrap_servers[1].to_string(), "c2:9093");
    let controller = load(
        "node.id=1\nprocess.roles=controller\nlisteners=CONTROLLER://c1:9093\n\
         controller.quorum.voters=1@c1:9093,2@c2:9093,3@c3:9093",
    )
    .unwrap();
    assert!(controller.listeners.is_empty() && controller.is_voter());
    assert_eq!(controller.inter_broker_listener, "");
    let only = load("process.roles=controller\nlisteners=CONTROLLER://:9093").unwrap();
    assert_eq!(only.formation, Formation::Alone);
}

#[test]
fn one_node_is_a_quorum_of_its_own() {
    let formed = |text: &str| load(text).unwrap().formation;
    assert_eq!(formed(""), Formation::Alone);
    assert_eq!(formed("controller.quorum.voters=1@a:1"), Formation::Alone);
    let own = "listeners=PLAINTEXT://:9092,CONTROLLER://:9093\nnode.id=1\n";
    assert_eq!(
        formed(&format!("{own}controller.quorum.bootstrap.servers=localhost:9093")),
        Formation::Alone
    );
    let advertised = "advertised.listeners=PLAINTEXT://me:9092,CONTROLLER://me:9093\n";
    let config =
        load(&format!("{own}{advertised}controller.quorum.bootstrap.servers=ME:9093")).unwrap();
    assert_eq!(config.formation, Formation::Alone);
    assert_eq!(config.advertised_controller_listeners[0].to_string(), "CONTROLLER://me:9093");
    assert_eq!(
        formed(&format!("{own}controller.quorum.bootstrap.servers=other:9093")),
        Formation::Join
    );
}

#[test]
fn what_contradicts_itself_is_refused_with_what_to_do() {
    refused(
        "process.roles=broker\nnode.id=4",
        "`process.roles=broker` needs to know the controllers: set `controller.quorum.voters=ID@HOST:PORT,...` or `controller.quorum.bootstrap.servers=HOST:PORT,...`, or add controller to `process.roles` for a node that stands alone",
    );
    refused(
        "controller.quorum.voters=1@a:1,2@b:1\nlisteners=PLAINTEXT://:1,CONTROLLER://:2",
        "`node.id` is not set: in a cluster each node has a number of its own, set `node.id`",
    );
    refused(
        "node.id=1\ncontroller.quorum.voters=1@a:1,2@b:1",
        "`listeners` has none for the other controllers: add `CONTROLLER://:1` (`controller.listener.names=CONTROLLER`)",
    );
    refused(
        "controller.quorum.voters=2@a:1",
        "`node.id` is not set: in a cluster each node has a number of its own, set `node.id`",
    );
    refused(
        "node.id=1\ncontroller.quorum.voters=2@a:1",
        "`controller.quorum.voters=2@a:1` names node 2, and this is node 1: set `node.id=2`, name this node as well, or leave controller out of `process.roles`",
    );
    refused(
        &three(4),
        "`controller.quorum.voters=1@127.0.0.1:9191,2@127.0.0.1:9192,3@[::1]:9193` does not name this node, 4, and `process.roles` has controller: add 4@HOST:PORT to the voters of every node, correct `node.id`, or leave controller out of `process.roles`",
    );
    refused(
        "node.id=1\nprocess.roles=broker\ncontroller.quorum.voters=1@a:1,2@b:1",
        "`controller.quorum.voters=1@a:1,2@b:1` names this node, 1, and `process.roles=broker` leaves out controller: add controller to `process.roles`, or give the node another `node.id`",
    );
    refused(
        "node.id=1\ncontroller.quorum.voters=1@a:1,1@b:1",
        "`controller.quorum.voters=1@a:1,1@b:1` names node 1 twice: give each voter an id of its own",
    );
    refused(
        "node.id=1\ncontroller.quorum.voters=1@a:1,2@a:1",
        "`controller.quorum.voters=1@a:1,2@a:1` names a:1 twice: give each voter an address of its own",
    );
    refused(
        "node.id=1\nprocess.roles=controller",
        "`listeners` names `PLAINTEXT`, and a node with `process.roles=controller` serves no clients: keep only listeners of `controller.listener.names`, or add broker to `process.roles`",
    );
}

#[test]
fn listeners_of_the_wrong_role_are_refused() {
    let broker = "node.id=4\nprocess.roles=broker\ncontroller.quorum.voters=1@a:1\n";
    refused(
        &format!("{broker}listeners=PLAINTEXT://:1,CONTROLLER://:2"),
        "`listeners` names `CONTROLLER`, which is in `controller.listener.names`, and a node with `process.roles=broker` has no controller: take it out of `listeners`, or add controller to `process.roles`",
    );
    refused(
        &format!("{broker}advertised.listeners=PLAINTEXT://a:1,CONTROLLER://a:2"),
        "`advertised.listeners` names `CONTROLLER`, a listener of controllers that this node does not have: take it out, clients never connect to it",
    );
    refused(
        &format!("{broker}inter.broker.listener.name=CONTROLLER"),
        "`inter.broker.listener.name=CONTROLLER` is in `controller.listener.names`: brokers reach each other over a listener of their own, name that one",
    );
    refused(
        &format!("{broker}controller.listener.names="),
        "`controller.listener.names` is empty: name the listener over which controllers are reached, for example CONTROLLER",
    );
}

#[test]
fn addresses_of_the_quorum_are_judged() {
    for broken in ["a:1", "1@a", "x@a:1", "-1@a:1", "1@:1", "1@a:0", "1@a:99999", "1@::1:5"] {
        let message = load(&format!("node.id=1\ncontroller.quorum.voters={broken}")).unwrap_err();
        assert!(message.contains("it takes ID@HOST:PORT separated by commas"), "{message}");
    }
    let message =
        load("node.id=1\nprocess.roles=broker\ncontroller.quorum.bootstrap.servers=a").unwrap_err();
    assert!(message.contains("it takes HOST:PORT separated by commas"), "{message}");
}

#[test]
fn times_that_cannot_work_are_refused() {
    refused(
        "broker.heartbeat.interval.ms=9000",
        "`broker.heartbeat.interval.ms=9000` is not between 1 and `broker.session.timeout.ms=9000`: a broker would be fenced between two heartbeats, lower the one or raise the other",
    );
    refused(
        "replica.fetch.wait.max.ms=600\nreplica.lag.time.max.ms=500",
        "`replica.fetch.wait.max.ms=600` is above `replica.lag.time.max.ms=500`: lower the one or raise the other",
    );
    refused(
        "default.replication.factor=0",
        "`default.replication.factor=0` is not valid: it takes 1 to 32767",
    );
}

#[test]
fn the_selector_of_replicas_is_named_by_kafkas_classes() {
    let selector = |text: &str| load(&format!("replica.selector.class={text}"));
    assert_eq!(load("").unwrap().replica_selector, ReplicaSelector::Leader);
    let class = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
    assert_eq!(selector(class).unwrap().replica_selector, ReplicaSelector::RackAware);
    assert!(selector("com.example.Mine").unwrap_err().contains("RackAwareReplicaSelector"));
}
