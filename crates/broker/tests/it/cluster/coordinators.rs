//! Coordinators of groups and transactions on several brokers: they are found from everywhere, reach partitions that others
//! lead, and when one dies another goes on with exactly what was committed.

use millstream_base::{ErrorCode as E, Uuid};
use millstream_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use millstream_wire::messages::find_coordinator::FindCoordinatorRequest;
use millstream_wire::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use millstream_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};

use super::support::{Node, Plan, Role, take};
use crate::support::client::{Client, Topic, code};
use crate::support::eventually;
use crate::transactions::producer::{BOTH, Producer, Version, fetch_at, read_committed};

const ALL: [i32; 3] = [1, 2, 3];
const PARTITIONS: i32 = 3;

/// Makes the topic, whatever becomes of the active controller meanwhile.
fn create_topic(plan: &Plan) -> Uuid {
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: PARTITIONS,
        replication_factor: 3,
        ..Default::default()
    };
    let topics = vec![topic];
    let request = CreateTopicsRequest { topics, timeout_ms: 10_000, validate_only: false };
    eventually("the topic is made", || {
        let made = plan.client(1).call(7, &request).topics.remove(0);
        matches!(code(made.error_code), E::None | E::TopicAlreadyExists).then_some(())
    });
    plan.topic(1, "t").topic_id
}

struct Cluster {
    plan: Plan,
    nodes: Vec<Node>,
    topic: Topic,
}

impl Cluster {
    fn start() -> Self {
        let plan = Plan::new(&[Role::Combined; 3])
            .set("group.initial.rebalance.delay.ms", "0")
            .set("offsets.topic.num.partitions", "3")
            .set("transaction.state.log.num.partitions", "3")
            .set("broker.session.timeout.ms", "3000");
        let nodes = plan.start(&ALL);
        plan.await_brokers(1, &ALL);
        let id = create_topic(&plan);
        Self { plan, nodes, topic: Topic { name: "t".to_owned(), id } }
    }

    /// A node that runs.
    fn any(&self) -> i32 {
        self.nodes[0].id
    }

    /// Who coordinates, as every node tells it; the coordinator has loaded or will in a moment.
    fn coordinator(&self, kind: i8, key: &str) -> i32 {
        let request = FindCoordinatorRequest {
            key_type: kind,
            coordinator_keys: vec![key.into()],
            ..Default::default()
        };
        eventually("all nodes name the same living coordinator", || {
            let mut named = self.nodes.iter().map(|node| {
                let answer = self.plan.client(node.id).call(4, &request).coordinators.remove(0);
                (answer.error_code == 0).then_some((answer.node_id, answer.port))
            });
            let first = named.next()??;
            let is_alive = self.nodes.iter().any(|node| node.id == first.0);
            assert_eq!(first.1, i32::from(self.plan.address(first.0).port()));
            (is_alive && named.all(|other| other == Some(first))).then_some(first.0)
        })
    }

    fn leader(&self, partition: i32) -> i32 {
        eventually("the partition has a leader that lives", || {
            let topic = self.plan.topic(self.any(), "t");
            let found = topic.partitions.iter().find(|it| it.partition_index == partition)?;
            self.nodes.iter().any(|node| node.id == found.leader_id).then_some(found.leader_id)
        })
    }

    fn crash(&mut self, id: i32) {
        take(&mut self.nodes, id).crash();
    }

    fn restart(&mut self, id: i32) {
        self.nodes.push(self.plan.start_one(id));
        self.plan.await_brokers(self.any(), &ALL);
        // The next to die must not be the only one in sync.
        self.plan.await_in_sync(self.any());
    }

    /// A client of the group's or transaction's coordinator.
    fn at_coordinator(&self, kind: i8, key: &str) -> Client {
        self.plan.client(self.coordinator(kind, key))
    }

