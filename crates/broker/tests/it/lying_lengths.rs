//! Bodies whose lengths promise more than there is, or something that cannot be: no memory is taken for them, nobody is answered for them.

use millstream_base::ErrorCode;
use millstream_base::varint;
use millstream_records::{BatchOptions, Compression};
use millstream_wire::ApiKey;

use crate::support::batch::{self, RECORDS_AT, batch};
use crate::support::broker::TestBroker;
use crate::support::child::{Child, Under};
use crate::support::client::{Client, FETCH, PRODUCE, Topic, code, fetch, produce, request_bytes};

/// A request frame of `key` and `version` with this body, which a header of the right shape precedes.
fn frame(key: ApiKey, version: i16, body: &[u8]) -> Vec<u8> {
    let mut bytes = key.code().to_be_bytes().to_vec();
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&1i32.to_be_bytes());
    bytes.extend_from_slice(&(-1i16).to_be_bytes());
    if key.request_header_version(version) >= 2 {
        bytes.push(0);
    }
    bytes.extend_from_slice(body);
    bytes
}

/// Lengths of arrays and strings of two billion, in both encodings, at the first place where each API has one.
fn lies() -> Vec<Vec<u8>> {
    let huge = i32::MAX.to_be_bytes();
    let mut compact = Vec::new();
    varint::write_u32(&mut compact, u32::MAX);
    let negative = (-2i32).to_be_bytes();
    let nested = [&1i32.to_be_bytes()[..], &[0, 1, b't'], &huge].concat();
    let compact_nested = [&[2, 2, b't'][..], &compact].concat();
    let fetch_prefix = [0; 21];
    vec![
        // An array of topics.
        frame(ApiKey::Metadata, 1, &huge),
        frame(ApiKey::Metadata, 1, &negative),
        frame(ApiKey::Metadata, 12, &compact),
        // An array in an array.
        frame(ApiKey::ListOffsets, 1, &[&(-1i32).to_be_bytes()[..], &nested].concat()),
        frame(ApiKey::OffsetForLeaderEpoch, 4, &[&[0; 4][..], &compact_nested].concat()),
        frame(ApiKey::DeleteRecords, 2, &compact_nested),
        // A string longer than the frame, and one that is negative without being null.
        frame(ApiKey::ListOffsets, 1, &[&[0; 4][..], &1i32.to_be_bytes(), &[0x7f, 0xff]].concat()),
        frame(ApiKey::ListOffsets, 1, &[&[0; 4][..], &1i32.to_be_bytes(), &[0xff, 0xf0]].concat()),
        frame(ApiKey::FindCoordinator, 4, &[&[0][..], &compact].concat()),
        frame(ApiKey::Fetch, 12, &[&fetch_prefix[..], &[0; 8], &compact].concat()),
        // Bytes.
        frame(
            ApiKey::SyncGroup,
            3,
            &[&[0, 1, b'g', 0, 0, 0, 1][..], &[0, 0, 0xff, 0xff], &huge].concat(),
        ),
        // Records that claim to be longer than the frame.
        frame(
            ApiKey::Produce,
            3,
            &[
                &[0xff, 0xff, 0, 1, 0, 0, 0, 9][..],
                &1i32.to_be_bytes(),
                &[0, 1, b't'],
                &1i32.to_be_bytes(),
                &0i32.to_be_bytes(),
                &huge,
            ]
            .concat(),
        ),
        // Tags: a billion of them, and one of a billion bytes.
        frame(ApiKey::ApiVersions, 3, &[&[2, b'a', 2, b'1'][..], &compact].concat()),
        frame(ApiKey::ApiVersions, 3, &[&[2, b'a', 2, b'1', 1, 99][..], &compact].concat()),
        // A varint that never ends.
        frame(ApiKey::Metadata, 12, &[0xff; 64]),
        // Text that is none.
        frame(ApiKey::Metadata, 1, &[&1i32.to_be_bytes()[..], &[0, 2, 0xc3, 0x28]].concat()),
    ]
}

