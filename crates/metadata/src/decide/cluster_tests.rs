//! What the controller answers in a cluster of several brokers, as tables.

use millstream_base::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, Offset, PartitionIndex, Uuid};

use super::*;
use crate::image::{ELR_VERSION, LeaderRecoveryState, METADATA_VERSION, SupportedFeature};
use crate::tests::{broker, config, replay};

const DEFAULTS: ElectionDefaults =
    ElectionDefaults { min_insync_replicas: 2, unclean_leader_election: false };

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn numbers(ids: &[NodeId]) -> Vec<i32> {
    ids.iter().map(|id| id.get()).collect()
}

fn distant(id: i32) -> RegisterBroker {
    let mut command = RegisterBroker { unfenced: false, defaults: DEFAULTS, ..broker(id) };
    command.features.push(SupportedFeature { name: ELR_VERSION.into(), min: 0, max: 1 });
    command
}

#[allow(clippy::needless_pass_by_value, reason = "a decision is applied once")]
fn apply<R>(image: &ClusterImage, decision: Decision<R>) -> ClusterImage {
    replay(image, &decision.records).0
}

fn change(image: &ClusterImage, id: i32, change: BrokerChange) -> ClusterImage {
    let epoch = image.broker(NodeId(id)).unwrap().epoch;
    apply(image, change_broker(image, DEFAULTS, NodeId(id), epoch, change).unwrap())
}

/// Five brokers, 0 to 4, and topic `t` whose partition 0 has replicas 0, 1, 2.
fn cluster(elr: bool) -> ClusterImage {
    let levels = [(METADATA_VERSION.into(), 30), (ELR_VERSION.into(), i16::from(elr))];
    let mut image = replay(&ClusterImage::new(), &bootstrap_features(&levels)).0;
    for id in 0..5 {
        let offset = Offset(10 + i64::from(id));
        image = apply(&image, register_broker(&image, &distant(id), offset).unwrap());
        image = change(&image, id, BrokerChange::Unfence);
    }
    let topic = NewTopic {
        name: "t".into(),
        id: Uuid::from_random([7; 16]),
        num_partitions: -1,
        replication_factor: -1,
        assignments: vec![(PartitionIndex(0), nodes(&[0, 1, 2]))],
        ..NewTopic::default()
    };
    let create = CreateTopics { topics: vec![topic], ..CreateTopics::default() };
    apply(&image, create.decide(&image, &config()))
}

fn partition(image: &ClusterImage) -> Partition {
    image.topics.partition("t", PartitionIndex(0)).unwrap().as_ref().clone()
}

/// Leader, ISR, eligible replicas, leader epoch.
fn state(image: &ClusterImage) -> (i32, Vec<i32>, Vec<i32>, i32) {
    let p = partition(image);
    let leader = p.leader.map_or(-1, NodeId::get);
    (leader, numbers(&p.isr), numbers(&p.elr), p.leader_epoch.get())
}

fn isr(image: &ClusterImage, leader: i32, members: &[i32]) -> AlterPartition {
    let p = partition(image);
    let epoch = |id: &NodeId| image.broker(*id).map_or(BrokerEpoch(-1), |b| b.epoch);
    AlterPartition {
        broker: NodeId(leader),
        epoch: epoch(&NodeId(leader)),
        partitions: vec![AlteredPartition {
            topic_id: image.topics.id_of("t").unwrap(),
            index: PartitionIndex(0),
            leader_epoch: p.leader_epoch,
            partition_epoch: p.partition_epoch,
            isr: nodes(members).iter().map(|id| (*id, epoch(id))).collect(),
            recovery: p.leader_recovery_state,
        }],
        defaults: DEFAULTS,
    }
}

fn set_isr(image: &ClusterImage, leader: i32, members: &[i32]) -> ClusterImage {
    let decision = isr(image, leader, members).decide(image).unwrap();
    apply(image, decision)
}

