//! What each command answers, as tables.

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, Offset, PartitionIndex, Uuid};
use millstream_config::Op;

use super::*;
use crate::image::{ConfigResource, ConfigResourceType, SupportedFeature};
use crate::tests::{broker, cluster, config, replay};
use crate::{METADATA_VERSION, MetadataRecord};

const DEFAULTS: ElectionDefaults =
    ElectionDefaults { min_insync_replicas: 1, unclean_leader_election: false };

fn topic(name: &str, partitions: i32, factor: i16) -> NewTopic {
    let mut id = [1; 16];
    for (at, byte) in id.iter_mut().zip(name.bytes()) {
        *at = byte;
    }
    NewTopic {
        name: name.to_owned(),
        id: Uuid::from_random(id),
        num_partitions: partitions,
        replication_factor: factor,
        ..NewTopic::default()
    }
}

fn with_config(mut topic: NewTopic, name: &str, value: Option<&str>) -> NewTopic {
    topic.configs.push((name.to_owned(), value.map(str::to_owned)));
    topic
}

fn assigned(name: &str, rows: &[(i32, &[i32])]) -> NewTopic {
    let row = |(index, ids): &(i32, &[i32])| {
        (PartitionIndex(*index), ids.iter().copied().map(NodeId).collect())
    };
    NewTopic { assignments: rows.iter().map(row).collect(), ..topic(name, -1, -1) }
}

fn create(topics: Vec<NewTopic>) -> CreateTopics {
    CreateTopics {
        topics,
        default_num_partitions: 4,
        default_replication_factor: 1,
        ..CreateTopics::default()
    }
}

/// The code for the first topic of the request, on three brokers beside which topic `held_name` exists.
fn check_create(topics: Vec<NewTopic>, expected: ErrorCode) {
    let config = config();
    let image = cluster(3);
    let first = create(vec![topic("held_name", 1, 1)]).decide(&image, &config);
    let image = replay(&image, &first.records).0;
    let decision = create(topics.clone()).decide(&image, &config);
    let found = decision.reply[0].1.as_ref().map_or_else(|e| e.code, |_| ErrorCode::None);
    assert_eq!(found, expected, "{:?}: {:?}", topics[0], decision.reply[0].1);
    assert_eq!(decision.records.is_empty(), decision.reply.iter().all(|(_, r)| r.is_err()));
    let dry = CreateTopics { validate_only: true, ..create(topics) }.decide(&image, &config);
    assert_eq!((dry.records.len(), dry.reply), (0, decision.reply));
}

#[test]
fn create_topics() {
    use ErrorCode as E;
    check_create(vec![topic("a", 3, 2)], E::None);
    check_create(vec![topic("a", -1, -1)], E::None);
    check_create(vec![topic("held_name", 1, 1)], E::TopicAlreadyExists);
    check_create(vec![topic("held.name", 1, 1)], E::InvalidTopicException);
    check_create(vec![topic("a/b", 1, 1)], E::InvalidTopicException);
    check_create(vec![topic("", 1, 1)], E::InvalidTopicException);
    check_create(vec![topic("__cluster_metadata", 1, 1)], E::InvalidRequest);
    check_create(vec![topic("a", 1, 1), topic("a", 1, 1)], E::InvalidRequest);
    check_create(vec![topic("a", 0, 1)], E::InvalidPartitions);
    check_create(vec![topic("a", -2, 1)], E::InvalidPartitions);
    check_create(vec![topic("a", 10_001, 1)], E::PolicyViolation);
    check_create(vec![topic("a", 1, 0)], E::InvalidReplicationFactor);
    check_create(vec![topic("a", 1, -2)], E::InvalidReplicationFactor);
    check_create(vec![topic("a", 1, 4)], E::InvalidReplicationFactor);
    check_create(vec![with_config(topic("a", 1, 1), "retention.ms", Some("5"))], E::None);
    check_create(vec![with_config(topic("a", 1, 1), "retention.ms", Some("x"))], E::InvalidConfig);
    check_create(vec![with_config(topic("a", 1, 1), "retention.ms", None)], E::InvalidConfig);
    check_create(vec![with_config(topic("a", 1, 1), "no.such", Some("5"))], E::InvalidConfig);
    check_create(vec![assigned("a", &[(0, &[1, 2]), (1, &[2, 0])])], E::None);
    check_create(vec![assigned("a", &[(1, &[1]), (0, &[2])])], E::None);
    check_create(vec![assigned("a", &[(0, &[1]), (2, &[2])])], E::InvalidReplicaAssignment);
    check_create(vec![assigned("a", &[(0, &[1]), (0, &[2])])], E::InvalidReplicaAssignment);
    check_create(vec![assigned("a", &[(0, &[1, 1])])], E::InvalidReplicaAssignment);
    check_create(vec![assigned("a", &[(0, &[])])], E::InvalidReplicaAssignment);
    check_create(vec![assigned("a", &[(0, &[9])])], E::InvalidReplicaAssignment);
    check_create(vec![assigned("a", &[(0, &[1, 2]), (1, &[1])])], E::InvalidReplicaAssignment);
    let counted = NewTopic { num_partitions: 1, ..assigned("a", &[(0, &[1])]) };
    check_create(vec![counted], E::InvalidRequest);
    let factored = NewTopic { replication_factor: 1, ..assigned("a", &[(0, &[1])]) };
    check_create(vec![factored], E::InvalidRequest);
}

