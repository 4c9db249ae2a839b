//! Single behaviours, one test each.

use std::sync::Arc;

use millstream_base::Uuid;
use millstream_base::{
    ErrorCode, LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, TimestampMs,
};
use millstream_env::random::SeededRandom;
use millstream_log::{
    AppendOrigin, CheckpointKind, ClaimOptions, LogConfig, LogDir, LogDirError, OffsetCheckpoint,
    OpenOptions, RetentionReason, claim,
};
use millstream_records::{BatchOptions, EndTxnMarker};

use crate::fault_fs::{Fault, FaultFs};
use crate::support::*;

#[test]
fn records_get_offsets_and_come_back() {
    let fs = FaultFs::new();
    let (mut log, report) = open_with(&fs, small(), &options(0));
    assert!(report.created);
    assert_eq!(append(&mut log, &["a", "b"], 100), 0);
    assert_eq!(append(&mut log, &["c"], 200), 2);
    let expected: Vec<_> = [(0, "a"), (1, "b"), (2, "c")].map(|(o, v)| (o, v.to_owned())).into();
    assert_eq!(read_all(&log, 0, 1 << 20), expected);
    assert_eq!(read_all(&log, 1, 1), expected[1..]);
    let nothing = log.read(Offset(3), log.end_offset(), 100, true).unwrap();
    assert!(nothing.is_empty());
    for outside in [-1, 4] {
        let error = log.read(Offset(outside), log.end_offset(), 100, true).unwrap_err();
        assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);
    }
}

#[test]
fn an_append_is_one_write() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, LogConfig::default(), &options(0));
    append(&mut log, &["the first one makes the file"], 1);
    let before = fs.changes();
    for n in 0..100 {
        append(&mut log, &["value"], n);
    }
    assert_eq!(fs.changes() - before, 100);
}

#[test]
fn a_read_stops_at_its_upper_bound_and_its_size() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, small(), &options(0));
    for n in 0..100 {
        append(&mut log, &[&format!("value {n}"), "second"], n);
    }
    assert!(log.segment_count() > 3);
    for upper in 0..=200 {
        for from in [0, 1, 7, 50, 120, 199] {
            let read = log.read(Offset(from), Offset(upper), 1 << 20, true).unwrap();
            if let Some(range) = read.range {
                let bytes = range.read().unwrap();
                let views: Vec<_> =
                    millstream_records::Batches::new(&bytes).map(Result::unwrap).collect();
                let last = views.last().unwrap().header();
                assert!(last.last_offset().get() < upper, "{from}..{upper}");
                assert!(views[0].header().base_offset.get() <= from);
                assert!(views[0].header().last_offset().get() >= from);
            } else {
                assert!(upper <= from + 1, "{from}..{upper} found nothing");
            }
        }
    }
    let one = log.read(Offset(0), log.end_offset(), 10, true).unwrap().range.unwrap();
    assert_eq!(one.len, one.first_batch_len);
    assert!(log.read(Offset(0), log.end_offset(), 10, false).unwrap().is_empty());
}

#[test]
fn a_range_stays_readable_when_its_segment_is_rolled_and_deleted() {
    let fs = FaultFs::new();
    let config = LogConfig { retention_bytes: 0, ..small() };
    let (mut log, _) = open_with(&fs, config, &options(0));
    append(&mut log, &["first"], 1);
    let plan = log.plan_read(Offset(0), log.end_offset(), 1000, true).unwrap();
    let range = log.read(Offset(0), log.end_offset(), 1000, true).unwrap().range.unwrap();
    let before = range.read().unwrap();
    for n in 0..100 {
        append(&mut log, &["more"], n);
    }
    let deleted = log.enforce_retention(log.end_offset(), TimestampMs(100)).unwrap();
    assert_eq!(deleted[0].reason, RetentionReason::Size);
    assert_eq!(range.read().unwrap(), before);
    assert_eq!(plan.resolve().unwrap().range.unwrap().read().unwrap(), before);
    for gone in &deleted {
        gone.remove().unwrap();
    }
    assert_eq!(range.read().unwrap(), before);
    assert!(fs.files(&dir()).iter().all(|(name, _)| !name.ends_with(".deleted")));
    assert_eq!(log.log_start_offset(), log.end_offset());
    assert_eq!(append(&mut log, &["on"], 1), 101);
}

