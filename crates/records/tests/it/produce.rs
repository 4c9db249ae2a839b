//! What a leader accepts and refuses, each refusal with its code.

use millstream_base::{ErrorCode, Offset, ProducerId, TimestampMs};
use millstream_records::{
    Accepted, BatchOptions, BatchView, Codec, Compression, Origin, ProduceRejection, ProduceRules,
    TargetCompression, TimestampType, Validator, patch,
};

use crate::{Owned, build, read, some_records};

const NOW: TimestampMs = TimestampMs(10_000);

fn plain(records: &[Owned]) -> Vec<u8> {
    build(BatchOptions::default(), records)
}

fn with_codec(codec: Compression, records: &[Owned]) -> Vec<u8> {
    build(BatchOptions { codec: codec.into(), ..BatchOptions::default() }, records)
}

fn validate(bytes: &mut [u8], rules: &ProduceRules) -> Result<Accepted, ProduceRejection> {
    Validator::new().validate_produce(bytes, rules, NOW)
}

/// Validates, expects a refusal with `code` that leaves the bytes alone, and gives the refused records' places.
fn check(mut bytes: Vec<u8>, rules: &ProduceRules, code: ErrorCode) -> Vec<i32> {
    let before = bytes.clone();
    let rejection = validate(&mut bytes, rules).expect_err("should be refused");
    assert_eq!(rejection.code(), code, "{rejection}");
    assert_eq!(bytes, before);
    rejection.record_errors().iter().map(|record| record.batch_index).collect()
}

