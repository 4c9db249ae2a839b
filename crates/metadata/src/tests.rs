//! Properties of images: records give them back, and no sequence of commands breaks their invariants.

use std::collections::BTreeSet;

use millstream_base::{NodeId, Offset, PartitionIndex, Uuid};
use millstream_config::{BrokerConfig, Op, ServerProperties};
use millstream_wire::stored::*;
use proptest::prelude::*;

use crate::decide::*;
use crate::*;

pub(crate) fn config() -> BrokerConfig {
    BrokerConfig::load(&ServerProperties::default()).unwrap()
}

/// Replays through bytes, as the log does.
pub(crate) fn replay(
    image: &ClusterImage,
    records: &[MetadataRecord],
) -> (ClusterImage, ImageDelta) {
    let mut replayer = Replayer::new(image.clone());
    for record in records {
        let bytes = encode_record(record).unwrap();
        let decoded = decode_record(bytes).unwrap();
        assert_eq!(&decoded, record);
        replayer.replay(&decoded).unwrap();
    }
    let delta = replayer.take_delta();
    (replayer.image().clone(), delta)
}

/// A cluster of that many brokers, none fenced.
pub(crate) fn cluster(brokers: i32) -> ClusterImage {
    let mut image = ClusterImage::new();
    for id in 0..brokers {
        let command = broker(id);
        let decision = register_broker(&image, &command, Offset(id.into())).unwrap();
        image = replay(&image, &decision.records).0;
    }
    image
}

pub(crate) fn broker(id: i32) -> RegisterBroker {
    let endpoint = Endpoint {
        name: "PLAINTEXT".into(),
        host: "localhost".into(),
        port: 9092,
        security_protocol: 0,
    };
    let byte = u8::try_from(id).unwrap() + 1;
    RegisterBroker {
        id: NodeId(id),
        incarnation_id: Uuid::from_random([byte; 16]),
        endpoints: vec![endpoint],
        features: vec![SupportedFeature { name: METADATA_VERSION.into(), min: 1, max: 30 }],
        rack: (id % 2 == 0).then(|| "even".to_owned()),
        log_dirs: vec![Uuid::from_random([byte; 16])],
        unfenced: true,
        ..RegisterBroker::default()
    }
}

fn check_invariants(image: &ClusterImage) {
    let mut partitions = 0;
    for topic in image.topics.iter() {
        assert_eq!(image.topics.get_by_id(topic.id).unwrap().name, topic.name);
        assert_eq!(image.topics.colliding(&topic.name), None);
        assert!(!topic.partitions.is_empty());
        partitions += topic.partitions.len();
        for ((index, partition), expected) in topic.partitions.iter().zip(0..) {
            assert_eq!(*index, PartitionIndex(expected), "partitions are dense");
            let replicas: BTreeSet<_> = partition.replicas.iter().collect();
            assert_eq!(replicas.len(), partition.replicas.len());
            assert_eq!(partition.directories.len(), partition.replicas.len());
            assert!(!partition.isr.is_empty());
            assert!(partition.isr.iter().all(|id| replicas.contains(id)));
            if let Some(leader) = partition.leader {
                assert!(partition.isr.contains(&leader));
                assert!(image.is_active(leader), "an inactive broker leads");
            } else {
                assert!(!partition.isr.iter().any(|id| image.is_active(*id)), "nobody leads");
            }
        }
    }
    assert_eq!(partitions, image.topics.partition_count());
    for (resource, settings) in image.configs.iter() {
        assert!(!settings.is_empty());
        if resource.resource_type == ConfigResourceType::Topic {
            assert!(image.topics.get(&resource.name).is_some(), "settings of no topic");
        }
    }
    let (again, _) = replay(&ClusterImage::new(), &image.to_records());
    assert_eq!(&again, image);
}

#[derive(Debug, Clone)]
enum Step {
    Create { name: u8, partitions: i32, factor: i16, retention: Option<i64> },
    Delete { name: u8 },
    Grow { name: u8, to: i32 },
    Configure { name: u8, value: Option<i64> },
    Broker { id: i32, change: BrokerChange },
    Restart { id: i32 },
    ProducerIds { id: i32 },
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0u8..12;
    let change = prop_oneof![
        Just(BrokerChange::Fence),
        Just(BrokerChange::Unfence),
        Just(BrokerChange::ControlledShutdown)
    ];
    prop_oneof![
        4 => (name(), -1i32..9, -1i16..5, proptest::option::of(-2i64..1000))
            .prop_map(|(name, partitions, factor, retention)| Step::Create { name, partitions, factor, retention }),
        1 => name().prop_map(|name| Step::Delete { name }),
        2 => (name(), 0i32..20).prop_map(|(name, to)| Step::Grow { name, to }),
        2 => (name(), proptest::option::of(-2i64..1000)).prop_map(|(name, value)| Step::Configure { name, value }),
        3 => (0i32..4, change).prop_map(|(id, change)| Step::Broker { id, change }),
        1 => (0i32..4).prop_map(|id| Step::Restart { id }),
        1 => (0i32..4).prop_map(|id| Step::ProducerIds { id }),
    ]
}

