//! What a leader makes of fetches, answers and metadata.

use std::time::Duration;

use super::*;

const LAG: Duration = Duration::from_secs(30);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn info(epochs: (i32, i32), replicas: &[i32], isr: &[i32]) -> PartitionInfo {
    let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect();
    PartitionInfo {
        leader_epoch: LeaderEpoch(epochs.0),
        partition_epoch: epochs.1,
        replicas: nodes(replicas),
        isr: nodes(isr),
        ..PartitionInfo::default()
    }
}

/// Broker 1 leads 1, 2, 3 with `isr` and a log of ten records, five of them committed.
fn leader(isr: &[i32], min_insync: usize) -> LeaderState {
    let settings = LeaderSettings { lag_time_max: LAG, min_insync };
    let log = LogPosition { start: Offset(0), end: Offset(10), high_watermark: Offset(5) };
    LeaderState::new(NodeId(1), info((4, 7), &[1, 2, 3], isr), settings, log, ms(0))
}

/// Every broker is registered at the epoch of its number times ten.
fn active(id: NodeId) -> Option<BrokerEpoch> {
    Some(BrokerEpoch(i64::from(id.get()) * 10))
}

fn fetch(leader: &mut LeaderState, id: i32, offset: i64, now: Duration) -> Fetched {
    let fetch = FollowerFetch {
        id: NodeId(id),
        broker_epoch: BrokerEpoch(i64::from(id) * 10),
        leader_epoch: LeaderEpoch(4),
        offset: Offset(offset),
        log_start: Offset(0),
    };
    leader.on_follower_fetch(&fetch, now, &active).unwrap()
}

fn members(proposal: &IsrProposal) -> Vec<i32> {
    proposal.isr.iter().map(|(id, _)| id.get()).collect()
}

#[test]
fn the_slowest_of_the_isr_sets_the_high_watermark() {
    let mut leader = leader(&[1, 2, 3], 2);
    assert_eq!(fetch(&mut leader, 2, 10, ms(1)).high_watermark, None);
    assert_eq!(fetch(&mut leader, 3, 8, ms(1)).high_watermark, Some(Offset(8)));
    assert_eq!(leader.commit_state(Offset(8)), Commit::Done);
    assert_eq!(leader.commit_state(Offset(9)), Commit::Waiting);
    assert_eq!(leader.on_local_append(Offset(12), ms(2), &active), None);
    assert_eq!(fetch(&mut leader, 3, 12, ms(3)).high_watermark, Some(Offset(10)));
    // A step back, as after a follower's crash, takes nothing back.
    assert_eq!(fetch(&mut leader, 3, 2, ms(4)).high_watermark, None);
    assert_eq!(leader.high_watermark(), Offset(10));
}

#[test]
fn a_leader_alone_commits_by_itself_unless_more_are_asked_for() {
    let mut alone = leader(&[1], 1);
    assert_eq!(alone.high_watermark(), Offset(10));
    assert_eq!(alone.on_local_append(Offset(11), ms(1), &|_| None), Some(Offset(11)));
    let mut refused = leader(&[1], 2);
    assert_eq!(refused.high_watermark(), Offset(5));
    assert_eq!(refused.on_local_append(Offset(11), ms(1), &|_| None), None);
    let too_few = NotEnoughReplicas { insync: 1, needed: 2 };
    assert_eq!(refused.check_min_insync(), Err(too_few));
    assert_eq!(refused.commit_state(Offset(5)), Commit::TooFew(too_few));
}

#[test]
fn who_falls_behind_leaves_only_with_the_controllers_word() {
    let mut leader = leader(&[1, 2, 3], 1);
    fetch(&mut leader, 2, 10, ms(20_000));
    assert_eq!(leader.check_lag(ms(29_000)), None);
    let proposal = leader.check_lag(ms(31_000)).unwrap();
    assert_eq!((members(&proposal), proposal.partition_epoch), (vec![1, 2], 7));
    // Until then the one behind still counts.
    assert_eq!(fetch(&mut leader, 2, 10, ms(31_001)).high_watermark, None);
    assert_eq!(leader.check_lag(ms(40_000)), None, "one proposal at a time");
    let retry = leader.on_alter_partition(proposal.id, AlterAnswer::Unknown, ms(40_001));
    assert_eq!(retry, AlterOutcome::Retry(proposal.clone()));
    let accepted = AlterAnswer::Accepted {
        leader_epoch: LeaderEpoch(4),
        partition_epoch: 8,
        isr: vec![NodeId(1), NodeId(2)],
    };
    let outcome = leader.on_alter_partition(proposal.id, accepted.clone(), ms(40_002));
    assert_eq!(outcome, AlterOutcome::Applied(Some(Offset(10))));
    let late = leader.on_alter_partition(proposal.id, accepted, ms(40_003));
    assert_eq!(late, AlterOutcome::Ignored);
}

