//! How long many partitions take. Not run by default: `cargo test -p millstream-log --release -- --ignored scale --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use millstream_base::{LeaderEpoch, NodeId, Offset, TimestampMs, TopicPartition};
use millstream_env::fs::OsFs;
use millstream_env::random::SeededRandom;
use millstream_log::{
    AppendOrigin, CheckpointKind, ClaimOptions, CompactionOptions, Log, LogConfig, LogDir, NoPace,
    OpenOptions, claim,
};

use crate::support::{TOPIC, batch, batch_with};

const PARTITIONS: i32 = 5000;

fn owned(path: &std::path::Path) -> LogDir {
    let options = ClaimOptions {
        directories: vec![path.to_owned()],
        metadata_dir: None,
        node_id: NodeId(1),
        cluster_id: None,
    };
    claim(&OsFs::shared(), &*SeededRandom::new(1), &options).unwrap().dirs.remove(0)
}

fn timed<T>(what: &str, act: impl FnOnce() -> T) -> T {
    let begin = Instant::now();
    let outcome = act();
    eprintln!("{what}: {:.3} s", begin.elapsed().as_secs_f64());
    outcome
}

fn open_all(dir: &LogDir, config: &Arc<LogConfig>) -> Vec<Log> {
    let found = dir.partitions().unwrap();
    let opened = dir.open_logs(&found, 2, TimestampMs(0), &|_| Arc::clone(config)).unwrap();
    opened.into_iter().map(|o| o.outcome.unwrap().0).collect()
}

#[test]
#[ignore = "takes long and prints times"]
fn scale_of_partitions() {
    let temporary = tempfile::tempdir().unwrap();
    let config = Arc::new(LogConfig::default());
    let dir = owned(temporary.path());
    let mut logs: Vec<Log> = timed("create 5,000", || {
        let made = (0..PARTITIONS).map(|n| {
            let partition = TopicPartition::new("many", n);
            let options = OpenOptions {
                topic_id: Some(TOPIC),
                files: Some(Arc::clone(dir.open_files())),
                ..OpenOptions::default()
            };
            let fs = Arc::clone(dir.fs());
            Log::open(fs, dir.path(), partition, Arc::clone(&config), &options).unwrap().0
        });
        made.collect()
    });
    timed("first append to each", || {
        for log in &mut logs {
            let mut bytes = batch(&["value"], 1);
            log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(1)).unwrap();
        }
    });
    drop(logs);
    let mut logs = timed("open after a kill", || open_all(&dir, &config));
    timed("close", || {
        let tickets = logs.iter_mut().map(|log| log.prepare_close().unwrap().unwrap());
        let tickets: Vec<_> = tickets.collect();
        for ((log, ticket), outcome) in logs.iter_mut().zip(&tickets).zip(dir.finish(&tickets)) {
            log.complete_flush(ticket, outcome).unwrap();
        }
    });
    let points = logs.iter().map(|l| (l.partition().clone(), l.recovery_point())).collect();
    dir.write_checkpoint(CheckpointKind::RecoveryPoint, &points).unwrap();
    dir.mark_clean(1).unwrap();
    drop((dir, logs));
    let dir = timed("claim", || owned(temporary.path()));
    let logs = timed("open after a clean stop", || open_all(&dir, &config));
    assert!(dir.was_clean() && logs.iter().all(|log| log.end_offset() == Offset(1)));
}

#[test]
#[ignore = "takes long and prints times"]
fn scale_of_bytes() {
    let temporary = tempfile::tempdir().unwrap();
    let config = Arc::new(LogConfig { compact: true, ..LogConfig::default() });
    let open = || {
        let options = OpenOptions { topic_id: Some(TOPIC), ..OpenOptions::default() };
        let partition = TopicPartition::new("large", 0);
        let fs = OsFs::shared();
        Log::open(fs, temporary.path(), partition, Arc::clone(&config), &options).unwrap().0
    };
    let mut log = open();
    let value = "v".repeat(1000);
    let values = [value.as_str(); 16];
    let plain = batch_with(&values, 1, millstream_records::BatchOptions::default());
    let mut bytes = plain.clone();
    let count = (1 << 30) / plain.len();
    timed("append 1 GiB in 16 KiB batches", || {
        for _ in 0..count {
            log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(1)).unwrap();
        }
    });
    timed("plan 1 GiB of reads of 1 MiB", || {
        let mut next = Offset(0);
        while let Some(range) = log.read(next, log.end_offset(), 1 << 20, true).unwrap().range {
            let batches = i64::from(range.len / range.first_batch_len).max(1);
            next = range.base_offset.plus(batches * 16);
        }
    });
    drop(log);
    let mut log = timed("check 1 GiB after a kill", open);
    log.force_roll(TimestampMs(2)).unwrap();
    let end = log.end_offset();
    let plan = log.compaction_plan(Offset(0), end, TimestampMs(2)).unwrap().unwrap();
    let options = CompactionOptions {
        dedupe_buffer_bytes: 128 << 20,
        load_factor: 0.9,
        max_batch_bytes: 1 << 20,
        seed: 1,
        now: TimestampMs(2),
    };
    let log = std::sync::Mutex::new(log);
    let done = timed("compact 1 GiB of one key", || {
        plan.run(&options, &mut NoPace, &|step| step(&mut log.lock().unwrap())).unwrap()
    });
    assert_eq!(done.records_kept, 1);
}
