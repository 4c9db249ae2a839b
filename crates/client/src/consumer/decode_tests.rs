//! Chunks: what is shown, what is left out, and what unsound bytes end in.

use millstream_base::{ProducerEpoch, ProducerId};
use millstream_records::{BatchBuilder, BatchOptions, Codec, Compression};

use super::*;

fn options(base: i64, producer: i64) -> BatchOptions {
    BatchOptions {
        base_offset: Offset(base),
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        transactional: producer >= 0,
        ..BatchOptions::default()
    }
}

fn batch(options: BatchOptions, values: &[&str]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.append(TimestampMs(5), Some(b"k"), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn marker(base: i64, producer: i64, kind: ControlType) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions { control: true, ..options(base, producer) });
    builder.append(TimestampMs(5), Some(&kind.key()), Some(&[0; 6]), &[]).unwrap();
    builder.build().unwrap()
}

/// `0:a 1:b | next 2`, or the error.
fn check(mut chunk: Chunk, expected: &str) {
    let (mut shown, mut next) = (Vec::new(), None);
    let (partition, mut scratch) = (TopicPartition::new("t", 0), Scratch::new());
    let outcome = loop {
        match chunk.next(&partition, &mut scratch) {
            Ok(Some(decoded)) => {
                next = Some(decoded.next.0);
                shown.extend(decoded.records.iter().map(|record| {
                    format!(
                        "{}:{}",
                        record.offset,
                        str::from_utf8(record.value.as_ref().unwrap()).unwrap()
                    )
                }));
            }
            Ok(None) => {
                break next.map_or_else(|| "nothing".to_owned(), |next| format!("next {next}"));
            }
            Err(error) => break error.to_string(),
        }
    };
    assert_eq!(format!("{} | {outcome}", shown.join(" ")), expected);
}

fn plain(bytes: Vec<u8>, from: i64) -> Chunk {
    Chunk::new(bytes.into(), Offset(from), None, true)
}

#[test]
fn records_before_the_wanted_offset_are_left_out() {
    let bytes = [batch(options(0, -1), &["a", "b"]), batch(options(2, -1), &["c"])].concat();
    assert_eq!(plain(bytes.clone(), 1).end(), Some(Offset(3)));
    check(plain(bytes, 1), "1:b 2:c | next 3");
}

#[test]
fn every_codec_is_read() {
    for compression in Compression::ALL {
        let codec = Codec { compression, level: None };
        let bytes = batch(BatchOptions { codec, ..options(7, -1) }, &["a", "b"]);
        check(plain(bytes, 7), "7:a 8:b | next 9");
    }
}

#[test]
fn aborted_records_are_hidden_from_who_reads_committed() {
    let bytes = [
        batch(options(0, 1), &["aborted"]),
        batch(options(1, 2), &["committed"]),
        marker(2, 1, ControlType::Abort),
        batch(options(3, 1), &["again"]),
        marker(4, 2, ControlType::Commit),
    ]
    .concat();
    let aborted = vec![Aborted { producer_id: 1, first_offset: 0 }];
    let committed = Chunk::new(bytes.clone().into(), Offset(0), Some(aborted), true);
    check(committed, "1:committed 3:again | next 5");
    check(plain(bytes, 0), "0:aborted 1:committed 3:again | next 5");
}

#[test]
fn a_torn_tail_ends_the_chunk_and_a_torn_whole_is_an_error() {
    let (first, second) = (batch(options(0, -1), &["a"]), batch(options(1, -1), &["b"]));
    let mut bytes = [first.clone(), second].concat();
    bytes.truncate(first.len() + 30);
    check(plain(bytes, 0), "0:a | next 1");
    let expected =
        " | t-0 holds unreadable records at offset 0: the batch needs 70 bytes, and 65 are there";
    let torn = first.get(..65).unwrap().to_vec();
    check(plain(torn, 0), expected);
}

#[test]
fn a_flipped_bit_is_found() {
    let mut bytes = batch(options(0, -1), &["a"]);
    *bytes.last_mut().unwrap() ^= 1;
    let mut chunk = plain(bytes.clone(), 0);
    let error = chunk.next(&TopicPartition::new("t", 0), &mut Scratch::new()).unwrap_err();
    assert!(error.to_string().contains("CRC"), "{error}");
    let unchecked = Chunk::new(bytes.into(), Offset(0), None, false);
    assert!(unchecked.end().is_some());
}
