//! Frames that are no requests: whoever sends them is disconnected without an answer, everybody else is served.

use std::io::{ErrorKind, Read as _, Write as _};

use millstream_base::ErrorCode;
use millstream_env::random::{Random as _, SeededRandom};
use millstream_wire::ApiKey;
use millstream_wire::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use millstream_wire::messages::metadata::MetadataRequest;
use millstream_wire::{Decode as _, Decoder};

use crate::support::batch::batch;
use crate::support::broker::TestBroker;
use crate::support::client::{Client, FETCH, PRODUCE, code, decode, fetch, produce, request_bytes};
use crate::support::{eventually, logs, seed};

/// Key, version and correlation id, and a client id of null.
fn header(key: i16, version: i16) -> Vec<u8> {
    let mut bytes = key.to_be_bytes().to_vec();
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&7i32.to_be_bytes());
    bytes.extend_from_slice(&(-1i16).to_be_bytes());
    bytes
}

#[test]
fn a_frame_too_short_for_a_header_closes_the_connection() {
    let broker = TestBroker::start();
    let whole = header(ApiKey::Metadata.code(), 1);
    for len in 0..whole.len() {
        let mut client = broker.connect();
        client.send_frame(&whole[..len]);
        client.expect_closed();
    }
    broker.assert_alive();
}

#[test]
fn a_frame_above_socket_request_max_bytes_closes_at_its_length() {
    let broker = TestBroker::with(&[("socket.request.max.bytes", "2000")]);
    let mut client = broker.connect();
    // Nothing but the length has come: the rest is not waited for.
    client.send_raw(&2001i32.to_be_bytes());
    let peer = client.stream().local_addr().unwrap().to_string();
    client.expect_closed();
    logs::wait_for(&[&peer, "closed", "2001", "socket.request.max.bytes"]);

    // The limit itself is allowed.
    let mut client = broker.connect();
    let mut frame = request_bytes(4, 1, &ApiVersionsRequest::default());
    frame.drain(..4);
    frame.resize(2000, 0);
    client.send_frame(&frame);
    assert!(client.receive_frame().is_ok());
    broker.assert_alive();
}

#[test]
fn a_negative_length_closes_the_connection() {
    let broker = TestBroker::start();
    for length in [-1, i32::MIN] {
        let mut client = broker.connect();
        client.send_raw(&length.to_be_bytes());
        client.expect_closed();
    }
    broker.assert_alive();
}

#[test]
fn a_length_of_two_gigabytes_takes_no_memory_and_is_refused() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    client.send_raw(&i32::MAX.to_be_bytes());
    client.expect_closed();
    broker.assert_alive();
}

#[test]
fn unknown_keys_and_versions_close_the_connection_and_are_named_in_the_log() {
    let broker = TestBroker::start();
    let newest = ApiKey::Metadata.latest_stable();
    let cases = [
        (-1, 0),
        (i16::MIN, 0),
        (i16::MAX, 0),
        (4711, 3),
        (ApiKey::Metadata.code(), -1),
        (ApiKey::Metadata.code(), newest + 1),
        (ApiKey::Metadata.code(), i16::MAX),
        (ApiKey::Produce.code(), 2),
        (ApiKey::Produce.code(), 99),
        (ApiKey::Fetch.code(), 0),
        // Between brokers, and not served here.
        (ApiKey::Vote.code(), 0),
    ];
    for (key, version) in cases {
        let mut client = broker.connect();
        let peer = client.stream().local_addr().unwrap().to_string();
        let mut frame = header(key, version);
        frame.extend_from_slice(&[0; 40]);
        client.send_frame(&frame);
        client.expect_closed();
        // By its name where it has one.
        let known = ApiKey::from_code(key);
        let name = known.map_or_else(|| key.to_string(), |api| format!("{api:?}"));
        let version = version.to_string();
        eventually("key and version in the log", || {
            let line = |key: &str| logs::find(&[&peer, "closed", key, &version]);
            line(&name).or_else(|| line(&key.to_string()))
        });
    }
    broker.assert_alive();
}