#[test]
fn a_repeated_batch_is_answered_with_its_first_offsets() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, small(), &options(0));
    let mut send = |sequence: i32, epoch: i16| {
        let mut bytes = batch_with(&["x", "y"], 5, producer(7, epoch, sequence));
        log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(5))
    };
    assert_eq!(send(0, 0).unwrap().first_offset, Offset(0));
    assert_eq!(send(2, 0).unwrap().first_offset, Offset(2));
    let again = send(0, 0).unwrap();
    assert!(again.duplicate);
    assert_eq!((again.first_offset, again.last_offset), (Offset(0), Offset(1)));
    assert_eq!(send(6, 0).unwrap_err().code(), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(send(0, 1).unwrap().first_offset, Offset(4));
    assert_eq!(send(4, 0).unwrap_err().code(), ErrorCode::InvalidProducerEpoch);
    assert_eq!(log.end_offset(), Offset(6));
}

#[test]
fn producer_states_outlive_stops_and_crashes() {
    for clean in [true, false] {
        let fs = FaultFs::new();
        let (mut log, _) = open_with(&fs, small(), &options(0));
        for n in 0..50 {
            let mut bytes =
                batch_with(&["some value"], n, producer(7, 0, i32::try_from(n).unwrap()));
            log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(n)).unwrap();
        }
        if clean {
            log.close().unwrap();
        }
        drop(log);
        let (mut log, report) = open_with(&fs, small(), &OpenOptions { clean, ..options(60) });
        assert_eq!(report.cut, None);
        assert_eq!(report.checked_segments > 0, !clean);
        let mut repeated = batch_with(&["some value"], 49, producer(7, 0, 49));
        let done = log.append(&mut repeated, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(60));
        assert_eq!(done.unwrap().first_offset, Offset(49), "clean: {clean}");
        let mut gap = batch_with(&["some value"], 49, producer(7, 0, 51));
        let gap = log.append(&mut gap, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(60));
        assert_eq!(gap.unwrap_err().code(), ErrorCode::OutOfOrderSequenceNumber);
    }
}

#[test]
fn transactions_hold_readers_back_and_aborts_are_listed() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, small(), &options(0));
    let txn = |sequence| BatchOptions { transactional: true, ..producer(9, 0, sequence) };
    let append_raw = |log: &mut millstream_log::Log, mut bytes: Vec<u8>, origin| {
        log.append(&mut bytes, LeaderEpoch(0), origin, TimestampMs(5)).unwrap()
    };
    append(&mut log, &["plain"], 1);
    append_raw(&mut log, batch_with(&["a", "b"], 2, txn(0)), AppendOrigin::Client);
    assert_eq!(log.last_stable_offset(log.end_offset()), Offset(1));
    let marker = EndTxnMarker { committed: false, coordinator_epoch: 0 };
    let bytes = marker
        .batch(ProducerId(9), ProducerEpoch(0), Offset(0), LeaderEpoch(0), TimestampMs(3))
        .unwrap();
    append_raw(&mut log, bytes, AppendOrigin::Coordinator);
    log.on_high_watermark(log.end_offset());
    assert_eq!(log.last_stable_offset(log.end_offset()), Offset(4));
    let aborted = log.aborted_transactions(Offset(0), Offset(4)).unwrap();
    assert_eq!(aborted.len(), 1);
    assert_eq!((aborted[0].first_offset, aborted[0].last_offset), (Offset(1), Offset(3)));
    assert!(log.aborted_transactions(Offset(4), Offset(4)).unwrap().is_empty());
    drop(log);
    // A crash later the list is built anew from the markers.
    let (log, _) = open_with(&fs, small(), &options(9));
    assert_eq!(log.aborted_transactions(Offset(0), Offset(4)).unwrap(), aborted);
}

