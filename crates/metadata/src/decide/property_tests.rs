//! Several brokers that come, go, crash and move their partitions: whatever happens, what the controller decides keeps its
//! invariants, and a leader that was elected cleanly has every committed record.
//!
//! Beside the image runs a model of the records: what is committed, and how much of it each replica holds.

use std::collections::BTreeMap;

use millstream_base::{BrokerEpoch, NodeId, Offset, PartitionIndex, Uuid};
use millstream_wire::stored::ConfigRecord;
use proptest::prelude::*;

use super::rules::Rules;
use super::settle::{Presence, all};
use super::*;
use crate::image::{ELR_VERSION, LeaderRecoveryState, METADATA_VERSION, SupportedFeature, Topic};
use crate::record::MetadataRecord;
use crate::replay::change_partition;
use crate::snapshot::text;
use crate::tests::{broker, config, replay};

const BROKERS: i32 = 5;
const DEFAULTS: ElectionDefaults =
    ElectionDefaults { min_insync_replicas: 2, unclean_leader_election: false };

#[derive(Debug, Clone)]
enum Step {
    Change { id: i32, change: BrokerChange },
    Restart { id: i32, cleanly: bool },
    Beat { id: i32, caught_up: bool, fence: bool, stop: bool, may_end: bool },
    Isr { at: usize, members: u8, recovering: bool, stale: bool },
    Reassign { at: usize, to: Vec<i32> },
    Cancel { at: usize },
    Elect { unclean: bool },
    Balance,
    MinInsync { topic: bool, value: i32 },
    Unclean { value: bool },
    Elr { on: bool },
    Directory { id: i32, fails: bool },
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    let id = || 0..BROKERS;
    let at = || 0usize..6;
    let change = prop_oneof![
        Just(BrokerChange::Fence),
        Just(BrokerChange::Unfence),
        Just(BrokerChange::ControlledShutdown)
    ];
    let flag = any::<bool>;
    prop_oneof![
        6 => (id(), change).prop_map(|(id, change)| Step::Change { id, change }),
        4 => (id(), flag()).prop_map(|(id, cleanly)| Step::Restart { id, cleanly }),
        6 => (id(), flag(), flag(), flag(), flag()).prop_map(|(id, caught_up, fence, stop, may_end)| {
            Step::Beat { id, caught_up, fence: fence && stop, stop, may_end }
        }),
        10 => (at(), any::<u8>(), flag(), flag()).prop_map(|(at, members, recovering, stale)| {
            Step::Isr { at, members, recovering: recovering && stale, stale: stale && !recovering }
        }),
        3 => (at(), proptest::collection::vec(id(), 1..5)).prop_map(|(at, to)| Step::Reassign { at, to }),
        1 => at().prop_map(|at| Step::Cancel { at }),
        1 => flag().prop_map(|unclean| Step::Elect { unclean }),
        1 => Just(Step::Balance),
        1 => (flag(), 1i32..4).prop_map(|(topic, value)| Step::MinInsync { topic, value }),
        1 => flag().prop_map(|value| Step::Unclean { value }),
        1 => flag().prop_map(|on| Step::Elr { on }),
        2 => (id(), flag()).prop_map(|(id, fails)| Step::Directory { id, fails }),
        1 => Just(Step::Settle),
    ]
}

fn start(elr: bool) -> ClusterImage {
    let level = |name: &str, level| (std::sync::Arc::from(name), level);
    let levels = [level(METADATA_VERSION, 30), level(ELR_VERSION, i16::from(elr))];
    let mut image = replay(&ClusterImage::new(), &bootstrap_features(&levels)).0;
    for id in 0..BROKERS {
        let command = distant(id, true);
        let decision = register_broker(&image, &command, Offset(id.into())).unwrap();
        image = replay(&image, &decision.records).0;
        let epoch = image.broker(NodeId(id)).unwrap().epoch;
        let unfence =
            change_broker(&image, DEFAULTS, NodeId(id), epoch, BrokerChange::Unfence).unwrap();
        image = replay(&image, &unfence.records).0;
    }
    let topic = |name: &str, byte, partitions| NewTopic {
        name: name.into(),
        id: Uuid::from_random([byte; 16]),
        num_partitions: partitions,
        replication_factor: 3,
        ..NewTopic::default()
    };
    let topics = vec![topic("a", 1, 4), topic("b", 2, 2)];
    let create = CreateTopics { topics, ..CreateTopics::default() };
    replay(&image, &create.decide(&image, &config()).records).0
}

