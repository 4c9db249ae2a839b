//! The producer against a real broker, also one that is killed.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_base::{ErrorCode, Offset, TimestampMs};
use millstream_client::{
    Acks, Cluster, Compression, Consumer, ConsumerConfig, ConsumerRecord, OffsetReset,
    ProduceError, Producer, ProducerConfig, ProducerRecord,
};
use millstream_testkit::{BrokerOptions, BrokerProcess};

use crate::{cluster, create, run};

/// Everything in `topic`, by partition.
async fn read_all(cluster: &Cluster, topic: &str) -> BTreeMap<i32, Vec<ConsumerRecord>> {
    let config =
        ConsumerConfig { offset_reset: OffsetReset::Earliest, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(cluster.clone(), config);
    let info = cluster.topic(&topic.into(), false, Duration::from_secs(10)).await.unwrap();
    let partitions =
        info.partitions.iter().map(|p| millstream_base::TopicPartition::new(topic, p.index));
    consumer.assign(partitions).unwrap();
    let mut all: BTreeMap<i32, Vec<ConsumerRecord>> = BTreeMap::new();
    loop {
        let records = consumer.poll(Duration::from_millis(200)).await.unwrap();
        if records.is_empty() && consumer.reached_end() {
            return all;
        }
        for record in records {
            all.entry(record.partition).or_default().push(record);
        }
    }
}

#[test]
fn every_codec_carries_keys_headers_nulls_and_timestamps() {
    run(async {
        let broker = BrokerProcess::start().unwrap();
        let cluster = cluster(&broker).await;
        create(&cluster, "t", 1, &[]).await;
        for compression in Compression::ALL {
            let config = ProducerConfig { compression, ..ProducerConfig::default() };
            let producer = Producer::new(cluster.clone(), config).await.unwrap();
            let full = ProducerRecord::to("t")
                .key("k")
                .value("v".repeat(100))
                .header("h", compression.name())
                .timestamp(TimestampMs(77));
            let first = producer.send(full).await.unwrap();
            let second = producer.send(ProducerRecord::to("t").key("gone")).await.unwrap();
            let first = first.await.unwrap();
            let second = second.await.unwrap();
            assert_eq!(first.timestamp, Some(TimestampMs(77)));
            assert_eq!(second.offset, first.offset.map(|offset| offset.plus(1)));
            producer.close().await;
        }
        let read = read_all(&cluster, "t").await.remove(&0).unwrap();
        assert_eq!(read.len(), 10);
        for (pair, compression) in read.chunks(2).zip(Compression::ALL) {
            assert_eq!(pair[0].headers[0].value.as_deref(), Some(compression.name().as_bytes()));
            assert_eq!(pair[0].value.as_ref().unwrap().len(), 100);
            assert_eq!((pair[1].key.as_deref(), &pair[1].value), (Some(&b"gone"[..]), &None));
        }
    });
}

/// Sends `count` numbered records over 3 partitions while `trouble` goes on, and checks that each is there once and
/// in order.
async fn exactly_once(cluster: &Cluster, count: u32, trouble: impl Future<Output = ()>) {
    create(cluster, "numbers", 3, &[]).await;
    let config = ProducerConfig {
        batch_size: 2_000,
        linger: Duration::from_millis(1),
        compression: Compression::Lz4,
        ..ProducerConfig::default()
    };
    let producer = Producer::new(cluster.clone(), config).await.unwrap();
    let sending = async {
        let mut deliveries = Vec::new();
        for number in 0..count {
            let record = ProducerRecord::to("numbers")
                .partition(i32::try_from(number % 3).unwrap())
                .value(number.to_string());
            deliveries.push(producer.send(record).await.unwrap());
            if number % 100 == 0 {
                millstream_env::task::sleep(Duration::from_millis(1)).await;
            }
        }
        for (number, delivery) in deliveries.into_iter().enumerate() {
            delivery.await.unwrap_or_else(|error| panic!("record {number}: {error}"));
        }
    };
    futures_util::future::join(sending, trouble).await;
    let read = read_all(cluster, "numbers").await;
    for (partition, records) in read {
        let numbers: Vec<u32> = records
            .iter()
            .map(|record| str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap())
            .collect();
        let expected: Vec<u32> = (0..count).filter(|n| n % 3 == partition.unsigned_abs()).collect();
        assert!(
            numbers == expected,
            "partition {partition}: {} of {}",
            numbers.len(),
            expected.len()
        );
        assert!(records.iter().zip(0..).all(|(record, offset)| record.offset == Offset(offset)));
    }
}

#[test]
fn a_broker_killed_twice_costs_no_record_and_doubles_none() {
    run(async {
        let mut broker = BrokerProcess::start().unwrap();
        let cluster = cluster(&broker).await;
        let trouble = async {
            for _ in 0..2 {
                millstream_env::task::sleep(Duration::from_millis(150)).await;
                broker.kill().unwrap();
                broker.restart().unwrap();
            }
        };
        exactly_once(&cluster, 30_000, trouble).await;
    });
}

#[test]
fn a_batch_that_is_too_large_is_split_and_a_record_that_is_fails() {
    run(async {
        let broker = BrokerProcess::start().unwrap();
        let cluster = cluster(&broker).await;
        create(&cluster, "small", 1, &[("max.message.bytes", "1000")]).await;
        let config = ProducerConfig { linger: Duration::from_millis(50), ..Default::default() };
        let producer = Producer::new(cluster.clone(), config).await.unwrap();
        let mut deliveries = Vec::new();
        for number in 0..50 {
            let size = if number == 20 { 2_000 } else { 100 };
            let record = ProducerRecord::to("small").value(vec![number; size]);
            deliveries.push(producer.send(record).await.unwrap());
        }
        for (number, delivery) in deliveries.into_iter().enumerate() {
            match delivery.await {
                Ok(_) => assert_ne!(number, 20),
                Err(error) => {
                    assert_eq!(number, 20, "{error}");
                    assert_eq!(error.code(), Some(ErrorCode::MessageTooLarge));
                }
            }
        }
        let read = read_all(&cluster, "small").await.remove(&0).unwrap();
        let numbers: Vec<u8> =
            read.iter().map(|record| record.value.as_ref().unwrap()[0]).collect();
        assert_eq!(numbers, (0..50).filter(|&n| n != 20).collect::<Vec<u8>>());
    });
}

#[test]
fn keyless_records_stick_and_unknown_partitions_are_refused() {
    run(async {
        let broker = BrokerProcess::start().unwrap();
        let cluster = cluster(&broker).await;
        create(&cluster, "t", 4, &[]).await;
        let producer = Producer::new(cluster.clone(), ProducerConfig::default()).await.unwrap();
        let mut partitions = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let sent = producer.send(ProducerRecord::to("t").value("x")).await.unwrap();
            partitions.insert(sent.await.unwrap().topic_partition.partition);
        }
        assert_eq!(partitions.len(), 1);
        let error = producer.send(ProducerRecord::to("t").partition(9)).await.unwrap_err();
        assert!(matches!(error, ProduceError::NoSuchPartition { count: 4, .. }), "{error}");
    });
}