#[test]
fn lengths_that_lie_close_the_connection_and_take_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Child::start(&dir.path().join("data"), &[], Under::Nothing);
    broker.assert_alive();
    let before = broker.memory();
    for lie in lies() {
        let mut client = broker.connect();
        client.send_frame(&lie);
        client.expect_closed();
    }
    // Many tiny elements in one frame: the frame must not become a multiple of its size.
    let many = [&(1i32 << 20).to_be_bytes()[..], &vec![0; 2 << 20]].concat();
    for _ in 0..4 {
        let mut client = broker.connect();
        client.send_frame(&frame(ApiKey::Metadata, 1, &many));
        // A million topics with the empty name: refused or answered, but not forever.
        let _ = client.receive_frame();
    }
    broker.assert_alive();
    let grown = broker.memory().saturating_sub(before);
    assert!(grown < 400 << 20, "the broker grew by {} MiB", grown >> 20);
}

/// Produces what is not what its header says, and gives the code of the answer.
fn refused(client: &mut Client, topic: &Topic, batch: Vec<u8>) -> ErrorCode {
    let answer = client.try_produce(topic, 0, -1, batch);
    assert_eq!(answer.base_offset, -1);
    code(answer.error_code)
}

#[test]
fn batches_whose_lengths_lie_are_refused_with_a_code_and_nothing_is_stored() {
    let broker = TestBroker::start();
    let topic = broker.topic("liars", 1, &[]);
    let mut client = broker.connect();
    let good = batch(&["one", "two"]);
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    const LENGTH_AT: usize = 8;
    const LAST_DELTA_AT: usize = 23;
    const COUNT_AT: usize = 57;
    let resealed = batch::resealed;
    let cases = [
        (
            "longer than there is",
            changed(LENGTH_AT, &i32::MAX.to_be_bytes()),
            ErrorCode::InvalidRecord,
        ),
        (
            "a negative length",
            changed(LENGTH_AT, &(-1i32).to_be_bytes()),
            ErrorCode::CorruptMessage,
        ),
        (
            "a length below the header's",
            changed(LENGTH_AT, &3i32.to_be_bytes()),
            ErrorCode::CorruptMessage,
        ),
        ("cut in the header", good[..40].to_vec(), ErrorCode::InvalidRecord),
        ("cut in the records", good[..good.len() - 1].to_vec(), ErrorCode::InvalidRecord),
        (
            "two billion records",
            resealed(changed(COUNT_AT, &i32::MAX.to_be_bytes())),
            ErrorCode::InvalidRecord,
        ),
        (
            "fewer than none",
            resealed(changed(COUNT_AT, &(-5i32).to_be_bytes())),
            ErrorCode::InvalidRecord,
        ),
        (
            "an offset delta of two billion",
            resealed(changed(LAST_DELTA_AT, &i32::MAX.to_be_bytes())),
            ErrorCode::InvalidRecord,
        ),
        (
            "a record longer than the batch",
            resealed(changed(RECORDS_AT, &[0xfe, 0xff, 0xff, 0xff, 0x0f])),
            ErrorCode::InvalidRecord,
        ),
        ("an old format", changed(16, &[1]), ErrorCode::InvalidRecord),
        ("a format to come", changed(16, &[3]), ErrorCode::CorruptMessage),
        (
            "a codec that is none",
            resealed(changed(21, &[0, 7])),
            ErrorCode::UnsupportedCompressionType,
        ),
        ("no zstd at all", resealed(changed(21, &[0, 4])), ErrorCode::InvalidRecord),
    ];
    for (what, bytes, expected) in cases {
        assert_eq!(refused(&mut client, &topic, bytes), expected, "{what}");
    }
    assert_eq!(client.produce(&topic, 0, good.clone()), 0, "the first offset is still free");
    assert_eq!(client.read_values(&topic, 0), ["one", "two"]);
    broker.assert_alive();
}