#[test]
fn offsets_are_found_by_timestamp() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, small(), &options(0));
    assert_eq!(log.offset_for_timestamp(TimestampMs(0)).unwrap(), None);
    assert_eq!(log.max_timestamp_offset().unwrap(), None);
    // Timestamps that go back and forth.
    let times: Vec<i64> = (0..300).map(|n: i64| 1000 + n * 10 - (n % 7) * 25).collect();
    for time in &times {
        append(&mut log, &["value"], *time);
    }
    for target in (900..4100).step_by(7) {
        let expected = times.iter().position(|t| *t >= target);
        let found = log.offset_for_timestamp(TimestampMs(target)).unwrap();
        assert_eq!(found.map(|f| f.offset.get()), expected.map(|n| n as i64), "{target}");
    }
    let largest = *times.iter().max().unwrap();
    let found = log.max_timestamp_offset().unwrap().unwrap();
    let first = times.iter().position(|t| *t == largest).unwrap();
    assert_eq!((found.timestamp.get(), found.offset.get()), (largest, first as i64));
}

#[test]
fn a_failed_write_leaves_the_log_as_it_was() {
    for keep in [0, 1, 30, 61, 80] {
        let fs = FaultFs::new();
        let (mut log, _) = open_with(&fs, small(), &options(0));
        append(&mut log, &["kept"], 1);
        fs.arm(0, Fault::Full { keep });
        let mut bytes = batch(&["lost"], 2);
        let error = log
            .append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(2))
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::KafkaStorageError);
        assert_eq!(log.end_offset(), Offset(1));
        assert_eq!(append(&mut log, &["after"], 3), 1);
        assert_eq!(read_all(&log, 0, 1000).len(), 2);
        drop(log);
        let (log, report) = open_with(&fs, small(), &options(0));
        assert_eq!((report.cut, read_all(&log, 0, 1000).len()), (None, 2));
    }
}

#[test]
fn a_failed_sync_takes_the_log_offline() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, small(), &options(0));
    append(&mut log, &["a"], 1);
    fs.arm(0, Fault::Sync);
    assert!(log.flush().is_err());
    let mut bytes = batch(&["b"], 2);
    let refused = log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(2));
    assert_eq!(refused.unwrap_err().code(), ErrorCode::KafkaStorageError);
    assert!(log.read(Offset(0), Offset(1), 100, true).is_err());
    assert!(log.offline_reason().unwrap().contains("sync"));
}

#[test]
fn segments_roll_by_age_and_by_force() {
    let fs = FaultFs::new();
    let config = LogConfig { segment_ms: 1000, ..LogConfig::default() };
    let (mut log, _) = open_with(&fs, config, &options(0));
    append(&mut log, &["a"], 5000);
    append(&mut log, &["b"], 6000);
    assert_eq!(log.segment_count(), 1);
    append(&mut log, &["c"], 6001);
    assert_eq!(log.segment_count(), 2);
    assert!(log.force_roll(TimestampMs(0)).unwrap());
    assert!(!log.force_roll(TimestampMs(0)).unwrap());
    assert_eq!(log.active_base_offset(), Offset(3));
    assert_eq!(read_all(&log, 0, 1000).len(), 3);
}

#[test]
fn retention_goes_by_record_time() {
    let fs = FaultFs::new();
    let config = LogConfig { retention_ms: 1000, ..small() };
    let (mut log, _) = open_with(&fs, config, &options(0));
    for n in 0..100 {
        append(&mut log, &["value"], n * 10);
    }
    let segments = log.segment_count();
    assert!(log.enforce_retention(Offset(100), TimestampMs(1000)).unwrap().is_empty());
    // Nothing above the high watermark goes.
    assert!(log.enforce_retention(Offset(3), TimestampMs(9000)).unwrap().is_empty());
    let deleted = log.enforce_retention(Offset(100), TimestampMs(1500)).unwrap();
    assert_eq!((deleted.len(), deleted[0].reason), (1, RetentionReason::Time));
    assert!(log.segment_count() < segments && log.segment_count() > 1);
    let start = log.log_start_offset();
    assert!(start.get() > 0 && read_all(&log, start.get(), 1000).len() as i64 == 100 - start.get());
    assert_eq!(deleted[0].due, TimestampMs(61_500));
    log.enforce_retention(Offset(100), TimestampMs(9000)).unwrap();
    assert_eq!((log.log_start_offset(), log.segment_count()), (Offset(100), 1));
    // A restart brings nothing back, although `.deleted` files are still there.
    drop(log);
    let (log, report) = open_with(&fs, small(), &options(0));
    assert_eq!(log.log_start_offset(), Offset(100));
    assert!(report.leftovers > 0);
}

