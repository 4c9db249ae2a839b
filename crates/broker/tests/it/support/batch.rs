//! Record batches: made, and taken apart.

use millstream_base::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use millstream_records::{
    BatchBuilder, BatchHeader, BatchOptions, Batches, Codec, Compression, Scratch,
};

use super::now_ms;

/// One record as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// Where a batch's offset of its CRC and of its attributes is.
pub const CRC_AT: usize = 17;
pub const ATTRIBUTES_AT: usize = 21;
pub const RECORDS_AT: usize = 61;

/// Options of a producer's batch.
pub fn by_producer(id: i64, epoch: i16, sequence: i32) -> BatchOptions {
    BatchOptions {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BatchOptions::default()
    }
}

/// Options of a batch with this codec.
pub fn compressed(codec: Compression) -> BatchOptions {
    BatchOptions { codec: Codec::from(codec), ..BatchOptions::default() }
}

/// A batch of keyless values, timed now.
pub fn batch(values: &[&str]) -> Vec<u8> {
    batch_of(BatchOptions::default(), values)
}

/// The same with options.
pub fn batch_of(options: BatchOptions, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    let now = TimestampMs(now_ms());
    for value in values {
        builder.append(now, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// A batch of keys, values and timestamps.
pub fn timed(options: BatchOptions, records: &[(Option<&str>, &str, i64)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (key, value, timestamp) in records {
        let key = key.map(str::as_bytes);
        builder.append(TimestampMs(*timestamp), key, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// A batch of one value of `size` bytes.
pub fn big(size: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.append(TimestampMs(now_ms()), None, Some(&vec![b'x'; size]), &[]).unwrap();
    builder.build().unwrap()
}

/// The batch with another CRC than its bytes have.
pub fn bad_crc(mut batch: Vec<u8>) -> Vec<u8> {
    batch[CRC_AT] ^= 0xff;
    batch
}

/// The batch with the CRC that its changed bytes have.
pub fn resealed(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = millstream_records::BatchView::parse(&batch).unwrap().computed_crc();
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// The headers of the whole batches in `bytes`.
pub fn headers(bytes: &[u8]) -> Vec<BatchHeader> {
    let whole = Batches::new(bytes).map_while(Result::ok);
    whole.map(|view| *view.header()).collect()
}

/// The records of the whole batches in `bytes` from `from` on; every CRC is checked.
pub fn records(bytes: &[u8], from: i64) -> Vec<Read> {
    let mut scratch = Scratch::default();
    let mut found = Vec::new();
    for view in Batches::new(bytes).map_while(Result::ok) {
        view.check_crc().unwrap();
        for record in view.records(&mut scratch).unwrap() {
            let record = record.unwrap();
            if record.offset >= Offset(from) {
                found.push(Read {
                    offset: record.offset.get(),
                    timestamp: record.timestamp.get(),
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                });
            }
        }
    }
    found
}

/// Just the values, as text.
pub fn values(bytes: &[u8], from: i64) -> Vec<String> {
    let text = |read: Read| String::from_utf8(read.value.unwrap()).unwrap();
    records(bytes, from).into_iter().map(text).collect()
}
