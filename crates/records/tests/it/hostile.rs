//! Bytes that lie: nothing may panic, and memory stays within the bound.

use millstream_base::TimestampMs;
use millstream_records::{
    BatchOptions, BatchView, Codec, Compression, DecompressError, ProduceRules, Scratch, Validator,
};
use proptest::prelude::*;

use crate::{Owned, build, some_records};

const LIMIT: usize = 1 << 20;

/// Sets length and CRC right, so that the damage is found behind them.
fn make_plausible(bytes: &mut [u8]) {
    if bytes.len() < 61 {
        return;
    }
    let length = (bytes.len() - 12) as i32;
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// Everything that takes bytes from outside, on these bytes.
fn throw_at_everything(bytes: &[u8], validator: &mut Validator, scratch: &mut Scratch) {
    if let Ok(batch) = BatchView::parse(bytes) {
        let _ = batch.check_crc();
        if let Ok(records) = batch.records_within(scratch, LIMIT) {
            for record in records.flatten() {
                assert!(record.headers().count() <= bytes.len().max(LIMIT));
            }
        }
    }
    assert!(scratch.buffer_bytes() <= LIMIT + (4 << 20));
    let rules = ProduceRules {
        max_decompressed_bytes: LIMIT,
        compression: millstream_records::TargetCompression::Codec(Codec::default()),
        ..ProduceRules::default()
    };
    let mut bytes = bytes.to_vec();
    let _ = validator.validate_produce(&mut bytes, &rules, TimestampMs(1000));
}

fn sample(codec: Compression) -> Vec<u8> {
    let mut records = some_records(5);
    records[1].headers = vec![(b"a".to_vec(), None), (b"bc".to_vec(), Some(b"def".to_vec()))];
    records[2].key = None;
    records[3].value = None;
    build(BatchOptions { codec: codec.into(), ..BatchOptions::default() }, &records)
}

#[test]
fn truncation_at_every_byte() {
    let (mut validator, mut scratch) = (Validator::new(), Scratch::new());
    for codec in Compression::ALL {
        let whole = sample(codec);
        for cut in 0..whole.len() {
            let mut bytes = whole[..cut].to_vec();
            throw_at_everything(&bytes, &mut validator, &mut scratch);
            make_plausible(&mut bytes);
            throw_at_everything(&bytes, &mut validator, &mut scratch);
        }
    }
}

#[test]
fn every_byte_set_to_extremes() {
    let (mut validator, mut scratch) = (Validator::new(), Scratch::new());
    for codec in Compression::ALL {
        let whole = sample(codec);
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                throw_at_everything(&bytes, &mut validator, &mut scratch);
                make_plausible(&mut bytes);
                throw_at_everything(&bytes, &mut validator, &mut scratch);
            }
        }
    }
}

#[test]
fn a_bomb_in_a_batch_is_refused() {
    let zeros = vec![0; 8 << 20];
    let record = Owned { value: Some(zeros), ..Owned::default() };
    for codec in Compression::ALL.into_iter().skip(1) {
        let options = BatchOptions { codec: codec.into(), ..BatchOptions::default() };
        let bytes = build(options, std::slice::from_ref(&record));
        let batch = BatchView::parse(&bytes).unwrap();
        let mut scratch = Scratch::new();
        let result = batch.records_within(&mut scratch, LIMIT);
        assert!(matches!(result, Err(DecompressError::TooLarge { .. })), "{codec}");
        assert!(scratch.buffer_bytes() <= LIMIT + (64 << 10), "{codec}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_damage(
        codec in crate::properties::codec(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        extra in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let (mut validator, mut scratch) = (Validator::new(), Scratch::new());
        let mut bytes = sample(codec);
        bytes.extend(extra);
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        throw_at_everything(&bytes, &mut validator, &mut scratch);
        make_plausible(&mut bytes);
        throw_at_everything(&bytes, &mut validator, &mut scratch);
    }

    #[test]
    fn random_payloads(
        attributes in 0u8..8,
        count in any::<i32>(),
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let (mut validator, mut scratch) = (Validator::new(), Scratch::new());
        let mut bytes = vec![0; 61];
        bytes[22] = attributes;
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        bytes[23..27].copy_from_slice(&count.wrapping_sub(1).to_be_bytes());
        bytes.extend(payload);
        make_plausible(&mut bytes);
        throw_at_everything(&bytes, &mut validator, &mut scratch);
    }
}
