//! Leaders and followers of one partition: commits, elections, cut logs, late followers.

use millstream_base::{ErrorCode, Offset, ProducerEpoch, ProducerId};
use millstream_partition::{AlterAnswer, AppendOrigin};
use millstream_records::BatchOptions;

use super::testing::{Cluster, NOW, batch, contents, fetch, produce, replicate, replicate_all};
use super::*;

fn code(durable: &mut Option<Durable>) -> Option<Result<(), ErrorCode>> {
    let told = durable.as_mut()?.try_recv().ok()?;
    Some(told.map_err(|failure| failure.code()))
}

fn ends(partition: &std::sync::Arc<Partition>) -> (i64, i64) {
    let end = partition.with_log(|log| log.end_offset());
    (partition.high_watermark().get(), end.get())
}

#[test]
fn a_record_is_committed_when_all_in_sync_have_it() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new(3);
    let [one, two, three] = [1, 2, 3].map(|id| cluster.partition(id, dir.path()));
    let mut waiting = produce(&one, &["a", "b"], 2).unwrap();
    assert!(replicate(&one, &two));
    assert!(replicate(&one, &three));
    assert_eq!(code(&mut waiting), None, "fetched, but nobody has said that it is stored");
    assert_eq!(ends(&one), (0, 2));
    replicate(&one, &two);
    assert_eq!(code(&mut waiting), None);
    replicate(&one, &three);
    assert_eq!(code(&mut waiting), Some(Ok(())));
    assert_eq!(ends(&one), (2, 2));
    replicate_all(&one, &[&two, &three]);
    assert_eq!(ends(&two), (2, 2));
    assert_eq!(contents(&one), contents(&two));
    assert_eq!(contents(&one), contents(&three));
}

#[test]
fn a_lost_leadership_fails_what_waits_and_the_log_is_cut_by_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(2);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    produce(&one, &["kept"], 1).unwrap();
    replicate_all(&one, &[&two]);
    let mut lost = produce(&one, &["lost"], 1).unwrap();
    cluster.elect(2, &[2], &[&one, &two]);
    assert_eq!(code(&mut lost), Some(Err(ErrorCode::NotLeaderOrFollower)));
    let refused = produce(&one, &["late"], 1).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotLeaderOrFollower);
    assert!(produce(&two, &["new"], 1).unwrap().is_none(), "alone in sync: committed at once");
    replicate_all(&two, &[&one]);
    assert_eq!(contents(&one), contents(&two));
    assert_eq!(ends(&one), (2, 2));
}

#[test]
fn a_follower_is_not_cut_to_its_high_watermark() {
    // KIP-101: the follower has a committed record beyond the high watermark that it knows of; after a restart and an election it must not be lost.
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(2);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    let mut waiting = produce(&one, &["m1"], 1).unwrap();
    replicate(&one, &two);
    fetch(&one, &two).unwrap();
    assert_eq!(code(&mut waiting), Some(Ok(())), "the leader has acknowledged it");
    assert_eq!(ends(&two), (0, 1), "and the follower has not heard of that");
    // The follower starts again with what its checkpoint says, and the leader dies before it fetched.
    drop(two);
    let two = cluster.partition_committed_to(2, dir.path(), 0);
    assert_eq!(ends(&two), (0, 1));
    cluster.elect(2, &[2], &[&one, &two]);
    assert_eq!(ends(&two), (1, 1));
    produce(&two, &["m2"], 1).unwrap();
    replicate_all(&two, &[&one]);
    assert_eq!(contents(&one), contents(&two));
}

#[test]
fn logs_that_parted_twice_come_together_step_by_step() {
    // KIP-279: fast leader changes leave records of different epochs at the same offsets.
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(2);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    produce(&one, &["common"], 1).unwrap();
    replicate_all(&one, &[&two]);
    // Each leads for a while without the other.
    produce(&one, &["e0 a", "e0 b"], 1).unwrap();
    produce(&one, &["e0 c"], 1).unwrap();
    cluster.elect(2, &[2], &[&two]);
    produce(&two, &["e1"], 1).unwrap();
    cluster.elect(1, &[1], &[&one]);
    produce(&one, &["e2 a"], 1).unwrap();
    produce(&one, &["e2 b"], 1).unwrap();
    cluster.elect(2, &[2], &[&two]);
    produce(&two, &["e3 a", "e3 b", "e3 c"], 1).unwrap();
    one.follow_metadata(&cluster.image);
    replicate_all(&two, &[&one]);
    assert_eq!(contents(&one), contents(&two));
    let epochs = |p: &std::sync::Arc<Partition>| p.with_log(|log| log.epochs().to_text());
    assert_eq!(epochs(&one), epochs(&two));
}

