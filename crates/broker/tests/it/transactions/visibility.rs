//! Who sees what, and when.

use std::time::{Duration, Instant};

use millstream_base::ErrorCode;

use super::producer::{BOTH, fetch_at, fetch_request, read_committed};
use super::{Old, Producer, broker};
use crate::support::client::code;

#[test]
fn committed_records_are_seen_and_aborted_ones_are_not() {
    for version in BOTH {
        let broker = broker();
        let topic = broker.topic("t", 2, &[]);
        let mut reader = broker.connect();
        let mut producer = Producer::new(broker.connect(), "app", version);
        producer.send(&topic, 0, &["a1", "a2"]);
        producer.send(&topic, 1, &["b1"]);
        producer.send(&topic, 0, &["a3"]);
        // Open: nothing of it is stable.
        assert!(read_committed(&mut reader, &topic, 0).is_empty());
        let open = fetch_at(&mut reader, &topic, 0, 0, 0);
        assert_eq!((open.high_watermark, open.last_stable_offset), (3, 0));
        assert!(open.aborted_transactions.is_none(), "only readers of committed records ask");
        producer.commit();
        assert_eq!(read_committed(&mut reader, &topic, 0), ["a1", "a2", "a3"]);
        assert_eq!(read_committed(&mut reader, &topic, 1), ["b1"]);
        producer.send(&topic, 0, &["lost"]);
        producer.abort();
        producer.send(&topic, 0, &["kept"]);
        producer.commit();
        assert_eq!(
            read_committed(&mut reader, &topic, 0),
            ["a1", "a2", "a3", "kept"],
            "{version:?}"
        );
        let all = fetch_at(&mut reader, &topic, 0, 0, 1);
        // Three records, a marker, one record, a marker, one record, a marker.
        assert_eq!((all.high_watermark, all.last_stable_offset), (8, 8));
        let aborted = all.aborted_transactions.unwrap();
        assert_eq!(aborted.len(), 1);
        assert_eq!(aborted[0].first_offset, 4);
    }
}

#[test]
fn an_open_transaction_holds_back_all_that_follows() {
    let broker = broker();
    let topic = broker.topic("t", 1, &[]);
    let mut reader = broker.connect();
    let mut slow = Producer::new(broker.connect(), "slow", Old);
    let mut fast = Producer::new(broker.connect(), "fast", Old);
    slow.send(&topic, 0, &["slow"]);
    fast.send(&topic, 0, &["fast"]);
    fast.commit();
    let mut plain = broker.connect();
    plain.produce(&topic, 0, crate::support::batch::batch(&["plain"]));
    assert!(read_committed(&mut reader, &topic, 0).is_empty());
    let latest = |isolation| {
        use millstream_wire::messages::list_offsets as lo;
        let partition = lo::ListOffsetsPartition { timestamp: -1, ..Default::default() };
        let partitions = vec![partition];
        let topics = vec![lo::ListOffsetsTopic { name: "t".into(), partitions }];
        let isolation_level = isolation;
        let request = lo::ListOffsetsRequest {
            replica_id: -1,
            isolation_level,
            topics,
            ..Default::default()
        };
        let answer = broker.connect().call(7, &request);
        answer.topics[0].partitions[0].offset
    };
    assert_eq!((latest(0), latest(1)), (4, 0));
    slow.abort();
    assert_eq!(read_committed(&mut reader, &topic, 0), ["fast", "plain"]);
    assert_eq!((latest(0), latest(1)), (5, 5));
}

#[test]
fn a_waiting_reader_is_woken_by_the_marker() {
    for commit in [true, false] {
        let broker = broker();
        let topic = broker.topic("t", 1, &[]);
        let mut producer = Producer::new(broker.connect(), "app", Old);
        producer.send(&topic, 0, &["x"; 50]);
        let mut reader = broker.connect();
        // Wants more than the marker alone, and would wait for long.
        let request = fetch_request(&topic, 0, 0, 1, 300, 20_000);
        let begun = Instant::now();
        let sent = reader.send(17, &request);
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(producer.try_end(commit), ErrorCode::None);
        let answer = reader.receive::<millstream_wire::messages::fetch::FetchRequest>(sent);
        assert!(begun.elapsed() < Duration::from_secs(10), "the marker woke nobody");
        let data = &answer.responses[0].partitions[0];
        assert_eq!(code(data.error_code), ErrorCode::None);
        assert_eq!(data.last_stable_offset, 51);
        assert_eq!(data.aborted_transactions.as_ref().unwrap().len(), usize::from(!commit));
    }
}

#[test]
fn many_partitions_end_as_one() {
    for version in BOTH {
        let broker = broker();
        let topic = broker.topic("t", 20, &[]);
        let mut reader = broker.connect();
        let mut producer = Producer::new(broker.connect(), "app", version);
        for round in 0..5 {
            for partition in 0..20 {
                producer.send(&topic, partition, &["v"]);
            }
            assert_eq!(producer.try_end(round % 2 == 0), ErrorCode::None);
        }
        for partition in 0..20 {
            assert_eq!(read_committed(&mut reader, &topic, partition).len(), 3);
        }
    }
}

#[test]
fn durable_topics_have_transactions_too() {
    let broker = super::broker_with(&[("log.flush.interval.messages", "1")]);
    let topic = broker.topic("t", 2, &[]);
    let mut reader = broker.connect();
    for version in BOTH {
        let name = format!("{version:?}");
        let mut producer = Producer::new(broker.connect(), &name, version);
        for _ in 0..3 {
            producer.send(&topic, 0, &["v"]);
            producer.send(&topic, 1, &["v"]);
            producer.commit();
        }
    }
    for partition in [0, 1] {
        crate::support::eventually("all stable", || {
            Some(()).filter(|()| read_committed(&mut reader, &topic, partition).len() == 6)
        });
    }
}

#[test]
fn a_reader_is_told_of_the_aborted_transactions_within_reach() {
    let broker = broker();
    let topic = broker.topic("t", 1, &[]);
    let mut producer = Producer::new(broker.connect(), "app", Old);
    let value = "x".repeat(1_000);
    for _ in 0..200 {
        producer.send(&topic, 0, &[&value]);
        producer.abort();
    }
    let mut request = fetch_request(&topic, 0, 40, 1, 1, 0);
    request.topics[0].partitions[0].partition_max_bytes = 20_000;
    let answer = broker.connect().call(17, &request);
    let data = &answer.responses[0].partitions[0];
    let headers = crate::support::batch::headers(crate::support::client::bytes(data));
    let last = headers.last().unwrap().last_offset().get();
    let listed = data.aborted_transactions.as_ref().unwrap();
    let firsts: Vec<i64> = listed.iter().map(|txn| txn.first_offset).collect();
    let needed: Vec<i64> = (40..=last).step_by(2).collect();
    assert!(firsts.starts_with(&needed), "{firsts:?} lacks some of {needed:?}");
    assert!(firsts.len() <= needed.len() + 8, "{} for {}", firsts.len(), needed.len());
    assert!(read_committed(&mut broker.connect(), &topic, 0).is_empty());
}