#[test]
fn a_leader_changes_its_isr_only_if_it_knows_what_the_controller_knows() {
    use ErrorCode as E;
    let image = change(&cluster(false), 4, BrokerChange::Fence);
    let check = |edit: &dyn Fn(&mut AlterPartition), expected: E| {
        let mut command = isr(&image, 0, &[0, 1]);
        edit(&mut command);
        let decision = command.decide(&image).unwrap();
        let found = decision.reply[0].as_ref().map_or_else(|e| e.code, |_| E::None);
        assert_eq!(found, expected, "{command:?} {:?}", decision.reply);
        assert_eq!(decision.records.is_empty(), found != E::None);
    };
    let member = |id, epoch| (NodeId(id), BrokerEpoch(epoch));
    check(&|_| (), E::None);
    check(&|c| c.partitions[0].leader_epoch = LeaderEpoch(1), E::NotController);
    check(&|c| c.partitions[0].leader_epoch = LeaderEpoch(-1), E::FencedLeaderEpoch);
    check(&|c| c.partitions[0].partition_epoch += 1, E::NotController);
    check(&|c| c.partitions[0].partition_epoch -= 1, E::InvalidUpdateVersion);
    check(&|c| c.partitions[0].topic_id = Uuid([9; 16]), E::UnknownTopicId);
    check(&|c| c.partitions[0].index = PartitionIndex(1), E::UnknownTopicOrPartition);
    check(&|c| c.partitions[0].isr.clear(), E::InvalidRequest);
    check(&|c| c.partitions[0].isr.push(member(3, 13)), E::InvalidRequest);
    check(&|c| c.partitions[0].isr.push(member(1, 11)), E::InvalidRequest);
    check(&|c| c.partitions[0].isr[1].1 = BrokerEpoch(5), E::IneligibleReplica);
    check(&|c| c.partitions[0].isr[1].1 = BrokerEpoch(-1), E::None);
    check(&|c| c.partitions[0].recovery = LeaderRecoveryState::Recovering, E::InvalidRequest);
    let mut other = isr(&image, 1, &[0, 1]);
    assert_eq!(
        other.decide(&image).unwrap().reply[0].as_ref().unwrap_err().code,
        E::InvalidRequest
    );
    other.epoch = BrokerEpoch(3);
    assert_eq!(other.decide(&image).unwrap_err().code, E::StaleBrokerEpoch);
    for change_of_1 in [BrokerChange::Fence, BrokerChange::ControlledShutdown] {
        let image = change(&set_isr(&image, 0, &[0, 2]), 1, change_of_1);
        let decision = isr(&image, 0, &[0, 1, 2]).decide(&image).unwrap();
        assert_eq!(decision.reply[0].as_ref().unwrap_err().code, E::IneligibleReplica);
    }
}

#[test]
fn a_leader_resigns_by_leaving_its_isr_to_others_that_are_in_it() {
    let image = set_isr(&cluster(false), 0, &[0, 2]);
    let before = partition(&image);
    let refused = isr(&image, 0, &[1, 2]).decide(&image).unwrap();
    assert!(refused.records.is_empty(), "broker 1 was not in sync");
    assert_eq!(refused.reply[0].as_ref().unwrap_err().code, ErrorCode::InvalidRequest);
    let resigned = isr(&image, 0, &[2]).decide(&image).unwrap();
    assert_eq!(resigned.reply[0].as_ref().unwrap_err().code, ErrorCode::NewLeaderElected);
    let image = apply(&image, resigned);
    let after = partition(&image);
    assert_eq!((after.leader, numbers(&after.isr)), (Some(NodeId(2)), vec![2]));
    assert!(after.leader_epoch > before.leader_epoch);
    let again = partition(&set_isr(&image, 2, &[2, 0]));
    assert_eq!((again.leader, numbers(&again.isr)), (Some(NodeId(2)), vec![2, 0]));
}

#[test]
fn a_smaller_isr_keeps_the_leader_epoch_and_the_same_one_is_no_change() {
    let image = cluster(false);
    let before = partition(&image);
    assert!(isr(&image, 0, &[0, 1, 2]).decide(&image).unwrap().records.is_empty());
    let after = partition(&set_isr(&image, 0, &[0, 2]));
    assert_eq!((after.leader_epoch, after.partition_epoch), (before.leader_epoch, 1));
    assert_eq!(numbers(&after.isr), [0, 2]);
}