#[test]
fn topics_of_one_request_may_not_collide_either_and_others_go_through() {
    let decision = create(vec![topic("x.y", 1, 1), topic("x_y", 1, 1), topic("z", 2, 1)])
        .decide(&cluster(1), &config());
    let codes: Vec<_> = decision
        .reply
        .iter()
        .map(|(_, r)| r.as_ref().map_or_else(|e| e.code, |_| ErrorCode::None))
        .collect();
    assert_eq!(codes, [ErrorCode::None, ErrorCode::InvalidTopicException, ErrorCode::None]);
    assert_eq!(decision.records.len(), 2 + 3);
}

#[test]
fn settings_stand_before_partitions_in_the_log() {
    let decision = create(vec![with_config(topic("a", 2, 1), "retention.ms", Some("5"))])
        .decide(&cluster(1), &config());
    let kinds: Vec<_> = decision.records.iter().map(MetadataRecord::record_type).collect();
    assert_eq!(kinds, [2, 4, 3, 3]);
}

#[test]
fn create_partitions() {
    let image = cluster(3);
    let image = replay(&image, &create(vec![topic("a", 4, 2)]).decide(&image, &config()).records).0;
    let check = |name: &str, count, rows: Option<&[&[i32]]>, expected| {
        let row = |ids: &&[i32]| ids.iter().copied().map(NodeId).collect();
        let assignments = rows.map(|rows| rows.iter().map(row).collect());
        let more = MorePartitions { name: name.to_owned(), count, assignments };
        let command = CreatePartitions { topics: vec![more], ..CreatePartitions::default() };
        let decision = command.decide(&image);
        let found = decision.reply[0].1.as_ref().map_or_else(|e| e.code, |()| ErrorCode::None);
        assert_eq!(found, expected, "{command:?}");
    };
    use ErrorCode as E;
    check("a", 7, None, E::None);
    check("b", 7, None, E::UnknownTopicOrPartition);
    check("a", 4, None, E::InvalidPartitions);
    check("a", 3, None, E::InvalidPartitions);
    check("a", -1, None, E::InvalidPartitions);
    check("a", 10_005, None, E::PolicyViolation);
    check("a", 6, Some(&[&[0, 1], &[2, 1]]), E::None);
    check("a", 6, Some(&[&[0, 1]]), E::InvalidReplicaAssignment);
    check("a", 5, Some(&[&[0]]), E::InvalidReplicaAssignment);
    check("a", 5, Some(&[&[0, 5]]), E::InvalidReplicaAssignment);
    check("a", 5, Some(&[]), E::InvalidReplicaAssignment);
}

#[test]
fn added_partitions_go_on_where_the_topic_ended() {
    let image = cluster(3);
    let image = replay(&image, &create(vec![topic("a", 2, 1)]).decide(&image, &config()).records).0;
    let more = MorePartitions { name: "a".into(), count: 6, assignments: None };
    let command = CreatePartitions { topics: vec![more], seed: 77, ..Default::default() };
    let image = replay(&image, &command.decide(&image).records).0;
    let leaders = image.topics.get("a").unwrap().partitions.values().map(|p| p.leader.unwrap());
    let leaders: Vec<_> = leaders.collect();
    assert_eq!(leaders[..3], leaders[3..]);
    assert_eq!(count(leaders.iter()).into_values().collect::<Vec<_>>(), [2, 2, 2]);
}