fn distant(id: i32, both_directories: bool) -> RegisterBroker {
    let byte = u8::try_from(id).unwrap() + 1;
    let second = Uuid::from_random([byte + 100; 16]);
    let mut command = RegisterBroker { unfenced: false, defaults: DEFAULTS, ..broker(id) };
    command.features.push(SupportedFeature { name: ELR_VERSION.into(), min: 0, max: 1 });
    command.log_dirs.extend(both_directories.then_some(second));
    command
}

/// How much of what is committed each replica holds.
#[derive(Debug, Default, Clone)]
struct Records {
    committed: u64,
    held: BTreeMap<NodeId, u64>,
}

type Place = (Uuid, PartitionIndex);
type Model = BTreeMap<Place, Records>;

fn partition_at(image: &ClusterImage, at: usize) -> (&Topic, PartitionIndex, &Partition) {
    all(image).nth(at % 6).unwrap()
}

/// A broker that lost what it had not on disk.
fn lose(model: &mut Model, id: NodeId) {
    for records in model.values_mut() {
        records.held.insert(id, 0);
    }
}

fn registered(image: &ClusterImage, id: i32) -> (NodeId, BrokerEpoch) {
    (NodeId(id), image.broker(NodeId(id)).unwrap().epoch)
}

fn config_edit(resource: &crate::ConfigResource, name: &str, value: &str) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: resource.resource_type.code(),
        resource_name: text(&resource.name),
        name: text(name),
        value: Some(text(value)),
    })
}

fn records_of(
    image: &ClusterImage,
    step: &Step,
    turn: i64,
    model: &mut Model,
) -> Vec<MetadataRecord> {
    match step {
        Step::Change { id, change } => {
            let (id, epoch) = registered(image, *id);
            change_broker(image, DEFAULTS, id, epoch, *change).unwrap().records
        }
        Step::Restart { id, cleanly } => {
            let (node, epoch) = registered(image, *id);
            let mut command = distant(*id, true);
            command.incarnation_id = Uuid::from_random([u8::try_from(turn).unwrap() + 100; 16]);
            // In good order a broker stops only once it is fenced: else it has not handed over.
            let cleanly = *cleanly && image.broker(node).unwrap().fenced;
            command.previous_epoch = cleanly.then_some(epoch);
            if !cleanly && image.feature_level(ELR_VERSION) > 0 {
                lose(model, node);
            }
            register_broker(image, &command, Offset(1000 + turn)).unwrap().records
        }
        Step::Beat { id, caught_up, fence, stop, may_end } => {
            let (id, epoch) = registered(image, *id);
            let heartbeat = Heartbeat {
                id,
                epoch,
                applied: Offset(if *caught_up { epoch.get() } else { -1 }),
                want_fence: *fence,
                want_shut_down: *stop,
                may_end: *may_end,
                defaults: DEFAULTS,
                ..Heartbeat::default()
            };
            heartbeat.decide(image).unwrap().records
        }
        Step::Isr { at, members, recovering, stale } => {
            alter_isr(image, *at, *members, *recovering, *stale, model)
        }
        Step::Reassign { at, to } => {
            let mut to: Vec<NodeId> = to.iter().copied().map(NodeId).collect();
            to.sort_unstable();
            to.dedup();
            reassign(image, *at, Some(to))
        }
        Step::Cancel { at } => reassign(image, *at, None),
        Step::Elect { unclean } => {
            let kind = if *unclean { ElectionKind::Unclean } else { ElectionKind::Preferred };
            let partitions = ElectLeaders::candidates(image, kind);
            ElectLeaders { kind, partitions, defaults: DEFAULTS }.decide(image).records
        }
        Step::Balance => balance_leaders(image, DEFAULTS, 10, 1000).records,
        Step::MinInsync { topic, value } => {
            let resource = if *topic {
                crate::ConfigResource::topic("a")
            } else {
                crate::ConfigResource::default_broker()
            };
            let mut records =
                vec![config_edit(&resource, "min.insync.replicas", &value.to_string())];
            records.extend(elr::follow_settings(image, DEFAULTS, &records));
            records
        }
        Step::Unclean { value } => {
            let resource = crate::ConfigResource::topic("b");
            vec![config_edit(&resource, "unclean.leader.election.enable", &value.to_string())]
        }
        Step::Elr { on } => {
            let upgrade_type = if *on { UpgradeType::Upgrade } else { UpgradeType::SafeDowngrade };
            let update =
                FeatureUpdate { name: ELR_VERSION.into(), level: i16::from(*on), upgrade_type };
            let supported = [SupportedFeature { name: ELR_VERSION.into(), min: 0, max: 1 }];
            let command =
                UpdateFeatures { updates: vec![update], validate_only: false, defaults: DEFAULTS };
            command.decide(image, &supported).map_or_else(|_| Vec::new(), |d| d.records)
        }
        Step::Directory { id, fails } => {
            let dirs = distant(*id, !*fails).log_dirs;
            let noted: Vec<_> = all(image)
                .filter(|(_, index, _)| index.get() % 2 == 1)
                .map(|(topic, index, _)| {
                    (topic.id, index, *distant(*id, true).log_dirs.last().unwrap())
                })
                .collect();
            if *fails {
                fail_directories(image, DEFAULTS, NodeId(*id), &dirs).records
            } else if image.broker(NodeId(*id)).unwrap().log_dirs.len() == 2 {
                assign_directories(image, NodeId(*id), &noted).records
            } else {
                Vec::new()
            }
        }
        Step::Settle => settle(image, DEFAULTS).records,
    }
}