/// Changes bytes of a batch and sets its CRC right.
fn with(mut bytes: Vec<u8>, at: usize, value: &[u8]) -> Vec<u8> {
    bytes[at..at + value.len()].copy_from_slice(value);
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn a_sound_batch_stays_as_it_came() {
    for codec in Compression::ALL {
        let mut records = some_records(10);
        records[4].timestamp = 5000;
        let mut bytes = with_codec(codec, &records);
        let before = bytes.clone();
        let accepted = validate(&mut bytes, &ProduceRules::default()).unwrap();
        assert_eq!(bytes, before);
        assert_eq!(accepted.rewritten, None);
        assert_eq!(accepted.header, *BatchView::parse(&bytes).unwrap().header());
        assert_eq!(accepted.max_timestamp, TimestampMs(5000));
        assert_eq!(accepted.max_timestamp_offset_delta, 4);
    }
}

#[test]
fn exactly_one_batch() {
    let rules = ProduceRules::default();
    let one = plain(&some_records(2));
    let invalid = ErrorCode::InvalidRecord;
    check(vec![], &rules, invalid);
    check([one.clone(), one.clone()].concat(), &rules, invalid);
    check([one.clone(), vec![0]].concat(), &rules, invalid);
    for cut in [1, 20, 60, 61, one.len() - 1] {
        check(one[..cut].to_vec(), &rules, invalid);
    }
}

#[test]
fn format_length_and_crc() {
    let rules = ProduceRules::default();
    let one = plain(&some_records(2));
    check(with(one.clone(), 16, &[0]), &rules, ErrorCode::InvalidRecord);
    check(with(one.clone(), 16, &[1]), &rules, ErrorCode::InvalidRecord);
    check(with(one.clone(), 16, &[3]), &rules, ErrorCode::CorruptMessage);
    check(with(one.clone(), 8, &48i32.to_be_bytes()), &rules, ErrorCode::CorruptMessage);
    for at in 17..one.len() {
        let mut damaged = one.clone();
        damaged[at] ^= 1;
        check(damaged, &rules, ErrorCode::CorruptMessage);
    }
}

#[test]
fn too_large() {
    let one = plain(&some_records(2));
    let rules = ProduceRules { max_message_bytes: one.len(), ..ProduceRules::default() };
    assert!(validate(&mut one.clone(), &rules).is_ok());
    let rules = ProduceRules { max_message_bytes: one.len() - 1, ..rules };
    check(one, &rules, ErrorCode::MessageTooLarge);

    // Small as it came, too large as it would be stored.
    let value = Some(vec![0; 50_000]);
    let packed = with_codec(Compression::Zstd, &[Owned { value, ..Owned::default() }]);
    let rules = ProduceRules {
        max_message_bytes: 40_000,
        compression: TargetCompression::Codec(Codec::default()),
        ..ProduceRules::default()
    };
    check(packed.clone(), &rules, ErrorCode::MessageTooLarge);
    let rules = ProduceRules { max_decompressed_bytes: 49_000, ..ProduceRules::default() };
    check(packed, &rules, ErrorCode::MessageTooLarge);
}

#[test]
fn headers_that_contradict_themselves() {
    let rules = ProduceRules::default();
    let invalid = ErrorCode::InvalidRecord;
    let one = plain(&some_records(3));
    let count = |count: i32| with(one.clone(), 57, &count.to_be_bytes());
    let delta = |bytes: Vec<u8>, delta: i32| with(bytes, 23, &delta.to_be_bytes());
    check(with(one.clone(), 0, &1i64.to_be_bytes()), &rules, invalid);
    check(count(0), &rules, invalid);
    check(count(-1), &rules, invalid);
    check(count(2), &rules, invalid);
    check(delta(one.clone(), -1), &rules, invalid);
    // Header agrees with itself, but not with the records.
    check(delta(count(2), 1), &rules, invalid);
    check(delta(count(4), 3), &rules, invalid);
    check(delta(count(i32::MAX), i32::MAX - 1), &rules, invalid);
    let sequenced = BatchOptions { producer_id: ProducerId(1), ..BatchOptions::default() };
    check(build(sequenced, &some_records(1)), &rules, invalid);
}

#[test]
fn control_records_are_for_coordinators() {
    let options = BatchOptions { control: true, base_offset: Offset(7), ..Default::default() };
    let mut records = some_records(1);
    records[0].offset = 7;
    let mut bytes = build(options, &records);
    check(bytes.clone(), &ProduceRules::default(), ErrorCode::InvalidRecord);
    let mut from_zero = bytes.clone();
    patch::base_offset(&mut from_zero, Offset(0)).unwrap();
    check(from_zero, &ProduceRules::default(), ErrorCode::InvalidRecord);

    let rules = ProduceRules {
        origin: Origin::Coordinator,
        // Control records stay as they are.
        compression: TargetCompression::Codec(Compression::Zstd.into()),
        ..ProduceRules::default()
    };
    let accepted = validate(&mut bytes, &rules).unwrap();
    assert_eq!(accepted.rewritten, None);
}

#[test]
fn codecs() {
    let rules = ProduceRules::default();
    for codec in [5, 6, 7] {
        let bytes = with(plain(&some_records(1)), 21, &[0, codec]);
        check(bytes, &rules, ErrorCode::UnsupportedCompressionType);
    }
    for codec in 1..5 {
        let bytes = with(plain(&some_records(1)), 21, &[0, codec]);
        check(bytes, &rules, ErrorCode::InvalidRecord);
    }
}

#[test]
fn keyless_records_of_a_compacted_topic() {
    let rules = ProduceRules { compacted: true, ..ProduceRules::default() };
    for codec in Compression::ALL {
        let mut records = some_records(6);
        assert!(validate(&mut with_codec(codec, &records), &rules).is_ok());
        records[0].key = Some(vec![]);
        assert!(validate(&mut with_codec(codec, &records), &rules).is_ok());
        records[1].key = None;
        records[5].key = None;
        let refused = check(with_codec(codec, &records), &rules, ErrorCode::InvalidRecord);
        assert_eq!(refused, [1, 5]);
    }
}

#[test]
fn timestamps_out_of_bounds() {
    let rules = ProduceRules {
        timestamp_before_max_ms: 100,
        timestamp_after_max_ms: 10,
        ..ProduceRules::default()
    };
    for codec in Compression::ALL {
        let mut records = some_records(5);
        for (record, timestamp) in records.iter_mut().zip([9899, 9900, -1, 10_010, 10_011]) {
            record.timestamp = timestamp;
        }
        let bytes = with_codec(codec, &records);
        assert_eq!(check(bytes.clone(), &rules, ErrorCode::InvalidTimestamp), [0, 4]);
        // With LogAppendTime it does not matter what a producer says.
        let rules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..rules };
        assert!(validate(&mut bytes.clone(), &rules).is_ok());
        // The first refused record says which code it is.
        records[0].key = None;
        let rules =
            ProduceRules { compacted: true, timestamp_type: TimestampType::CreateTime, ..rules };
        assert_eq!(check(with_codec(codec, &records), &rules, ErrorCode::InvalidRecord), [0, 4]);
    }
    let extremes = [i64::MIN, i64::MAX].map(|timestamp| Owned { timestamp, ..Owned::default() });
    for record in extremes {
        let bytes = plain(&[record]);
        assert_eq!(check(bytes, &rules, ErrorCode::InvalidTimestamp), [0]);
    }
}

#[test]
fn a_producer_may_not_set_log_append_time() {
    let options = BatchOptions { log_append_time: Some(NOW), ..BatchOptions::default() };
    let bytes = build(options, &some_records(2));
    for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
        let rules = ProduceRules { timestamp_type, ..ProduceRules::default() };
        assert_eq!(check(bytes.clone(), &rules, ErrorCode::InvalidTimestamp), [0, 1]);
    }
}

#[test]
fn refused_records_are_bounded() {
    let mut records = some_records(5000);
    records.iter_mut().for_each(|record| record.key = None);
    let rules = ProduceRules { compacted: true, ..ProduceRules::default() };
    assert_eq!(check(plain(&records), &rules, ErrorCode::InvalidRecord).len(), 64);
}

