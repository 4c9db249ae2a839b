//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords: where things are in a log.

use std::path::Path;
use std::process::{Command, Stdio};

use millstream_base::ErrorCode;
use millstream_records::BatchOptions;
use millstream_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use millstream_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use millstream_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use millstream_wire::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::fetching::leader_epoch;
use crate::support::batch::{batch, timed};
use crate::support::broker::{Stopped, TestBroker};
use crate::support::client::{Client, FETCH, Topic, bytes, code, fetch, only};
use crate::support::now_ms;

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING: i64 = -6;

/// Deletes the records of partition 0 below `offset`; the new start or why not.
pub fn delete_records(client: &mut Client, topic: &Topic, offset: i64) -> Result<i64, ErrorCode> {
    delete_in(client, topic, 0, offset)
}

fn delete_in(
    client: &mut Client,
    topic: &Topic,
    partition_index: i32,
    offset: i64,
) -> Result<i64, ErrorCode> {
    let partitions = vec![DeleteRecordsPartition { partition_index, offset }];
    let topics = vec![DeleteRecordsTopic { name: topic.name.as_str().into(), partitions }];
    let answer = client.call(2, &DeleteRecordsRequest { topics, timeout_ms: 30_000 });
    let part = &answer.topics[0].partitions[0];
    match code(part.error_code) {
        ErrorCode::None => Ok(part.low_watermark),
        refused => {
            assert_eq!(part.low_watermark, -1);
            Err(refused)
        }
    }
}

/// A topic with four batches of two records, each record ten seconds after the one before, but for the last, which goes back.
fn with_times(broker: &TestBroker, name: &str) -> (Topic, i64) {
    let topic = broker.topic(name, 1, &[]);
    let mut client = broker.connect();
    let start = now_ms() - 1_000_000;
    for pair in 0..4 {
        let first = start + pair * 20_000;
        let second = if pair == 3 { start + 5_000 } else { first + 10_000 };
        let records = [(None, "first", first), (None, "second", second)];
        client.produce(&topic, 0, timed(BatchOptions::default(), &records));
    }
    (topic, start)
}

#[test]
fn special_places_are_known_from_their_versions_on() {
    let broker = TestBroker::start();
    let (topic, start) = with_times(&broker, "places");
    let mut client = broker.connect();
    let epoch = leader_epoch(&mut client, &topic);
    let specials = [
        (LATEST, 1, 8, -1, epoch),
        (EARLIEST, 1, 0, -1, epoch),
        (MAX_TIMESTAMP, 7, 6, start + 60_000, epoch),
        (EARLIEST_LOCAL, 8, 0, -1, epoch),
        (LATEST_TIERED, 9, -1, -1, -1),
        (EARLIEST_PENDING, 11, -1, -1, -1),
    ];
    for version in 1..=11 {
        for (special, from, offset, timestamp, epoch) in specials {
            let found = client.list_offset(version, &topic, special);
            if version < from {
                assert_eq!(
                    code(found.error_code),
                    ErrorCode::UnsupportedVersion,
                    "{special} in v{version}"
                );
                assert_eq!((found.offset, found.timestamp), (-1, -1));
                continue;
            }
            assert_eq!(code(found.error_code), ErrorCode::None, "{special} in v{version}");
            assert_eq!(
                (found.offset, found.timestamp),
                (offset, timestamp),
                "{special} in v{version}"
            );
            if version >= 4 {
                assert_eq!(found.leader_epoch, epoch, "{special} in v{version}");
            }
        }
        let nonsense = client.list_offset(version, &topic, -1000);
        assert_eq!(code(nonsense.error_code), ErrorCode::UnsupportedVersion);
    }
}

#[test]
fn a_time_leads_to_the_first_record_at_or_after_it() {
    let broker = TestBroker::start();
    let (topic, start) = with_times(&broker, "times");
    let mut client = broker.connect();
    for (timestamp, offset, found_at) in [
        (0, 0, start),
        (start, 0, start),
        (start + 1, 1, start + 10_000),
        (start + 10_000, 1, start + 10_000),
        (start + 10_001, 2, start + 20_000),
        (start + 30_000, 3, start + 30_000),
        (start + 59_999, 6, start + 60_000),
        (start + 60_000, 6, start + 60_000),
        (start + 60_001, -1, -1),
        (i64::MAX, -1, -1),
    ] {
        for version in [1, 7, 11] {
            let found = client.list_offset(version, &topic, timestamp);
            assert_eq!(code(found.error_code), ErrorCode::None);
            assert_eq!(
                (found.offset, found.timestamp),
                (offset, found_at),
                "{} after the start",
                timestamp - start
            );
        }
    }
    // Records that are deleted are not found any more.
    assert_eq!(delete_records(&mut client, &topic, 3), Ok(3));
    assert_eq!(client.list_offset(7, &topic, 0).offset, 3);
    assert_eq!(client.list_offset(7, &topic, EARLIEST).offset, 3);
    assert_eq!(client.list_offset(8, &topic, EARLIEST_LOCAL).offset, 3);
    assert_eq!(client.list_offset(7, &topic, MAX_TIMESTAMP).offset, 6);
}