fn reassign(image: &ClusterImage, at: usize, replicas: Option<Vec<NodeId>>) -> Vec<MetadataRecord> {
    let (topic, index, _) = partition_at(image, at);
    let partitions = vec![Reassignment { topic: topic.name.to_string(), index, replicas }];
    AlterReassignments { partitions, allow_factor_change: true, defaults: DEFAULTS }
        .decide(image)
        .records
}

/// The leader asks for an ISR whose members have caught up with it.
fn alter_isr(
    image: &ClusterImage,
    at: usize,
    members: u8,
    recovering: bool,
    stale: bool,
    model: &mut Model,
) -> Vec<MetadataRecord> {
    let (topic, index, partition) = partition_at(image, at);
    let Some(leader) = partition.leader else { return Vec::new() };
    let wanted = partition.replicas.iter().enumerate();
    let wanted = wanted.filter(|(bit, id)| **id == leader || members & (1 << (bit % 8)) != 0);
    let isr: Vec<_> = wanted.map(|(_, id)| registered(image, id.get())).collect();
    let was_recovering = partition.leader_recovery_state == LeaderRecoveryState::Recovering;
    let command = AlterPartition {
        broker: leader,
        epoch: registered(image, leader.get()).1,
        partitions: vec![AlteredPartition {
            topic_id: topic.id,
            index,
            leader_epoch: partition.leader_epoch,
            partition_epoch: partition.partition_epoch - i32::from(stale),
            isr: isr.clone(),
            recovery: match recovering && was_recovering {
                true => LeaderRecoveryState::Recovering,
                false => LeaderRecoveryState::Recovered,
            },
        }],
        defaults: DEFAULTS,
    };
    let decision = command.decide(image).unwrap();
    assert!(!stale || decision.records.is_empty());
    if !decision.records.is_empty() {
        // Who joins has all that the leader has.
        let records = model.entry((topic.id, index)).or_default();
        let has = records.held.get(&leader).copied().unwrap_or_default();
        for (id, _) in &isr {
            records.held.insert(*id, has);
        }
    }
    decision.records
}

/// Clean elections lose nothing; unclean ones make what their leader has the truth. Then more is committed where it can be.
fn advance(model: &mut Model, before: &ClusterImage, after: &ClusterImage) {
    let rules = Rules::new(after, DEFAULTS);
    for (topic, index, partition) in all(after) {
        let records = model.entry((topic.id, index)).or_default();
        let Some(leader) = partition.leader else { continue };
        let old = before.topics.get_by_id(topic.id).unwrap().partition(index).unwrap();
        let held = records.held.get(&leader).copied().unwrap_or_default();
        let elected = old.leader_epoch != partition.leader_epoch;
        if elected && partition.leader_recovery_state == LeaderRecoveryState::Recovering {
            records.committed = records.committed.min(held);
            records.held.values_mut().for_each(|has| *has = (*has).min(held));
        }
        assert!(
            held >= records.committed,
            "{}-{index}: leader {leader} holds {held} of {} committed: {old:?} -> {partition:?}",
            topic.name,
            records.committed
        );
        if partition.isr.len() >= rules.min_isr(topic, partition.replicas.len()) {
            records.committed += 1;
            for id in &partition.isr {
                records.held.insert(*id, records.committed);
            }
        }
    }
}