#[test]
fn log_append_time_is_set_in_place() {
    let rules =
        ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..ProduceRules::default() };
    for codec in Compression::ALL {
        let mut bytes = with_codec(codec, &some_records(3));
        let before = bytes.clone();
        let accepted = validate(&mut bytes, &rules).unwrap();
        assert_eq!(accepted.rewritten, None);
        assert_eq!((accepted.max_timestamp, accepted.max_timestamp_offset_delta), (NOW, 0));
        let batch = BatchView::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        assert_eq!(accepted.header, *batch.header());
        assert_eq!(bytes[61..], before[61..]);
        assert!(read(&bytes).iter().all(|record| record.timestamp == NOW.0));
    }
}

#[test]
fn a_max_timestamp_that_lies_is_set_right() {
    for lie in [0i64, 999_999] {
        let mut bytes = with(plain(&some_records(3)), 35, &lie.to_be_bytes());
        let accepted = validate(&mut bytes, &ProduceRules::default()).unwrap();
        assert_eq!(accepted.max_timestamp, TimestampMs(1002));
        assert_eq!(bytes, plain(&some_records(3)));
    }
}

#[test]
fn another_codec_of_the_topic() {
    let records = some_records(50);
    for from in Compression::ALL {
        for to in Compression::ALL {
            for timestamp_type in [TimestampType::CreateTime, TimestampType::LogAppendTime] {
                let rules = ProduceRules {
                    timestamp_type,
                    compression: TargetCompression::Codec(to.into()),
                    ..ProduceRules::default()
                };
                let mut bytes = with_codec(from, &records);
                let accepted = validate(&mut bytes, &rules).unwrap();
                assert_eq!(accepted.rewritten.is_some(), from != to);
                let stored = BatchView::parse(accepted.bytes(&bytes)).unwrap();
                stored.check_crc().unwrap();
                assert_eq!(*stored.header(), accepted.header);
                assert_eq!(stored.header().attributes.compression(), Ok(to));
                assert_eq!(stored.header().attributes.timestamp_type(), timestamp_type);
                let mut expected = records.clone();
                if timestamp_type == TimestampType::LogAppendTime {
                    expected.iter_mut().for_each(|record| record.timestamp = NOW.0);
                }
                assert_eq!(read(stored.bytes()), expected);
            }
        }
    }
}

#[test]
fn offsets_that_are_not_numbered_are_numbered() {
    let mut records = some_records(100);
    records[3].headers = vec![(b"h".to_vec(), Some(b"v".to_vec()))];
    for codec in Compression::ALL {
        let mut gaps = records.clone();
        gaps.iter_mut().for_each(|record| record.offset *= 2);
        let bytes = with_codec(codec, &gaps);
        let mut bytes = with(bytes, 23, &99i32.to_be_bytes());
        let accepted = validate(&mut bytes, &ProduceRules::default()).unwrap();
        let stored = accepted.rewritten.unwrap();
        BatchView::parse(&stored).unwrap().check_crc().unwrap();
        assert_eq!(read(&stored), records);
        assert_eq!(stored, with_codec(codec, &records));
    }
}

#[test]
fn large_batches_of_uneven_records() {
    // Beyond every block size of the codecs, with one record that is larger than a block.
    let mut records: Vec<Owned> = some_records(400);
    for (index, record) in records.iter_mut().enumerate() {
        let len = if index == 200 { 150_000 } else { index * 7919 % 3001 };
        record.value = Some((0..len).map(|at| (at * at / 3 % 253) as u8).collect());
    }
    records[399].timestamp = 9999;
    for codec in Compression::ALL {
        let bytes = with_codec(codec, &records);
        let accepted = validate(&mut bytes.clone(), &ProduceRules::default()).unwrap();
        assert_eq!(accepted.max_timestamp, TimestampMs(9999));
        assert_eq!(accepted.max_timestamp_offset_delta, 399);
        assert_eq!(accepted.rewritten, None);

        let rules = ProduceRules { compacted: true, ..ProduceRules::default() };
        let mut keyless = records.clone();
        for index in [150, 200, 399] {
            keyless[index].key = None;
        }
        let refused = check(with_codec(codec, &keyless), &rules, ErrorCode::InvalidRecord);
        assert_eq!(refused, [150, 200, 399]);

        // One record fewer or more than the header says.
        for count in [399i32, 401] {
            let bytes = with(bytes.clone(), 57, &count.to_be_bytes());
            let bytes = with(bytes, 23, &(count - 1).to_be_bytes());
            check(bytes, &ProduceRules::default(), ErrorCode::InvalidRecord);
        }
        let rules = ProduceRules { max_decompressed_bytes: 700_000, ..ProduceRules::default() };
        if codec != Compression::None {
            check(bytes, &rules, ErrorCode::MessageTooLarge);
        }
    }
}
