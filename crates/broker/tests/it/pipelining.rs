//! Many requests on one connection without waiting: answered in their order, whatever each has to wait for.

use std::time::{Duration, Instant};

use millstream_base::ErrorCode;
use millstream_env::random::{Random as _, SeededRandom};
use millstream_wire::messages::api_versions::ApiVersionsRequest;
use millstream_wire::messages::fetch::FetchRequest;
use millstream_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use millstream_wire::messages::metadata::MetadataRequest;
use millstream_wire::messages::produce::ProduceRequest;

use crate::support::batch::{batch, values};
use crate::support::broker::TestBroker;
use crate::support::client::{
    Client, FETCH, PRODUCE, Sent, Topic, bytes, code, fetch, only, produce, request_bytes,
};
use crate::support::seed;

/// What an answer must be.
enum Expect {
    Produced(i64),
    Metadata,
    Versions,
    Listed(i64),
    Fetched(usize),
}

impl Expect {
    /// The version and bytes of a request with such an answer.
    fn request(&self, topic: &Topic, correlation_id: i32) -> (i16, Vec<u8>) {
        let metadata = MetadataRequest { topics: None, ..Default::default() };
        match self {
            Self::Produced(_) => {
                let request = produce(topic, 0, -1, batch(&["x"]));
                (PRODUCE, request_bytes(PRODUCE, correlation_id, &request))
            }
            Self::Versions => (0, request_bytes(0, correlation_id, &ApiVersionsRequest::default())),
            Self::Metadata => (12, request_bytes(12, correlation_id, &metadata)),
            Self::Listed(_) => (7, request_bytes(7, correlation_id, &list(topic))),
            Self::Fetched(_) => {
                let request = fetch(topic, &[(0, 0)]);
                (FETCH, request_bytes(FETCH, correlation_id, &request))
            }
        }
    }
}

fn list(topic: &Topic) -> ListOffsetsRequest {
    let partitions = vec![ListOffsetsPartition { timestamp: -1, ..Default::default() }];
    let topic = ListOffsetsTopic { name: topic.name.as_str().into(), partitions };
    ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() }
}

fn check(client: &mut Client, sent: Sent, expect: &Expect) {
    match expect {
        Expect::Produced(offset) => {
            let answer = client.receive::<ProduceRequest>(sent);
            let part = &answer.responses[0].partition_responses[0];
            assert_eq!(code(part.error_code), ErrorCode::None);
            assert_eq!(part.base_offset, *offset);
        }
        Expect::Metadata => {
            assert_eq!(client.receive::<MetadataRequest>(sent).brokers.len(), 1);
        }
        Expect::Versions => {
            assert_eq!(client.receive::<ApiVersionsRequest>(sent).error_code, 0);
        }
        Expect::Listed(end) => {
            let answer = client.receive::<ListOffsetsRequest>(sent);
            assert_eq!(answer.topics[0].partitions[0].offset, *end);
        }
        Expect::Fetched(count) => {
            let data = only(client.receive::<FetchRequest>(sent));
            assert_eq!(values(bytes(&data), 0).len(), *count);
        }
    }
}

/// Requests of many kinds at random, with and without fsync, in bursts. Each sees what those before it did.
#[test]
fn mixed_requests_are_answered_in_their_order_and_see_those_before_them() {
    let random = SeededRandom::new(seed("mixed_requests"));
    let broker = TestBroker::start();
    for (name, flush) in [("never", "9223372036854775807"), ("each", "1"), ("third", "3")] {
        let topic = broker.topic(name, 1, &[("flush.messages", flush)]);
        // What waits for an fsync is not visible to the requests behind it yet.
        let visible = name == "never";
        let mut client = broker.connect();
        let mut stored = 0;
        for _ in 0..10 {
            // One write, so that many wait in the broker at once.
            let mut burst = Vec::new();
            let mut expected = Vec::new();
            for correlation_id in 0..30 {
                let expect = match random.next_u64() % 8 {
                    0..=2 => Expect::Produced(stored),
                    4 if visible => Expect::Listed(stored),
                    5 if visible => Expect::Fetched(usize::try_from(stored).unwrap()),
                    6 => Expect::Metadata,
                    _ => Expect::Versions,
                };
                stored += i64::from(matches!(expect, Expect::Produced(_)));
                let (version, bytes) = expect.request(&topic, correlation_id);
                burst.extend(bytes);
                expected.push((Sent { correlation_id, version }, expect));
            }
            client.send_raw(&burst);
            for (sent, expect) in &expected {
                check(&mut client, *sent, expect);
            }
        }
        assert_eq!(client.read_values(&topic, 0).len() as i64, stored);
    }
    broker.assert_alive();
}