#[test]
fn a_slow_follower_leaves_and_comes_back_when_the_controller_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(2).with_min_insync(1);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    replicate_all(&one, &[&two]);
    let mut waiting = produce(&one, &["a"], 1).unwrap();
    cluster.clock.advance_ms(29_000);
    one.check_lag();
    let proposals = || std::mem::take(&mut *one.shared.proposals.lock_for_test());
    assert!(proposals().is_empty());
    cluster.clock.advance_ms(2_000);
    one.check_lag();
    let proposed = proposals();
    assert_eq!(proposed.len(), 1);
    let (_, proposal) = &proposed[0];
    assert_eq!(code(&mut waiting), None, "until the controller has agreed, it is waited for");
    one.check_lag();
    assert!(proposals().is_empty(), "one at a time");
    let accepted = AlterAnswer::Accepted {
        leader_epoch: cluster.image.leader_epoch,
        partition_epoch: 1,
        isr: vec![millstream_base::NodeId(1)],
    };
    assert_eq!(one.isr_answered(proposal.id, accepted), None);
    assert_eq!(code(&mut waiting), Some(Ok(())));
    cluster.set_isr(&[1], &[&one, &two]);
    // Back again: it has to reach the end first.
    assert!(replicate(&one, &two));
    assert!(proposals().is_empty());
    replicate(&one, &two);
    let proposed = proposals();
    assert_eq!(proposed.len(), 1, "caught up");
    let members: Vec<_> = proposed[0].1.isr.iter().map(|(id, _)| id.get()).collect();
    assert_eq!(members, [1, 2]);
    let mut waiting = produce(&one, &["b"], 1).unwrap();
    assert_eq!(code(&mut waiting), None, "it may be in sync by now, so it is waited for");
    cluster.set_isr(&[1, 2], &[&one, &two]);
    replicate_all(&one, &[&two]);
    assert_eq!(code(&mut waiting), Some(Ok(())));
}

#[test]
fn too_few_in_sync_are_refused_before_and_after() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(3).with_min_insync(2);
    let [one, two, three] = [1, 2, 3].map(|id| cluster.partition(id, dir.path()));
    replicate_all(&one, &[&two, &three]);
    let mut waiting = produce(&one, &["a"], 2).unwrap();
    cluster.set_isr(&[1], &[&one]);
    assert_eq!(code(&mut waiting), None, "nothing is committed with too few");
    assert_eq!(ends(&one), (0, 1));
    let refused = produce(&one, &["b"], 2).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotEnoughReplicas);
    replicate_all(&one, &[&two]);
    cluster.set_isr(&[1, 2], &[&one]);
    assert_eq!(code(&mut waiting), Some(Ok(())));
}

#[test]
fn a_new_leader_knows_the_producers() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(2);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    let options = |base_sequence| BatchOptions {
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(0),
        base_sequence,
        ..BatchOptions::default()
    };
    let append = |to: &std::sync::Arc<Partition>, sequence, value: &str| {
        let mut batch = batch(&[value], options(sequence));
        let appended = to.append(&mut batch, AppendOrigin::Client, Some(1), NOW);
        appended.map(|it| it.first_offset).map_err(|failure| failure.code())
    };
    assert_eq!(append(&one, 0, "a"), Ok(Offset(0)));
    assert_eq!(append(&one, 1, "b"), Ok(Offset(1)));
    replicate_all(&one, &[&two]);
    cluster.elect(2, &[2], &[&one, &two]);
    assert_eq!(append(&two, 1, "b"), Ok(Offset(1)), "the answer may have got lost: once is enough");
    assert_eq!(append(&two, 3, "d"), Err(ErrorCode::OutOfOrderSequenceNumber));
    assert_eq!(append(&two, 2, "c"), Ok(Offset(2)));
    assert_eq!(ends(&two), (3, 3));
}