#[test]
fn delete_records_moves_the_start() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, small(), &options(0));
    for n in 0..100 {
        append(&mut log, &["value"], n);
    }
    assert_eq!(log.delete_records(Offset(55)).unwrap(), Offset(55));
    assert_eq!(log.delete_records(Offset(20)).unwrap(), Offset(55));
    assert_eq!(log.delete_records(Offset(101)).unwrap_err().code(), ErrorCode::OffsetOutOfRange);
    assert_eq!(read_all(&log, 55, 1000).len(), 45);
    let error = log.read(Offset(54), Offset(100), 100, true).unwrap_err();
    assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);
    assert_eq!(log.offset_for_timestamp(TimestampMs(10)).unwrap().unwrap().offset, Offset(55));
    let deleted = log.enforce_retention(Offset(100), TimestampMs(100)).unwrap();
    assert_eq!(deleted[0].reason, RetentionReason::LogStart);
    assert_eq!(log.log_start_offset(), Offset(55));
}

#[test]
fn truncation_cuts_the_end() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, small(), &options(0));
    for n in 0..100 {
        let mut bytes = batch(&["value", "two"], n);
        let epoch = LeaderEpoch(i32::try_from(n / 10).unwrap());
        log.append(&mut bytes, epoch, AppendOrigin::Client, TimestampMs(n)).unwrap();
    }
    assert_eq!(log.epoch_end_offset(LeaderEpoch(3)), Some((LeaderEpoch(3), Offset(80))));
    // In the middle of a batch: the batch goes.
    assert_eq!(log.truncate_to(Offset(75), TimestampMs(0)).unwrap(), Offset(74));
    assert_eq!(read_all(&log, 0, 1000).len(), 74);
    assert_eq!(log.epochs().latest(), Some(LeaderEpoch(3)));
    assert_eq!(append(&mut log, &["on"], 7), 74);
    assert_eq!(read_all(&log, 60, 1000).len(), 15);
    log.truncate_fully_and_start_at(Offset(500), TimestampMs(0)).unwrap();
    assert_eq!((log.log_start_offset(), log.end_offset()), (Offset(500), Offset(500)));
    assert_eq!(append(&mut log, &["on"], 7), 500);
    drop(log);
    let (log, _) = open_with(&fs, small(), &options(0));
    assert_eq!(read_all(&log, 500, 1000).len(), 1);
}

#[test]
fn a_follower_stores_what_it_is_given() {
    let (fs, copy_fs) = (FaultFs::new(), FaultFs::new());
    let (mut log, _) = open_with(&fs, small(), &options(0));
    let (mut copy, _) = open_with(&copy_fs, small(), &options(0));
    for n in 0..40 {
        append(&mut log, &["value"], n);
    }
    while copy.end_offset() < log.end_offset() {
        let read = log.read(copy.end_offset(), log.end_offset(), 100, true).unwrap();
        copy.append_as_follower(&read.range.unwrap().read().unwrap(), TimestampMs(0)).unwrap();
    }
    assert_eq!(read_all(&copy, 0, 1000), read_all(&log, 0, 1000));
    let old = log.read(Offset(0), log.end_offset(), 100, true).unwrap().range.unwrap();
    assert!(copy.append_as_follower(&old.read().unwrap(), TimestampMs(0)).is_err());
}

#[test]
fn indexes_that_are_missing_short_or_wrong_are_built_anew() {
    let expected = {
        let fs = FaultFs::new();
        closed_log(&fs);
        fs.files(&dir())
    };
    type Damage = fn(&mut Vec<u8>);
    let damages: [Damage; 5] = [
        Vec::clear,
        |b| b.truncate(b.len() - 1),
        |b| b.fill(0xff),
        |b| b.resize(b.len() + 24, 0),
        // Wrong in the middle alone, where nobody looks at first.
        |b| b.get_mut(15).into_iter().for_each(|byte| *byte ^= 0x15),
    ];
    for suffix in [".index", ".timeindex"] {
        for damage in damages {
            let fs = FaultFs::new();
            closed_log(&fs);
            for (name, size) in fs.files(&dir()) {
                if name.ends_with(suffix) && size > 0 {
                    fs.patch(&file(&name), damage);
                }
            }
            let (log, _) = open_with(&fs, small(), &OpenOptions { clean: true, ..options(0) });
            assert_eq!(log.end_offset(), Offset(100));
            for from in 0..100 {
                assert_eq!(read_all(&log, from, 300).len() as i64, 100 - from);
                let found = log.offset_for_timestamp(TimestampMs(from)).unwrap().unwrap();
                assert_eq!(found.offset, Offset(from));
            }
            drop(log);
            assert_eq!(fs.files(&dir()), expected);
        }
    }
}

