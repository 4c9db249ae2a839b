//! Produce: acknowledgements, and batches that break a topic's rules, each with its code and nothing stored.

use millstream_base::ErrorCode;
use millstream_records::{BatchOptions, Compression};
use millstream_wire::messages::metadata::MetadataRequest;
use millstream_wire::messages::produce::PartitionProduceResponse;

use crate::support::batch::{self, bad_crc, batch, batch_of, compressed, timed};
use crate::support::broker::TestBroker;
use crate::support::client::{Client, PRODUCE, Topic, bytes, code, only, produce, produce_many};
use crate::support::{logs, now_ms};

#[test]
fn acks_0_has_no_answer_1_and_all_have_one() {
    let broker = TestBroker::start();
    let topic = broker.topic("acks", 1, &[]);
    let mut client = broker.connect();
    for _ in 0..3 {
        let _none = client.send(PRODUCE, &produce(&topic, 0, 0, batch(&["quiet"])));
    }
    // The next answer is that of the next request.
    client.call(12, &MetadataRequest { topics: Some(Vec::new()), ..Default::default() });
    for (acks, offset) in [(1, 3), (-1, 4)] {
        let answer = client.try_produce(&topic, 0, acks, batch(&["loud"]));
        assert_eq!(code(answer.error_code), ErrorCode::None);
        assert_eq!((answer.base_offset, answer.log_append_time_ms), (offset, -1));
        assert_eq!(answer.log_start_offset, 0);
    }
    let read = client.read_values(&topic, 0);
    assert_eq!(read, ["quiet", "quiet", "quiet", "loud", "loud"]);
}

#[test]
fn acks_0_that_fails_closes_the_connection_because_nothing_else_can_tell() {
    let broker = TestBroker::start();
    let topic = broker.topic("quiet", 1, &[]);
    let unknown = Topic { name: "nowhere".into(), ..topic.clone() };
    for request in [
        produce(&topic, 0, 0, bad_crc(batch(&["x"]))),
        produce(&topic, 7, 0, batch(&["x"])),
        produce(&unknown, 0, 0, batch(&["x"])),
    ] {
        let mut client = broker.connect();
        let peer = client.stream().local_addr().unwrap().to_string();
        let _none = client.send(12, &request);
        client.expect_closed();
        logs::wait_for(&[&peer, "closed", "acknowledgement"]);
    }
    broker.assert_alive();
    assert_eq!(broker.connect().read_values(&topic, 0), [""; 0]);
}

fn refused(answer: &PartitionProduceResponse, expected: ErrorCode) {
    assert_eq!(code(answer.error_code), expected, "{:?}", answer.error_message);
    assert_eq!((answer.base_offset, answer.log_append_time_ms), (-1, -1));
    assert!(answer.error_message.is_some(), "{expected:?} without a word");
}

#[test]
fn acks_that_do_not_exist_are_refused_for_every_partition() {
    let broker = TestBroker::start();
    let topic = broker.topic("odd", 2, &[]);
    let mut client = broker.connect();
    for acks in [2, -2, 7, i16::MAX, i16::MIN] {
        let request = produce_many(&topic, acks, vec![(0, batch(&["x"])), (1, batch(&["y"]))]);
        let answer = client.call(PRODUCE, &request);
        let parts = &answer.responses[0].partition_responses;
        assert_eq!(parts.len(), 2);
        for part in parts {
            refused(part, ErrorCode::InvalidRequiredAcks);
        }
    }
    assert_eq!(client.read_values(&topic, 0), [""; 0]);
}

#[test]
fn a_topic_is_not_asked_for_more_replicas_than_it_has() {
    let broker = TestBroker::start();
    let topic = broker.topic("few", 1, &[("min.insync.replicas", "2")]);
    let mut client = broker.connect();
    assert_eq!(client.try_produce(&topic, 0, -1, batch(&["x"])).base_offset, 0);
    assert_eq!(client.try_produce(&topic, 0, 1, batch(&["y"])).base_offset, 1);
    assert_eq!(client.read_values(&topic, 0), ["x", "y"]);
}

