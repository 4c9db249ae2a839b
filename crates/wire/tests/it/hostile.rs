//! Bytes that nobody means well: cut, changed, lying, endless. Nothing may panic, and decoding may hold no more memory than
//! its bound, which a counting allocator checks.

use bytes::Bytes;
use millstream_wire::memory_bound;
use millstream_wire::testing::{CASES, Case, Gen, fuzz_one};

use crate::counting::peak_of;
use crate::{Noise, each, sample};

/// What the books of shared bytes cost beside the arrays.
const SLACK: usize = 256;

/// Decodes within the bound on memory; says whether that worked.
fn decode(case: &Case, version: i16, bytes: &[u8]) -> bool {
    // From a boxed slice, so that sharing the frame is counted as well.
    let frame = Bytes::from(bytes.to_vec().into_boxed_slice());
    let (result, peak) = peak_of(|| (case.decode)(frame, version));
    let bound = memory_bound(bytes.len()) + SLACK;
    let head = bytes.get(..300).unwrap_or(bytes);
    assert!(peak <= bound, "{} version {version}: {peak} bytes for {head:?}", case.name);
    result.is_ok()
}

#[test]
fn cut_at_every_byte() {
    each(|case, version| {
        for seed in 0..2 {
            let whole = sample(case, version, seed);
            assert!(decode(case, version, &whole), "{} version {version}", case.name);
            for len in 0..whole.len() {
                let cut = whole.get(..len).unwrap();
                let what = || format!("{} version {version} cut at {len}: {whole:?}", case.name);
                assert!(!decode(case, version, cut), "{}", what());
            }
        }
    });
}

#[test]
fn lengths_that_lie_at_every_byte() {
    let lies: [&[u8]; 7] = [
        &[0x7f, 0xff, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x00, 0x00, 0x00],
        &[0x00, 0x00, 0xff, 0xff],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x7f, 0xff],
    ];
    each(|case, version| {
        let whole = sample(case, version, 3);
        for at in 0..whole.len() {
            for lie in lies {
                let mut bytes = whole.to_vec();
                let end = bytes.len().min(at + lie.len());
                bytes.splice(at..end, lie.iter().copied());
                decode(case, version, &bytes);
            }
        }
    });
}

#[test]
fn one_byte_without_end() {
    // Arrays in arrays, strings of strings, tags upon tags: whatever a byte means, it means it everywhere.
    each(|case, version| {
        for byte in [0, 1, 2, 3, 4, 8, 0x20, 0x7f, 0x80, 0x81, 0xfe, 0xff] {
            decode(case, version, &[byte; 300]);
        }
    });
}

#[test]
fn changed_at_random() {
    let mut noise = Noise(11);
    each(|case, version| {
        for seed in 0..12 {
            let mut bytes = sample(case, version, seed).to_vec();
            for _ in 0..=noise.below(4) {
                let at = noise.below(bytes.len());
                let value = noise.next() as u8;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            decode(case, version, &bytes);
        }
    });
}

/// After each byte of a small message, a number of elements that the rest can hold, and small bytes without end.
#[test]
fn one_byte_for_a_long_time() {
    for case in CASES {
        let small = (case.generate)(&mut Gen::new(&[]), case.max).unwrap();
        for at in 0..=small.len() {
            for (count, byte) in
                [(&[0, 0, 0x40, 0][..], 0), (&[0x80, 0x80, 1], 0), (&[0x80, 0x80, 1], 1)]
            {
                let bytes = [small.get(..at).unwrap(), count, &vec![byte; 100_000]].concat();
                decode(case, case.max, &bytes);
            }
        }
    }
}

#[test]
fn both_bounds_on_arrays_hold_on_their_own() {
    use millstream_wire::messages::delete_groups::DeleteGroupsRequest;
    use millstream_wire::messages::describe_log_dirs::*;
    use millstream_wire::{DecodeErrorKind, Decoder, Str};
    let kind = |frame: Vec<u8>, limit: usize| {
        let mut d = Decoder::new(frame.into()).with_memory_limit(limit);
        d.read::<DeleteGroupsRequest>(1).map(|_| ()).map_err(|error| error.kind)
    };
    // Nine names in eight bytes; what an empty name takes is two bytes, but one in newer versions.
    let frame = [&[0, 0, 0, 9][..], &[0; 8]].concat();
    let too_many = DecodeErrorKind::TooManyElements { count: 9, remaining: 8 };
    assert_eq!(kind(frame, usize::MAX), Err(too_many));
    let frame = [&[0, 0, 0, 4][..], &[0; 8]].concat();
    assert_eq!(kind(frame.clone(), usize::MAX), Ok(()));
    assert_eq!(kind(frame.clone(), 4 * size_of::<Str>()), Ok(()));
    assert_eq!(kind(frame, 4 * size_of::<Str>() - 1), Err(DecodeErrorKind::OverBudget));

    // Arrays count together: one topic and its hundred partitions.
    let frame = [&[0, 0, 0, 1, 0, 0, 0, 0, 0, 100][..], &[0; 400]].concat();
    let read = |limit: usize| {
        let mut d = Decoder::new(frame.clone().into()).with_memory_limit(limit);
        d.read::<DescribeLogDirsRequest>(1).map(|_| ()).map_err(|error| error.kind)
    };
    let both = 400 + size_of::<DescribableLogDirTopic>();
    assert_eq!((read(both), read(both - 1)), (Ok(()), Err(DecodeErrorKind::OverBudget)));
}

/// The largest memory a byte that messages of these shapes take; all of them must decode.
fn most_memory_a_byte(shapes: &[&[usize]], text: &str) -> f64 {
    let mut worst = (0.0, String::new());
    each(|case, version| {
        for widths in shapes {
            let bytes = (case.generate)(&mut Gen::wide(widths, text), version).unwrap();
            let (result, peak) = peak_of(|| (case.decode)(bytes.clone(), version));
            let what = format!("{} version {version} with {widths:?}", case.name);
            assert_eq!(result, Ok(0), "{what}: {} bytes take {peak}", bytes.len());
            let factor = peak as f64 / bytes.len() as f64;
            if bytes.len() > 1000 && factor > worst.0 {
                worst = (factor, what);
            }
        }
    });
    println!("most memory a byte: {:.1}, {}", worst.0, worst.1);
    worst.0
}

/// A message whose memory is as large as can be against its bytes is still within its bound.
#[test]
fn the_bound_is_enough_for_every_honest_message() {
    let empty =
        most_memory_a_byte(&[&[2000], &[700, 1], &[40, 40], &[12, 12, 12], &[1, 1, 2000]], "");
    assert!(empty < 64.0);
    let named = most_memory_a_byte(&[&[1000], &[400, 1], &[30, 30], &[1, 1, 1000]], "name0001");
    assert!(named <= 16.0);
}

/// The fuzz target's body for a bounded time. `MILLSTREAM_FUZZ_SEED` runs the same bytes again.
#[test]
fn a_bounded_run_of_the_fuzz_target() {
    use std::hash::BuildHasher;
    let seed = match std::env::var("MILLSTREAM_FUZZ_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => std::hash::RandomState::new().hash_one(0),
    };
    println!("MILLSTREAM_FUZZ_SEED={seed}");
    let mut noise = Noise(seed);
    for _ in 0..30_000 {
        let len = noise.below(200);
        let mut data = noise.bytes(len);
        // Half of the runs with small numbers, which lead further into a message.
        if noise.next().is_multiple_of(2) {
            data.iter_mut().skip(3).for_each(|byte| *byte %= 5);
        }
        fuzz_one(&data);
    }
    assert!(CASES.len() < usize::from(u16::MAX));
}
