//! Fetch: how long it waits, how much it gives, and what it refuses.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use millstream_base::ErrorCode;
use millstream_wire::messages::fetch::{FetchRequest, FetchResponse, PartitionData};
use millstream_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};

use crate::support::PATIENCE;
use crate::support::batch::{self, batch, values};
use crate::support::broker::TestBroker;
use crate::support::client::{Client, FETCH, Topic, bytes, code, fetch, fetch_topic, only};

/// Nothing comes for a while; what was sent waits.
fn assert_waits(client: &mut Client) {
    client.stream().set_read_timeout(Some(Duration::from_millis(120))).unwrap();
    assert!(client.receive_frame().is_err(), "an answer too early");
    client.stream().set_read_timeout(Some(PATIENCE)).unwrap();
}

#[test]
fn a_fetch_waits_for_min_bytes_and_no_longer() {
    let broker = TestBroker::start();
    let topic = broker.topic("minimum", 2, &[]);
    let mut writer = broker.connect();
    let mut reader = broker.connect();
    let one = batch::big(1000);
    let size = i32::try_from(one.len()).unwrap();
    let request = FetchRequest {
        min_bytes: 3 * size,
        max_wait_ms: 60_000,
        ..fetch(&topic, &[(0, 0), (1, 0)])
    };
    let started = Instant::now();
    let sent = reader.send(FETCH, &request);
    assert_waits(&mut reader);
    writer.produce(&topic, 0, one.clone());
    writer.produce(&topic, 1, one.clone());
    assert_waits(&mut reader);
    // The third completes them, whichever partition it is in.
    writer.produce(&topic, 0, one);
    let answer = reader.receive::<FetchRequest>(sent);
    assert!(started.elapsed() < PATIENCE);
    let sizes: i32 = parts(&answer).iter().map(|part| bytes(part).len() as i32).sum();
    assert_eq!(sizes, 3 * size);
    // With enough there it does not wait.
    let started = Instant::now();
    reader.call(FETCH, &request);
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_fetch_that_finds_too_little_answers_after_max_wait_with_what_there_is() {
    let broker = TestBroker::start();
    let topic = broker.topic("patience", 1, &[]);
    let mut client = broker.connect();
    client.produce(&topic, 0, batch(&["little"]));
    for (min_bytes, wait, least) in
        [(1 << 20, 300, 250), (1 << 20, 0, 0), (1, 30_000, 0), (0, 30_000, 0)]
    {
        let request = FetchRequest { min_bytes, max_wait_ms: wait, ..fetch(&topic, &[(0, 0)]) };
        let started = Instant::now();
        let data = only(client.call(FETCH, &request));
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(least), "{took:?} with min.bytes {min_bytes}");
        assert!(took < Duration::from_secs(20), "{took:?} with min.bytes {min_bytes}");
        assert_eq!(values(bytes(&data), 0), ["little"]);
    }
    // An error is not waited with.
    let request = FetchRequest { max_wait_ms: 60_000, ..fetch(&topic, &[(0, 0), (7, 0)]) };
    let started = Instant::now();
    client.call(FETCH, &request);
    assert!(started.elapsed() < Duration::from_secs(20));
}

/// Many waiting fetches, woken by one record each in turn.
#[test]
fn waiting_fetches_are_woken_by_exactly_their_partitions() {
    const PARTITIONS: i32 = 20;
    let broker = TestBroker::start();
    let topic = broker.topic("wake", PARTITIONS, &[]);
    let mut waiting: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let mut client = broker.connect();
            let request = FetchRequest { max_wait_ms: 60_000, ..fetch(&topic, &[(partition, 0)]) };
            let sent = client.send(FETCH, &request);
            (client, sent)
        })
        .collect();
    let mut writer = broker.connect();
    for partition in (0..PARTITIONS).rev() {
        let (mut client, sent) = waiting.pop().unwrap();
        let value = partition.to_string();
        writer.produce(&topic, partition, batch(&[&value]));
        let data = only(client.receive::<FetchRequest>(sent));
        assert_eq!((data.partition_index, values(bytes(&data), 0)), (partition, vec![value]));
        if let Some((next, _)) = waiting.last_mut() {
            next.stream().set_nonblocking(true).unwrap();
            let early = std::io::Read::read(&mut next.stream(), &mut [0]);
            assert!(early.is_err(), "a fetch was answered for another partition's record");
            next.stream().set_nonblocking(false).unwrap();
        }
    }
}

