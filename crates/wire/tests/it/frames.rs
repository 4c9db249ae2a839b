//! Headers and whole frames.

use bytes::Bytes;
use millstream_wire::frame::*;
use millstream_wire::header::RequestHeader;
use millstream_wire::messages::api_versions::*;
use millstream_wire::messages::fetch::*;
use millstream_wire::messages::heartbeat::HeartbeatRequest;
use millstream_wire::messages::list_offsets::ListOffsetsResponse;
use millstream_wire::{ApiKey, Cut, Decoder, Encode, EncodeError, Encoder, Records};

#[test]
fn keys_are_those_of_the_protocol() {
    // Kafka's, and what the nodes of a quorum say to each other.
    assert_eq!(ApiKey::ALL.len(), 91 + 1);
    for key in ApiKey::ALL {
        assert_eq!(ApiKey::from_code(key.code()), Some(key), "{key}");
        assert!(key.min() <= key.latest_stable() && key.latest_stable() <= key.max());
    }
    for retired in [4, 5, 6, 7, -1, 95, i16::MIN, i16::MAX] {
        assert_eq!(ApiKey::from_code(retired), None);
    }
    assert_eq!((ApiKey::InitProducerId.latest_stable(), ApiKey::InitProducerId.max()), (5, 6));
    assert_eq!(ApiKey::OffsetDelete.flexible_from(), None);
    assert_eq!(ApiKey::Fetch.name(), "Fetch");
}

#[test]
fn header_versions() {
    let check = |key: ApiKey, version, expected: (i16, i16)| {
        let found = (key.request_header_version(version), key.response_header_version(version));
        assert_eq!(found, expected, "{key} {version}");
    };
    check(ApiKey::Produce, 8, (1, 0));
    check(ApiKey::Produce, 9, (2, 1));
    check(ApiKey::ApiVersions, 2, (1, 0));
    check(ApiKey::ApiVersions, 3, (2, 0));
    check(ApiKey::SaslHandshake, 1, (1, 0));
    check(ApiKey::Vote, 0, (2, 1));
}

/// A request frame's bytes without the length.
fn frame(version: i16) -> Vec<u8> {
    let mut e = Encoder::new();
    let request = HeartbeatRequest { group_id: "g".into(), ..Default::default() };
    let len = write_request(&mut e, version, 77, Some("me".into()), &request).unwrap();
    let bytes = e.into_buffer();
    assert_eq!(bytes[..4], (len as i32 - 4).to_be_bytes());
    bytes[4..].to_vec()
}

#[test]
fn a_request_frame_comes_back() {
    for version in 0..=4 {
        let bytes = frame(version);
        let view = RequestHeaderView::parse(&bytes).unwrap();
        assert_eq!((view.key, view.version), (ApiKey::Heartbeat, version));
        assert_eq!((view.correlation_id, view.client_id), (77, Some("me")));
        let mut d = Decoder::new(bytes.clone().into());
        let (key, header) = read_request_header(&mut d).unwrap();
        assert_eq!((key, header.correlation_id), (ApiKey::Heartbeat, 77));
        assert_eq!(d.position(), view.len);
        assert_eq!(d.read::<HeartbeatRequest>(version).unwrap().group_id, "g");
        d.finish().unwrap();
    }
}

#[test]
fn a_header_of_known_bytes() {
    // The client id of header version 2 is not compact.
    let header = RequestHeader {
        request_api_key: 18,
        request_api_version: 3,
        correlation_id: 5,
        client_id: Some("rd".into()),
    };
    let mut e = Encoder::new();
    header.encode(&mut e, 2).unwrap();
    assert_eq!(e.buffer(), [0, 18, 0, 3, 0, 0, 0, 5, 0, 2, b'r', b'd', 0]);
}