#[test]
fn api_versions_of_an_unknown_version_is_answered_in_version_0() {
    let broker = TestBroker::start();
    for version in [ApiKey::ApiVersions.latest_stable() + 1, 100, i16::MAX] {
        let mut client = broker.connect();
        let mut frame = header(ApiKey::ApiVersions.code(), version);
        frame.extend_from_slice(b"whatever a later version may carry");
        client.send_frame(&frame);
        let mut decoder = Decoder::new(client.receive_frame().unwrap());
        assert_eq!(decoder.i32().unwrap(), 7, "the correlation id");
        let answer = ApiVersionsResponse::decode(&mut decoder, 0).unwrap();
        decoder.finish().unwrap();
        assert_eq!(code(answer.error_code), ErrorCode::UnsupportedVersion);
        let own = ApiKey::ApiVersions.code();
        assert!(answer.api_keys.iter().any(|api| api.api_key == own && api.max_version >= 3));
        // The client goes on with what it was told, on the same connection.
        assert_eq!(client.api_versions().error_code, 0);
    }
    broker.assert_alive();
}

#[test]
fn every_advertised_version_is_served_and_none_beside() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    for version in 0..=4 {
        let request = match version {
            0..=2 => ApiVersionsRequest::default(),
            _ => ApiVersionsRequest {
                client_software_name: "raw".into(),
                client_software_version: "1".into(),
                ..Default::default()
            },
        };
        let answer = client.call(version, &request);
        assert_eq!(code(answer.error_code), ErrorCode::None, "v{version}");
        let stable = |key| ApiKey::from_code(key).map(|api| (api.min(), api.latest_stable()));
        for api in &answer.api_keys {
            let (min, max) = stable(api.api_key).unwrap();
            // Produce is advertised from 0 for the sake of older clients, and served from 3.
            let from = if api.api_key == ApiKey::Produce.code() { 0 } else { min };
            assert!(api.min_version >= from && api.max_version <= max, "{api:?}");
        }
    }
}

#[test]
fn http_and_tls_and_ssh_are_closed_without_an_answer_and_named() {
    let broker = TestBroker::start();
    let strangers: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP"),
        (b"POST /topics HTTP/1.1\r\n\r\n", "HTTP"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP"),
        (&[22, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3], "TLS"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "SSH"),
    ];
    for (hello, what) in strangers {
        let mut client = broker.connect();
        let peer = client.stream().local_addr().unwrap().to_string();
        client.send_raw(hello);
        client.expect_closed();
        logs::wait_for(&[&peer, "closed", what]);
    }
    // Only the first bytes of a hello, a byte at a time.
    let mut client = broker.connect();
    for byte in b"HEAD" {
        client.send_raw(&[*byte]);
    }
    client.expect_closed();
    broker.assert_alive();
}

#[test]
fn a_request_cut_at_any_byte_and_then_closed_does_nothing() {
    let broker = TestBroker::start();
    let topic = broker.topic("cut", 1, &[]);
    let whole = request_bytes(PRODUCE, 9, &produce(&topic, 0, -1, batch(&["never"])));
    for len in 0..whole.len() {
        let mut client = broker.connect();
        client.send_raw(&whole[..len]);
        drop(client);
    }
    // An orderly end of sending in the middle of a frame closes too.
    let mut client = broker.connect();
    client.send_raw(&whole[..whole.len() - 1]);
    client.shutdown_write();
    client.expect_closed();
    let mut client = broker.connect();
    assert_eq!(client.read_values(&topic, 0), [""; 0]);
    broker.assert_alive();
}

#[test]
fn requests_sent_a_byte_at_a_time_are_served() {
    let broker = TestBroker::start();
    let topic = broker.topic("slow", 1, &[]);
    let mut client = broker.connect();
    let mut bytes = request_bytes(
        4,
        1,
        &ApiVersionsRequest {
            client_software_name: "slow".into(),
            client_software_version: "1".into(),
            ..Default::default()
        },
    );
    bytes.extend(request_bytes(PRODUCE, 2, &produce(&topic, 0, -1, batch(&["drip"]))));
    bytes.extend(request_bytes(FETCH, 3, &fetch(&topic, &[(0, 0)])));
    for byte in bytes {
        client.send_raw(&[byte]);
    }
    for correlation_id in 1..=3 {
        let answer = client.receive_frame().unwrap();
        assert_eq!(answer[..4], i32::to_be_bytes(correlation_id));
    }
    assert_eq!(client.read_values(&topic, 0), ["drip"]);
}

#[test]
fn a_request_that_arrives_with_half_of_the_next_is_answered_at_once() {
    let broker = TestBroker::start();
    let mut client = broker.connect();
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    let first = request_bytes(12, 1, &request);
    let second = request_bytes(12, 2, &request);
    let (half, rest) = second.split_at(second.len() / 2);
    client.send_raw(&[&first, half].concat());
    assert_eq!(client.receive_frame().unwrap()[..4], 1i32.to_be_bytes());
    client.send_raw(rest);
    assert_eq!(client.receive_frame().unwrap()[..4], 2i32.to_be_bytes());
}

