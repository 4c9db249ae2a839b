//! Offsets: who may commit them in a transaction, and what becomes of them when their topic is deleted.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_base::ErrorCode;

use super::lab::Lab;
use super::topics::TestTopics;
use crate::*;

/// A member of the consumer protocol says what it has, and moves on as it is told.
fn beat(lab: &mut Lab, member: &str, epoch: i32, owned: Option<Assignment>) -> i32 {
    let request = ConsumerHeartbeat {
        group_id: "g".into(),
        member_id: member.into(),
        member_epoch: epoch,
        instance_id: None,
        rack: None,
        rebalance_timeout_ms: if epoch == 0 { 45_000 } else { -1 },
        topics: (epoch == 0).then(|| ["t".into()].into()),
        regex: None,
        assignor: None,
        owned,
        client: ClientInfo { id: member.into(), host: "/h".into() },
        needs_member_id: true,
        random: [0; 16],
    };
    let decided = lab.shard.consumer_heartbeat(lab.now, &request);
    lab.settle(decided).unwrap().unwrap().member_epoch
}

fn in_transaction(lab: &mut Lab, epoch: i32, partitions: &[i32]) -> Result<usize, ErrorCode> {
    let offset = |partition: &i32| CommitOffset {
        topic: "t".into(),
        topic_id: millstream_base::Uuid::ZERO,
        partition: *partition,
        offset: 5,
        leader_epoch: 0,
        metadata: "".into(),
    };
    let request = TransactionalCommit {
        group_id: "g".into(),
        member_id: "a".into(),
        instance_id: None,
        generation: epoch,
        offsets: partitions.iter().map(offset).collect(),
    };
    let decided = lab.shard.commit_offsets_in_transaction(lab.now, &request);
    let records = decided.records.len();
    decided.reply.map(|codes| {
        assert!(codes.iter().all(|code| !code.is_error()));
        records
    })
}

#[test]
fn a_transaction_takes_no_offset_of_a_partition_that_its_member_gave_up() {
    let config = GroupConfig { consumer_assignment_interval_ms: 0, ..GroupConfig::default() };
    let mut lab = Lab::new(config);
    let mut topics = TestTopics::default();
    topics.set("t", 4);
    let id = topics.by_name("t").unwrap().id;
    lab.shard.set_topics(Arc::new(topics));
    assert_eq!(beat(&mut lab, "a", 0, Some(BTreeMap::new())), 1);
    assert_eq!(in_transaction(&mut lab, 1, &[0, 3]), Ok(2));
    // Another member comes, and half of the partitions go to it.
    beat(&mut lab, "b", 0, Some(BTreeMap::new()));
    beat(&mut lab, "a", 1, Some([(id, [0, 1, 2, 3].into())].into()));
    assert_eq!(beat(&mut lab, "a", 1, Some([(id, [0, 1].into())].into())), 2);
    assert_eq!(in_transaction(&mut lab, 2, &[0, 1]), Ok(2));
    // What it has kept since is still its own, the rest is not: then nothing is taken.
    assert_eq!(in_transaction(&mut lab, 1, &[0, 1]), Ok(2));
    assert_eq!(in_transaction(&mut lab, 1, &[3]), Err(ErrorCode::IllegalGeneration));
    assert_eq!(in_transaction(&mut lab, 1, &[0, 3]), Err(ErrorCode::IllegalGeneration));
    assert_eq!(in_transaction(&mut lab, 3, &[0]), Err(ErrorCode::IllegalGeneration));
}

/// A shard that knows the topics t and u.
fn with_topics() -> (Lab, TestTopics) {
    let mut lab = Lab::new(GroupConfig::default());
    let mut topics = TestTopics::default();
    topics.set("t", 4);
    topics.set("u", 4);
    lab.shard.set_topics(Arc::new(topics.clone()));
    (lab, topics)
}

fn at(topic: &TopicView, partition: i32, offset: i64) -> CommitOffset {
    CommitOffset {
        topic: Arc::clone(&topic.name),
        topic_id: topic.id,
        partition,
        offset,
        leader_epoch: 0,
        metadata: "".into(),
    }
}

