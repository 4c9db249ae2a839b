//! Look-ups by timestamp where the log's start has moved into a segment, or into a batch.

use millstream_base::{LeaderEpoch, Offset, TimestampMs};
use millstream_log::{AppendOrigin, Log, LogConfig};
use millstream_records::{BatchBuilder, BatchOptions};

use crate::fault_fs::FaultFs;
use crate::support::*;

/// One batch with a record of each timestamp.
fn put(log: &mut Log, timestamps: &[i64]) {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for timestamp in timestamps {
        builder.append(TimestampMs(*timestamp), None, Some(b"value"), &[]).unwrap();
    }
    let mut bytes = builder.build().unwrap();
    log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(0)).unwrap();
}

fn largest(log: &Log) -> Option<(i64, i64)> {
    let found = log.max_timestamp_offset().unwrap();
    found.map(|found| (found.offset.get(), found.timestamp.get()))
}

#[test]
fn the_largest_timestamp_is_that_of_a_record_that_is_left() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, LogConfig::default(), &options(0));
    put(&mut log, &[90, 100, 30, 20]);
    put(&mut log, &[5]);
    put(&mut log, &[10, 25]);
    for (start, expected) in [
        (0, Some((1, 100))),
        (1, Some((1, 100))),
        (2, Some((2, 30))),
        (3, Some((6, 25))),
        (5, Some((6, 25))),
        (7, None),
    ] {
        log.delete_records(Offset(start)).unwrap();
        assert_eq!(largest(&log), expected, "from {start}");
    }
}

#[test]
fn the_largest_timestamp_may_lie_in_a_later_segment() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, LogConfig::default(), &options(0));
    put(&mut log, &[100]);
    put(&mut log, &[7]);
    log.force_roll(TimestampMs(0)).unwrap();
    put(&mut log, &[8]);
    log.delete_records(Offset(1)).unwrap();
    assert_eq!(largest(&log), Some((2, 8)));
    put(&mut log, &[101]);
    assert_eq!(largest(&log), Some((3, 101)));
}
