//! What lies in logs: records of Kafka, our own, and damaged ones.

use bytes::Bytes;

use super::lab::{Lab, load};
use crate::codec::{Decoded, decode};
use crate::*;

/// Partition, place, kind of batch, key, value.
type Stored = (String, Origin, char, Vec<u8>, Option<Vec<u8>>);

/// Every record that Kafka 4.0.0 wrote, in order.
fn kafka_records() -> Vec<Stored> {
    let text = include_str!("fixtures/kafka-4.0.0.txt");
    let hex = |text: &str| -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    };
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let kind = words[2].chars().next().unwrap();
        let producer_id = words[3].parse().ok().filter(|_| kind != '-');
        let origin = Origin { log_offset: words[1].parse().unwrap(), producer_id };
        let value = (words[5] != "null").then(|| hex(words[5]));
        (words[0].to_owned(), origin, kind, hex(words[4]), value)
    };
    text.lines().filter(|line| !line.starts_with('#')).map(line).collect()
}

fn load_kafka(partition: &str) -> Shard {
    let mut shard = Shard::new(GroupConfig::default());
    for (of, origin, kind, key, value) in kafka_records() {
        if of != partition {
            continue;
        }
        if kind == 'c' {
            shard.end_transaction(origin.producer_id.unwrap(), key[3] == 1);
            continue;
        }
        let loaded = shard.load(origin, &key, value.as_deref());
        assert_eq!(loaded.unwrap(), Loaded::Applied);
    }
    shard
}

