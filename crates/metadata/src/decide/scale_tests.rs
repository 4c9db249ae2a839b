//! What decisions about very many partitions cost. Run with `--ignored --nocapture`, in release for figures that count.

#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "it measures time")]

use std::time::Instant;

use millstream_base::{BrokerEpoch, NodeId, Offset, Uuid};

use super::*;
use crate::image::METADATA_VERSION;
use crate::record::{MetadataRecord, encode_record};
use crate::replay::Replayer;
use crate::tests::{broker, config};

fn replayed(image: &ClusterImage, records: &[MetadataRecord]) -> ClusterImage {
    let mut replayer = Replayer::new(image.clone());
    records.iter().for_each(|record| replayer.replay(record).unwrap());
    replayer.image().clone()
}

/// Three brokers and `topics` topics of `partitions` partitions with three replicas each.
fn cluster(topics: u32, partitions: i32) -> ClusterImage {
    let levels = bootstrap_features(&[(METADATA_VERSION.into(), 30)]);
    let mut image = replayed(&ClusterImage::new(), &levels);
    for id in 0..3 {
        let command = RegisterBroker { unfenced: true, ..broker(id) };
        image = replayed(
            &image,
            &register_broker(&image, &command, Offset(id.into())).unwrap().records,
        );
    }
    for n in 0..topics {
        let mut id = [1; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        let topic = NewTopic {
            name: format!("topic-{n}"),
            id: Uuid::from_random(id),
            num_partitions: partitions,
            replication_factor: 3,
            ..NewTopic::default()
        };
        let create =
            CreateTopics { topics: vec![topic], seed: n.into(), ..CreateTopics::default() };
        image = replayed(&image, &create.decide(&image, &config()).records);
    }
    image
}

fn measured<R>(what: &str, run: impl FnOnce() -> R) -> R {
    let begin = Instant::now();
    let result = run();
    println!("{what}: {:.1} ms", begin.elapsed().as_secs_f64() * 1000.0);
    result
}

#[test]
fn a_change_of_more_than_a_batch_is_made_in_several() {
    let image = cluster(4, 4000);
    let epoch = image.broker(NodeId(0)).unwrap().epoch;
    let fence =
        change_broker(&image, ElectionDefaults::default(), NodeId(0), epoch, BrokerChange::Fence);
    let Decision { records, reply } = fence.unwrap();
    assert_eq!((records.len(), reply.more), (MAX_CHANGES_PER_BATCH, true));
    let image = replayed(&image, &records);
    let rest = settle(&image, ElectionDefaults::default());
    assert_eq!(rest.reply, Settled { changed: 6001, more: false });
    let image = replayed(&image, &rest.records);
    assert!(!leads_any(&image, NodeId(0)));
    assert!(settle(&image, ElectionDefaults::default()).records.is_empty());
}

#[test]
fn a_process_that_crashed_is_out_of_every_isr_at_once() {
    // Min ISR 2: whoever leaves an ISR of two stays eligible, unless it lost what it had.
    let image = cluster(4, 4000);
    let epoch = |image: &ClusterImage, id| image.broker(NodeId(id)).unwrap().epoch;
    // It comes back before anybody noticed.
    let incarnation_id = Uuid::from_random([9; 16]);
    let command = RegisterBroker { incarnation_id, unfenced: false, ..broker(0) };
    let back = register_broker(&image, &command, Offset(100)).unwrap();
    assert_eq!(back.reply.settled, Settled { changed: 16_000, more: false });
    let image = replayed(&image, &back.records);
    assert_eq!(epoch(&image, 0), BrokerEpoch(100));
    let holds = |p: &Partition| {
        p.leader == Some(NodeId(0)) || p.isr.contains(&NodeId(0)) || p.elr.contains(&NodeId(0))
    };
    let mut all = image.topics.iter().flat_map(|topic| topic.partitions.values());
    assert!(!all.any(|partition| holds(partition)));
}

#[test]
#[ignore = "a measurement"]
fn ten_thousand_partitions() {
    let defaults = ElectionDefaults::default();
    let small = cluster(1, 1);
    let topics = (0..1000u32).map(|n| {
        let mut id = [2; 16];
        id[..4].copy_from_slice(&n.to_be_bytes());
        NewTopic {
            name: format!("many-{n}"),
            id: Uuid::from_random(id),
            num_partitions: 10,
            replication_factor: 3,
            ..NewTopic::default()
        }
    });
    let create = CreateTopics { topics: topics.collect(), ..CreateTopics::default() };
    let config = config();
    let created = measured("10,000 partitions, decided", || create.decide(&small, &config).records);
    let image = measured("replayed", || replayed(&small, &created));
    let bytes = measured("encoded", || {
        created.iter().map(|record| encode_record(record).unwrap().len()).sum::<usize>()
    });
    println!("{} records, {bytes} bytes", created.len());
    let epoch = image.broker(NodeId(0)).unwrap().epoch;
    let fence = |image: &ClusterImage, change| {
        change_broker(image, defaults, NodeId(0), epoch, change).unwrap()
    };
    let fenced = measured("a broker fenced, decided", || fence(&image, BrokerChange::Fence));
    let moved = fenced.records.iter().filter(|record| match record {
        MetadataRecord::PartitionChange(change) => change.leader >= 0,
        _ => false,
    });
    println!("{} partitions changed, {} leaders moved", fenced.reply.changed, moved.count());
    let image = measured("replayed", || replayed(&image, &fenced.records));
    measured("settled partitions looked through", || settle(&image, defaults));
    measured("a heartbeat that stops looked up", || leads_any(&image, NodeId(0)));
    let back = measured("unfenced, decided", || fence(&image, BrokerChange::Unfence));
    println!("{} partitions changed", back.reply.changed);
}
