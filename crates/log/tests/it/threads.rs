//! Readers, retention, compaction and syncs beside a writer, on real files.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use millstream_base::{LeaderEpoch, Offset, TimestampMs};
use millstream_env::fs::OsFs;
use millstream_log::{
    AppendOrigin, CompactionError, CompactionOptions, DeletedSegments, Log, LogConfig, NoPace,
    OpenFiles, OpenOptions, ReadError,
};
use millstream_records::{Batches, Scratch};

use crate::support::{TOPIC, batch, tp};

const RECORDS: i64 = 3000;

fn open(dir: &std::path::Path, config: LogConfig) -> Mutex<Log> {
    let options = OpenOptions {
        topic_id: Some(TOPIC),
        // So few that files are closed and opened again all the time.
        files: Some(OpenFiles::new(3)),
        ..OpenOptions::default()
    };
    let (log, _) = Log::open(OsFs::shared(), dir, tp(), Arc::new(config), &options).unwrap();
    Mutex::new(log)
}

/// Reads from the start again and again until the writer is done; checks every record.
fn read(log: &Mutex<Log>, done: &AtomicBool, read: &AtomicI64) {
    loop {
        let last_round = done.load(Ordering::Acquire);
        let mut next = log.lock().unwrap().log_start_offset();
        loop {
            let plan = {
                let log = log.lock().unwrap();
                log.plan_read(next, log.end_offset(), 2000, true)
            };
            let found = match plan.and_then(|plan| plan.resolve()) {
                Ok(found) => found,
                Err(ReadError::OutOfRange { start, .. }) => {
                    next = start;
                    continue;
                }
                Err(e) => panic!("{e}"),
            };
            let Some(range) = found.range else { break };
            let bytes = range.read().unwrap();
            for view in Batches::new(&bytes) {
                let Ok(view) = view else { break };
                view.check_crc().unwrap();
                let mut scratch = Scratch::default();
                for record in view.records(&mut scratch).unwrap().map(Result::unwrap) {
                    let value = std::str::from_utf8(record.value.unwrap()).unwrap();
                    assert_eq!(value, format!("value {}", record.offset), "another record");
                    read.fetch_add(1, Ordering::Relaxed);
                }
                next = view.header().next_offset();
            }
        }
        if last_round {
            return;
        }
    }
}

fn write(log: &Mutex<Log>, done: &AtomicBool) {
    for n in 0..RECORDS {
        let mut bytes = batch(&[&format!("value {n}")], n);
        let mut log = log.lock().unwrap();
        let appended =
            log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(n)).unwrap();
        assert_eq!(appended.first_offset, Offset(n));
    }
    done.store(true, Ordering::Release);
}

fn clean_up(log: &Mutex<Log>, done: &AtomicBool, compact: bool) {
    let mut first_dirty = Offset(0);
    let mut deleted = Vec::new();
    while !done.load(Ordering::Acquire) {
        let ticket = log.lock().unwrap().prepare_flush().unwrap();
        if let Some(ticket) = ticket {
            let outcome = ticket.run();
            log.lock().unwrap().complete_flush(&ticket, outcome).unwrap();
        }
        let end = log.lock().unwrap().end_offset();
        if !compact {
            deleted.extend(log.lock().unwrap().enforce_retention(end, TimestampMs(0)).unwrap());
            continue;
        }
        let plan = log.lock().unwrap().compaction_plan(first_dirty, end, TimestampMs(0)).unwrap();
        let Some(plan) = plan else { continue };
        let options = CompactionOptions {
            dedupe_buffer_bytes: 1 << 16,
            load_factor: 0.9,
            max_batch_bytes: 1 << 20,
            seed: 3,
            now: TimestampMs(0),
        };
        match plan.run(&options, &mut NoPace, &|step| step(&mut log.lock().unwrap())) {
            Ok(compacted) => {
                first_dirty = compacted.upto;
                deleted.extend(compacted.replaced);
            }
            Err(CompactionError::Changed) => {}
            Err(e) => panic!("{e}"),
        }
    }
    // Only now, as `file.delete.delay.ms` would have it.
    deleted.iter().for_each(|gone: &DeletedSegments| gone.remove().unwrap());
}

fn run(config: LogConfig) {
    let compact = config.compact;
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path(), config);
    let (done, records) = (AtomicBool::new(false), AtomicI64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| read(&log, &done, &records));
        scope.spawn(|| read(&log, &done, &records));
        scope.spawn(|| clean_up(&log, &done, compact));
        write(&log, &done);
    });
    assert!(records.load(Ordering::Relaxed) > 0);
    assert_eq!(log.lock().unwrap().end_offset(), Offset(RECORDS));
}

#[test]
fn readers_go_on_while_segments_are_rolled_synced_and_deleted() {
    run(LogConfig { segment_bytes: 3000, retention_bytes: 20_000, ..LogConfig::default() });
}

#[test]
fn readers_go_on_while_segments_are_compacted() {
    run(LogConfig { segment_bytes: 3000, compact: true, delete: false, ..LogConfig::default() });
}