#[test]
fn a_stopping_broker_hands_over_and_ends_when_the_others_know() {
    let beat = |image: &ClusterImage, id: i32, stop: bool, may_end: bool| {
        let epoch = image.broker(NodeId(id)).unwrap().epoch;
        let heartbeat = Heartbeat {
            id: NodeId(id),
            epoch,
            applied: Offset(epoch.get()),
            want_shut_down: stop,
            may_end,
            defaults: DEFAULTS,
            ..Heartbeat::default()
        };
        let decision = heartbeat.decide(image).unwrap();
        let reply = decision.reply;
        (apply(image, decision), (reply.is_fenced, reply.is_stopping, reply.should_shut_down))
    };
    let image = cluster(false);
    let (same, told) = beat(&image, 0, false, false);
    assert_eq!((same == image, told), (true, (false, false, false)), "nothing is written");
    let (image, told) = beat(&image, 0, true, false);
    assert_eq!(told, (false, true, false));
    assert_eq!(state(&image), (1, vec![1, 2], vec![], 1));
    let (image, told) = beat(&image, 0, true, false);
    assert_eq!(told, (false, true, false), "the others do not know yet");
    let (image, told) = beat(&image, 0, true, true);
    assert_eq!(told, (true, true, true));
    let (image, told) = beat(&image, 0, true, true);
    assert!(told.2, "asked again it hears the same");
    let (image, told) = beat(&image, 3, true, false);
    assert_eq!(told, (true, false, true), "it leads nothing: it may end at once");
    let stale = Heartbeat { id: NodeId(1), epoch: BrokerEpoch(1), ..Heartbeat::default() };
    assert_eq!(stale.decide(&image).unwrap_err().code, ErrorCode::StaleBrokerEpoch);
    let unknown = Heartbeat { id: NodeId(9), ..Heartbeat::default() };
    assert_eq!(unknown.decide(&image).unwrap_err().code, ErrorCode::StaleBrokerEpoch);
}

#[test]
fn a_broker_is_unfenced_once_it_has_applied_its_own_registration() {
    let image = cluster(false);
    let mut command = distant(0);
    command.incarnation_id = Uuid::from_random([99; 16]);
    let registered = register_broker(&image, &command, Offset(70)).unwrap();
    assert_eq!(registered.reply.epoch, BrokerEpoch(70));
    let image = apply(&image, registered);
    assert_eq!(state(&image), (1, vec![1, 2], vec![], 1), "the old process had the lead");
    let beat = |applied| {
        let heartbeat = Heartbeat {
            id: NodeId(0),
            epoch: BrokerEpoch(70),
            applied: Offset(applied),
            ..Heartbeat::default()
        };
        let decision = heartbeat.decide(&image).unwrap();
        (decision.reply.is_caught_up, decision.reply.is_fenced, decision.records.len())
    };
    assert_eq!((beat(69), beat(70)), ((false, true, 0), (true, false, 1)));
}

#[test]
fn one_id_has_one_process() {
    use ErrorCode as E;
    let image = cluster(false);
    let check = |edit: &dyn Fn(&mut RegisterBroker), expected: Result<i64, E>| {
        let mut command = distant(1);
        edit(&mut command);
        let found = register_broker(&image, &command, Offset(50));
        assert_eq!(found.map(|d| d.reply.epoch.get()).map_err(|e| e.code), expected);
    };
    let other = Uuid::from_random([88; 16]);
    check(&|_| (), Ok(11));
    check(&|c| c.other_is_alive = true, Ok(11));
    check(&|c| c.incarnation_id = other, Ok(50));
    check(
        &|c| (c.incarnation_id, c.other_is_alive) = (other, true),
        Err(E::DuplicateBrokerRegistration),
    );
    check(&|c| c.log_dirs = distant(2).log_dirs, Err(E::InvalidRegistration));
    check(&|c| c.log_dirs.extend(distant(1).log_dirs), Err(E::InvalidRegistration));
    check(&|c| c.features.clear(), Err(E::UnsupportedVersion));
    let mut same = distant(1);
    assert!(register_broker(&image, &same, Offset(50)).unwrap().records.is_empty());
    same.rack = Some("elsewhere".into());
    let moved = apply(&image, register_broker(&image, &same, Offset(50)).unwrap());
    let known = moved.broker(NodeId(1)).unwrap();
    assert_eq!(
        (known.epoch, known.fenced, known.rack.as_deref()),
        (BrokerEpoch(11), false, Some("elsewhere"))
    );
    let stopping = change(&image, 1, BrokerChange::ControlledShutdown);
    let next = RegisterBroker { incarnation_id: other, other_is_alive: true, ..distant(1) };
    assert!(register_broker(&stopping, &next, Offset(50)).is_ok(), "it is about to end");
}

