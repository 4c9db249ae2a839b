//! The codec against arbitrary messages, against the `kafka-protocol` crate, and against hostile bytes.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

mod counting;
mod fields;
mod frames;
mod hostile;
mod kafka_bytes;
mod peer;
mod produce;
mod round_trip;

use millstream_wire::testing::{CASES, Case, Gen};

/// Every message with every one of its versions.
fn each(mut check: impl FnMut(&'static Case, i16)) {
    for case in CASES {
        for version in case.min..=case.max {
            check(case, version);
        }
    }
}

/// Pseudo-random bytes, the same for the same seed.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A message with something in most of its fields.
fn sample(case: &Case, version: i16, seed: u64) -> bytes::Bytes {
    let noise = Noise(seed).bytes(160);
    (case.generate)(&mut Gen::new(&noise), version).unwrap()
}
