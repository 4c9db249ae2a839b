//! Offsets: who may commit them in a transaction.

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