fn topic_name(name: u8) -> String {
    // Some differ only in a dot against an underscore.
    ["a.b", "a_b", "c.d_e", "c_d.e", "__consumer_offsets"]
        .get(usize::from(name))
        .map_or_else(|| format!("topic-{name}"), |name| (*name).to_owned())
}

fn records_of(
    image: &ClusterImage,
    step: &Step,
    at: u64,
    config: &BrokerConfig,
) -> Vec<MetadataRecord> {
    match step {
        Step::Create { name, partitions, factor, retention } => {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&at.to_be_bytes());
            let topic = NewTopic {
                name: topic_name(*name),
                id: Uuid::from_random(id),
                num_partitions: *partitions,
                replication_factor: *factor,
                configs: retention
                    .iter()
                    .map(|v| ("retention.ms".into(), Some(v.to_string())))
                    .collect(),
                ..NewTopic::default()
            };
            let command = CreateTopics {
                topics: vec![topic],
                default_num_partitions: 2,
                default_replication_factor: 1,
                seed: at,
                ..CreateTopics::default()
            };
            command.decide(image, config).records
        }
        Step::Delete { name } => {
            let topics = vec![TopicRef::Name(topic_name(*name))];
            DeleteTopics { topics, enabled: true }.decide(image).records
        }
        Step::Grow { name, to } => {
            let more = MorePartitions { name: topic_name(*name), count: *to, assignments: None };
            let command = CreatePartitions { topics: vec![more], validate_only: false, seed: at };
            command.decide(image).records
        }
        Step::Configure { name, value } => {
            let op = if value.is_some() { Op::Set } else { Op::Delete };
            let value = value.map(|v| v.to_string());
            let edit = ConfigEdit { name: "retention.ms".into(), op, value };
            let resource = ConfigResource::topic(topic_name(*name));
            let resources = vec![(resource, Alteration::Incremental(vec![edit]))];
            AlterConfigs { resources, validate_only: false }.decide(image, config).records
        }
        Step::Broker { id, change } => {
            let epoch = image.broker(NodeId(*id)).unwrap().epoch;
            change_broker(image, ElectionDefaults::default(), NodeId(*id), epoch, *change)
                .unwrap()
                .records
        }
        Step::Restart { id } => {
            let offset = Offset(i64::try_from(at).unwrap() + 100);
            register_broker(image, &broker(*id), offset).unwrap().records
        }
        Step::ProducerIds { id } => {
            let epoch = image.broker(NodeId(*id)).unwrap().epoch;
            let decision = allocate_producer_ids(image, NodeId(*id), epoch).unwrap();
            assert_eq!(decision.reply.first, image.next_producer_id);
            decision.records
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn commands_keep_the_invariants_and_records_give_the_image_back(steps in proptest::collection::vec(step(), 1..40)) {
        let config = config();
        let mut image = cluster(4);
        let mut log = image.to_records();
        for (at, step) in (0..).zip(&steps) {
            let before = image.clone();
            let records = records_of(&image, step, at, &config);
            let (after, delta) = replay(&image, &records);
            prop_assert_eq!(&image, &before, "an image that is held does not change");
            prop_assert_eq!(delta.is_empty(), records.is_empty());
            for (id, index) in &delta.partitions {
                prop_assert!(after.topics.get_by_id(*id).unwrap().partition(*index).is_some());
            }
            log.extend(records);
            image = after;
            check_invariants(&image);
        }
        prop_assert_eq!(replay(&ClusterImage::new(), &log).0, image, "a restart comes to the same");
    }
}

#[test]
fn every_kind_of_record_survives_a_snapshot() {
    let user = |mechanism, name: &str| {
        MetadataRecord::UserScramCredential(UserScramCredentialRecord {
            name: name.into(),
            mechanism,
            salt: vec![1, 2].into(),
            iterations: 4096,
            ..Default::default()
        })
    };
    let acl = |byte| {
        MetadataRecord::AccessControlEntry(AccessControlEntryRecord {
            id: Uuid([byte; 16]),
            resource_name: "orders".into(),
            principal: "User:a".into(),
            host: "*".into(),
            ..Default::default()
        })
    };
    let token = |id: &str| {
        MetadataRecord::DelegationToken(DelegationTokenRecord {
            token_id: id.into(),
            renewers: vec!["User:b".into()],
            ..Default::default()
        })
    };
    let quota = |key: &str, value, remove| {
        let entity = |kind: &str, name: Option<&str>| EntityData {
            entity_type: kind.into(),
            entity_name: name.map(Into::into),
        };
        MetadataRecord::ClientQuota(ClientQuotaRecord {
            entity: vec![entity("user", Some("a")), entity("client-id", None)],
            key: key.into(),
            value,
            remove,
        })
    };
    let feature = |name: &str, feature_level| {
        MetadataRecord::FeatureLevel(FeatureLevelRecord { name: name.into(), feature_level })
    };
    let controller = RegisterControllerRecord { controller_id: 7, ..Default::default() };
    let records = vec![
        feature(METADATA_VERSION, 25),
        feature("group.version", 1),
        feature("transaction.version", 2),
        feature("transaction.version", 0),
        MetadataRecord::RegisterController(controller),
        user(1, "a"),
        user(2, "a"),
        user(2, "b"),
        MetadataRecord::RemoveUserScramCredential(RemoveUserScramCredentialRecord {
            name: "b".into(),
            mechanism: 2,
        }),
        acl(1),
        acl(2),
        MetadataRecord::RemoveAccessControlEntry(RemoveAccessControlEntryRecord {
            id: Uuid([1; 16]),
        }),
        token("t1"),
        token("t2"),
        MetadataRecord::RemoveDelegationToken(RemoveDelegationTokenRecord {
            token_id: "t1".into(),
        }),
        quota("producer_byte_rate", 10.0, false),
        quota("consumer_byte_rate", 20.0, false),
        quota("producer_byte_rate", 0.0, true),
        MetadataRecord::NoOp(NoOpRecord::default()),
        MetadataRecord::ZkMigrationState(ZkMigrationStateRecord { zk_migration_state: 0 }),
        MetadataRecord::ProducerIds(ProducerIdsRecord {
            broker_id: 1,
            broker_epoch: 2,
            next_producer_id: 3000,
        }),
    ];
    let (image, delta) = replay(&ClusterImage::new(), &records);
    assert_eq!((image.scram.len(), image.acls.len(), image.delegation_tokens.len()), (2, 1, 1));
    assert_eq!(image.client_quotas.values().next().unwrap().len(), 1);
    assert_eq!((image.features.len(), image.feature_level("group.version")), (2, 1));
    assert!(delta.acls && delta.scram && delta.client_quotas && delta.controllers);
    assert_eq!(replay(&ClusterImage::new(), &image.to_records()).0, image);
}

#[test]
fn a_transaction_shows_only_at_its_end() {
    let topic = |name: &str, byte| {
        MetadataRecord::Topic(TopicRecord { name: name.into(), topic_id: Uuid([byte; 16]) })
    };
    let begin = MetadataRecord::BeginTransaction(BeginTransactionRecord::default());
    let end = MetadataRecord::EndTransaction(EndTransactionRecord::default());
    let abort = MetadataRecord::AbortTransaction(AbortTransactionRecord::default());
    let mut replayer = Replayer::new(ClusterImage::new());
    let visible = |replayer: &Replayer| replayer.visible().topics.len();
    for record in [&begin, &topic("a", 1)] {
        replayer.replay(record).unwrap();
    }
    assert_eq!((visible(&replayer), replayer.image().topics.len()), (0, 1));
    assert!(replayer.take_delta().is_empty());
    assert!(replayer.replay(&begin).is_err());
    replayer.replay(&end).unwrap();
    assert_eq!((visible(&replayer), replayer.take_delta().topics_created.len()), (1, 1));
    for record in [&begin, &topic("b", 2), &abort] {
        replayer.replay(record).unwrap();
    }
    assert_eq!((visible(&replayer), replayer.image().topics.len()), (1, 1));
    assert!(replayer.take_delta().is_empty());
    assert!(replayer.replay(&end).is_err());
}

#[test]
fn damaged_records_are_errors() {
    let good = encode_record(&MetadataRecord::Topic(TopicRecord {
        name: "orders".into(),
        topic_id: Uuid([9; 16]),
    }))
    .unwrap();
    assert_eq!(good.slice(..3), [1, 2, 0][..]);
    for len in 0..good.len() {
        assert!(decode_record(good.slice(..len)).is_err(), "{len} bytes");
    }
    for (at, value) in [(0, 2), (1, 99), (1, 6), (2, 1)] {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        assert!(decode_record(bytes.into()).is_err(), "byte {at} = {value}");
    }
    let mut longer = good.to_vec();
    longer.push(0);
    assert!(decode_record(longer.into()).is_err());
}

/// One command costs what it touches, not what the cluster has: 20,000 partitions stay where they are.
#[test]
fn a_change_shares_the_rest_of_the_image() {
    let config = config();
    let mut image = cluster(3);
    for group in 0..40u8 {
        let topic = |n: u8| NewTopic {
            name: format!("t-{group}-{n}"),
            id: Uuid::from_random([group, n, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
            num_partitions: 10,
            replication_factor: 3,
            ..NewTopic::default()
        };
        let command = CreateTopics { topics: (0..50).map(topic).collect(), ..Default::default() };
        image = replay(&image, &command.decide(&image, &config).records).0;
    }
    assert_eq!(image.topics.partition_count(), 20_000);
    let grow = MorePartitions { name: "t-7-7".into(), count: 11, assignments: None };
    let command = CreatePartitions { topics: vec![grow], ..Default::default() };
    let (after, _) = replay(&image, &command.decide(&image).records);
    let shared = image.topics.iter().zip(after.topics.iter());
    let copied = shared.filter(|(old, new)| !std::sync::Arc::ptr_eq(old, new)).count();
    assert_eq!(copied, 1);
}