fn closed_log(fs: &Arc<FaultFs>) {
    let (mut log, _) = open_with(fs, small(), &options(0));
    for n in 0..100 {
        append(&mut log, &["value"], n);
    }
    log.close().unwrap();
}

#[test]
fn a_damaged_batch_in_a_closed_segment_is_never_served() {
    let fs = FaultFs::new();
    closed_log(&fs);
    fs.patch(&file("00000000000000000000.log"), |bytes| bytes[74 * 5 + 70] ^= 1);
    let (log, _) = open_with(&fs, small(), &OpenOptions { clean: true, ..options(0) });
    let whole = log.read(Offset(0), log.end_offset(), 1 << 20, true).unwrap().range.unwrap();
    let bytes = whole.read().unwrap();
    let sound: Vec<_> = millstream_records::Batches::new(&bytes).map(Result::unwrap).collect();
    assert!(sound.iter().all(|view| view.check_crc().is_ok()));
    let next = sound.last().unwrap().header().next_offset();
    let error = log.read(next, log.end_offset(), 1 << 20, true).unwrap_err();
    assert_eq!(error.code(), ErrorCode::CorruptMessage);
    let after = log.read(next.plus(1), log.end_offset(), 1 << 20, true).unwrap();
    assert!(!after.is_empty());
}

#[test]
fn a_small_log_that_was_stopped_needs_no_rebuilding() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, LogConfig::default(), &options(0));
    append(&mut log, &["one"], 5);
    log.close().unwrap();
    let files = fs.files(&dir());
    assert!(files.contains(&("00000000000000000000.index".to_owned(), 0)), "{files:?}");
    let before = fs.changes();
    let (log, report) =
        open_with(&fs, LogConfig::default(), &OpenOptions { clean: true, ..options(0) });
    assert_eq!((log.end_offset(), report), (Offset(1), millstream_log::RecoveryReport::default()));
    assert_eq!(fs.changes(), before, "a clean start writes nothing");
}

#[test]
fn an_earlier_topic_of_the_same_name_is_not_taken() {
    let fs = FaultFs::new();
    closed_log(&fs);
    let wrong = OpenOptions { topic_id: Some(Uuid([6; 16])), ..options(0) };
    let fs: Arc<dyn millstream_env::fs::Fs> = fs;
    let error =
        millstream_log::Log::open(fs, &root(), tp(), Arc::new(small()), &wrong).unwrap_err();
    assert!(error.to_string().contains("topic id"), "{error}");
}

fn own_dir(node: i32, cluster: Option<&str>) -> ClaimOptions {
    ClaimOptions {
        directories: vec![root()],
        metadata_dir: None,
        node_id: NodeId(node),
        cluster_id: cluster.map(str::to_owned),
    }
}

fn only_dir(fs: &Arc<FaultFs>, options: &ClaimOptions) -> Result<LogDir, LogDirError> {
    let fs: Arc<dyn millstream_env::fs::Fs> = fs.clone();
    claim(&fs, &*SeededRandom::new(3), options).map(|mut claimed| claimed.dirs.remove(0))
}