#[test]
fn an_empty_partition_has_ends_and_no_times() {
    let broker = TestBroker::start();
    let topic = broker.topic("empty", 1, &[]);
    let mut client = broker.connect();
    assert_eq!(client.list_offset(7, &topic, LATEST).offset, 0);
    assert_eq!(client.list_offset(7, &topic, EARLIEST).offset, 0);
    for timestamp in [MAX_TIMESTAMP, 0, now_ms()] {
        let found = client.list_offset(7, &topic, timestamp);
        assert_eq!((found.error_code, found.offset, found.timestamp), (0, -1, -1));
    }
}

#[test]
fn offsets_of_what_is_not_there_have_codes_partition_by_partition() {
    let broker = TestBroker::start();
    let topic = broker.topic("there", 1, &[]);
    let mut client = broker.connect();
    let epoch = leader_epoch(&mut client, &topic);
    let asked = |partition_index, current_leader_epoch| ListOffsetsPartition {
        partition_index,
        current_leader_epoch,
        timestamp: LATEST,
    };
    let partitions = vec![asked(0, -1), asked(1, -1), asked(-4, -1), asked(0, epoch + 1)];
    let unknown = ListOffsetsTopic { name: "gone".into(), partitions: vec![asked(0, -1)] };
    let known = ListOffsetsTopic { name: topic.name.as_str().into(), partitions };
    let request =
        ListOffsetsRequest { replica_id: -1, topics: vec![known, unknown], ..Default::default() };
    let answer = client.call(9, &request);
    let codes: Vec<_> = answer
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .map(|part| code(part.error_code))
        .collect();
    let unknown = ErrorCode::UnknownTopicOrPartition;
    assert_eq!(codes, [ErrorCode::None, unknown, unknown, ErrorCode::UnknownLeaderEpoch, unknown]);
}

fn epoch_end(client: &mut Client, topic: &Topic, current: i32, epoch: i32) -> EpochEndOffset {
    let partition = OffsetForLeaderPartition {
        partition: 0,
        current_leader_epoch: current,
        leader_epoch: epoch,
    };
    let topic =
        OffsetForLeaderTopic { topic: topic.name.as_str().into(), partitions: vec![partition] };
    let request = OffsetForLeaderEpochRequest { replica_id: -1, topics: vec![topic] };
    client.call(4, &request).topics.remove(0).partitions.remove(0)
}