#[test]
fn eligible_replicas_lead_when_nobody_is_in_sync() {
    let image = change(&cluster(true), 2, BrokerChange::Fence);
    assert_eq!(state(&image), (0, vec![0, 1], vec![], 0), "two in sync are enough");
    let image = change(&image, 1, BrokerChange::Fence);
    assert_eq!(state(&image), (0, vec![0], vec![1], 0));
    let image = change(&image, 0, BrokerChange::Fence);
    assert_eq!(state(&image), (-1, vec![], vec![0, 1], 1));
    assert_eq!(numbers(&partition(&image).last_known_elr), [0]);
    let third = change(&image, 2, BrokerChange::Unfence);
    assert_eq!(state(&third), (-1, vec![], vec![0, 1], 1), "2 may lack records");
    let image = change(&image, 1, BrokerChange::Unfence);
    assert_eq!(state(&image), (1, vec![1], vec![0], 2));
    let p = partition(&image);
    assert_eq!(
        (p.leader_recovery_state, p.last_known_elr.len()),
        (LeaderRecoveryState::Recovered, 0)
    );
    let image = change(&image, 0, BrokerChange::Unfence);
    let image = set_isr(&image, 1, &[0, 1]);
    assert_eq!(state(&image), (1, vec![0, 1], vec![], 2));
}

#[test]
fn who_crashed_is_not_eligible_and_the_last_leader_recovers() {
    let restart = |image: &ClusterImage, id: i32, previous: Option<BrokerEpoch>, offset: i64| {
        let byte = u8::try_from(offset).unwrap();
        let incarnation_id = Uuid::from_random([byte; 16]);
        let command = RegisterBroker { incarnation_id, previous_epoch: previous, ..distant(id) };
        apply(image, register_broker(image, &command, Offset(offset)).unwrap())
    };
    let mut image = cluster(true);
    for id in [2, 1, 0] {
        image = change(&image, id, BrokerChange::Fence);
    }
    let epoch = |image: &ClusterImage, id: i32| Some(image.broker(NodeId(id)).unwrap().epoch);
    let well = restart(&image, 1, epoch(&image, 1), 60);
    assert_eq!(state(&well), (-1, vec![], vec![0, 1], 1), "it stopped in good order");
    let image = restart(&image, 1, None, 60);
    assert_eq!(state(&image), (-1, vec![], vec![0], 1));
    let image = restart(&image, 0, Some(BrokerEpoch(3)), 61);
    assert_eq!(state(&image), (-1, vec![], vec![], 1));
    let image = change(&image, 1, BrokerChange::Unfence);
    assert_eq!(state(&image).0, -1, "1 was not the last leader");
    let image = change(&image, 0, BrokerChange::Unfence);
    assert_eq!(state(&image), (0, vec![0], vec![], 2));
    let p = partition(&image);
    assert_eq!(p.leader_recovery_state, LeaderRecoveryState::Recovering);
    let mut recovered = isr(&image, 0, &[0, 1]);
    let refused = recovered.decide(&image).unwrap().reply[0].clone().unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidRequest, "it has not recovered");
    recovered.partitions[0].recovery = LeaderRecoveryState::Recovered;
    let image = apply(&image, recovered.decide(&image).unwrap());
    assert_eq!(partition(&image).leader_recovery_state, LeaderRecoveryState::Recovered);
    assert_eq!(state(&image), (0, vec![0, 1], vec![], 2));
}

