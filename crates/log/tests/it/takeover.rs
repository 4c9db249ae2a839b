//! A directory that Kafka 4.0.0 wrote opens as it is. Skipped where the fixture is not beside the repository.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use millstream_base::{NodeId, Offset, TimestampMs};
use millstream_env::fs::OsFs;
use millstream_env::random::SeededRandom;
use millstream_log::{
    CheckpointKind, ClaimOptions, CompactionOptions, InspectedBatch, Log, LogConfig, LogDir,
    NoPace, claim, inspect_segment,
};
use millstream_records::{Batches, Scratch};
use serde_json::Value;

fn unpacked() -> Option<tempfile::TempDir> {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/fixtures/kafka-4.0.0-data.tar.zst");
    if !archive.exists() {
        eprintln!("skipped: {} is missing", archive.display());
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(dir.path());
    match tar.status() {
        Ok(status) if status.success() => Some(dir),
        _ => {
            eprintln!("skipped: tar with zstd is missing");
            None
        }
    }
}

fn open(path: &Path) -> (LogDir, Vec<Log>) {
    let options = ClaimOptions {
        directories: vec![path.to_owned()],
        metadata_dir: None,
        node_id: NodeId(1),
        cluster_id: None,
    };
    let dir = claim(&OsFs::shared(), &*SeededRandom::new(1), &options).unwrap().dirs.remove(0);
    let found = dir.partitions().unwrap();
    assert!(found.iter().all(|f| f.topic_id.is_some()));
    let config = Arc::new(LogConfig::default());
    let opened = dir.open_logs(&found, 2, TimestampMs(0), &|_| Arc::clone(&config)).unwrap();
    let logs = opened.into_iter().map(|o| o.outcome.unwrap().0).collect();
    (dir, logs)
}

/// `[offset, timestamp, key, whether there is a value, headers]` of each record, as the manifest has it.
fn records(log: &Log, committed: bool) -> Vec<Value> {
    let aborted = log.aborted_transactions(log.log_start_offset(), log.end_offset()).unwrap();
    let mut found = Vec::new();
    let mut next = log.log_start_offset();
    while let Some(range) = log.read(next, log.end_offset(), 3000, true).unwrap().range {
        let bytes = range.read().unwrap();
        for view in Batches::new(&bytes) {
            let Ok(view) = view else { break };
            let header = *view.header();
            let from = next;
            next = header.next_offset();
            let gone = aborted.iter().any(|txn| {
                txn.producer_id == header.producer_id
                    && (txn.first_offset..=txn.last_offset).contains(&header.base_offset)
            });
            let hidden = committed && header.attributes.is_transactional() && gone;
            if header.attributes.is_control() || hidden {
                continue;
            }
            let mut scratch = Scratch::default();
            for record in view.records(&mut scratch).unwrap().map(Result::unwrap) {
                if record.offset < from {
                    continue;
                }
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let headers: Vec<Value> = record
                    .headers()
                    .map(|h| serde_json::json!([text(h.key), h.value.map(text)]))
                    .collect();
                found.push(serde_json::json!([
                    record.offset.get(),
                    record.timestamp.get(),
                    record.key.map(text),
                    record.value.is_some(),
                    headers
                ]));
            }
        }
    }
    found
}

fn expected(list: &Value) -> Vec<Value> {
    let mut list = list.as_array().unwrap().clone();
    for record in &mut list {
        record[3] = Value::Bool(!record[3].is_null());
    }
    list
}

/// The last record of each key, without tombstones.
fn last_values(records: &[Value]) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    for record in records {
        values.insert(record[2].to_string(), record.clone());
    }
    values.retain(|_, record| record[3] == Value::Bool(true));
    values
}