/// 64 MiB of zeros in a few kilobytes: what a batch becomes has a bound.
#[test]
fn a_batch_that_becomes_huge_when_decompressed_is_refused_or_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Child::start(&dir.path().join("data"), &[], Under::Nothing);
    let topic = broker.topic("bomb", 1, &[("max.message.bytes", "20000000")]);
    let mut client = broker.connect();
    for codec in [Compression::Gzip, Compression::Zstd] {
        let zeros = vec![b'0'; 64 << 20];
        let mut builder = millstream_records::BatchBuilder::new(batch::compressed(codec));
        let now = millstream_base::TimestampMs(crate::support::now_ms());
        builder.append(now, None, Some(&zeros), &[]).unwrap();
        let bomb = builder.build().unwrap();
        assert!(bomb.len() < 1 << 20);
        for _ in 0..3 {
            let answer = client.try_produce(&topic, 0, -1, bomb.clone());
            assert!(matches!(
                code(answer.error_code),
                ErrorCode::None | ErrorCode::MessageTooLarge
            ));
        }
    }
    broker.assert_alive();
    assert!(broker.memory() < 500 << 20, "{} MiB", broker.memory() >> 20);
}

#[test]
fn a_fetch_that_asks_for_everything_at_once_gets_what_there_is() {
    let broker = TestBroker::start();
    let topic = broker.topic("greedy", 1, &[]);
    let mut client = broker.connect();
    client.produce(&topic, 0, batch(&["only"]));
    let mut request = fetch(&topic, &[(0, 0)]);
    request.max_bytes = i32::MAX;
    request.topics[0].partitions[0].partition_max_bytes = i32::MAX;
    request.min_bytes = i32::MAX;
    let data = crate::support::client::only(client.call(FETCH, &request));
    assert_eq!(batch::values(crate::support::client::bytes(&data), 0), ["only"]);
    // Negative limits are as good as none: one batch still comes.
    request.max_bytes = -1;
    request.min_bytes = -1;
    request.max_wait_ms = -1;
    request.topics[0].partitions[0].partition_max_bytes = -1;
    let data = crate::support::client::only(client.call(FETCH, &request));
    assert_eq!(batch::values(crate::support::client::bytes(&data), 0), ["only"]);
}

#[test]
fn a_produce_of_no_records_is_refused_for_that_partition_alone() {
    let broker = TestBroker::start();
    let topic = broker.topic("empty", 2, &[]);
    let mut client = broker.connect();
    for records in [None, Some(Vec::new())] {
        let mut request = produce(&topic, 0, -1, batch(&["kept"]));
        let part = request.topic_data[0].partition_data[0].clone();
        let none = millstream_wire::messages::produce::PartitionProduceData {
            index: 1,
            records: records.map(|bytes: Vec<u8>| millstream_wire::Records::Bytes(bytes.into())),
        };
        request.topic_data[0].partition_data = vec![none, part];
        let answer = client.call(PRODUCE, &request);
        let parts = &answer.responses[0].partition_responses;
        assert_eq!(code(parts[0].error_code), ErrorCode::InvalidRecord);
        assert_eq!(code(parts[1].error_code), ErrorCode::None);
    }
    assert_eq!(client.read_values(&topic, 0), ["kept", "kept"]);
    assert_eq!(client.read_values(&topic, 1), [""; 0]);
}

#[test]
fn a_request_of_the_largest_size_is_served_and_its_memory_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Child::start(&dir.path().join("data"), &[], Under::Nothing);
    let topic = broker.topic("large", 1, &[("max.message.bytes", "90000000")]);
    let mut client = broker.connect();
    let size = 40 << 20;
    let offset = client.produce(&topic, 0, batch::big(size));
    assert_eq!(offset, 0);
    let mut request = fetch(&topic, &[(0, 0)]);
    request.topics[0].partitions[0].partition_max_bytes = 1;
    let data = crate::support::client::only(client.call(FETCH, &request));
    let read = batch::records(crate::support::client::bytes(&data), 0);
    assert_eq!(read[0].value.as_ref().map(Vec::len), Some(size));
    // The connection is quiet: what it held goes back.
    crate::support::eventually("memory given back", || (broker.memory() < 100 << 20).then_some(()));
    let _ = (BatchOptions::default(), request_bytes(FETCH, 1, &request));
}
