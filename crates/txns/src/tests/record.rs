//! Records as Kafka has them.

use std::collections::BTreeSet;

use super::lab::Lab;
use crate::*;

#[test]
fn a_record_is_what_kafka_writes() {
    let mut lab = Lab::new();
    let p = lab.init("app", None).unwrap();
    lab.add("app", p, &[1, 0], 2).unwrap();
    let (key, value) = lab.log.last().unwrap();
    assert_eq!(&key[..], b"\0\0\0\x03app");
    let value = value.as_ref().unwrap();
    // Version 1, producer id 101, epoch 0, 60,000 ms, state Ongoing.
    assert_eq!(&value[..2], [0, 1]);
    assert_eq!(&value[2..10], 101i64.to_be_bytes());
    assert_eq!(&value[10..12], [0, 0]);
    assert_eq!(&value[12..16], 60_000i32.to_be_bytes());
    assert_eq!(value[16], 1);
    // One topic "t" with partitions 0 and 1.
    assert_eq!(&value[17..20], [2, 2, b't']);
    assert_eq!(&value[20..29], [3, 0, 0, 0, 0, 0, 0, 0, 1]);
}

#[test]
fn the_older_version_of_the_value_is_read() {
    use millstream_wire::stored::{TransactionLogKey, TransactionLogValue};
    use millstream_wire::stored::{key_to_bytes, value_to_bytes};
    let key = key_to_bytes(&TransactionLogKey { transactional_id: "old".into() }).unwrap();
    let value = TransactionLogValue {
        producer_id: 7,
        producer_epoch: 3,
        transaction_timeout_ms: 5,
        transaction_status: 4,
        transaction_start_timestamp_ms: 10,
        transaction_last_update_timestamp_ms: 20,
        ..Default::default()
    };
    let value = value_to_bytes(&value, 0).unwrap();
    let mut shard = Shard::new(TxnConfig::default());
    assert_eq!(shard.load(&key, Some(&value)).unwrap(), Loaded::Applied);
    let txn = shard.get("old").unwrap();
    assert_eq!(txn.producer(), Producer { id: 7, epoch: 3 });
    assert_eq!((txn.state, txn.next_producer_id), (TxnState::CompleteCommit, -1));
    assert_eq!(shard.load(&key, None).unwrap(), Loaded::Applied);
    assert!(shard.get("old").is_none());
}

#[test]
fn bad_records_are_errors_of_their_own() {
    let mut lab = Lab::new();
    lab.init("app", None).unwrap();
    let (key, value) = lab.log[0].clone();
    let value = value.unwrap();
    let mut shard = Shard::new(TxnConfig::default());
    assert!(shard.load(b"", Some(&value)).is_err());
    assert!(shard.load(&key[..5], Some(&value)).is_err());
    assert!(shard.load(&key, Some(&value[..9])).is_err());
    let mut odd = value.to_vec();
    // Dead is never written.
    odd[16] = 6;
    assert!(matches!(shard.load(&key, Some(&odd)), Err(DecodeRecordError::State { code: 6, .. })));
    assert_eq!(shard.load(b"\0\x09x", Some(&value)).unwrap(), Loaded::Skipped(9));
    assert!(shard.is_empty());
}

#[test]
fn a_log_of_kafka_4_0_is_read_and_written_alike() {
    let hex = |text: &str| -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    };
    let text = include_str!("fixtures/kafka-4.0.0.txt");
    let mut shard = Shard::new(TxnConfig::default());
    let mut states = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let words: Vec<&str> = line.split(' ').collect();
        let (key, value) = (hex(words[1]), hex(words[2]));
        assert_eq!(shard.load(&key, Some(&value)).unwrap(), Loaded::Applied);
        let txn = shard.get("till-1").unwrap();
        let record =
            Record { transactional_id: "till-1".into(), value: Some(Box::new(txn.clone())) };
        let (same_key, same_value) = record.encode().unwrap();
        let same_value = same_value.unwrap();
        assert_eq!((&same_key[..], same_value.len()), (&key[..], value.len()));
        // The order of topics is our own; Kafka's is that of a hash map.
        let topics: BTreeSet<_> = txn.partitions.iter().map(|(topic, _)| topic).collect();
        assert!(topics.len() > 1 || same_value == value);
        if states.last() != Some(&txn.state) {
            states.push(txn.state);
        }
    }
    use TxnState::{CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit};
    assert_eq!(states[..4], [Empty, Ongoing, PrepareCommit, CompleteCommit]);
    assert_eq!(states[4..7], [Ongoing, PrepareAbort, CompleteAbort]);
    assert!(shard.finish_loading().len() <= 1);
}