fn parts(answer: &FetchResponse) -> Vec<&PartitionData> {
    answer.responses.iter().flat_map(|topic| &topic.partitions).collect()
}

#[test]
fn the_first_batch_comes_whole_however_small_the_limits_are() {
    let broker = TestBroker::start();
    let topic = broker.topic("first", 2, &[]);
    let mut client = broker.connect();
    for partition in 0..2 {
        for _ in 0..3 {
            client.produce(&topic, partition, batch::big(5000));
        }
    }
    for (max, partition_max) in [(1, 1 << 20), (1 << 20, 1), (0, 0), (1, 1), (5000, 5000)] {
        let mut request = FetchRequest { max_bytes: max, ..fetch(&topic, &[(0, 0), (1, 0)]) };
        for part in &mut request.topics[0].partitions {
            part.partition_max_bytes = partition_max;
        }
        let answer = client.call(FETCH, &request);
        let records: Vec<_> =
            parts(&answer).iter().map(|part| batch::records(bytes(part), 0).len()).collect();
        assert_eq!(records, [1, 0], "max.bytes {max}, of a partition {partition_max}");
        assert!(parts(&answer).iter().all(|part| part.high_watermark == 3));
    }
    // In versions 3 and up the rule holds for the whole answer, and further batches keep to the limits.
    let mut request = FetchRequest { max_bytes: 12_000, ..fetch(&topic, &[(0, 0), (1, 0)]) };
    request.topics[0].partitions[0].partition_max_bytes = 6000;
    let answer = client.call(FETCH, &request);
    let records: Vec<_> =
        parts(&answer).iter().map(|part| batch::records(bytes(part), 0).len()).collect();
    assert_eq!(records, [1, 1]);
}

#[test]
fn fetch_max_bytes_of_the_broker_bounds_what_a_client_may_ask() {
    let broker = TestBroker::with(&[("fetch.max.bytes", "20000")]);
    let topic = broker.topic("bounded", 1, &[]);
    let mut client = broker.connect();
    for _ in 0..10 {
        client.produce(&topic, 0, batch::big(5000));
    }
    let data = client.fetch(&topic, 0, 0);
    assert!(bytes(&data).len() <= 20_000, "{}", bytes(&data).len());
    assert_eq!(client.read_all(&topic, 0, 0).len(), 10);
}

#[test]
fn partitions_of_a_session_take_turns_when_there_is_room_for_one() {
    const PARTITIONS: i32 = 5;
    let broker = TestBroker::start();
    let topic = broker.topic("turns", PARTITIONS, &[]);
    let mut client = broker.connect();
    for partition in 0..PARTITIONS {
        for _ in 0..4 {
            client.produce(&topic, partition, batch::big(3000));
        }
    }
    let all: Vec<_> = (0..PARTITIONS).map(|partition| (partition, 0)).collect();
    let open = FetchRequest { session_epoch: 0, max_bytes: 1, ..fetch(&topic, &all) };
    let mut answer = client.call(FETCH, &open);
    let session_id = answer.session_id;
    let mut next = vec![0; PARTITIONS as usize];
    for epoch in 1.. {
        let served: Vec<_> =
            parts(&answer).into_iter().filter(|part| !bytes(part).is_empty()).collect();
        assert_eq!(served.len(), 1);
        let partition = served[0].partition_index;
        next[partition as usize] += 1;
        let (most, least) = (next.iter().max().unwrap(), next.iter().min().unwrap());
        assert!(most - least <= 1, "a partition was starved: {next:?}");
        if *least == 4 {
            break;
        }
        let moved = fetch_topic(&topic, &[(partition, next[partition as usize])]);
        let request = FetchRequest {
            max_bytes: 1,
            min_bytes: 1,
            session_id,
            session_epoch: epoch,
            topics: vec![moved],
            ..Default::default()
        };
        answer = client.call(FETCH, &request);
    }
}