#[test]
fn stale_epochs_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(2);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    cluster.elect(1, &[1, 2], &[&one]);
    let refused = fetch(&one, &two).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::FencedLeaderEpoch);
    cluster.elect(1, &[1, 2], &[&two]);
    let refused = fetch(&one, &two).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnknownLeaderEpoch);
    one.follow_metadata(&cluster.image);
    assert!(fetch(&one, &two).is_ok());
    let wanted = |epoch| crate::fetch::Wanted {
        offset: Offset(0),
        max_bytes: 1,
        current_leader_epoch: cluster.image.leader_epoch,
        last_fetched_epoch: millstream_base::LeaderEpoch(epoch),
        log_start: Offset(0),
    };
    // An earlier run of the follower (KIP-903).
    let earlier = Follower {
        id: millstream_base::NodeId(2),
        broker_epoch: millstream_base::BrokerEpoch(199),
    };
    let bell = std::sync::Arc::<Bell>::default();
    let read = one.read_for_follower(earlier, &wanted(-1), 1, true, &bell, |_| true);
    assert_eq!(read.unwrap_err().code(), ErrorCode::NotLeaderOrFollower);
    let stranger = Follower { id: millstream_base::NodeId(7), ..earlier };
    let read = one.read_for_follower(stranger, &wanted(-1), 1, true, &bell, |_| true);
    assert_eq!(read.unwrap_err().code(), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn what_is_damaged_on_the_way_is_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new(2);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    produce(&one, &["sound"], 1).unwrap();
    let Duty::Follow(_, epoch) = two.duty() else { panic!("two follows") };
    let read = fetch(&one, &two).unwrap();
    let mut records = read.range.unwrap().read().unwrap();
    let take = |records: &[u8]| {
        let zero = Offset(0);
        let from =
            FromLeader { epoch, offset: zero, records, high_watermark: zero, log_start: zero };
        two.take_fetched(&from, NOW)
    };
    let last = records.len() - 1;
    records[last] ^= 1;
    assert!(take(&records).is_err());
    assert_eq!(ends(&two), (0, 0));
    records[last] ^= 1;
    take(&records).unwrap();
    assert_eq!(ends(&two), (0, 1));
    assert!(matches!(take(&records), Err(FollowFailure::Late)));
}

#[test]
fn a_follower_serves_consumers_what_it_knows_to_be_committed() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new(2);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    produce(&one, &["a"], 1).unwrap();
    replicate(&one, &two);
    let read = |offset, from_follower| {
        let wanted = crate::fetch::Wanted {
            offset: Offset(offset),
            max_bytes: 1 << 20,
            current_leader_epoch: millstream_base::LeaderEpoch(0),
            last_fetched_epoch: millstream_base::LeaderEpoch::NONE,
            log_start: Offset::NONE,
        };
        let reader = Reader { isolation: Isolation::ReadUncommitted, from_follower };
        two.read(&wanted, 1 << 20, reader, true).map_err(|refused| refused.code())
    };
    assert_eq!(read(0, false).unwrap_err(), ErrorCode::NotLeaderOrFollower);
    assert!(read(0, true).unwrap().range.is_none(), "stored, and not known to be committed");
    assert_eq!(read(2, true).unwrap_err(), ErrorCode::OffsetNotAvailable);
    replicate_all(&one, &[&two]);
    assert!(read(0, true).unwrap().range.is_some());
}

#[test]
fn deleted_records_are_deleted_everywhere_before_it_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new(2);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    produce(&one, &["a"], 1).unwrap();
    produce(&one, &["b"], 1).unwrap();
    replicate_all(&one, &[&two]);
    let (_, everywhere) = one.delete_records(Offset(1)).unwrap();
    let mut everywhere = everywhere.expect("the other replica has to follow");
    replicate(&one, &two);
    assert!(everywhere.try_recv().is_err(), "it heard of it, and has not said so");
    replicate(&one, &two);
    assert_eq!(everywhere.try_recv().unwrap(), Offset(1));
    assert_eq!(contents(&one).0, 1);
    assert_eq!(contents(&one), contents(&two));
}

#[test]
fn a_follower_behind_the_leaders_start_begins_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::new(2);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    cluster.set_isr(&[1], &[&one, &two]);
    for value in ["a", "b", "c"] {
        produce(&one, &[value], 1).unwrap();
    }
    one.delete_records(Offset(2)).unwrap();
    let refused = fetch(&one, &two).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::OffsetOutOfRange);
    let Duty::Follow(_, epoch) = two.duty() else { panic!("two follows") };
    two.start_within(epoch, Offset(2), Offset(3), NOW).unwrap();
    replicate_all(&one, &[&two]);
    assert_eq!(ends(&two), (3, 3));
    assert_eq!(contents(&two).0, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_flush_messages_a_record_counts_when_it_is_on_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::new(2).with_flush_messages(1);
    let [one, two] = [1, 2].map(|id| cluster.partition(id, dir.path()));
    let waiting = produce(&one, &["a"], 1).unwrap().unwrap();
    replicate(&one, &two);
    two.with_log(|log| assert_eq!(log.recovery_point(), Offset(1), "synced before it is reported"));
    replicate(&one, &two);
    waiting.await.unwrap().unwrap();
    assert_eq!(ends(&one), (1, 1));
}