/// Requests whose bytes are changed at random: whatever happens, happens to that connection alone.
#[test]
fn changed_bytes_in_requests_never_hurt_anyone_else() {
    const ROUNDS: u32 = 1500;
    let random = SeededRandom::new(seed("changed_bytes"));
    let broker = TestBroker::with(&[("message.max.bytes", "100000")]);
    let topic = broker.topic("steady", 2, &[]);
    let mut steady = broker.connect();
    let originals = originals(&topic);
    let mut kept = Vec::new();
    for round in 0..ROUNDS {
        let mut bytes = originals[(random.next_u64() % originals.len() as u64) as usize].clone();
        for _ in 0..=random.next_u64() % 4 {
            // Not the length: that another request is waited for is no news.
            let at = 4 + (random.next_u64() as usize) % (bytes.len() - 4);
            bytes[at] = interesting(random.next_u64());
        }
        let client = broker.connect();
        let _ = client.stream().write_all(&bytes);
        // Half of them wait for what comes.
        if random.next_u64().is_multiple_of(2) {
            client.stream().set_nonblocking(true).unwrap();
            let _ = client.stream().read(&mut [0; 1024]);
        }
        if round % 50 == 0 {
            let value = format!("value {round}");
            steady.produce(&topic, 1, batch(&[&value]));
            kept.push(value);
        }
    }
    let mut reader = broker.connect();
    let read = reader.read_values(&topic, 1);
    let mut expected = kept.iter();
    let mut next = expected.next();
    for value in &read {
        // A changed produce may have been a good one: what else is there does not matter.
        if Some(value) == next {
            next = expected.next();
        }
    }
    assert_eq!(next, None, "an acknowledged record is missing");
    broker.assert_alive();
}

/// A byte that decoders stumble over more than over others.
fn interesting(random: u64) -> u8 {
    match random % 8 {
        0 => 0xff,
        1 => 0x7f,
        2 => 0x80,
        3 => 0,
        4 => 1,
        _ => (random >> 8) as u8,
    }
}

fn originals(topic: &crate::support::client::Topic) -> Vec<Vec<u8>> {
    use millstream_wire::messages as m;
    let name: millstream_wire::Str = topic.name.as_str().into();
    let list = m::list_offsets::ListOffsetsRequest {
        topics: vec![m::list_offsets::ListOffsetsTopic {
            name: name.clone(),
            partitions: vec![Default::default()],
        }],
        ..Default::default()
    };
    let metadata = MetadataRequest { topics: None, ..Default::default() };
    let join = m::join_group::JoinGroupRequest {
        group_id: "g".into(),
        session_timeout_ms: 6000,
        rebalance_timeout_ms: 6000,
        protocol_type: "consumer".into(),
        protocols: vec![m::join_group::JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: bytes::Bytes::from_static(&[0; 12]),
        }],
        ..Default::default()
    };
    let find = m::find_coordinator::FindCoordinatorRequest {
        coordinator_keys: vec!["g".into()],
        ..Default::default()
    };
    vec![
        request_bytes(PRODUCE, 1, &produce(topic, 0, -1, batch(&["a", "b"]))),
        request_bytes(9, 1, &produce(topic, 0, 1, batch(&["a", "b"]))),
        request_bytes(3, 1, &produce(topic, 0, 0, batch(&["c"]))),
        request_bytes(FETCH, 1, &fetch(topic, &[(0, 0), (1, 0)])),
        request_bytes(11, 1, &fetch(topic, &[(0, 0)])),
        request_bytes(7, 1, &list),
        request_bytes(12, 1, &metadata),
        request_bytes(7, 1, &join),
        request_bytes(4, 1, &find),
        request_bytes(4, 1, &ApiVersionsRequest::default()),
    ]
}

#[test]
fn a_good_request_before_garbage_is_still_answered() {
    let broker = TestBroker::start();
    let mut client: Client = broker.connect();
    let request = MetadataRequest { topics: Some(Vec::new()), ..Default::default() };
    let sent = client.send(12, &request);
    client.send_frame(&header(4711, 0));
    let answer = client.receive_frame();
    // Kafka may drop an answer that was not sent when the connection is closed; a wrong one never comes.
    match answer {
        Ok(bytes) => drop(decode::<MetadataRequest>(bytes, sent)),
        Err(error) => {
            assert!(matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
        }
    }
    client.expect_closed();
    broker.assert_alive();
}
