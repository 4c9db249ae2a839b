//! Aborted transactions, looked up from a read's plan while the log goes on.

use millstream_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use millstream_log::{AppendOrigin, Log, LogConfig, OpenOptions};
use millstream_records::{BatchOptions, EndTxnMarker};

use crate::fault_fs::FaultFs;
use crate::support::*;

/// A transaction of one record, aborted at once.
fn abort(log: &mut Log, producer_id: i64) {
    let options = BatchOptions { transactional: true, ..producer(producer_id, 0, 0) };
    let mut bytes = batch_with(&["gone"], 5, options);
    let now = TimestampMs(5);
    log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, now).unwrap();
    let marker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
    let (id, epoch) = (ProducerId(producer_id), ProducerEpoch(0));
    let mut bytes = marker.batch(id, epoch, Offset(0), LeaderEpoch(0), now).unwrap();
    log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Coordinator, now).unwrap();
    log.on_high_watermark(log.end_offset());
}

/// Two segments with three aborted transactions each, after a clean stop: nothing of them is in memory.
fn reopened(fs: &std::sync::Arc<FaultFs>) -> Log {
    let config = LogConfig { retention_ms: 1000, ..LogConfig::default() };
    let (mut log, _) = open_with(fs, config.clone(), &options(0));
    for producer_id in 0..6 {
        if producer_id == 3 {
            log.force_roll(TimestampMs(5)).unwrap();
        }
        abort(&mut log, producer_id);
    }
    log.force_roll(TimestampMs(5)).unwrap();
    let recovery_point = log.close().unwrap();
    drop(log);
    let clean = OpenOptions { clean: true, recovery_point, ..options(9) };
    open_with(fs, config, &clean).0
}

#[test]
fn a_reader_is_told_of_what_its_range_reaches() {
    let fs = FaultFs::new();
    let log = reopened(&fs);
    let end = log.end_offset();
    for (from, max_bytes, expected) in
        [(0, 1, 0..1), (0, 1 << 20, 0..3), (3, 1, 1..2), (6, 1, 3..4)]
    {
        let plan = log.plan_read(Offset(from), end, max_bytes, true).unwrap();
        let range = plan.resolve().unwrap().range.unwrap();
        let told = plan.aborted(Offset(from), &range).unwrap();
        let told: Vec<_> = told.iter().map(|txn| txn.producer_id.get()).collect();
        assert_eq!(told, expected.collect::<Vec<i64>>(), "from {from}");
    }
}

#[test]
fn a_segment_that_goes_hides_no_aborted_transaction() {
    let fs = FaultFs::new();
    let mut log = reopened(&fs);
    let plan = log.plan_read(Offset(0), log.end_offset(), 1 << 20, true).unwrap();
    let range = plan.resolve().unwrap().range.unwrap();
    let gone = log.enforce_retention(log.end_offset(), TimestampMs(5000)).unwrap();
    assert_eq!(gone.iter().map(|gone| gone.segments).sum::<usize>(), 2);
    for gone in &gone {
        gone.remove().unwrap();
    }
    // Nobody had looked at the files before: that they are gone does not mean that all was committed.
    assert!(plan.aborted(Offset(0), &range).is_err());

    // Renamed alone, they still say it.
    let fs = FaultFs::new();
    let mut log = reopened(&fs);
    let plan = log.plan_read(Offset(0), log.end_offset(), 1 << 20, true).unwrap();
    let range = plan.resolve().unwrap().range.unwrap();
    log.enforce_retention(log.end_offset(), TimestampMs(5000)).unwrap();
    assert_eq!(plan.aborted(Offset(0), &range).unwrap().len(), 3);
}