#[test]
fn offsets_outside_the_log_are_out_of_range() {
    let broker = TestBroker::start();
    let topic = broker.topic("range", 1, &[]);
    let mut client = broker.connect();
    for number in 0..5 {
        client.produce(&topic, 0, batch(&[&number.to_string()]));
    }
    crate::offsets::delete_records(&mut client, &topic, 2).unwrap();
    for (offset, expected) in [
        (-1, ErrorCode::OffsetOutOfRange),
        (i64::MIN, ErrorCode::OffsetOutOfRange),
        (0, ErrorCode::OffsetOutOfRange),
        (1, ErrorCode::OffsetOutOfRange),
        (2, ErrorCode::None),
        (4, ErrorCode::None),
        (5, ErrorCode::None),
        (6, ErrorCode::OffsetOutOfRange),
        (i64::MAX, ErrorCode::OffsetOutOfRange),
    ] {
        let data = client.fetch(&topic, 0, offset);
        assert_eq!(code(data.error_code), expected, "offset {offset}");
        match expected {
            ErrorCode::None => {
                assert_eq!((data.high_watermark, data.log_start_offset), (5, 2));
                assert_eq!(values(bytes(&data), offset).len() as i64, 5 - offset);
            }
            _ => assert!(bytes(&data).is_empty()),
        }
    }
    // The end is no error: there the reader waits.
    let request = FetchRequest { max_wait_ms: 60_000, ..fetch(&topic, &[(0, 5)]) };
    let sent = client.send(FETCH, &request);
    broker.connect().produce(&topic, 0, batch(&["5"]));
    assert_eq!(values(bytes(&only(client.receive::<FetchRequest>(sent))), 5), ["5"]);
}

#[test]
fn deleting_the_records_under_a_waiting_reader_tells_it_so() {
    let broker = TestBroker::start();
    let topic = broker.topic("under", 1, &[]);
    let mut client = broker.connect();
    for _ in 0..3 {
        client.produce(&topic, 0, batch(&["x"]));
    }
    // It wants more than there is, from offset 0.
    let request =
        FetchRequest { min_bytes: 1 << 20, max_wait_ms: 60_000, ..fetch(&topic, &[(0, 0)]) };
    let sent = client.send(FETCH, &request);
    assert_waits(&mut client);
    crate::offsets::delete_records(&mut broker.connect(), &topic, 3).unwrap();
    let data = only(client.receive::<FetchRequest>(sent));
    assert_eq!(code(data.error_code), ErrorCode::OffsetOutOfRange);
}

/// The leader epoch of partition 0, as clients are told.
pub fn leader_epoch(client: &mut Client, topic: &Topic) -> i32 {
    let asked =
        MetadataRequestTopic { name: Some(topic.name.as_str().into()), ..Default::default() };
    let answer =
        client.call(12, &MetadataRequest { topics: Some(vec![asked]), ..Default::default() });
    answer.topics[0].partitions[0].leader_epoch
}

#[test]
fn leader_epochs_that_are_not_the_leaders_are_fenced() {
    let broker = TestBroker::start();
    let topic = broker.topic("fenced", 1, &[]);
    let mut client = broker.connect();
    client.produce(&topic, 0, batch(&["x"]));
    let epoch = leader_epoch(&mut client, &topic);
    let mut at = |current_leader_epoch| {
        let mut request = fetch(&topic, &[(0, 0)]);
        request.topics[0].partitions[0].current_leader_epoch = current_leader_epoch;
        let data = only(client.call(FETCH, &request));
        assert_eq!(bytes(&data).is_empty(), data.error_code != 0);
        code(data.error_code)
    };
    assert_eq!(at(-1), ErrorCode::None);
    assert_eq!(at(epoch), ErrorCode::None);
    assert_eq!(at(epoch + 1), ErrorCode::UnknownLeaderEpoch);
    assert_eq!(at(i32::MAX), ErrorCode::UnknownLeaderEpoch);
    if epoch > 0 {
        assert_eq!(at(epoch - 1), ErrorCode::FencedLeaderEpoch);
    }
}

#[test]
fn a_read_committed_reader_sees_what_was_never_in_a_transaction() {
    let broker = TestBroker::start();
    let topic = broker.topic("committed", 1, &[]);
    let mut client = broker.connect();
    client.produce(&topic, 0, batch(&["plain"]));
    let request = FetchRequest { isolation_level: 1, ..fetch(&topic, &[(0, 0)]) };
    let data = only(client.call(FETCH, &request));
    assert_eq!(values(bytes(&data), 0), ["plain"]);
    assert_eq!(data.last_stable_offset, 1);
}

#[test]
fn partitions_are_answered_in_the_order_and_number_asked() {
    let broker = TestBroker::start();
    let topic = broker.topic("all", 10, &[]);
    let mut client = broker.connect();
    let asked = [(7, 0), (3, 0), (9, 0), (0, 0)];
    let answer = client.call(FETCH, &fetch(&topic, &asked));
    let answered: HashSet<_> = parts(&answer).iter().map(|part| part.partition_index).collect();
    assert_eq!(answered, HashSet::from([7, 3, 9, 0]));
    assert_eq!(parts(&answer).len(), 4);
}