#[test]
fn delete_topics() {
    let image = cluster(1);
    let made = create(vec![topic("a", 1, 1), topic("b", 1, 1)]).decide(&image, &config());
    let image = replay(&image, &made.records).0;
    let id = image.topics.id_of("a").unwrap();
    let check = |topics: Vec<TopicRef>, enabled, expected: &[ErrorCode]| {
        let decision = DeleteTopics { topics, enabled }.decide(&image);
        let codes = decision.reply.iter();
        let codes: Vec<_> =
            codes.map(|(_, r)| r.as_ref().map_or_else(|e| e.code, |_| ErrorCode::None)).collect();
        assert_eq!(codes, expected);
        assert_eq!(decision.records.len(), codes.iter().filter(|c| !c.is_error()).count());
    };
    use ErrorCode as E;
    let (name, by_id) = (|n: &str| TopicRef::Name(n.to_owned()), TopicRef::Id);
    check(vec![name("a"), name("b")], true, &[E::None, E::None]);
    check(vec![by_id(id), name("c")], true, &[E::None, E::UnknownTopicOrPartition]);
    check(vec![by_id(Uuid([5; 16]))], true, &[E::UnknownTopicId]);
    check(
        vec![name("a"), by_id(id), name("b")],
        true,
        &[E::InvalidRequest, E::InvalidRequest, E::None],
    );
    check(vec![name("a")], false, &[E::TopicDeletionDisabled]);
}

#[test]
fn a_topic_takes_its_settings_with_it() {
    let image = cluster(1);
    let made = create(vec![with_config(topic("a", 1, 1), "retention.ms", Some("5"))]);
    let image = replay(&image, &made.decide(&image, &config()).records).0;
    assert_eq!(image.configs.of_topic("a").len(), 1);
    let command = DeleteTopics { topics: vec![TopicRef::Name("a".into())], enabled: true };
    let (image, delta) = replay(&image, &command.decide(&image).records);
    assert_eq!((image.configs.of_topic("a").len(), delta.topics_deleted.len()), (0, 1));
}

#[test]
fn alter_configs() {
    let image = cluster(1);
    let image = replay(&image, &create(vec![topic("a", 1, 1)]).decide(&image, &config()).records).0;
    let check = |kind, name: &str, setting: &str, op, value: Option<&str>, expected| {
        let resource = ConfigResource::new(kind, name);
        let value = value.map(str::to_owned);
        let edit = ConfigEdit { name: setting.to_owned(), op, value };
        let resources = vec![(resource, Alteration::Incremental(vec![edit]))];
        let command = AlterConfigs { resources, validate_only: false };
        let decision = command.decide(&image, &config());
        let found = decision.reply[0].1.as_ref().map_or_else(|e| e.code, |()| ErrorCode::None);
        assert_eq!(found, expected, "{command:?} {:?}", decision.reply);
    };
    use ConfigResourceType::{Broker, BrokerLogger, ClientMetrics, Group, Topic};
    use ErrorCode as E;
    check(Topic, "a", "retention.ms", Op::Set, Some("7"), E::None);
    check(Topic, "a", "retention.ms", Op::Set, Some("x"), E::InvalidConfig);
    check(Topic, "a", "retention.ms", Op::Set, None, E::InvalidRequest);
    check(Topic, "a", "retention.ms", Op::Append, Some("7"), E::InvalidConfig);
    check(Topic, "a", "cleanup.policy", Op::Append, Some("compact"), E::None);
    check(Topic, "a", "no.such", Op::Set, Some("7"), E::InvalidConfig);
    check(Topic, "b", "retention.ms", Op::Set, Some("7"), E::UnknownTopicOrPartition);
    check(Topic, "", "retention.ms", Op::Set, Some("7"), E::InvalidRequest);
    check(Topic, "a b", "retention.ms", Op::Set, Some("7"), E::InvalidTopicException);
    check(Broker, "", "log.retention.ms", Op::Set, Some("7"), E::None);
    check(Broker, "0", "log.retention.ms", Op::Set, Some("7"), E::None);
    check(Broker, "9", "log.retention.ms", Op::Set, Some("7"), E::BrokerIdNotRegistered);
    check(Broker, "x", "log.retention.ms", Op::Set, Some("7"), E::InvalidRequest);
    check(Broker, "-1", "log.retention.ms", Op::Set, Some("7"), E::InvalidRequest);
    check(Broker, "0", "node.id", Op::Set, Some("7"), E::InvalidRequest);
    check(BrokerLogger, "0", "x", Op::Set, Some("INFO"), E::InvalidRequest);
    check(Group, "", "consumer.session.timeout.ms", Op::Set, Some("50000"), E::InvalidRequest);
    check(ClientMetrics, "", "interval.ms", Op::Set, Some("1000"), E::InvalidRequest);
}

