//! What `inspect_segment` says of good and damaged segments.

use std::ops::ControlFlow;
use std::sync::Arc;

use millstream_base::Offset;
use millstream_log::{SegmentSummary, inspect_segment};

use crate::fault_fs::FaultFs;
use crate::support::*;

const FIRST: &str = "00000000000000000000.log";

fn segment() -> Arc<FaultFs> {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, small(), &options(0));
    for n in 0..100 {
        append(&mut log, &["value", "two"], n);
    }
    log.close().unwrap();
    fs
}

fn inspect(fs: &FaultFs) -> SegmentSummary {
    inspect_segment(fs, &file(FIRST), &mut |_| ControlFlow::Continue(())).unwrap()
}

fn check(damage: impl FnOnce(&mut Vec<u8>), of: &str, expected: &[&str]) {
    let fs = segment();
    fs.patch(&file(of), damage);
    let found = inspect(&fs).problems;
    let fits = found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| found.contains(expected));
    assert!(fits, "{found:?} where {expected:?} is expected");
}

#[test]
fn a_sound_segment_has_no_problems() {
    let fs = segment();
    let summary = inspect(&fs);
    assert_eq!(summary.problems, Vec::<String>::new());
    assert_eq!((summary.base_offset, summary.records), (Offset(0), summary.batches * 2));
    assert_eq!(summary.next_offset.get().unsigned_abs(), summary.records);
    let mut seen = 0;
    inspect_segment(&*fs, &file(FIRST), &mut |batch| {
        seen += 1;
        assert!(batch.problems.is_empty());
        if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert_eq!(seen, 3);
    for wrong in ["leader-epoch-checkpoint", "00000000000000000000.index"] {
        assert!(inspect_segment(&*fs, &file(wrong), &mut |_| ControlFlow::Continue(())).is_err());
    }
}

#[test]
fn damage_is_named() {
    check(|b| b[70] ^= 1, FIRST, &["at byte 0: the CRC"]);
    check(|b| b.truncate(b.len() - 1), FIRST, &["the last 84 bytes cannot be read"]);
    check(|b| b[16] = 1, FIRST, &["record format 1"]);
    check(|b| b[7] = 9, FIRST, &["base offset 2 lies below"]);
    check(|b| b[7] ^= 3, "00000000000000000000.index", &[".index entry 0"]);
    check(|b| b.push(0), "00000000000000000000.index", &["no multiple of 8"]);
    check(|b| b[7] = 0, "00000000000000000000.timeindex", &[".timeindex entry 0"]);
}