fn offsets(shard: &Shard, group: &str) -> String {
    let of = |(topic, partition, value): (&std::sync::Arc<str>, i32, &CommittedOffset)| {
        format!("{topic}-{partition}@{}/{}", value.offset, value.metadata)
    };
    shard.committed_offsets(group).map(of).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_log_of_kafka_4_0_is_read() {
    let shard = load_kafka("0");
    assert_eq!(offsets(&shard, "dashboard"), "orders-1@205/ orders-2@385/ profiles-0@2215/");
    assert_eq!(offsets(&shard, "mailer"), "orders-0@42/by hand\0 orders-1@43/");
    let listed: Vec<String> = shard
        .list_groups(&[], &[])
        .iter()
        .map(|it| format!("{} {} {} {}", it.group_id, it.protocol_type, it.state, it.kind.name()))
        .collect();
    assert_eq!(listed, ["dashboard consumer Empty consumer", "mailer  Empty classic"]);
    let shard = load_kafka("1");
    // Committed and aborted in transactions, then once without, before the last transaction ended.
    assert_eq!(offsets(&shard, "billing"), "orders-2@1000/");
    let billing = shard.describe_group("billing").unwrap();
    assert_eq!((billing.state, billing.generation), ("Empty", 2));
}

#[test]
fn our_bytes_are_kafkas() {
    let mut seen = 0;
    for (_, _, kind, key, value) in kafka_records() {
        if kind == 'c' {
            continue;
        }
        let Decoded::Record(record) = decode(&key, value.as_deref()).unwrap() else {
            panic!("a kind that we do not know")
        };
        let (ours, our_value) = record.encode().unwrap();
        assert_eq!(ours, key, "{record:?}");
        // Of kind 4 only its being there is kept; kind 5 has a tag that says null, which we leave out; kind 8 gets epochs
        // that Kafka 4.0 reads past; topics of kind 7 stand in order of their ids here.
        if !matches!(key[1], 4 | 5 | 7 | 8) {
            assert_eq!(our_value.as_deref(), value.as_deref(), "{record:?}");
        }
        seen += 1;
    }
    assert_eq!(seen, 28);
}

#[test]
fn all_versions_of_values_are_read() {
    let key = |kind: u8, rest: &[u8]| [&[0, kind], rest].concat();
    let commit = key(1, b"\0\x01g\0\x01t\0\0\0\x02");
    let cases: [(&[u8], i64, i64); 5] = [
        (b"\0\0\0\0\0\0\0\0\0\x07\0\x01m\0\0\0\0\0\0\0\x09", 7, -1),
        (b"\0\x01\0\0\0\0\0\0\0\x07\0\x01m\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x63", 7, 99),
        (b"\0\x02\0\0\0\0\0\0\0\x07\0\x01m\0\0\0\0\0\0\0\x09", 7, -1),
        (b"\0\x03\0\0\0\0\0\0\0\x07\0\0\0\x05\0\x01m\0\0\0\0\0\0\0\x09", 7, -1),
        (b"\0\x04\0\0\0\0\0\0\0\x07\0\0\0\x05\x02m\0\0\0\0\0\0\0\x09\0", 7, -1),
    ];
    for (value, offset, expires) in cases {
        for kind in [0, 1] {
            let key = [&[0, kind], &commit[2..]].concat();
            let mut shard = Shard::new(GroupConfig::default());
            let origin = Origin { log_offset: 0, producer_id: None };
            shard.load(origin, &key, Some(value)).unwrap();
            let (_, at, read) = shard.committed_offsets("g").next().unwrap();
            assert_eq!((at, read.offset, read.expire_timestamp_ms), (2, offset, expires));
            assert_eq!(&*read.metadata, "m");
        }
    }
}

#[test]
fn a_bad_record_harms_no_other() {
    let origin = Origin { log_offset: 0, producer_id: None };
    let good_key = b"\0\x01\0\x01g\0\x01t\0\0\0\0";
    let good_value = b"\0\x03\0\0\0\0\0\0\0\x07\xff\xff\xff\xff\0\0\0\0\0\0\0\0\0\x09";
    let mut shard = Shard::new(GroupConfig::default());
    let bad: &[(&[u8], &[u8])] = &[
        (b"", b""),
        (b"\0", b""),
        (b"\0\x01", b""),
        (b"\0\x01\0\x05g", good_value),
        (b"\0\x01\xff\xff", good_value),
        (good_key, b""),
        (good_key, b"\0\x63\0\0"),
        (good_key, &good_value[..9]),
        (
            b"\0\x02\0\x01g",
            b"\0\x03\0\x01x\0\0\0\x01\xff\xff\xff\xff\0\0\0\0\0\0\0\0\x7f\xff\xff\xff",
        ),
        (b"\0\x05\0\x01g\0\x01m", b"\0\0\0\0\0"),
        (b"\0\x08\0\x01g\0\x01m", b"\0\0\0"),
    ];
    for (key, value) in bad {
        assert!(shard.load(origin, key, Some(value)).is_err(), "{key:?} {value:?}");
        shard.load(origin, good_key, Some(good_value)).unwrap();
    }
    // Kinds of share and streams groups, and of the future.
    for kind in [10, 11, 12, 13, 14, 15, 17, 23, 99] {
        let loaded = shard.load(origin, &[0, kind, 0, 1, b'g'], Some(b"whatever"));
        assert_eq!(loaded.unwrap(), Loaded::Skipped(kind.into()));
    }
    assert_eq!(offsets(&shard, "g"), "t-0@7/");
}

#[test]
fn every_cut_of_our_records_is_an_error_and_no_panic() {
    let mut lab = Lab::new(GroupConfig::default());
    for line in ["join a v=3", "tick 3000", "sync a a:x", "commit a t-0@1/note"] {
        lab.run(line);
    }
    let origin = Origin { log_offset: 0, producer_id: None };
    for (key, value) in lab.log.clone() {
        let value: Bytes = value.unwrap();
        for cut in 0..value.len() {
            let mut shard = Shard::new(GroupConfig::default());
            assert!(shard.load(origin, &key, Some(&value[..cut])).is_err());
        }
        for cut in 0..key.len() {
            let mut shard = Shard::new(GroupConfig::default());
            assert!(shard.load(origin, &key[..cut], Some(&value)).is_err());
        }
    }
    let _ = load(&lab.config, &lab.log);
}
