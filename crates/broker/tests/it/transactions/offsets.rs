//! Offsets that are committed within a transaction: pending, then visible, or as if they had never been.

use millstream_base::ErrorCode;
use millstream_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};

use super::producer::{BOTH, New};
use super::{Old, Producer, broker};
use crate::support::client::{Client, Topic, code};

/// The committed offset (-1: none) and the code of partition 0.
pub fn committed(
    client: &mut Client,
    group: &str,
    topic: &Topic,
    stable: bool,
) -> (i64, ErrorCode) {
    let topics = vec![OffsetFetchRequestTopics {
        name: topic.name.as_str().into(),
        topic_id: topic.id,
        partition_indexes: vec![0],
    }];
    let request = OffsetFetchRequest {
        require_stable: stable,
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: Some(topics),
            member_epoch: -1,
            ..Default::default()
        }],
        ..Default::default()
    };
    crate::support::eventually("the group is loaded", || {
        let answer = client.call(8, &request);
        let group = &answer.groups[0];
        if code(group.error_code) == ErrorCode::CoordinatorLoadInProgress {
            return None;
        }
        assert_eq!(code(group.error_code), ErrorCode::None);
        let partition = &group.topics[0].partitions[0];
        Some((partition.committed_offset, code(partition.error_code)))
    })
}

#[test]
fn offsets_count_when_the_transaction_commits() {
    for version in BOTH {
        let broker = broker();
        let topic = broker.topic("t", 1, &[]);
        let mut reader = broker.connect();
        let mut producer = Producer::new(broker.connect(), "app", version);
        let mut end = |offset, commit, before| {
            producer.send(&topic, 0, &["out"]);
            assert_eq!(producer.try_commit_offset("g", &topic, offset), ErrorCode::None);
            let unstable = (-1, ErrorCode::UnstableOffsetCommit);
            assert_eq!(committed(&mut reader, "g", &topic, true), unstable);
            assert_eq!(committed(&mut reader, "g", &topic, false), (before, ErrorCode::None));
            assert_eq!(producer.try_end(commit), ErrorCode::None);
            committed(&mut reader, "g", &topic, true)
        };
        assert_eq!(end(7, true, -1), (7, ErrorCode::None), "{version:?}");
        assert_eq!(end(9, false, 7), (7, ErrorCode::None));
        assert_eq!(end(8, true, 7), (8, ErrorCode::None));
        // The same after a restart.
        let broker = broker.crash().start();
        assert_eq!(committed(&mut broker.connect(), "g", &topic, true), (8, ErrorCode::None));
    }
}

#[test]
fn pending_offsets_survive_a_restart_and_end_with_their_transaction() {
    for commit in [true, false] {
        let broker = broker();
        let topic = broker.topic("t", 1, &[]);
        let mut producer = Producer::new(broker.connect(), "app", New);
        assert_eq!(producer.try_commit_offset("g", &topic, 3), ErrorCode::None);
        let broker = broker.crash().start();
        let mut reader = broker.connect();
        let unstable = (-1, ErrorCode::UnstableOffsetCommit);
        assert_eq!(committed(&mut reader, "g", &topic, true), unstable);
        producer.client = broker.connect();
        assert_eq!(producer.try_end(commit), ErrorCode::None);
        let expected = if commit { 3 } else { -1 };
        assert_eq!(committed(&mut reader, "g", &topic, true), (expected, ErrorCode::None));
    }
}

#[test]
fn offsets_outside_a_transaction_are_refused() {
    let broker = broker();
    let topic = broker.topic("t", 1, &[]);
    super::producer::find_coordinator(&mut broker.connect(), 0, "g");
    let mut producer = Producer::new(broker.connect(), "app", Old);
    // Nobody said that the group's offsets are part of it.
    let refused = producer.commit_offset_raw(3, "g", &topic, 1);
    assert_eq!(refused, ErrorCode::InvalidTxnState);
    let refused = producer.commit_offset_raw(4, "g", &topic, 1);
    assert_eq!(refused, ErrorCode::TransactionAbortable);
    producer.id += 1_000;
    let refused = producer.commit_offset_raw(5, "g", &topic, 1);
    assert_eq!(refused, ErrorCode::InvalidProducerIdMapping);
    assert_eq!(committed(&mut broker.connect(), "g", &topic, true), (-1, ErrorCode::None));
}

#[test]
fn several_commits_in_one_transaction() {
    for version in BOTH {
        let broker = broker();
        let topic = broker.topic("t", 1, &[]);
        let mut producer = Producer::new(broker.connect(), "app", version);
        for offset in 1..=5 {
            assert_eq!(producer.try_commit_offset("g", &topic, offset), ErrorCode::None);
            assert_eq!(producer.try_commit_offset("h", &topic, offset * 10), ErrorCode::None);
        }
        producer.commit();
        let mut reader = broker.connect();
        assert_eq!(committed(&mut reader, "g", &topic, true), (5, ErrorCode::None));
        assert_eq!(committed(&mut reader, "h", &topic, true), (50, ErrorCode::None));
    }
}
