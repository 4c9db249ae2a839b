//! The small batches under `fixtures/`: what is in them, and their bytes again where nothing is compressed.

use millstream_records::{
    BatchHeader, BatchOptions, BatchView, Codec, Compression, ControlType, EndTxnMarker,
    TimestampType,
};

use crate::{Owned, build, read};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/fixtures/{name}.batch", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The options that make a batch with this header.
pub fn options_of(header: &BatchHeader) -> BatchOptions {
    let appended = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
    BatchOptions {
        base_offset: header.base_offset,
        leader_epoch: header.partition_leader_epoch,
        codec: Codec::from(header.attributes.compression().unwrap()),
        log_append_time: appended.then_some(header.max_timestamp),
        delete_horizon: header.attributes.has_delete_horizon().then_some(header.base_timestamp),
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        transactional: header.attributes.is_transactional(),
        control: header.attributes.is_control(),
    }
}

/// Reads a fixture, holds what its header says against `codec` and `count`, and writes and reads it again.
fn check(name: &str, codec: Compression, count: i32) -> (BatchHeader, Vec<Owned>) {
    let bytes = fixture(name);
    let batch = BatchView::parse(&bytes).unwrap();
    batch.check_crc().unwrap();
    let header = *batch.header();
    assert_eq!(header.size_bytes(), bytes.len());
    assert_eq!(header.attributes.compression(), Ok(codec));
    assert_eq!(header.records_count, count);
    let records = read(&bytes);
    assert_eq!(records.len(), count as usize);
    assert_eq!(records.last().unwrap().offset, header.last_offset().0);

    let again = build(options_of(&header), &records);
    assert_eq!(read(&again), records);
    if codec == Compression::None {
        assert_eq!(again, bytes);
    }
    (header, records)
}

#[test]
fn every_codec_of_a_client_is_read() {
    let cases = [
        ("gzip", Compression::Gzip, 1),
        ("snappy", Compression::Snappy, 9),
        ("lz4", Compression::Lz4, 29),
        ("zstd", Compression::Zstd, 26),
    ];
    for (name, codec, count) in cases {
        let (header, records) = check(name, codec, count);
        for (index, record) in records.iter().enumerate() {
            assert_eq!(record.offset, header.base_offset.0 + index as i64);
            assert!(record.key.as_ref().unwrap().starts_with(b"customer-"), "{name}");
            for (key, value) in &record.headers {
                match key.as_slice() {
                    b"codec" => assert_eq!(value.as_deref(), Some(name.as_bytes())),
                    b"seq" => assert!(value.is_some()),
                    other => assert_eq!((other, value), (b"nil".as_slice(), &None)),
                }
            }
        }
    }
}

#[test]
fn transactional_batches_are_read() {
    for (name, codec, count) in
        [("none-transactional", Compression::None, 1), ("lz4-transactional", Compression::Lz4, 4)]
    {
        let (header, _) = check(name, codec, count);
        assert!(header.attributes.is_transactional() && !header.attributes.is_control());
        assert!(header.has_producer_id() && header.base_sequence >= 0);
    }
}

#[test]
fn control_batches_are_read() {
    let (header, records) = check("end-txn-marker", Compression::None, 1);
    assert!(header.attributes.is_transactional() && header.attributes.is_control());
    let marker = EndTxnMarker::read(records[0].key.as_deref(), records[0].value.as_deref());
    assert_eq!(marker, Some(EndTxnMarker { committed: true, coordinator_epoch: 0 }));

    let (header, records) = check("leader-change", Compression::None, 1);
    assert!(!header.attributes.is_transactional() && header.attributes.is_control());
    let kind = ControlType::from_key(records[0].key.as_deref().unwrap());
    assert_eq!(kind, Some(ControlType::LeaderChange));
}
