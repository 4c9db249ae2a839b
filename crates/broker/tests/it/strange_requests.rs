//! Requests that can be read and mean nonsense: for every API and version that the broker serves, any values at all.
//!
//! Each is answered in the shape of its version or its connection is closed, no thread panics, memory stays, and what
//! others have stored is untouched.

use std::time::Duration;

use bytes::Bytes;
use millstream_base::ErrorCode;
use millstream_env::random::{Random, SeededRandom};
use millstream_wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use millstream_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use millstream_wire::testing::{CASES, Case, Gen};
use millstream_wire::{ApiKey, Decoder, frame};

use crate::support::batch::batch;
use crate::support::child::{Child, Under};
use crate::support::client::{Client, code};
use crate::support::seed;

/// Tries of random values for each version, and of known names with plain values.
const RANDOM: u64 = 12;
const NAMED: u64 = 4;
/// What is not answered by then waits for something, which is right for some requests.
const SOON: Duration = Duration::from_millis(60);

/// A request's and its response's case.
fn cases(api: ApiKey) -> (&'static Case, &'static Case) {
    let of = |kind: &str| {
        CASES.iter().find(|case| case.key == Some(api.code()) && case.kind == kind).unwrap()
    };
    (of("request"), of("response"))
}

/// Random bytes for a generator; most of them small.
fn noise(random: &SeededRandom) -> Vec<u8> {
    let len = 20 + random.next_u64() % 400;
    let byte = || {
        let number = random.next_u64();
        if number.is_multiple_of(3) { (number >> 8) as u8 } else { (number >> 8) as u8 % 8 }
    };
    (0..len).map(|_| byte()).collect()
}

/// A body of any values, or of known names in lists of one or two.
fn body(case: &Case, version: i16, random: &SeededRandom, number: u64) -> Bytes {
    let made = if number < RANDOM {
        (case.generate)(&mut Gen::new(&noise(random)), version)
    } else {
        let width = 1 + usize::try_from(random.next_u64() % 2).unwrap();
        (case.generate)(&mut Gen::wide(&[width, width, 1], "known"), version)
    };
    made.unwrap()
}

fn framed(api: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = api.code().to_be_bytes().to_vec();
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&5i32.to_be_bytes());
    bytes.extend_from_slice(&[0, 3]);
    bytes.extend_from_slice(b"odd");
    if api.request_header_version(version) >= 2 {
        bytes.push(0);
    }
    bytes.extend_from_slice(body);
    bytes
}

/// The answer must be one to this request, as its version writes it.
fn check_answer(api: ApiKey, version: i16, response: &Case, bytes: Bytes) {
    let mut decoder = Decoder::new(bytes);
    let id = frame::read_response_header(&mut decoder, api, version).unwrap();
    assert_eq!(id, 5, "{api:?} v{version}");
    match (response.decode)(decoder.rest(), version) {
        Ok(left) => assert_eq!(left, 0, "{api:?} v{version}: bytes left over"),
        Err(error) => panic!("the answer to {api:?} v{version} cannot be read: {error}"),
    }
}

#[test]
fn any_values_in_any_request_are_answered_or_refused() {
    let random = SeededRandom::new(seed("any_values"));
    let dir = tempfile::tempdir().unwrap();
    let broker = Child::start(&dir.path().join("data"), &[], Under::Nothing);
    let kept = broker.topic("kept", 1, &[]);
    broker.topic("known", 2, &[]);
    let mut steady = broker.connect();
    steady.produce(&kept, 0, batch(&["precious"]));
    let before = broker.memory();
    let served = steady.api_versions().api_keys;
    let mut answered = 0;
    for api in served {
        let key = ApiKey::from_code(api.api_key).unwrap();
        let (request, response) = cases(key);
        for version in api.min_version.max(request.min)..=api.max_version {
            // One connection for a version, for as long as it lasts.
            let mut client: Option<Client> = None;
            for number in 0..RANDOM + NAMED {
                let body = body(request, version, &random, number);
                let it = client.get_or_insert_with(|| {
                    let client = broker.connect();
                    client.stream().set_read_timeout(Some(SOON)).unwrap();
                    client
                });
                it.send_frame(&framed(key, version, &body));
                match it.receive_frame() {
                    Ok(bytes) => {
                        check_answer(key, version, response, bytes);
                        answered += 1;
                    }
                    // Closed, or waiting: go on with another connection.
                    Err(_) => client = None,
                }
            }
        }
        broker.assert_alive();
    }
    println!("{answered} answers");
    assert!(answered > 500, "only {answered} answers");
    assert_eq!(steady.read_values(&kept, 0), ["precious"]);
    assert_eq!(steady.produce(&kept, 0, batch(&["more"])), 1);
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 200 << 20, "the broker grew by {} MiB", grown >> 20);
}

/// What a topic of this name and these numbers is refused with.
fn create(client: &mut Client, name: &str, partitions: i32, replicas: i16) -> ErrorCode {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
    let answer = &client.call(7, &request).topics[0];
    assert!(answer.error_code == 0 || answer.error_message.is_some(), "refused without a word");
    code(answer.error_code)
}

#[test]
fn topics_that_cannot_be_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Child::start(&dir.path().join("data"), &[], Under::Nothing);
    let mut client = broker.connect();
    broker.topic("there", 1, &[]);
    let before = broker.memory();
    for partitions in [i32::MAX, 1_000_000_000, 10_001] {
        let refused = create(&mut client, "wide", partitions, 1);
        assert!(
            matches!(refused, ErrorCode::PolicyViolation | ErrorCode::InvalidPartitions),
            "{refused:?} for {partitions} partitions"
        );
    }
    for partitions in [0, -2, i32::MIN] {
        assert_eq!(create(&mut client, "none", partitions, 1), ErrorCode::InvalidPartitions);
    }
    for replicas in [0, 2, -2, i16::MAX, i16::MIN] {
        assert_eq!(create(&mut client, "many", 1, replicas), ErrorCode::InvalidReplicationFactor);
    }
    let long = "n".repeat(250);
    for name in ["", ".", "..", "a b", "a/b", "../../etc/passwd", "ü", "a\0b", &long] {
        let refused = create(&mut client, name, 1, 1);
        assert_eq!(refused, ErrorCode::InvalidTopicException, "{name:?}");
    }
    assert_eq!(create(&mut client, "there", 1, 1), ErrorCode::TopicAlreadyExists);
    for count in [i32::MAX, 10_002, 1, 0, -1] {
        let topic = CreatePartitionsTopic { name: "there".into(), count, assignments: None };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: 30_000,
            validate_only: false,
        };
        let answer = &client.call(3, &request).results[0];
        let refused = code(answer.error_code);
        assert!(
            matches!(refused, ErrorCode::PolicyViolation | ErrorCode::InvalidPartitions),
            "{refused:?} for {count} partitions"
        );
    }
    // Ten thousand topics that all have the same name, in one request.
    let topic = CreatableTopic {
        name: "twice".into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let topics = vec![topic; 10_000];
    let request = CreateTopicsRequest { topics, timeout_ms: 30_000, validate_only: false };
    let answer = client.call(7, &request);
    assert!(answer.topics.iter().all(|topic| code(topic.error_code) == ErrorCode::InvalidRequest));
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 64 << 20, "the broker grew by {} MiB", grown >> 20);
    broker.assert_alive();
    assert_eq!(create(&mut client, "fine", 3, 1), ErrorCode::None);
}