#[test]
fn a_replacement_deletes_what_it_does_not_name() {
    let image = cluster(1);
    let made = with_config(topic("a", 1, 1), "retention.ms", Some("5"));
    let made = with_config(made, "retention.bytes", Some("6"));
    let image = replay(&image, &create(vec![made]).decide(&image, &config()).records).0;
    let wanted = vec![("retention.bytes".to_owned(), Some("6".to_owned()))];
    let resources = vec![(ConfigResource::topic("a"), Alteration::Replace(wanted))];
    let command = AlterConfigs { resources, validate_only: false };
    let decision = command.decide(&image, &config());
    assert_eq!(decision.records.len(), 1, "what stays is not written again");
    let image = replay(&image, &decision.records).0;
    assert_eq!(image.configs.of_topic("a").keys().collect::<Vec<_>>(), ["retention.bytes"]);
}

#[test]
fn brokers_come_and_go() {
    let image = cluster(3);
    let image = replay(
        &image,
        &create(vec![assigned("a", &[(0, &[0, 1])])]).decide(&image, &config()).records,
    )
    .0;
    let state = |image: &ClusterImage| {
        let p = image.topics.partition("a", PartitionIndex(0)).unwrap();
        let isr: Vec<_> = p.isr.iter().map(|id| id.get()).collect();
        (p.leader.map(NodeId::get), isr, p.leader_epoch.get(), p.partition_epoch)
    };
    let change = |image: &ClusterImage, id, change| {
        let epoch = image.broker(NodeId(id)).unwrap().epoch;
        let decision = change_broker(image, DEFAULTS, NodeId(id), epoch, change).unwrap();
        replay(image, &decision.records).0
    };
    assert_eq!(state(&image), (Some(0), vec![0, 1], 0, 0));
    let one_down = change(&image, 0, BrokerChange::Fence);
    assert_eq!(state(&one_down), (Some(1), vec![1], 1, 1));
    let both_down = change(&one_down, 1, BrokerChange::Fence);
    assert_eq!(state(&both_down), (None, vec![1], 2, 2));
    let back = change(&both_down, 0, BrokerChange::Unfence);
    assert_eq!(state(&back), (None, vec![1], 2, 2), "broker 0 may have missed records");
    let whole = change(&back, 1, BrokerChange::Unfence);
    assert_eq!(state(&whole), (Some(1), vec![1], 3, 3));
    let stale = change_broker(&image, DEFAULTS, NodeId(0), BrokerEpoch(99), BrokerChange::Fence);
    assert_eq!(stale.unwrap_err().code, ErrorCode::StaleBrokerEpoch);
    let unknown = change_broker(&image, DEFAULTS, NodeId(9), BrokerEpoch(0), BrokerChange::Fence);
    assert_eq!(unknown.unwrap_err().code, ErrorCode::BrokerIdNotRegistered);
    let again = register_broker(&image, &broker(0), Offset(50)).unwrap();
    assert_eq!((again.reply.epoch, again.records.len()), (BrokerEpoch(50), 1));
    let gone = replay(&image, &unregister_broker(&image, DEFAULTS, NodeId(0)).unwrap().records).0;
    assert_eq!((gone.brokers.len(), state(&gone).0), (2, Some(1)));
}