#[test]
fn unknown_keys_and_versions_say_whom_to_answer() {
    let read = |bytes: &'static [u8]| {
        let view = RequestHeaderView::parse(bytes).map(|_| ());
        let full = read_request_header(&mut Decoder::new(Bytes::from_static(bytes))).map(|_| ());
        match (&view, &full) {
            // They may stop at another byte of it.
            (Err(HeaderError::Malformed(_)), Err(HeaderError::Malformed(_))) => {}
            _ => assert_eq!(view, full),
        }
        view.unwrap_err()
    };
    let unknown = HeaderError::UnknownKey { key: 4, version: 1, correlation_id: 9 };
    assert_eq!(read(&[0, 4, 0, 1, 0, 0, 0, 9, 0, 0]), unknown);
    let version = HeaderError::UnsupportedVersion {
        key: ApiKey::ApiVersions,
        version: 99,
        correlation_id: 9,
    };
    assert_eq!(read(&[0, 18, 0, 99, 0, 0, 0, 9]), version);
    for bytes in
        [&[][..], &[0, 18], &[0, 18, 0, 3, 0, 0, 0], &[0, 18, 0, 3, 0, 0, 0, 9, 0, 5, b'x']]
    {
        assert!(matches!(read(bytes), HeaderError::Malformed(_)), "{bytes:?}");
    }
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]] {
        assert!(matches!(read(bytes), HeaderError::UnknownKey { .. }), "{bytes:?}");
    }
}

#[test]
fn a_header_of_the_wrong_version_is_noticed() {
    // Version 3 of Heartbeat has header 1 and version 4 header 2: each read as the other.
    for (from, to) in [(3u8, 4u8), (4, 3)] {
        let mut bytes = frame(i16::from(from));
        bytes[3] = to;
        let mut d = Decoder::new(bytes.into());
        let body = read_request_header(&mut d).map(|_| d.read::<HeartbeatRequest>(i16::from(to)));
        let right = matches!(body, Ok(Ok(_))) && d.is_empty();
        assert!(!right, "{from} read as {to}");
    }
}

#[test]
fn the_answer_to_api_versions_always_has_header_0() {
    let mut e = Encoder::new();
    let response = ApiVersionsResponse { error_code: 35, ..Default::default() };
    write_response(&mut e, ApiKey::ApiVersions, 3, 1, &response).unwrap();
    // Length, correlation id, and at once the error code.
    assert_eq!(e.buffer()[8..10], [0, 35]);
    let mut d = Decoder::new(Bytes::copy_from_slice(&e.buffer()[4..]));
    assert_eq!(read_response_header(&mut d, ApiKey::ApiVersions, 3), Ok(1));
    assert_eq!(d.read::<ApiVersionsResponse>(3).unwrap(), response);
}

fn fetched(records: [Records; 2]) -> FetchResponse {
    let partition = |records| PartitionData { records: Some(records), ..Default::default() };
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            partitions: records.map(partition).into(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn bytes_from_elsewhere_are_counted_and_their_place_is_noted() {
    let parts = [Bytes::from_static(b"first batches"), Bytes::from_static(b"more")];
    for version in ApiKey::Fetch.min()..=ApiKey::Fetch.max() {
        let mut plain = Encoder::new();
        plain.raw(b"before");
        let here = fetched(parts.clone().map(Records::Bytes));
        let len = write_response(&mut plain, ApiKey::Fetch, version, 8, &here).unwrap();

        let mut cut = Encoder::with_buffer(b"before".to_vec());
        let there = fetched(parts.clone().map(|p| Records::External { len: p.len() as u32 }));
        assert_eq!(write_response(&mut cut, ApiKey::Fetch, version, 8, &there), Ok(len));
        assert_eq!(cut.total_len(), plain.buffer().len());

        let mut joined = Vec::new();
        let mut from = 0;
        for (Cut { at, len }, part) in cut.cuts().iter().zip(&parts) {
            assert_eq!(*len as usize, part.len());
            joined.extend_from_slice(&cut.buffer()[from..*at]);
            joined.extend_from_slice(part);
            from = *at;
        }
        joined.extend_from_slice(&cut.buffer()[from..]);
        assert_eq!(joined, plain.buffer(), "version {version}");
    }
}

#[test]
fn a_frame_that_fails_leaves_no_trace() {
    let mut e = Encoder::new();
    let good = ListOffsetsResponse::default();
    let len = write_response(&mut e, ApiKey::ListOffsets, 7, 1, &good).unwrap();
    let mut response = fetched([Records::External { len: 7 }, Records::default()]);
    // Not in version 4, and not to be dropped.
    response.responses[0].partitions[1].preferred_read_replica = 3;
    let error = write_response(&mut e, ApiKey::Fetch, 4, 2, &response).unwrap_err();
    let field = "PartitionData.preferred_read_replica";
    assert_eq!(error, EncodeError::FieldNotInVersion { field, version: 4 });
    assert_eq!((e.buffer().len(), e.total_len(), e.cuts()), (len, len, &[][..]));
}