    /// Sends to every partition, each time to its leader.
    fn send_everywhere(&self, producer: &mut Producer, value: &str) {
        for partition in 0..PARTITIONS {
            if producer.version == Version::Old && !producer.has_added(&self.topic, partition) {
                producer.client = self.at_coordinator(1, &producer.name);
                assert_eq!(producer.add(&self.topic, partition), E::None);
                producer.note_added(&self.topic, partition);
            }
            let sent = eventually("the leader takes the records", || {
                producer.client = self.plan.client(self.leader(partition));
                let answer = producer.try_send(&self.topic, partition, &[value]);
                match code(answer.error_code) {
                    E::NotLeaderOrFollower | E::UnknownTopicOrPartition => None,
                    other => Some(other),
                }
            });
            assert_eq!(sent, E::None, "{value} to {partition}");
        }
        producer.client = self.at_coordinator(1, &producer.name);
    }

    /// Every partition has exactly these committed values, and nothing is open.
    fn assert_committed(&self, expected: &[&str]) {
        for partition in 0..PARTITIONS {
            eventually("nothing is open in the partition", || {
                let mut client = self.plan.client(self.leader(partition));
                let data = fetch_at(&mut client, &self.topic, partition, 0, 1);
                let is_whole = data.error_code == 0
                    && data.high_watermark == data.last_stable_offset
                    && data.high_watermark > 0;
                if !is_whole {
                    return None;
                }
                let found = read_committed(&mut client, &self.topic, partition);
                // The marker is there; a wrong end would be there for good.
                (found == expected).then_some(())
            });
        }
    }

    fn fetch_offset(&self, group: &str) -> i64 {
        let request = OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: group.into(),
                member_epoch: -1,
                topics: Some(vec![OffsetFetchRequestTopics {
                    name: "t".into(),
                    partition_indexes: vec![0],
                    ..Default::default()
                }]),
                ..Default::default()
            }],
            require_stable: true,
            ..Default::default()
        };
        eventually("the coordinator tells the offset", || {
            let answer = self.at_coordinator(0, group).call(8, &request).groups.remove(0);
            if answer.error_code != 0 {
                return None;
            }
            let partition = &answer.topics[0].partitions[0];
            (partition.error_code == 0).then_some(partition.committed_offset)
        })
    }

    fn commit_offset(&self, group: &str, offset: i64) -> E {
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: "t".into(),
                partitions: vec![OffsetCommitRequestPartition {
                    partition_index: 0,
                    committed_offset: offset,
                    committed_leader_epoch: -1,
                    committed_metadata: Some("".into()),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        eventually("the coordinator has loaded", || {
            let answer = self.at_coordinator(0, group).call(8, &request);
            match code(answer.topics[0].partitions[0].error_code) {
                E::CoordinatorLoadInProgress | E::NotCoordinator | E::CoordinatorNotAvailable => {
                    None
                }
                other => Some(other),
            }
        })
    }
}

#[test]
fn transactions_end_as_decided_whoever_coordinates() {
    let mut cluster = Cluster::start();
    let mut expected = Vec::new();
    for version in BOTH {
        let name = format!("p-{version:?}");
        let group = format!("g-{version:?}");
        let client = cluster.at_coordinator(1, &name);
        let mut producer = Producer::new(client, &name, version);
        // Markers and offsets on three brokers.
        cluster.send_everywhere(&mut producer, "plain");
        commit_offset(&cluster, &mut producer, &group, 7);
        producer.commit();
        expected.push("plain");
        cluster.assert_committed(&expected);
        assert_eq!(cluster.fetch_offset(&group), 7);

        // Open when its coordinator dies: the next one knows it, and the producer goes on.
        cluster.send_everywhere(&mut producer, "open");
        let dead = cluster.coordinator(1, &name);
        cluster.crash(dead);
        cluster.send_everywhere(&mut producer, "more");
        producer.commit();
        expected.extend(["open", "more"]);
        cluster.assert_committed(&expected);
        cluster.restart(dead);

        // Decided when its coordinator dies: the end stays, wherever its markers were.
        producer.client = cluster.at_coordinator(1, &name);
        cluster.send_everywhere(&mut producer, "decided");
        commit_offset(&cluster, &mut producer, &group, 8);
        producer.client = cluster.at_coordinator(1, &name);
        let dead = cluster.coordinator(1, &name);
        producer.commit();
        cluster.crash(dead);
        expected.push("decided");
        cluster.assert_committed(&expected);
        assert_eq!(cluster.fetch_offset(&group), 8);
        cluster.restart(dead);

        // Aborted in the same way.
        cluster.send_everywhere(&mut producer, "aborted");
        let dead = cluster.coordinator(1, &name);
        producer.abort();
        cluster.crash(dead);
        cluster.assert_committed(&expected);
        cluster.restart(dead);

        // Left open by its producer: whoever has the id next aborts it, at another coordinator.
        cluster.send_everywhere(&mut producer, "left");
        let dead = cluster.coordinator(1, &name);
        cluster.crash(dead);
        let client = cluster.at_coordinator(1, &name);
        let mut next = Producer::new(client, &name, version);
        cluster.assert_committed(&expected);
        cluster.send_everywhere(&mut next, "next");
        next.commit();
        expected.push("next");
        cluster.assert_committed(&expected);
        cluster.restart(dead);
    }
}

/// TxnOffsetCommit goes to the group's coordinator, AddOffsetsToTxn to the transaction's.
fn commit_offset(cluster: &Cluster, producer: &mut Producer, group: &str, offset: i64) {
    producer.client = cluster.at_coordinator(1, &producer.name);
    if producer.version == Version::Old {
        assert_eq!(producer.add_offsets(group), E::None);
    }
    producer.client = cluster.at_coordinator(0, group);
    let version = if producer.version == Version::Old { 3 } else { 5 };
    let code = producer.commit_offset_raw(version, group, &cluster.topic, offset);
    assert_eq!(code, E::None);
    producer.client = cluster.at_coordinator(1, &producer.name);
}

fn join(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: bytes::Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff"),
        }],
        ..Default::default()
    }
}