#[test]
fn features_move_only_where_everyone_can_follow() {
    let levels = [("group.version".into(), 1), (METADATA_VERSION.into(), 20)];
    let bootstrap = bootstrap_features(&levels);
    let image = replay(&ClusterImage::new(), &bootstrap).0;
    assert!(matches!(&bootstrap[0], MetadataRecord::FeatureLevel(f) if f.name == METADATA_VERSION));
    let mut able = broker(0);
    able.features.push(SupportedFeature { name: "group.version".into(), min: 0, max: 1 });
    let distant = RegisterBroker { unfenced: false, ..broker(1) };
    let refused = register_broker(&image, &distant, Offset(1)).unwrap_err();
    assert_eq!(refused.code, ErrorCode::UnsupportedVersion);
    assert!(register_broker(&image, &broker(1), Offset(1)).is_ok(), "its own controller");
    let old = RegisterBroker { features: Vec::new(), ..broker(1) };
    assert!(register_broker(&image, &old, Offset(1)).is_err(), "it cannot read the metadata");
    let registered = register_broker(&image, &able, Offset(1)).unwrap();
    let image = replay(&image, &registered.records).0;
    let check = |name: &str, level, upgrade_type, expected| {
        let update = FeatureUpdate { name: name.to_owned(), level, upgrade_type };
        let command =
            UpdateFeatures { updates: vec![update], validate_only: false, defaults: DEFAULTS };
        let found =
            command.decide(&image, &able.features).map_or_else(|e| e.code, |_| ErrorCode::None);
        assert_eq!(found, expected, "{command:?}");
    };
    use ErrorCode as E;
    check(METADATA_VERSION, 25, UpgradeType::Upgrade, E::None);
    check(METADATA_VERSION, 31, UpgradeType::Upgrade, E::InvalidUpdateVersion);
    check(METADATA_VERSION, 19, UpgradeType::UnsafeDowngrade, E::InvalidUpdateVersion);
    check("group.version", 0, UpgradeType::SafeDowngrade, E::None);
    check("group.version", 0, UpgradeType::Upgrade, E::InvalidUpdateVersion);
    check("group.version", 2, UpgradeType::SafeDowngrade, E::InvalidUpdateVersion);
    check("no.such", 1, UpgradeType::Upgrade, E::InvalidUpdateVersion);
}

#[test]
fn a_failed_directory_takes_the_lead_away_until_it_is_back() {
    let (a, b) = (Uuid([11; 16]), Uuid([12; 16]));
    let image = cluster(1);
    let register = |image: &ClusterImage, dirs: &[Uuid]| {
        let known = image.broker(NodeId(0)).unwrap();
        let command = RegisterBroker {
            id: NodeId(0),
            incarnation_id: Uuid([1; 16]),
            endpoints: known.endpoints.clone(),
            features: known.features.clone(),
            rack: None,
            log_dirs: dirs.to_vec(),
            unfenced: true,
            ..RegisterBroker::default()
        };
        replay(image, &register_broker(image, &command, Offset(99)).unwrap().records).0
    };
    let image = register(&image, &[a, b]);
    let made = create(vec![topic("two", 2, 1)]).decide(&image, &config());
    let image = replay(&image, &made.records).0;
    let id = image.topics.get("two").unwrap().id;
    let place = |index, dir| (id, PartitionIndex(index), dir);
    let noted = assign_directories(&image, NodeId(0), &[place(0, a), place(1, b), place(9, b)]);
    let image = replay(&image, &noted.records).0;
    assert!(assign_directories(&image, NodeId(0), &[place(0, a)]).records.is_empty());
    let state = |image: &ClusterImage, index: i32| {
        let topic = image.topics.get("two").unwrap();
        let partition = topic.partition(PartitionIndex(index)).unwrap();
        let online = image.is_directory_online(NodeId(0), partition);
        (partition.leader.map(NodeId::get), partition.leader_epoch.get(), online)
    };
    assert_eq!((state(&image, 0), state(&image, 1)), ((Some(0), 0, true), (Some(0), 0, true)));
    let failed = replay(&image, &fail_directories(&image, DEFAULTS, NodeId(0), &[a]).records).0;
    assert_eq!((state(&failed, 0), state(&failed, 1)), ((Some(0), 0, true), (None, 1, false)));
    assert!(fail_directories(&failed, DEFAULTS, NodeId(0), &[a]).records.is_empty());
    let still = register(&failed, &[a]);
    assert_eq!((state(&still, 0), state(&still, 1)), ((Some(0), 0, true), (None, 1, false)));
    let back = register(&failed, &[a, b]);
    assert_eq!((state(&back, 0), state(&back, 1)), ((Some(0), 0, true), (Some(0), 2, true)));
    let anew = replay(&back, &lead_anew(&back, NodeId(0))).0;
    assert_eq!((state(&anew, 0), state(&anew, 1)), ((Some(0), 1, true), (Some(0), 3, true)));
    let none = replay(&anew, &fail_directories(&anew, DEFAULTS, NodeId(0), &[]).records).0;
    assert_eq!((state(&none, 0), state(&none, 1)), ((None, 2, false), (None, 4, false)));
}
