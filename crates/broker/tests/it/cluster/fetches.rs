//! What a follower's fetches cost a leader that has nothing for it.

use std::time::{Duration, Instant};

use millstream_wire::messages::describe_quorum::{
    DescribeQuorumRequest, RequestPartitionData, RequestTopicData,
};
use millstream_wire::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};

use super::support::{Node, Plan, Role};

/// Names topics by id, and the follower in a field of its own.
const FETCH: i16 = 14;

#[test]
fn a_follower_without_news_waits_as_long_as_it_asked_to() {
    const WAIT: Duration = Duration::from_millis(100);
    const FETCHES: i32 = 6;
    let plan = Plan::new(&[Role::Combined, Role::Broker]);
    let nodes = plan.start(&[1, 2]);
    plan.await_brokers(1, &[1, 2]);
    plan.create_topic(1, "idle", 1, 2);
    plan.await_in_sync(1);
    let topic = plan.topic(1, "idle");
    let leader = topic.partitions[0].leader_id;
    let partition = FetchPartition {
        current_leader_epoch: topic.partitions[0].leader_epoch,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..Default::default()
    };
    let named =
        FetchTopic { topic_id: topic.topic_id, partitions: vec![partition], ..Default::default() };
    let mut request = FetchRequest {
        replica_id: 3 - leader,
        max_wait_ms: i32::try_from(WAIT.as_millis()).unwrap(),
        min_bytes: 1,
        max_bytes: 10 << 20,
        session_epoch: 0,
        topics: vec![named],
        ..Default::default()
    };
    let mut client = plan.client(leader);
    let first = client.call(FETCH, &request);
    assert!(first.error_code == 0 && first.session_id != 0, "{first:?}");
    request.topics.clear();
    request.session_id = first.session_id;
    let began = Instant::now();
    for epoch in 1..=FETCHES {
        request.session_epoch = epoch;
        let answer = client.call(FETCH, &request);
        assert!(answer.error_code == 0 && answer.responses.is_empty(), "{answer:?}");
    }
    // Each of them comes back at once where something else than news or time ends the wait.
    let least = WAIT * (u32::try_from(FETCHES).unwrap() - 1);
    assert!(began.elapsed() >= least, "{FETCHES} fetches took {:?}", began.elapsed());
    nodes.into_iter().for_each(Node::end);
}

#[test]
fn every_version_describes_the_quorum() {
    let plan = Plan::new(&[Role::Combined, Role::Combined]);
    let nodes = plan.start(&[1, 2]);
    let leader = plan.quorum(1).leader_id;
    let partitions = vec![RequestPartitionData { partition_index: 0 }];
    let topic = RequestTopicData { topic_name: "__cluster_metadata".into(), partitions };
    let request = DescribeQuorumRequest { topics: vec![topic] };
    for (by, version) in [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2)] {
        let answer = plan.client(by).call(version, &request);
        assert_eq!(answer.topics[0].partitions[0].leader_id, leader, "{version}: {answer:?}");
    }
    nodes.into_iter().for_each(Node::end);
}