#[test]
fn without_a_broker_records_fail_when_their_time_is_up_and_say_why() {
    run(async {
        let mut broker = BrokerProcess::start().unwrap();
        let cluster = cluster(&broker).await;
        create(&cluster, "t", 1, &[]).await;
        let config = ProducerConfig {
            delivery_timeout: Duration::from_millis(600),
            ..ProducerConfig::default()
        };
        let producer = Producer::new(cluster.clone(), config).await.unwrap();
        producer.send(ProducerRecord::to("t").value("a")).await.unwrap().await.unwrap();
        broker.kill().unwrap();
        let lost = producer.send(ProducerRecord::to("t").value("b")).await.unwrap();
        let error = lost.await.unwrap_err();
        assert!(matches!(error, ProduceError::TimedOut { .. }), "{error}");
        assert!(error.to_string().contains("is a broker running at"), "{error}");
        // Later records go on under a new epoch.
        broker.restart().unwrap();
        producer.send(ProducerRecord::to("t").value("c")).await.unwrap().await.unwrap();
        producer.close().await;
    });
}

#[test]
fn bounded_memory_makes_send_wait() {
    run(async {
        let mut broker = BrokerProcess::start().unwrap();
        let cluster = cluster(&broker).await;
        create(&cluster, "t", 1, &[]).await;
        let config = ProducerConfig {
            buffer_memory: 10_000,
            max_block: Duration::from_millis(200),
            delivery_timeout: Duration::from_secs(20),
            ..ProducerConfig::default()
        };
        let producer = Producer::new(cluster.clone(), config).await.unwrap();
        producer.send(ProducerRecord::to("t").value("a")).await.unwrap().await.unwrap();
        broker.kill().unwrap();
        let mut kept = Vec::new();
        let error = loop {
            match producer.send(ProducerRecord::to("t").value(vec![0; 1_000])).await {
                Ok(delivery) => kept.push(delivery),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, ProduceError::BufferFull { .. }), "{error}");
        assert!(kept.len() < 10);
        broker.restart().unwrap();
        for delivery in kept {
            delivery.await.unwrap();
        }
    });
}

#[test]
fn unacknowledged_and_leader_acknowledged_records_arrive_too() {
    run(async {
        let options = BrokerOptions::default().set("auto.create.topics.enable", "true");
        let broker = BrokerProcess::start_with(options).unwrap();
        let cluster = cluster(&broker).await;
        for acks in [Acks::None, Acks::Leader] {
            let config = ProducerConfig { acks, ..ProducerConfig::default() };
            let producer = Producer::new(cluster.clone(), config).await.unwrap();
            let sent = producer.send(ProducerRecord::to("made").value("x")).await.unwrap();
            let landed = sent.await.unwrap();
            assert_eq!(landed.offset.is_some(), acks == Acks::Leader);
            producer.close().await;
        }
        let read = read_all(&cluster, "made").await;
        assert_eq!(read.values().map(Vec::len).sum::<usize>(), 2);
    });
}
