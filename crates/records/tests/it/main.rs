//! Record batches held against Kafka's own data, another implementation, random input and hostile bytes.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod batches;
mod fixtures;
mod hostile;
mod kafka_data;
mod other_encoder;
mod produce;
mod properties;
mod sha256;

use millstream_base::TimestampMs;
use millstream_records::{BatchBuilder, BatchOptions, BatchView, RecordHeader, Scratch};

/// A record of its own: what tests compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owned {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// The records of a batch.
pub fn read(batch: &[u8]) -> Vec<Owned> {
    let batch = BatchView::parse(batch).unwrap();
    let mut scratch = Scratch::new();
    let records = batch.records(&mut scratch).unwrap();
    records
        .map(|record| {
            let record = record.unwrap();
            let headers = record.headers();
            Owned {
                offset: record.offset.0,
                timestamp: record.timestamp.0,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: headers
                    .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                    .collect(),
            }
        })
        .collect()
}

/// A batch of these records, at their offsets.
pub fn build(options: BatchOptions, records: &[Owned]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for record in records {
        let headers: Vec<RecordHeader<'_>> = record
            .headers
            .iter()
            .map(|(key, value)| RecordHeader { key, value: value.as_deref() })
            .collect();
        let delta = i32::try_from(record.offset - options.base_offset.0).unwrap();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let timestamp = TimestampMs(record.timestamp);
        builder.append_at(delta, timestamp, key, value, &headers).unwrap();
    }
    builder.build().unwrap()
}

/// `count` records with keys, from offset 0 and timestamp 1000.
pub fn some_records(count: usize) -> Vec<Owned> {
    (0..count as i64)
        .map(|index| Owned {
            offset: index,
            timestamp: 1000 + index,
            key: Some(format!("key-{index}").into_bytes()),
            value: Some(vec![index as u8; 20]),
            headers: vec![],
        })
        .collect()
}
