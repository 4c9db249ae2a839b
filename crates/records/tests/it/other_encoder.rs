//! Our batches read by the `kafka-protocol` crate, and its batches read by us.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as theirs;
use millstream_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};
use millstream_records::{BatchOptions, BatchView, Codec, Compression};
use proptest::prelude::*;

use crate::{Owned, build, properties, read};

fn their_codec(codec: Compression) -> theirs::Compression {
    match codec {
        Compression::None => theirs::Compression::None,
        Compression::Gzip => theirs::Compression::Gzip,
        Compression::Snappy => theirs::Compression::Snappy,
        Compression::Lz4 => theirs::Compression::Lz4,
        Compression::Zstd => theirs::Compression::Zstd,
    }
}

fn to_theirs(options: &BatchOptions, record: &Owned) -> theirs::Record {
    let sequence = record.offset - options.base_offset.0 + i64::from(options.base_sequence);
    theirs::Record {
        transactional: options.transactional,
        control: options.control,
        delete_horizon: false,
        partition_leader_epoch: options.leader_epoch.0,
        producer_id: options.producer_id.0,
        producer_epoch: options.producer_epoch.0,
        timestamp_type: theirs::TimestampType::Creation,
        offset: record.offset,
        sequence: sequence as i32,
        timestamp: record.timestamp,
        key: record.key.clone().map(Bytes::from),
        value: record.value.clone().map(Bytes::from),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| {
                let key = StrBytes::from_string(String::from_utf8(key.clone()).unwrap());
                (key, value.clone().map(Bytes::from))
            })
            .collect(),
    }
}

fn from_theirs(record: &theirs::Record) -> Owned {
    Owned {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_ref().map(|key| key.to_vec()),
        value: record.value.as_ref().map(|value| value.to_vec()),
        headers: record
            .headers
            .iter()
            .map(|(key, value)| {
                (key.as_bytes().to_vec(), value.as_ref().map(|value| value.to_vec()))
            })
            .collect(),
    }
}

/// What the other crate can say: its headers are a map, and it bases timestamps on the smallest.
fn common(mut records: Vec<Owned>) -> Vec<Owned> {
    let mut timestamp = 0;
    for (index, record) in records.iter_mut().enumerate() {
        timestamp = timestamp.max(record.timestamp.clamp(0, i64::MAX / 2));
        record.timestamp = timestamp;
        record.offset = 100 + index as i64;
        record.headers.sort();
        record.headers.dedup_by(|a, b| a.0 == b.0);
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn both_read_each_other(
        records in prop::collection::vec(properties::record(), 1..20).prop_map(common),
        codec in properties::codec(),
        transactional in any::<bool>(),
    ) {
        let options = BatchOptions {
            base_offset: Offset(100),
            leader_epoch: LeaderEpoch(7),
            codec: Codec::from(codec),
            producer_id: ProducerId(4711),
            producer_epoch: ProducerEpoch(3),
            base_sequence: 55,
            transactional,
            ..BatchOptions::default()
        };
        let ours = build(options, &records);
        let mut buf = Bytes::from(ours.clone());
        let read_by_them = theirs::RecordBatchDecoder::decode(&mut buf).unwrap();
        prop_assert_eq!(read_by_them.records.iter().map(from_theirs).collect::<Vec<_>>(), records.clone());
        for (index, record) in read_by_them.records.iter().enumerate() {
            prop_assert_eq!(record.producer_id, 4711);
            prop_assert_eq!(record.producer_epoch, 3);
            prop_assert_eq!(record.partition_leader_epoch, 7);
            prop_assert_eq!(record.transactional, transactional);
            prop_assert_eq!(record.sequence, 55 + index as i32);
        }

        let encoded: Vec<_> = records.iter().map(|record| to_theirs(&options, record)).collect();
        let mut buf = BytesMut::new();
        let how = theirs::RecordEncodeOptions { version: 2, compression: their_codec(codec) };
        theirs::RecordBatchEncoder::encode(&mut buf, encoded.iter(), &how).unwrap();
        let batch = BatchView::parse(&buf).unwrap();
        prop_assert_eq!(batch.check_crc(), Ok(()));
        prop_assert_eq!(read(&buf), records);
        if codec == Compression::None {
            prop_assert_eq!(buf.as_ref(), ours.as_slice());
        }
    }
}