#[test]
fn a_long_poll_in_the_middle_holds_back_what_follows_it_and_nothing_else() {
    let broker = TestBroker::start();
    let topic = broker.topic("middle", 1, &[]);
    let mut client = broker.connect();
    let first = client.send(PRODUCE, &produce(&topic, 0, -1, batch(&["a"])));
    let mut request = fetch(&topic, &[(0, 1)]);
    request.max_wait_ms = 30_000;
    let poll = client.send(FETCH, &request);
    let second = client.send(PRODUCE, &produce(&topic, 0, -1, batch(&["mine"])));
    let last = client.send(12, &MetadataRequest { topics: Some(Vec::new()), ..Default::default() });
    // The answer before the poll does not wait for it.
    check(&mut client, first, &Expect::Produced(0));
    client.stream().set_read_timeout(Some(Duration::from_millis(150))).unwrap();
    assert!(client.receive_frame().is_err(), "the poll was answered without records");
    client.stream().set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    // Another connection is not held up, and ends the wait.
    assert_eq!(broker.connect().produce(&topic, 0, batch(&["other"])), 1);
    let data = only(client.receive::<FetchRequest>(poll));
    assert_eq!(values(bytes(&data), 1), ["other"]);
    check(&mut client, second, &Expect::Produced(2));
    check(&mut client, last, &Expect::Metadata);
}

#[test]
fn a_client_that_leaves_during_a_long_poll_is_forgotten() {
    let broker = TestBroker::with(&[("max.connections", "2")]);
    let topic = broker.topic("left", 1, &[]);
    let mut stays = broker.connect();
    stays.api_versions();
    let mut request = fetch(&topic, &[(0, 0)]);
    request.max_wait_ms = 600_000;
    for _ in 0..20 {
        // Its place is free again only when the broker has noticed that it is gone.
        crate::support::eventually("a free place", || {
            let mut leaves = broker.connect();
            let bytes = request_bytes(0, 1, &MetadataRequest::default());
            std::io::Write::write_all(&mut leaves.stream(), &bytes).ok()?;
            leaves.receive_frame().ok()?;
            let _sent = leaves.send(FETCH, &request);
            Some(())
        });
    }
    assert_eq!(stays.produce(&topic, 0, batch(&["x"])), 0);
}

#[test]
fn ten_thousand_small_requests_at_once_are_all_answered() {
    const COUNT: i32 = 10_000;
    let broker = TestBroker::start();
    let topic = broker.topic("burst", 1, &[]);
    let mut client = broker.connect();
    let started = Instant::now();
    let writer = client.stream().try_clone().unwrap();
    let request = produce(&topic, 0, 1, batch(&["x"]));
    let sending = std::thread::spawn(move || {
        for number in 0..COUNT {
            let bytes = request_bytes(PRODUCE, number, &request);
            std::io::Write::write_all(&mut &writer, &bytes).unwrap();
        }
    });
    for number in 0..COUNT {
        let sent = Sent { correlation_id: number, version: PRODUCE };
        check(&mut client, sent, &Expect::Produced(i64::from(number)));
    }
    sending.join().unwrap();
    assert!(started.elapsed() < crate::support::PATIENCE);
}