fn check(image: &ClusterImage) {
    let (rules, presence) = (Rules::new(image, DEFAULTS), Presence::of(image));
    for (topic, index, p) in all(image) {
        let say = || format!("{}-{index}: {p:?}", topic.name);
        let is_replica = |id: &NodeId| p.has_replica(*id);
        for list in [&p.isr, &p.adding, &p.removing, &p.elr] {
            assert!(list.iter().all(is_replica), "{}", say());
        }
        assert!(!p.elr.iter().any(|id| p.isr.contains(id)), "{}", say());
        assert_eq!(p.directories.len(), p.replicas.len(), "{}", say());
        if rules.keeps_elr() {
            let enough = p.isr.len() >= rules.min_isr(topic, p.replicas.len());
            assert!(!enough || p.elr.is_empty(), "{}", say());
        } else {
            assert!(!p.isr.is_empty() && p.elr.is_empty(), "{}", say());
        }
        if let Some(leader) = p.leader {
            assert!(p.isr.contains(&leader) && presence.has(leader, p), "{}", say());
            assert!(p.isr.iter().all(|id| presence.has(*id, p)), "{}", say());
            let recovering = p.leader_recovery_state == LeaderRecoveryState::Recovering;
            assert!(!recovering || p.isr.len() == 1, "{}", say());
        } else {
            let mut could = p.isr.iter().chain(&p.elr);
            assert!(!could.any(|id| presence.has(*id, p)), "{}", say());
        }
    }
    let again = settle(image, DEFAULTS);
    assert_eq!(again.records, Vec::new(), "settled partitions stay as they are");
    assert_eq!(replay(&ClusterImage::new(), &image.to_records()).0, *image);
}

/// Every record changes something beside the epochs, and epochs grow.
fn check_changes(before: &ClusterImage, records: &[MetadataRecord], after: &ClusterImage) {
    for record in records {
        let MetadataRecord::PartitionChange(change) = record else { continue };
        let topic = before.topics.get_by_id(change.topic_id).unwrap();
        let old = topic.partition(PartitionIndex(change.partition_id)).unwrap();
        let mut new = old.as_ref().clone();
        change_partition(&mut new, change).unwrap();
        new.partition_epoch = old.partition_epoch;
        assert_ne!(new, **old, "{change:?} changes nothing");
    }
    for (topic, index, new) in all(after) {
        let old = before.topics.get_by_id(topic.id).unwrap().partition(index).unwrap();
        assert!(new.leader_epoch >= old.leader_epoch && new.partition_epoch >= old.partition_epoch);
        assert!(new.leader == old.leader || new.leader_epoch > old.leader_epoch);
        let cleared =
            Partition { elr: Vec::new(), last_known_elr: Vec::new(), ..old.as_ref().clone() };
        let same = *new == **old || *new == cleared;
        assert!(same || new.partition_epoch > old.partition_epoch);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn clean_leaders_have_everything_and_invariants_hold(
        elr in any::<bool>(), steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut image = start(elr);
        let mut model = Model::new();
        advance(&mut model, &image, &image);
        for (turn, step) in (0..).zip(&steps) {
            let before = image.clone();
            let records = records_of(&image, step, turn, &mut model);
            image = replay(&image, &records).0;
            check_changes(&before, &records, &image);
            advance(&mut model, &before, &image);
            // What the controller looks for after a setting has changed.
            if matches!(step, Step::Unclean { .. } | Step::Elr { .. } | Step::MinInsync { .. } | Step::Directory { .. }) {
                let (halfway, rest) = (image.clone(), settle(&image, DEFAULTS).records);
                image = replay(&image, &rest).0;
                check_changes(&halfway, &rest, &image);
                advance(&mut model, &halfway, &image);
            }
            check(&image);
        }
    }
}