#[test]
fn unclean_elections_only_where_allowed() {
    let set = |image: &ClusterImage, value: &str| {
        let edit = ConfigEdit {
            name: "unclean.leader.election.enable".into(),
            op: millstream_config::Op::Set,
            value: Some(value.into()),
        };
        let resources =
            vec![(crate::ConfigResource::topic("t"), Alteration::Incremental(vec![edit]))];
        let command = AlterConfigs { resources, validate_only: false };
        apply(image, command.decide(image, &config()))
    };
    let image = set_isr(&cluster(false), 0, &[0]);
    let down = change(&image, 0, BrokerChange::Fence);
    assert_eq!(state(&down), (-1, vec![0], vec![], 1));
    let allowed = set(&down, "true");
    let led = apply(&allowed, settle(&allowed, DEFAULTS));
    assert_eq!(state(&led), (1, vec![1], vec![], 2));
    assert_eq!(partition(&led).leader_recovery_state, LeaderRecoveryState::Recovering);
    let by_default = ElectionDefaults { unclean_leader_election: true, ..DEFAULTS };
    assert_eq!(settle(&down, by_default).reply.changed, 1);
    let forbidden = set(&down, "false");
    assert_eq!(settle(&forbidden, by_default).reply.changed, 0, "the topic says no");
    let elect = |kind, name: &str, index| {
        let partitions = vec![(name.to_owned(), PartitionIndex(index))];
        let decision = ElectLeaders { kind, partitions, defaults: DEFAULTS }.decide(&forbidden);
        decision.reply[0].as_ref().map_or_else(|e| e.code, |()| ErrorCode::None)
    };
    use ElectionKind::{Preferred, Unclean};
    assert_eq!(elect(Unclean, "t", 0), ErrorCode::None, "an operator may");
    assert_eq!(elect(Preferred, "t", 0), ErrorCode::PreferredLeaderNotAvailable);
    assert_eq!(elect(Unclean, "t", 1), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(elect(Unclean, "u", 0), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn preferred_leaders_come_back_when_asked_and_by_the_balance() {
    let image = change(&change(&cluster(false), 0, BrokerChange::Fence), 0, BrokerChange::Unfence);
    let elect = |image: &ClusterImage| {
        let partitions = ElectLeaders::candidates(image, ElectionKind::Preferred);
        ElectLeaders { kind: ElectionKind::Preferred, partitions, defaults: DEFAULTS }.decide(image)
    };
    assert_eq!(
        elect(&image).reply[0].as_ref().unwrap_err().code,
        ErrorCode::PreferredLeaderNotAvailable
    );
    assert_eq!(balance_leaders(&image, DEFAULTS, 10, 10).reply, Settled::default());
    let image = set_isr(&image, 1, &[0, 1, 2]);
    assert_eq!(state(&apply(&image, elect(&image))), (0, vec![0, 1, 2], vec![], 2));
    let balanced = balance_leaders(&image, DEFAULTS, 10, 10);
    assert_eq!(balanced.reply, Settled { changed: 1, more: false });
    assert_eq!(balance_leaders(&image, DEFAULTS, 100, 10).records.len(), 0, "even enough");
    let image = apply(&image, balanced);
    assert_eq!(state(&image).0, 0);
    assert_eq!(elect(&image).reply.len(), 0);
    let needless = ElectLeaders {
        kind: ElectionKind::Preferred,
        partitions: vec![("t".into(), PartitionIndex(0))],
        defaults: DEFAULTS,
    };
    let refusal = needless.decide(&image).reply[0].clone().unwrap_err();
    assert_eq!(refusal.code, ErrorCode::ElectionNotNeeded);
}

fn reassign(
    image: &ClusterImage,
    to: Option<&[i32]>,
    factor: bool,
) -> Result<ClusterImage, ErrorCode> {
    let replicas = to.map(nodes);
    let partitions = vec![Reassignment { topic: "t".into(), index: PartitionIndex(0), replicas }];
    let command =
        AlterReassignments { partitions, allow_factor_change: factor, defaults: DEFAULTS };
    let decision = command.decide(image);
    let refused = decision.reply[0].as_ref().err().map(|e| e.code);
    refused.map_or_else(|| Ok(apply(image, decision)), Err)
}

fn moving(image: &ClusterImage) -> (Vec<i32>, Vec<i32>, Vec<i32>) {
    let ongoing = list_reassignments(image, None);
    ongoing.first().map_or_else(Default::default, |one| {
        (numbers(&one.replicas), numbers(&one.adding), numbers(&one.removing))
    })
}

#[test]
fn replicas_move_when_the_new_ones_are_in_sync() {
    let image = reassign(&cluster(false), Some(&[3, 4, 1]), false).unwrap();
    assert_eq!(moving(&image), (vec![3, 4, 1, 0, 2], vec![3, 4], vec![0, 2]));
    assert_eq!(partition(&image).directories.len(), 5);
    let image = set_isr(&image, 0, &[0, 1, 2, 3]);
    assert_eq!(moving(&image).1, [3, 4], "one of two");
    let last = isr(&image, 0, &[0, 1, 2, 3, 4]).decide(&image).unwrap();
    assert_eq!(last.reply[0].as_ref().unwrap_err().code, ErrorCode::NewLeaderElected);
    let image = apply(&image, last);
    assert_eq!(moving(&image), Default::default());
    let p = partition(&image);
    assert_eq!((numbers(&p.replicas), numbers(&p.isr)), (vec![3, 4, 1], vec![1, 3, 4]));
    assert_eq!((p.leader, p.leader_epoch), (Some(NodeId(3)), LeaderEpoch(1)));
    assert_eq!(p.directories, [3, 4, 1].map(|id| distant(id).log_dirs[0]));
    assert_eq!(list_reassignments(&image, Some(&[("t".into(), vec![PartitionIndex(0)])])), []);
}

#[test]
fn a_move_can_be_cancelled_aimed_elsewhere_and_refused() {
    use ErrorCode as E;
    let whole = cluster(false);
    let check = |to: Option<&[i32]>, factor, expected| {
        assert_eq!(reassign(&whole, to, factor).err(), expected, "{to:?}");
    };
    check(None, true, Some(E::NoReassignmentInProgress));
    check(Some(&[]), true, Some(E::InvalidReplicaAssignment));
    check(Some(&[0, 0, 1]), true, Some(E::InvalidReplicaAssignment));
    check(Some(&[0, 1, 9]), true, Some(E::InvalidReplicaAssignment));
    check(Some(&[0, 1]), false, Some(E::InvalidReplicationFactor));
    check(Some(&[0, 1]), true, None);
    let fewer = partition(&reassign(&whole, Some(&[1, 0]), true).unwrap());
    assert_eq!((numbers(&fewer.replicas), fewer.leader_epoch), (vec![1, 0], LeaderEpoch(1)));
    let on_its_way = reassign(&whole, Some(&[3, 1, 2]), false).unwrap();
    let back = reassign(&on_its_way, None, false).unwrap();
    assert_eq!(
        (moving(&back), numbers(&partition(&back).replicas)),
        (Default::default(), vec![1, 2, 0])
    );
    assert_eq!(numbers(&partition(&back).isr), [0, 1, 2]);
    let elsewhere = reassign(&on_its_way, Some(&[4, 1, 2]), false).unwrap();
    assert_eq!(moving(&elsewhere), (vec![4, 1, 2, 0], vec![4], vec![0]), "3 had nothing yet");
    let alone = set_isr(&set_isr(&on_its_way, 0, &[0, 1, 2, 3]), 3, &[3]);
    assert_eq!(moving(&alone), Default::default(), "the first change ended the move");
    let far = reassign(&set_isr(&whole, 0, &[0]), Some(&[3, 4]), true).unwrap();
    let far = set_isr(&far, 0, &[0, 3]);
    let far = change(&far, 0, BrokerChange::Fence);
    assert_eq!(state(&far), (3, vec![3], vec![], 1));
    assert_eq!(
        reassign(&far, None, true).err(),
        Some(E::InvalidReplicaAssignment),
        "it would lose records"
    );
}

#[test]
fn features_follow_the_cluster_and_bring_their_settings() {
    let image = cluster(false);
    let supported = [SupportedFeature { name: ELR_VERSION.into(), min: 0, max: 1 }];
    let update = |image: &ClusterImage, level, upgrade_type| {
        let update = FeatureUpdate { name: ELR_VERSION.into(), level, upgrade_type };
        let command =
            UpdateFeatures { updates: vec![update], validate_only: false, defaults: DEFAULTS };
        command.decide(image, &supported).map(|d| apply(image, d)).map_err(|e| e.code)
    };
    let on = update(&image, 1, UpgradeType::Upgrade).unwrap();
    let stored = on.configs.of(&crate::ConfigResource::default_broker());
    assert_eq!(stored.get("min.insync.replicas").map(String::as_str), Some("2"));
    assert!(agree_on_min_insync(&on, DEFAULTS).records.is_empty());
    let mut down = on;
    for id in 0..3 {
        down = change(&down, id, BrokerChange::Fence);
    }
    assert_eq!(state(&down), (-1, vec![], vec![1, 2], 3));
    let off = update(&down, 0, UpgradeType::SafeDowngrade).unwrap();
    assert_eq!(state(&off), (-1, vec![1, 2], vec![], 3), "an ISR is not empty without them");
    assert_eq!(state(&change(&off, 2, BrokerChange::Unfence)).0, 2);
    let old = register_broker(
        &image,
        &RegisterBroker { features: broker(9).features, ..distant(9) },
        Offset(90),
    );
    let mixed = apply(&image, old.unwrap());
    assert_eq!(
        update(&mixed, 1, UpgradeType::Upgrade).unwrap_err(),
        ErrorCode::InvalidUpdateVersion
    );
    let gone = apply(&mixed, unregister_broker(&mixed, DEFAULTS, NodeId(9)).unwrap());
    assert!(update(&gone, 1, UpgradeType::Upgrade).is_ok());
}

#[test]
fn a_smaller_min_insync_replicas_ends_who_it_does_not_cover() {
    let image = change(&cluster(true), 2, BrokerChange::Fence);
    let image = change(&image, 1, BrokerChange::Fence);
    assert_eq!(state(&image), (0, vec![0], vec![1], 0));
    let alter = |resource: crate::ConfigResource, value: Option<&str>| {
        let (name, op) = ("min.insync.replicas".to_owned(), millstream_config::Op::Set);
        let op = if value.is_some() { op } else { millstream_config::Op::Delete };
        let edit = ConfigEdit { name, op, value: value.map(str::to_owned) };
        let resources = vec![(resource, Alteration::Incremental(vec![edit]))];
        AlterConfigs { resources, validate_only: false }.decide(&image, &config())
    };
    let topic = crate::ConfigResource::topic;
    assert_eq!(state(&apply(&image, alter(topic("t"), Some("1")))).2, Vec::<i32>::new());
    assert_eq!(state(&apply(&image, alter(topic("t"), Some("3")))).2, [1]);
    let one = alter(crate::ConfigResource::broker(NodeId(0)), Some("1"));
    assert!(one.reply[0].1.is_err(), "brokers may not disagree");
}

#[test]
fn a_broker_whose_directories_are_all_cordoned_gets_no_replica() {
    let image = cluster(false);
    let heartbeat = Heartbeat {
        id: NodeId(4),
        epoch: image.broker(NodeId(4)).unwrap().epoch,
        cordoned_dirs: Some(distant(4).log_dirs),
        ..Heartbeat::default()
    };
    let image = apply(&image, heartbeat.decide(&image).unwrap());
    assert!(heartbeat.decide(&image).unwrap().records.is_empty());
    let create = |factor| {
        let topic = NewTopic {
            name: "new".into(),
            id: Uuid::from_random([3; 16]),
            num_partitions: 20,
            replication_factor: factor,
            ..NewTopic::default()
        };
        let command = CreateTopics { topics: vec![topic], ..CreateTopics::default() };
        command.decide(&image, &config())
    };
    let made = apply(&image, create(4));
    let new = made.topics.get("new").unwrap();
    assert!(!new.partitions.values().any(|p| p.has_replica(NodeId(4))));
    assert_eq!(
        create(5).reply[0].1.as_ref().unwrap_err().code,
        ErrorCode::InvalidReplicationFactor
    );
}

#[test]
fn controllers_are_registered_once() {
    let image = cluster(false);
    let command = RegisterController { id: NodeId(3), ..RegisterController::default() };
    let decision = register_controller(&image, &command).unwrap();
    let image = apply(&image, decision);
    assert!(register_controller(&image, &command).unwrap().records.is_empty());
    let image = apply(&image, unregister_controller(&image, NodeId(3)).unwrap());
    assert!(unregister_controller(&image, NodeId(3)).is_err());
}