#[test]
fn a_directory_has_one_owner_and_one_cluster() {
    let fs = FaultFs::new();
    let ours = own_dir(1, None);
    let open = |options: &ClaimOptions| only_dir(&fs, options);
    let dir = open(&ours).unwrap();
    assert!(!dir.was_clean());
    assert!(matches!(open(&ours), Err(LogDirError::Locked { .. })));
    let mut points = OffsetCheckpoint::new();
    points.insert(tp(), Offset(7));
    dir.write_checkpoint(CheckpointKind::RecoveryPoint, &points).unwrap();
    dir.mark_clean(3).unwrap();
    drop(dir);
    assert!(matches!(open(&own_dir(1, Some("theirs"))), Err(LogDirError::OtherCluster { .. })));
    assert!(matches!(open(&own_dir(2, None)), Err(LogDirError::OtherNode { .. })));
    let dir = open(&ours).unwrap();
    assert!(dir.was_clean());
    assert_eq!(dir.read_checkpoint(CheckpointKind::RecoveryPoint).unwrap(), points);
    dir.begin_use().unwrap();
    drop(dir);
    assert!(!open(&ours).unwrap().was_clean());
    // Data without meta.properties is somebody's.
    let fs2 = FaultFs::new();
    closed_log(&fs2);
    let refused = only_dir(&fs2, &ours);
    assert!(matches!(refused, Err(LogDirError::NotFormatted { .. })));
}

#[test]
fn many_logs_are_closed_with_one_sync() {
    let fs = FaultFs::new();
    let dir = only_dir(&fs, &own_dir(1, None)).unwrap();
    let mut logs: Vec<_> = (0..50)
        .map(|n| {
            let partition = millstream_base::TopicPartition::new("many", n);
            let made = OpenOptions { topic_id: Some(TOPIC), ..OpenOptions::default() };
            let config = Arc::new(small());
            let open = millstream_log::Log::open(fs.clone(), &root(), partition, config, &made);
            let mut log = open.unwrap().0;
            append(&mut log, &["x"], i64::from(n));
            log
        })
        .collect();
    let tickets: Vec<_> =
        logs.iter_mut().map(|log| log.prepare_close().unwrap().unwrap()).collect();
    for ((log, ticket), outcome) in logs.iter_mut().zip(&tickets).zip(dir.finish(&tickets)) {
        assert_eq!(log.complete_flush(ticket, outcome).unwrap(), Offset(1));
        assert!(log.prepare_close().unwrap().is_none());
    }
    dir.mark_clean(1).unwrap();
    drop((dir, logs));
    fs.restart(true);
    let dir = only_dir(&fs, &own_dir(1, None)).unwrap();
    assert!(dir.was_clean());
    let config = Arc::new(small());
    let found = dir.partitions().unwrap();
    let opened = dir.open_logs(&found, 2, TimestampMs(0), &|_| Arc::clone(&config)).unwrap();
    for log in opened.into_iter().map(|opened| opened.outcome.unwrap().0) {
        assert_eq!((log.end_offset(), log.topic_id()), (Offset(1), Some(TOPIC)));
        assert_eq!(log.epochs().latest(), Some(LeaderEpoch(0)));
    }
}

#[test]
fn logs_of_a_directory_open_in_parallel_and_one_bad_one_does_not_matter() {
    let fs = FaultFs::new();
    let dir = only_dir(&fs, &own_dir(1, None)).unwrap();
    for n in 0..20 {
        let partition = millstream_base::TopicPartition::new("many", n);
        let made = OpenOptions { topic_id: Some(TOPIC), ..OpenOptions::default() };
        let open =
            millstream_log::Log::open(fs.clone(), &root(), partition, Arc::new(small()), &made);
        append(&mut open.unwrap().0, &["x"], i64::from(n));
    }
    fs.patch(&root().join("many-7/partition.metadata"), |b| *b = b"version: 9\n".to_vec());
    let found = dir.partitions().unwrap();
    assert_eq!(found.len(), 20);
    let config = Arc::new(small());
    let opened = dir.open_logs(&found, 4, TimestampMs(0), &|_| Arc::clone(&config)).unwrap();
    assert_eq!(opened.len(), 20);
    for opened in opened {
        match opened.outcome {
            Ok((log, _)) => assert_eq!(log.end_offset(), Offset(1)),
            Err(e) => assert!(opened.partition.partition.get() == 7, "{e}"),
        }
    }
    let (mut log, _) = open_with(&fs, small(), &options(0));
    let moved = log.rename_for_delete(Uuid([3; 16])).unwrap();
    assert_eq!(dir.deleted_partitions().unwrap(), std::slice::from_ref(&moved));
    assert!(dir.remove_deleted(&root()).is_err());
    dir.remove_deleted(&moved).unwrap();
    assert!(dir.deleted_partitions().unwrap().is_empty());
}
