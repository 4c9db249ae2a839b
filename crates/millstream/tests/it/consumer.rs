//! The consumer with partitions of its own choice, and the admin client beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_base::{ErrorCode, Offset, TimestampMs, TopicPartition};
use millstream_client::{
    Admin, Cluster, ConfigOp, ConfigResource, ConfigSource, ConsumeError, Consumer, ConsumerConfig,
    DescribeConfigsOptions, OffsetReset, OffsetSpec, Producer, ProducerConfig, ProducerRecord,
};
use millstream_testkit::BrokerProcess;

use crate::{cluster, create, run};

/// A topic with one partition and the records 0 to 9, one millisecond apart from 1000 on.
async fn numbers(cluster: &Cluster) -> TopicPartition {
    create(cluster, "t", 1, &[]).await;
    let producer = Producer::new(cluster.clone(), ProducerConfig::default()).await.unwrap();
    for number in 0..10 {
        let record = ProducerRecord::to("t")
            .value(number.to_string())
            .timestamp(TimestampMs(1_000 + number));
        drop(producer.send(record).await.unwrap());
        producer.flush().await;
    }
    TopicPartition::new("t", 0)
}

fn with_reset(offset_reset: OffsetReset) -> ConsumerConfig {
    ConsumerConfig { offset_reset, ..ConsumerConfig::default() }
}

/// `3 4 5`: what comes until the end.
async fn rest(consumer: &mut Consumer) -> String {
    let mut values = Vec::new();
    loop {
        let records = consumer.poll(Duration::from_millis(100)).await.unwrap();
        if records.is_empty() && consumer.reached_end() {
            return values.join(" ");
        }
        let text = |value: &bytes::Bytes| String::from_utf8_lossy(value).into_owned();
        values.extend(records.iter().map(|record| record.value.as_ref().map(text).unwrap()));
    }
}

#[test]
fn seeking_pausing_and_the_ends() {
    run(async {
        let broker = BrokerProcess::start().unwrap();
        let cluster = cluster(&broker).await;
        let t = numbers(&cluster).await;
        let mut consumer = Consumer::new(cluster.clone(), with_reset(OffsetReset::Latest));
        consumer.assign([t.clone()]).unwrap();
        assert_eq!(rest(&mut consumer).await, "");
        assert_eq!(consumer.position(&t), Some(Offset(10)));
        consumer.seek(&t, Offset(7)).unwrap();
        assert_eq!(rest(&mut consumer).await, "7 8 9");
        consumer.seek_to_beginning(&t).unwrap();
        let first = consumer.poll_at_most(2, Duration::from_secs(5)).await.unwrap();
        assert_eq!(first.len(), 2);
        assert_eq!(consumer.position(&t), Some(Offset(2)));
        assert_eq!(consumer.lag(&t), Some(8));
        consumer.pause([&t]);
        assert!(consumer.poll(Duration::from_millis(50)).await.unwrap().is_empty());
        consumer.resume([&t]);
        assert_eq!(rest(&mut consumer).await, "2 3 4 5 6 7 8 9");
        consumer.seek_to_end(&t).unwrap();
        assert_eq!(rest(&mut consumer).await, "");
        let at = consumer.offsets_for_time([t.clone()], TimestampMs(1_004)).await.unwrap();
        assert_eq!(at.get(&t), Some(&Offset(4)));
        let late = consumer.offsets_for_time([t.clone()], TimestampMs(9_000)).await.unwrap();
        assert_eq!(late.get(&t), None);
        assert_eq!(consumer.beginning_offsets([t.clone()]).await.unwrap()[&t], Offset(0));
        assert_eq!(consumer.end_offsets([t.clone()]).await.unwrap()[&t], Offset(10));
        let other = TopicPartition::new("t", 1);
        assert!(matches!(consumer.seek(&other, Offset(0)), Err(ConsumeError::NotAssigned(_))));
        assert!(matches!(consumer.subscribe(["t"]), Err(ConsumeError::NoGroup)));
    });
}