#[test]
fn the_end_of_a_leader_epoch() {
    let broker = TestBroker::start();
    let topic = broker.topic("epochs", 1, &[]);
    let mut client = broker.connect();
    let epoch = leader_epoch(&mut client, &topic);
    for _ in 0..3 {
        client.produce(&topic, 0, batch(&["x"]));
    }
    let mut ask = |current, asked| {
        let end = epoch_end(&mut client, &topic, current, asked);
        (code(end.error_code), end.leader_epoch, end.end_offset)
    };
    let known = (ErrorCode::None, epoch, 3);
    assert_eq!(ask(-1, epoch), known);
    assert_eq!(ask(epoch, epoch), known);
    // An epoch that is yet to come has no end.
    assert_eq!(ask(-1, epoch + 5), (ErrorCode::None, -1, -1));
    assert_eq!(ask(epoch + 1, epoch), (ErrorCode::UnknownLeaderEpoch, -1, -1));
    let gone = Topic { name: "gone".into(), ..topic.clone() };
    let end = epoch_end(&mut client, &gone, -1, 0);
    assert_eq!(code(end.error_code), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn deleted_records_are_gone_for_readers_and_stay_gone() {
    let ends =
        [("stop", TestBroker::stop as fn(TestBroker) -> Stopped), ("crash", TestBroker::crash)];
    for (how, end) in ends {
        let broker = TestBroker::start();
        let topic = broker.topic("deleted", 2, &[]);
        let mut client = broker.connect();
        for number in 0..10 {
            client.produce(&topic, 0, batch(&[&number.to_string()]));
        }
        assert_eq!(delete_records(&mut client, &topic, 4), Ok(4));
        // Less than is gone already changes nothing.
        assert_eq!(delete_records(&mut client, &topic, 2), Ok(4));
        assert_eq!(code(client.fetch(&topic, 0, 3).error_code), ErrorCode::OffsetOutOfRange);
        assert_eq!(client.list_offset(7, &topic, EARLIEST).offset, 4);
        let read = client.read_all(&topic, 0, 4);
        assert_eq!((read.len(), read[0].offset), (6, 4));
        // In the middle of a batch of its own.
        client.produce(&topic, 0, batch(&["10", "11", "12"]));
        assert_eq!(delete_records(&mut client, &topic, 11), Ok(11));
        assert_eq!(client.read_all(&topic, 0, 11).len(), 2);

        let broker = end(broker).start();
        let mut client = broker.connect();
        assert_eq!(client.list_offset(7, &topic, EARLIEST).offset, 11, "after a {how}");
        assert_eq!(code(client.fetch(&topic, 0, 10).error_code), ErrorCode::OffsetOutOfRange);
        // To the end: -1 stands for it. Offsets go on from there.
        assert_eq!(delete_records(&mut client, &topic, -1), Ok(13));
        assert_eq!(client.list_offset(7, &topic, EARLIEST).offset, 13);
        assert_eq!(client.produce(&topic, 0, batch(&["new"])), 13);
        let broker = end(broker).start();
        assert_eq!(broker.connect().read_all(&topic, 0, 13).len(), 1);
        broker.assert_alive();
    }
}

#[test]
fn records_that_cannot_be_deleted_have_codes() {
    let broker = TestBroker::start();
    let topic = broker.topic("kept", 1, &[]);
    let compacted = broker.topic("compacted", 1, &[("cleanup.policy", "compact")]);
    let mut client = broker.connect();
    client.produce(&topic, 0, batch(&["x"]));
    assert_eq!(delete_records(&mut client, &topic, 2), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(delete_records(&mut client, &topic, -2), Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(delete_in(&mut client, &topic, 1, 0), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(delete_records(&mut client, &compacted, 0), Err(ErrorCode::PolicyViolation));
    let gone = Topic { name: "gone".into(), ..topic.clone() };
    assert_eq!(delete_records(&mut client, &gone, 0), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(client.read_values(&topic, 0), ["x"]);
}

/// A leader epoch beyond the first: logs that Kafka began, stopped and went on with. Skipped where they are not beside the repository.
#[test]
fn epochs_of_logs_that_kafka_wrote_are_fenced_and_known() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/fixtures/kafka-4.0.0-data.tar.zst");
    let root = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(root.path()).stderr(Stdio::null());
    if !tar.status().is_ok_and(|status| status.success()) {
        println!("skipped: {} is missing, or tar with zstd", archive.display());
        return;
    }
    let dir = root.path().join("clean");
    let place = Stopped::new(&[("log.dirs", dir.to_str().unwrap()), ("node.id", "1")]);
    let broker = place.start();
    let mut client = broker.connect();
    let asked = MetadataRequestTopic { name: Some("orders".into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let found = client.call(12, &request).topics.remove(0);
    let topic = Topic { name: "orders".into(), id: found.topic_id };
    let epoch = leader_epoch(&mut client, &topic);
    assert!(epoch > 0, "the leader epoch is {epoch}");
    // A client that believes in the epoch before is fenced, by each API that is told of it.
    let mut request = fetch(&topic, &[(0, 0)]);
    request.topics[0].partitions[0].current_leader_epoch = epoch - 1;
    let data = only(client.call(FETCH, &request));
    assert_eq!(code(data.error_code), ErrorCode::FencedLeaderEpoch);
    let fenced = epoch_end(&mut client, &topic, epoch - 1, 0);
    assert_eq!(code(fenced.error_code), ErrorCode::FencedLeaderEpoch);
    // Where the first epoch ended, and the present one goes on.
    let end = client.list_offset(7, &topic, LATEST);
    assert_eq!(end.leader_epoch, epoch);
    let first = epoch_end(&mut client, &topic, epoch, 0);
    assert_eq!((code(first.error_code), first.leader_epoch), (ErrorCode::None, 0));
    assert!(first.end_offset <= end.offset);
    let present = epoch_end(&mut client, &topic, -1, epoch);
    assert_eq!((code(present.error_code), present.end_offset), (ErrorCode::None, end.offset));
    // A reader whose last record is of an epoch that has ended before its offset is told where they part (KIP-595).
    if first.end_offset < end.offset {
        let mut request = fetch(&topic, &[(0, end.offset)]);
        request.topics[0].partitions[0].last_fetched_epoch = 0;
        let data = only(client.call(FETCH, &request));
        assert_eq!(data.diverging_epoch.epoch, 0);
        assert_eq!(data.diverging_epoch.end_offset, first.end_offset);
        assert!(bytes(&data).is_empty());
    }
    // The epochs do not go back when this broker starts again.
    let broker = broker.crash().start();
    assert!(leader_epoch(&mut broker.connect(), &topic) >= epoch);
}
