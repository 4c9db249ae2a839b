//! Transactions in a compacted topic: the last committed value of each key stays, aborted ones go, and readers of committed records are
//! right before, while and after the cleaner works.

use std::collections::BTreeMap;

use millstream_base::ErrorCode;
use millstream_records::BatchOptions;

use super::broker_with;
use super::producer::{BOTH, Producer, Version, read_committed};
use crate::support::batch::{by_producer, timed};
use crate::support::client::{Client, Topic, code};
use crate::support::{eventually, now_ms};

const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("internal.segment.bytes", "2000"),
    ("min.cleanable.dirty.ratio", "0.01"),
    ("file.delete.delay.ms", "100"),
    ("delete.retention.ms", "100"),
];

const KEYS: usize = 5;

/// One batch of a transaction; `sequence`: of its first record.
fn send(producer: &mut Producer, topic: &Topic, sequence: i32, records: &[(String, String)]) {
    let options = by_producer(producer.id, producer.epoch, sequence);
    let options = BatchOptions { transactional: true, ..options };
    let records: Vec<_> =
        records.iter().map(|(key, value)| (Some(&**key), &**value, now_ms())).collect();
    let version = if producer.version == Version::Old { 9 } else { 13 };
    if producer.version == Version::Old {
        assert_eq!(producer.add(topic, 0), ErrorCode::None);
    }
    let answer = producer.produce_raw(version, topic, 0, timed(options, &records));
    assert_eq!(code(answer.error_code), ErrorCode::None, "{:?}", answer.error_message);
}

/// The last of each key among `KEY-ROUND` values.
fn last(values: &[String]) -> BTreeMap<String, String> {
    values.iter().map(|it| (it.split('-').next().unwrap().to_owned(), it.clone())).collect()
}

fn committed(client: &mut Client, topic: &Topic) -> BTreeMap<String, String> {
    let values = read_committed(client, topic, 0);
    assert!(values.iter().all(|value| !value.ends_with("aborted")), "{values:?}");
    last(&values)
}

#[test]
fn the_last_committed_values_stay_and_aborted_ones_go() {
    for version in BOTH {
        let broker = broker_with(&[("log.cleaner.backoff.ms", "20")]);
        let topic = broker.topic("latest", 1, COMPACTED);
        let mut client = broker.connect();
        let mut producer = Producer::new(broker.connect(), "p", version);
        let mut holder = Producer::new(broker.connect(), "holder", version);
        let mut expected: BTreeMap<String, String> = BTreeMap::new();
        let (mut aborted, mut sequence) = (0, 0);
        let rounds = 90;
        for round in 0..rounds {
            let commits = round % 3 != 2;
            let end = if commits { "" } else { "-aborted" };
            let record = |key: usize| (format!("k{key}"), format!("k{key}-{round}{end}"));
            let records: Vec<_> = (0..KEYS).map(record).collect();
            send(&mut producer, &topic, sequence, &records);
            if version == Version::Old {
                sequence += i32::try_from(KEYS).unwrap();
            }
            if commits {
                producer.commit();
                expected.extend(records);
            } else {
                aborted += KEYS;
                producer.abort();
            }
            if round == 60 {
                // Open while the cleaner works: what follows is neither cleaned nor seen.
                let held = [("held".to_owned(), "held-60".to_owned())];
                send(&mut holder, &topic, 0, &held);
            }
        }
        eventually("what is before the open transaction is compacted", || {
            let left = client.read_values(&topic, 0);
            let left = left.iter().filter(|value| value.ends_with("aborted")).count();
            (left < aborted * 2 / 3).then_some(())
        });
        assert!(!committed(&mut client, &topic).contains_key("held"));
        holder.commit();
        expected.insert("held".to_owned(), "held-60".to_owned());
        eventually("the rest is compacted", || {
            let all = client.read_values(&topic, 0);
            let left = all.iter().filter(|value| value.ends_with("aborted")).count();
            (left < aborted / 3 && all.len() < rounds * KEYS / 2).then_some(())
        });
        assert_eq!(committed(&mut client, &topic), expected, "{version:?}");
        let broker = broker.crash().start();
        assert_eq!(committed(&mut broker.connect(), &topic), expected, "after a crash");
        // A producer goes on where it was.
        producer.client = broker.connect();
        send(&mut producer, &topic, sequence, &[("k0".to_owned(), "k0-again".to_owned())]);
        producer.commit();
        expected.insert("k0".to_owned(), "k0-again".to_owned());
        assert_eq!(committed(&mut broker.connect(), &topic), expected, "and on");
    }
}