fn compaction_keeps_the_last_values(log: &mut Log, before: &[Value]) {
    let now = TimestampMs(i64::MAX / 2);
    log.force_roll(now).unwrap();
    let end = log.end_offset();
    let plan = log.compaction_plan(Offset(0), end, now).unwrap().unwrap();
    let options = CompactionOptions {
        dedupe_buffer_bytes: 1 << 20,
        load_factor: 0.9,
        max_batch_bytes: 1 << 20,
        seed: 5,
        now,
    };
    let shared = std::cell::RefCell::new(log);
    let done = plan.run(&options, &mut NoPace, &|step| step(&mut shared.borrow_mut())).unwrap();
    assert!(done.records_kept > 0 && done.records_kept <= before.len() as u64);
    let log = shared.into_inner();
    let after = records(log, false);
    assert_eq!(last_values(&after), last_values(before));
    assert_eq!((after.len() as u64, log.end_offset()), (done.records_kept, end));
}

fn check(path: &Path, manifest: &Value) {
    let (dir, mut logs) = open(path);
    let watermarks = dir.read_checkpoint(CheckpointKind::HighWatermark).unwrap();
    for log in &mut logs {
        assert_eq!(watermarks[log.partition()], log.end_offset(), "{}", log.partition());
        let Some(entry) = manifest["topics"].get(log.partition().to_string()) else { continue };
        assert_eq!(entry["log_start"], log.log_start_offset().get());
        assert_eq!(entry["high_watermark"], log.end_offset().get());
        let all = expected(&entry["read_uncommitted"]);
        assert_eq!(records(log, false), all, "{}", log.partition());
        let committed = match entry["read_committed"].as_str() {
            Some("same") => all.clone(),
            _ => expected(&entry["read_committed"]),
        };
        assert_eq!(records(log, true), committed, "{}", log.partition());
        for record in all.iter().step_by(37) {
            let time = record[1].as_i64().unwrap();
            let first = all.iter().find(|r| r[1].as_i64().unwrap() >= time).unwrap();
            let found = log.offset_for_timestamp(TimestampMs(time)).unwrap().unwrap();
            let least = found.offset.get() <= first[0].as_i64().unwrap();
            assert!(least && found.timestamp.get() >= time, "{} {time}", log.partition());
        }
        if &*log.partition().topic == "profiles" {
            compaction_keeps_the_last_values(log, &all);
        }
        // And it goes on.
        let end = log.end_offset();
        assert_eq!(crate::support::append(log, &["more"], 1_800_000_000_000), end.get());
        log.close().unwrap();
    }
    let points = logs.iter().map(|l| (l.partition().clone(), l.recovery_point())).collect();
    dir.write_checkpoint(CheckpointKind::RecoveryPoint, &points).unwrap();
    dir.mark_clean(1).unwrap();
    let ends: Vec<Offset> = logs.iter().map(Log::end_offset).collect();
    drop((dir, logs));
    let (dir, logs) = open(path);
    assert!(dir.was_clean());
    assert_eq!(logs.iter().map(Log::end_offset).collect::<Vec<_>>(), ends);
}

#[test]
fn kafkas_directories_open_as_they_are() {
    let Some(dir) = unpacked() else { return };
    let root: PathBuf = dir.path().to_owned();
    let manifest = std::fs::read(root.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let mut segments = 0;
    for partition in std::fs::read_dir(root.join("clean")).unwrap().map(Result::unwrap) {
        let Ok(files) = std::fs::read_dir(partition.path()) else { continue };
        for path in
            files.map(|f| f.unwrap().path()).filter(|p| p.extension() == Some("log".as_ref()))
        {
            let go_on = &mut |_: &InspectedBatch<'_>| std::ops::ControlFlow::Continue(());
            let summary = inspect_segment(&OsFs, &path, go_on).unwrap();
            assert_eq!(summary.problems, Vec::<String>::new(), "{}", path.display());
            segments += 1;
        }
    }
    assert!(segments > 20);
    check(&root.join("clean"), &manifest);
    check(&root.join("killed"), &manifest);
}