#[test]
fn who_may_be_in_the_isr_already_is_waited_for() {
    let mut leader = leader(&[1], 1);
    leader.on_local_append(Offset(20), ms(1), &|_| None);
    assert_eq!(fetch(&mut leader, 2, 15, ms(2)).proposal, None);
    let proposal = fetch(&mut leader, 2, 20, ms(3)).proposal.unwrap();
    assert_eq!(proposal.isr, [(NodeId(1), BrokerEpoch(-1)), (NodeId(2), BrokerEpoch(20))]);
    assert_eq!(leader.on_local_append(Offset(30), ms(4), &active), None);
    assert_eq!(leader.maximal_isr(), [NodeId(1), NodeId(2)]);
    // Refused, but nothing says that an earlier try is not still on its way.
    leader.on_alter_partition(proposal.id, AlterAnswer::Unknown, ms(5));
    let refused = AlterAnswer::Refused(ErrorCode::IneligibleReplica);
    let outcome = leader.on_alter_partition(proposal.id, refused.clone(), ms(6));
    assert_eq!(outcome, AlterOutcome::AwaitMetadata);
    assert_eq!(leader.on_local_append(Offset(31), ms(7), &|_| None), None);
    leader.check_lag(ms(40_000));
    assert_eq!(leader.on_local_append(Offset(32), ms(40_000), &|_| None), Some(Offset(32)));
    // Refused at the first try: at once.
    let proposal = fetch(&mut leader, 2, 32, ms(40_001)).proposal.unwrap();
    leader.on_local_append(Offset(33), ms(40_002), &|_| None);
    let outcome = leader.on_alter_partition(proposal.id, refused, ms(40_003));
    assert_eq!(outcome, AlterOutcome::Dropped(Some(Offset(33))));
}

#[test]
fn newer_metadata_wins_over_a_proposal_and_older_is_nothing() {
    let mut leader = leader(&[1, 2], 1);
    let proposal = fetch(&mut leader, 3, 10, ms(1)).proposal.unwrap();
    let older = info((4, 6), &[1, 2, 3], &[1]);
    assert_eq!(leader.on_metadata(older, ms(2)), MetadataOutcome::Stale);
    assert!(leader.is_altering());
    let newer = info((4, 9), &[1, 2, 3], &[1]);
    assert_eq!(leader.on_metadata(newer, ms(3)), MetadataOutcome::Updated(Some(Offset(10))));
    let answer = AlterAnswer::Refused(ErrorCode::InvalidUpdateVersion);
    let late = leader.on_alter_partition(proposal.id, answer, ms(4));
    assert_eq!(late, AlterOutcome::Ignored);
    let again = info((5, 10), &[1, 2], &[1, 2]);
    assert_eq!(leader.on_metadata(again, ms(5)), MetadataOutcome::NewEpoch(Offset(10)));
    assert_eq!(leader.follower(NodeId(3)), None);
    assert_eq!(leader.follower(NodeId(2)).unwrap().log_end(), Offset::NONE);
}

#[test]
fn only_followers_of_this_epoch_and_registration_are_heard() {
    let mut leader = leader(&[1, 2], 1);
    let good = FollowerFetch {
        id: NodeId(2),
        broker_epoch: BrokerEpoch(20),
        leader_epoch: LeaderEpoch(4),
        offset: Offset(6),
        log_start: Offset(0),
    };
    let mut code = |fetch: FollowerFetch| {
        leader.on_follower_fetch(&fetch, ms(1), &active).map_err(|e| e.code()).err()
    };
    assert_eq!(code(good), None);
    let stale = FollowerFetch { broker_epoch: BrokerEpoch(19), ..good };
    assert_eq!(code(stale), Some(ErrorCode::NotLeaderOrFollower));
    let fenced = FollowerFetch { leader_epoch: LeaderEpoch(3), ..good };
    assert_eq!(code(fenced), Some(ErrorCode::FencedLeaderEpoch));
    let early = FollowerFetch { leader_epoch: LeaderEpoch(5), ..good };
    assert_eq!(code(early), Some(ErrorCode::UnknownLeaderEpoch));
    let stranger = FollowerFetch { id: NodeId(9), ..good };
    assert_eq!(code(stranger), Some(ErrorCode::UnknownTopicOrPartition));
    // One that is fenced, or another process by now, is not proposed.
    let joins = FollowerFetch { id: NodeId(3), broker_epoch: BrokerEpoch(29), ..good };
    let joins = FollowerFetch { offset: Offset(10), ..joins };
    let fetched = leader.on_follower_fetch(&joins, ms(2), &active).unwrap();
    assert_eq!(fetched.proposal, None);
}