#[test]
fn an_offset_that_is_gone_goes_where_the_policy_says() {
    run(async {
        let broker = BrokerProcess::start().unwrap();
        let cluster = cluster(&broker).await;
        let t = numbers(&cluster).await;
        let admin = Admin::new(cluster.clone());
        let before: BTreeMap<_, _> = [(t.clone(), Offset(4))].into();
        assert_eq!(admin.delete_records(&before).await.unwrap()[&t], Offset(4));
        for (policy, expected) in [
            (OffsetReset::Earliest, "4 5 6 7 8 9"),
            (OffsetReset::Latest, ""),
            (OffsetReset::ByDuration(Duration::from_secs(1)), ""),
        ] {
            let mut consumer = Consumer::new(cluster.clone(), with_reset(policy));
            consumer.assign([t.clone()]).unwrap();
            consumer.seek(&t, Offset(1)).unwrap();
            assert_eq!(rest(&mut consumer).await, expected, "{policy:?}");
        }
        let mut strict = Consumer::new(cluster.clone(), with_reset(OffsetReset::None));
        strict.assign([t.clone()]).unwrap();
        strict.seek(&t, Offset(99)).unwrap();
        let error = strict.poll(Duration::from_secs(5)).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::OffsetOutOfRange));
        strict.seek(&t, Offset(8)).unwrap();
        assert_eq!(rest(&mut strict).await, "8 9");
    });
}

#[test]
fn reading_goes_on_over_a_crash() {
    run(async {
        let mut broker = BrokerProcess::start().unwrap();
        let cluster = cluster(&broker).await;
        let t = numbers(&cluster).await;
        let mut consumer = Consumer::new(cluster.clone(), with_reset(OffsetReset::Earliest));
        consumer.assign([t.clone()]).unwrap();
        assert_eq!(consumer.poll_at_most(3, Duration::from_secs(5)).await.unwrap().len(), 3);
        broker.kill().unwrap();
        consumer.seek(&t, Offset(3)).unwrap();
        assert!(consumer.poll(Duration::from_millis(100)).await.unwrap().is_empty());
        broker.restart().unwrap();
        assert_eq!(rest(&mut consumer).await, "3 4 5 6 7 8 9");
    });
}

#[test]
fn settings_and_special_offsets() {
    run(async {
        let broker = BrokerProcess::start().unwrap();
        let cluster = cluster(&broker).await;
        let t = numbers(&cluster).await;
        let admin = Admin::new(cluster.clone());
        let topic = ConfigResource::Topic("t".to_owned());
        let set = ConfigOp::Set("retention.ms".to_owned(), "5000000".to_owned());
        admin.alter_configs(&topic, &[set], false).await.unwrap();
        let only = DescribeConfigsOptions {
            names: Some(vec!["retention.ms".to_owned()]),
            synonyms: true,
            documentation: true,
        };
        let entries = admin.describe_configs(&topic, &only).await.unwrap();
        let [entry] = &entries[..] else { panic!("{entries:?}") };
        assert_eq!((entry.value.as_deref(), entry.source), (Some("5000000"), ConfigSource::Topic));
        assert!(!entry.synonyms.is_empty() && entry.documentation.is_some());
        let wrong = ConfigOp::Set("retention.ms".to_owned(), "soon".to_owned());
        let error = admin.alter_configs(&topic, &[wrong], true).await.unwrap_err();
        assert_eq!(error.code(), Some(ErrorCode::InvalidConfig));
        let asked = [(t.clone(), OffsetSpec::MaxTimestamp)].into();
        let listed = admin.list_offsets(&asked).await.unwrap()[&t].unwrap();
        assert_eq!((listed.offset, listed.timestamp), (Offset(9), Some(TimestampMs(1_009))));
        let described = admin.describe_cluster().await.unwrap();
        assert_eq!(described.brokers.len(), 1);
        let nothing = [(TopicPartition::new("t", 5), OffsetSpec::Latest)].into();
        assert!(
            admin.list_offsets(&nothing).await.unwrap_err().to_string().contains("no partition 5")
        );
    });
}