/// Joins until a coordinator lets the member in. Version 3: without a round for the member's id.
fn join_patiently(cluster: &Cluster, group: &str) -> JoinGroupResponse {
    eventually("a coordinator lets the member in", || {
        let answer = cluster.at_coordinator(0, group).call(3, &join(group, ""));
        (answer.error_code == 0).then_some(answer)
    })
}

#[test]
fn groups_go_on_at_their_next_coordinator() {
    let mut cluster = Cluster::start();
    assert_eq!(cluster.commit_offset("g", 1), E::None);
    let mut last = 1;
    for round in 0..3 {
        let dead = cluster.coordinator(0, "g");
        for _ in 0..5 {
            last += 1;
            assert_eq!(cluster.commit_offset("g", last), E::None);
        }
        cluster.crash(dead);
        assert_eq!(cluster.fetch_offset("g"), last, "round {round}");
        assert_eq!(cluster.commit_offset("g", last + 1), E::None);
        last += 1;
        cluster.restart(dead);
        assert_eq!(cluster.fetch_offset("g"), last, "round {round}");
    }
}

#[test]
fn who_waits_in_a_rebalance_is_sent_on_when_the_coordinator_leaves() {
    let mut cluster = Cluster::start();
    let first = join_patiently(&cluster, "h");
    assert_eq!(first.generation_id, 1);
    // The second member waits for the first to join again, which it does not.
    let old = cluster.coordinator(0, "h");
    let mut waiting = cluster.plan.client(old);
    let sent = waiting.send(3, &join("h", ""));
    // Its coordinator stops in order: the groups move first, and the member hears of it at once.
    let node = take(&mut cluster.nodes, old);
    let stopping = std::thread::spawn(move || node.stop());
    let answer = waiting.receive::<JoinGroupRequest>(sent);
    assert_eq!(code(answer.error_code), E::NotCoordinator);
    assert!(cluster.coordinator(0, "h") != old);
    let joined = join_patiently(&cluster, "h");
    assert_eq!(joined.leader, joined.member_id, "nobody else has come yet");
    stopping.join().unwrap();
}