fn commit(lab: &mut Lab, offset: CommitOffset) -> ErrorCode {
    let request = OffsetCommit {
        group_id: "g".into(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
        knows_member_epochs: true,
        retention_ms: None,
        offsets: vec![offset],
    };
    let decided = lab.shard.commit_offsets(lab.now, &request);
    lab.settle(decided).unwrap().unwrap()[0]
}

/// A commit in the open transaction of a producer. It is not in the lab's log.
fn commit_open(lab: &mut Lab, producer_id: i64, offset: CommitOffset) -> ErrorCode {
    let request = TransactionalCommit {
        group_id: "g".into(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
        offsets: vec![offset],
    };
    let decided = lab.shard.commit_offsets_in_transaction(lab.now, &request);
    let origin = Origin { log_offset: 1_000, producer_id: Some(producer_id) };
    let (codes, _) = lab.shard.apply(lab.now, decided, origin);
    codes.unwrap()[0]
}

/// All that a client sees, and all that is kept.
#[track_caller]
fn check_offsets(lab: &Lab, shown: &str, kept: &str) {
    let request = OffsetFetch {
        group_id: "g".into(),
        member_id: None,
        member_epoch: -1,
        topics: None,
        require_stable: false,
    };
    let mut said = Vec::new();
    for (topic, partitions) in lab.shard.fetch_offsets(&request).unwrap() {
        for fetched in partitions {
            said.push(format!(
                "{topic}-{}@{}",
                fetched.partition,
                fetched.committed.unwrap().offset
            ));
        }
    }
    assert_eq!(said.join(" "), shown);
    let all = lab.shard.committed_offsets("g");
    let all = all.map(|(topic, partition, it)| format!("{topic}-{partition}@{}", it.offset));
    assert_eq!(all.collect::<Vec<_>>().join(" "), kept);
}

fn forget_unknown(lab: &mut Lab) {
    let decided = lab.shard.forget_unknown_topics();
    assert_eq!(lab.settle(decided), Some(Some(())));
}

#[test]
fn a_topic_made_anew_does_not_take_over_the_offsets_of_the_old() {
    let (mut lab, mut topics) = with_topics();
    let (old, other) = (topics.by_name("t").unwrap(), topics.by_name("u").unwrap());
    assert_eq!(commit(&mut lab, at(&old, 0, 5)), ErrorCode::None);
    assert_eq!(commit(&mut lab, at(&other, 0, 6)), ErrorCode::None);
    // The tombstones are not written: the broker is killed before.
    topics.remove("t");
    topics.set("t", 4);
    let new = topics.by_name("t").unwrap();
    lab.shard.set_topics(Arc::new(topics));
    check_offsets(&lab, "u-0@6", "t-0@5 u-0@6");
    lab.restart();
    check_offsets(&lab, "u-0@6", "t-0@5 u-0@6");
    // Who asked while the old topic was there is told that it is gone.
    assert_eq!(commit(&mut lab, at(&old, 1, 7)), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(commit_open(&mut lab, 1, at(&old, 1, 7)), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(commit(&mut lab, at(&new, 1, 8)), ErrorCode::None);
    forget_unknown(&mut lab);
    check_offsets(&lab, "t-1@8 u-0@6", "t-1@8 u-0@6");
    lab.restart();
    check_offsets(&lab, "t-1@8 u-0@6", "t-1@8 u-0@6");
    // Late word of the old topic's end leaves the new one alone.
    let decided = lab.shard.forget_topics(&["t".into()]);
    lab.settle(decided);
    check_offsets(&lab, "t-1@8 u-0@6", "t-1@8 u-0@6");
}

#[test]
fn the_retention_check_finds_offsets_of_topics_that_are_gone() {
    let (mut lab, mut topics) = with_topics();
    let mut nameless = at(&topics.by_name("t").unwrap(), 0, 5);
    nameless.topic_id = millstream_base::Uuid::ZERO;
    assert_eq!(commit(&mut lab, nameless), ErrorCode::None);
    assert_eq!(commit(&mut lab, at(&topics.by_name("u").unwrap(), 0, 6)), ErrorCode::None);
    topics.remove("t");
    lab.shard.set_topics(Arc::new(topics.clone()));
    lab.tick(600_000);
    check_offsets(&lab, "u-0@6", "u-0@6");
    topics.remove("u");
    lab.shard.set_topics(Arc::new(topics));
    lab.tick(600_000);
    check_offsets(&lab, "", "");
    // Nothing is left of the group, and so it goes as well.
    assert_eq!(lab.shard.group_count(), 0);
}

#[test]
fn deleted_topics_take_the_offsets_of_open_transactions_along() {
    let (mut lab, mut topics) = with_topics();
    let (old, other) = (topics.by_name("t").unwrap(), topics.by_name("u").unwrap());
    assert_eq!(commit_open(&mut lab, 1, at(&old, 0, 5)), ErrorCode::None);
    assert_eq!(commit_open(&mut lab, 1, at(&other, 0, 6)), ErrorCode::None);
    topics.remove("t");
    lab.shard.set_topics(Arc::new(topics.clone()));
    let decided = lab.shard.forget_topics(&["t".into()]);
    assert_eq!(decided.records.len(), 1);
    lab.settle(decided);
    lab.shard.end_transaction(1, true);
    check_offsets(&lab, "u-0@6", "u-0@6");
    // The same where nobody was told.
    assert_eq!(commit_open(&mut lab, 2, at(&other, 1, 7)), ErrorCode::None);
    topics.remove("u");
    lab.shard.set_topics(Arc::new(topics));
    forget_unknown(&mut lab);
    lab.shard.end_transaction(2, true);
    check_offsets(&lab, "", "");
}

/// A group of a simple consumer with so many offsets that their tombstones do not fit into one batch.
fn with_many_offsets() -> (Lab, TestTopics) {
    let (mut lab, topics) = with_topics();
    let topic = topics.by_name("t").unwrap();
    for partition in 0..12_000 {
        assert_eq!(commit(&mut lab, at(&topic, partition, 5)), ErrorCode::None);
    }
    (lab, topics)
}

fn kept(lab: &Lab) -> usize {
    lab.shard.committed_offsets("g").count()
}

fn assert_small<R>(decided: &Decided<R>) {
    let size = |record: &Record| record.encode().unwrap().0.len() + 20;
    assert!(decided.records.iter().map(size).sum::<usize>() < 256 * 1_024);
}

#[test]
fn a_large_group_expires_in_parts() {
    let (mut lab, _) = with_many_offsets();
    lab.now.wall_ms += lab.config.offsets_retention_ms;
    lab.tick(600_000);
    assert_eq!(kept(&lab), 11_000);
    lab.tick(5);
    assert_eq!(kept(&lab), 6_000);
    lab.tick(100);
    assert_eq!((kept(&lab), lab.shard.group_count()), (0, 0));
    // There is one check again, as before.
    assert!(lab.shard.next_deadline().unwrap() > lab.now.mono_ms + 500_000);
}

#[test]
fn a_check_of_retention_that_cannot_be_written_waits_for_the_next() {
    let (mut lab, _) = with_many_offsets();
    lab.now.wall_ms += lab.config.offsets_retention_ms;
    lab.run("fail 56");
    lab.tick(600_000);
    lab.tick(599_000);
    assert_eq!(kept(&lab), 12_000);
    lab.tick(2_000);
    assert_eq!((kept(&lab), lab.shard.group_count()), (0, 0));
}

#[test]
fn long_group_ids_make_small_batches() {
    let (mut lab, mut topics) = with_topics();
    let topic = topics.by_name("t").unwrap();
    let request = OffsetCommit {
        group_id: "g".repeat(30_000).into(),
        member_id: "".into(),
        instance_id: None,
        generation: -1,
        knows_member_epochs: true,
        retention_ms: None,
        offsets: (0..40).map(|partition| at(&topic, partition, 5)).collect(),
    };
    let decided = lab.shard.commit_offsets(lab.now, &request);
    lab.settle(decided).unwrap().unwrap();
    topics.remove("t");
    lab.shard.set_topics(Arc::new(topics));
    for parts in 1.. {
        let decided = lab.shard.forget_topics(&["t".into()]);
        assert_small(&decided);
        if lab.settle(decided).unwrap().is_some() {
            assert_eq!(parts, 9);
            break;
        }
    }
    assert_eq!(lab.shard.committed_offsets(&request.group_id).count(), 0);
}

#[test]
fn a_large_group_is_deleted_in_parts() {
    let (mut lab, _) = with_many_offsets();
    for parts in 1.. {
        let decided = lab.shard.delete_group(&"g".into());
        assert_small(&decided);
        if let Some(code) = lab.settle(decided).unwrap() {
            assert_eq!((parts, code), (12, ErrorCode::None));
            break;
        }
        assert_eq!(lab.shard.group_count(), 1);
    }
    assert_eq!((kept(&lab), lab.shard.group_count()), (0, 0));
}