#[test]
fn unknown_topics_and_partitions_in_every_version_of_naming() {
    let broker = TestBroker::start();
    let topic = broker.topic("known", 1, &[]);
    let other = Topic { name: "unknown".into(), id: millstream_base::Uuid([9; 16]) };
    let mut client = broker.connect();
    let mut ask = |version, topic: &Topic, partition| {
        let answer = client.call(version, &produce(topic, partition, -1, batch(&["x"])));
        let answered = &answer.responses[0];
        let named =
            if version < 13 { *answered.name == topic.name } else { answered.topic_id == topic.id };
        assert!(named, "the answer names another topic");
        assert_eq!(answered.partition_responses[0].index, partition);
        code(answered.partition_responses[0].error_code)
    };
    assert_eq!(ask(12, &other, 0), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(ask(13, &other, 0), ErrorCode::UnknownTopicId);
    for version in [3, 9, 12, 13] {
        assert_eq!(ask(version, &topic, 1), ErrorCode::UnknownTopicOrPartition, "v{version}");
        assert_eq!(ask(version, &topic, -1), ErrorCode::UnknownTopicOrPartition, "v{version}");
        assert_eq!(ask(version, &topic, 0), ErrorCode::None, "v{version}");
    }
}

#[test]
fn every_version_of_produce_and_fetch_carries_the_same_records() {
    let broker = TestBroker::start();
    let topic = broker.topic("versions", 1, &[]);
    let mut client = broker.connect();
    let mut expected = Vec::new();
    for version in 3..=13 {
        let value = format!("v{version}");
        let answer = client.call(version, &produce(&topic, 0, -1, batch(&[&value])));
        assert_eq!(answer.responses[0].partition_responses[0].base_offset, expected.len() as i64);
        expected.push(value);
    }
    for version in 4..=18 {
        let mut request = crate::support::client::fetch(&topic, &[(0, 0)]);
        if version < 7 {
            request.session_epoch = -1;
        }
        let data = only(client.call(version, &request));
        assert_eq!(batch::values(bytes(&data), 0), expected, "fetch v{version}");
        assert_eq!(data.high_watermark, 11);
        assert_eq!(data.last_stable_offset, 11);
    }
}

fn error_indexes(answer: &PartitionProduceResponse) -> Vec<i32> {
    answer.record_errors.iter().map(|error| error.batch_index).collect()
}

#[test]
fn records_without_keys_on_a_compacted_topic_are_named_one_by_one() {
    let broker = TestBroker::start();
    let topic = broker.topic("compact", 1, &[("cleanup.policy", "compact")]);
    let mut client = broker.connect();
    let now = now_ms();
    let mixed = [(Some("a"), "1", now), (None, "2", now), (Some("b"), "3", now), (None, "4", now)];
    for codec in Compression::ALL {
        let answer = client.try_produce(&topic, 0, -1, timed(compressed(codec), &mixed));
        refused(&answer, ErrorCode::InvalidRecord);
        assert_eq!(error_indexes(&answer), [1, 3], "{codec:?}");
        let message = answer.record_errors[0].batch_index_error_message.as_ref().unwrap();
        assert!(message.contains("key"), "{message}");
    }
    let keyed = timed(BatchOptions::default(), &[(Some("a"), "1", now)]);
    assert_eq!(client.produce(&topic, 0, keyed), 0);
}

#[test]
fn timestamps_out_of_bounds_are_named_one_by_one() {
    let broker = TestBroker::start();
    let bounds =
        [("message.timestamp.before.max.ms", "60000"), ("message.timestamp.after.max.ms", "60000")];
    let topic = broker.topic("times", 1, &bounds);
    let mut client = broker.connect();
    let now = now_ms();
    let records =
        [(None, "early", now - 3_600_000), (None, "fine", now), (None, "late", now + 3_600_000)];
    let answer = client.try_produce(&topic, 0, -1, timed(BatchOptions::default(), &records));
    refused(&answer, ErrorCode::InvalidTimestamp);
    assert_eq!(error_indexes(&answer), [0, 2]);
    let message = answer.record_errors[1].batch_index_error_message.as_ref().unwrap();
    assert!(message.contains("range"), "{message}");
    // A version before record errors has the code alone.
    let old = client.call(7, &produce(&topic, 0, -1, timed(BatchOptions::default(), &records)));
    let part = &old.responses[0].partition_responses[0];
    assert_eq!(code(part.error_code), ErrorCode::InvalidTimestamp);
    assert_eq!(client.produce(&topic, 0, timed(BatchOptions::default(), &records[1..2])), 0);

    // The default bounds: an hour ahead at most, any time back.
    let free = broker.topic("free", 1, &[]);
    let answer = client.try_produce(
        &free,
        0,
        -1,
        timed(BatchOptions::default(), &[(None, "x", now + 3_700_000)]),
    );
    refused(&answer, ErrorCode::InvalidTimestamp);
    assert_eq!(client.produce(&free, 0, timed(BatchOptions::default(), &[(None, "x", 0)])), 0);
}

/// A code, and the batch that gets it.
type Case = (ErrorCode, &'static str, fn() -> Vec<u8>);

#[test]
fn batches_that_no_topic_takes_are_refused_with_their_codes() {
    let cases: [Case; 7] = [
        (ErrorCode::CorruptMessage, "a bad CRC", || bad_crc(batch(&["x"]))),
        (ErrorCode::InvalidRecord, "two batches", || [batch(&["x"]), batch(&["y"])].concat()),
        (ErrorCode::InvalidRecord, "no batch", Vec::new),
        (ErrorCode::MessageTooLarge, "too large", || batch::big(1001)),
        (ErrorCode::InvalidRecord, "control records", || {
            let options = BatchOptions { control: true, ..batch::by_producer(4000, 0, -1) };
            batch_of(options, &["x"])
        }),
        (ErrorCode::InvalidRecord, "a producer id without a sequence", || {
            batch_of(batch::by_producer(4000, 0, -1), &["x"])
        }),
        (ErrorCode::InvalidRecord, "rubbish behind it", || [batch(&["x"]), vec![1, 2, 3]].concat()),
    ];
    let broker = TestBroker::start();
    let topic = broker.topic("refusals", 2, &[("max.message.bytes", "1000")]);
    let mut client = broker.connect();
    let mut stored = 0;
    for (expected, what, make) in cases {
        // The partition beside it takes its records.
        let parts = vec![(0, make()), (1, batch(&["beside"]))];
        let answer = client.call(PRODUCE, &produce_many(&topic, -1, parts));
        let parts = &answer.responses[0].partition_responses;
        assert_eq!(code(parts[0].error_code), expected, "{what}: {:?}", parts[0].error_message);
        assert_eq!(parts[0].base_offset, -1);
        assert_eq!(parts[1].base_offset, stored, "{what}");
        stored += 1;
    }
    assert_eq!(client.read_values(&topic, 0), [""; 0]);
    assert_eq!(client.read_values(&topic, 1).len() as i64, stored);
    broker.assert_alive();
}

#[test]
fn the_largest_message_is_taken_and_one_byte_more_is_not() {
    let broker = TestBroker::start();
    let exact = batch::big(900);
    let limit = exact.len().to_string();
    let topic = broker.topic("edge", 1, &[("max.message.bytes", &limit)]);
    let mut client = broker.connect();
    assert_eq!(client.produce(&topic, 0, exact), 0);
    refused(&client.try_produce(&topic, 0, -1, batch::big(901)), ErrorCode::MessageTooLarge);
    // Above the segment's size it is refused whatever max.message.bytes says.
    let small = [("segment.bytes", "1048576"), ("max.message.bytes", "5000000")];
    let topic = broker.topic("segment", 1, &small);
    refused(
        &client.try_produce(&topic, 0, -1, batch::big(1_100_000)),
        ErrorCode::RecordListTooLarge,
    );
    assert_eq!(client.produce(&topic, 0, batch::big(1_000_000)), 0);
}

#[test]
fn internal_topics_take_nothing_from_clients() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let find = millstream_wire::messages::find_coordinator::FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    crate::support::eventually("__consumer_offsets is there", || {
        let found = client.call(4, &find);
        (found.coordinators[0].error_code == 0).then_some(())
    });
    let offsets = Topic { name: "__consumer_offsets".into(), id: millstream_base::Uuid::ZERO };
    let answer = client.call(9, &produce(&offsets, 0, -1, batch(&["forged"])));
    let part = &answer.responses[0].partition_responses[0];
    assert_eq!(code(part.error_code), ErrorCode::InvalidTopicException);
}

#[test]
fn log_append_time_replaces_the_producers_times() {
    let broker = TestBroker::start();
    let topic = broker.topic("appended", 1, &[("message.timestamp.type", "LogAppendTime")]);
    let mut client = broker.connect();
    let before = now_ms();
    for codec in Compression::ALL {
        let records = [(Some("k"), "old", 1000), (None, "older", 5)];
        let answer = client.try_produce(&topic, 0, -1, timed(compressed(codec), &records));
        assert_eq!(code(answer.error_code), ErrorCode::None);
        let time = answer.log_append_time_ms;
        assert!((before..=now_ms()).contains(&time), "{time}");
        // Reading checks the CRC, which is another now.
        let read = client.read_all(&topic, 0, answer.base_offset);
        assert_eq!(read.len(), 2);
        assert!(read.iter().all(|record| record.timestamp == time), "{read:?}");
        assert_eq!(read[0].key.as_deref(), Some(&b"k"[..]));
    }
    let found = client.list_offset(7, &topic, before);
    assert_eq!((found.offset, found.error_code), (0, 0));
    assert_eq!(client.list_offset(7, &topic, now_ms() + 10_000).offset, -1);
}

fn stored_codecs(client: &mut Client, topic: &Topic) -> Vec<Compression> {
    let data = client.fetch(topic, 0, 0);
    let headers = batch::headers(bytes(&data)).into_iter();
    headers.map(|header| header.attributes.compression().unwrap()).collect()
}

#[test]
fn compression_type_of_the_topic_wins_and_the_records_stay_equal() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let now = now_ms();
    let texts: Vec<String> =
        (0..50).map(|n| format!("record {n} with some text to compress")).collect();
    let records: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| (texts.get(n / 3).map(String::as_str), text.as_str(), now - n as i64))
        .collect();
    let targets = [
        ("producer", None),
        ("uncompressed", Some(Compression::None)),
        ("gzip", Some(Compression::Gzip)),
        ("snappy", Some(Compression::Snappy)),
        ("lz4", Some(Compression::Lz4)),
        ("zstd", Some(Compression::Zstd)),
    ];
    for (setting, target) in targets {
        let topic = broker.topic(&format!("as-{setting}"), 1, &[("compression.type", setting)]);
        for codec in Compression::ALL {
            client.produce(&topic, 0, timed(compressed(codec), &records));
        }
        let expected: Vec<_> =
            Compression::ALL.iter().map(|codec| target.unwrap_or(*codec)).collect();
        assert_eq!(stored_codecs(&mut client, &topic), expected, "{setting}");
        let read = client.read_all(&topic, 0, 0);
        assert_eq!(read.len(), 250);
        for (number, record) in read.iter().enumerate() {
            let (key, value, timestamp) = records[number % 50];
            assert_eq!(record.offset, number as i64);
            assert_eq!(record.timestamp, timestamp);
            assert_eq!(record.key.as_deref(), key.map(str::as_bytes));
            assert_eq!(record.value.as_deref(), Some(value.as_bytes()));
        }
    }
}

#[test]
fn zstd_from_a_producer_that_cannot_know_it_is_refused() {
    let broker = TestBroker::start();
    let topic = broker.topic("old", 1, &[]);
    let mut client = broker.connect();
    let zstd = batch_of(compressed(Compression::Zstd), &["x"]);
    let answer = client.call(6, &produce(&topic, 0, -1, zstd.clone()));
    let part = &answer.responses[0].partition_responses[0];
    assert_eq!(code(part.error_code), ErrorCode::UnsupportedCompressionType);
    assert_eq!(client.produce(&topic, 0, zstd), 0);
}
