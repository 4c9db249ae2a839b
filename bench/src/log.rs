//! The log crate alone: append, read, recovery, compaction.
//!
//! Large logs are shaped, not written: sealed segments hold one batch and are then stretched with a hole to 1 GiB, as a
//! start after kill -9 must list and trust them; only the last segment, which is checked, is real.

use crate::Plan;
use crate::batch::batch_of;
use crate::figure::{Figure, Report};
use anyhow::{Context, Result};
use millstream_base::{LeaderEpoch, Offset, TimestampMs, TopicPartition};
use millstream_env::fs::OsFs;
use millstream_log::{AppendOrigin, CompactionOptions, Log, LogConfig, NoPace, OpenOptions};
use millstream_records::{BatchBuilder, BatchOptions};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Instant;

const GIB: u64 = 1 << 30;

/// Runs and shows.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    report.heading("The log crate alone, one thread");
    let bytes = if plan.runs == 1 { GIB / 16 } else { GIB };
    for (name, size) in [("16 KiB", 16 << 10), ("1 MB", 1_000_000)] {
        let (mut append, mut read, mut check) = (vec![], vec![], vec![]);
        for _ in 0..plan.runs {
            let folder = tempfile::tempdir_in(&plan.data_dir)?;
            let written = append_all(folder.path(), size, bytes, &mut append)?;
            read_all(folder.path(), &mut read)?;
            let began = Instant::now();
            open(folder.path(), Offset(0), LogConfig::default())?;
            check.push(written as f64 / 1e6 / began.elapsed().as_secs_f64());
        }
        report.add(&Figure::higher(format!("append, {name} batches"), "MB/s", append));
        report.add(&Figure::higher(
            format!("read into memory, 1 MiB at a time, {name}"),
            "MB/s",
            read,
        ));
        report.add(&Figure::higher(format!("check after kill -9, {name}"), "MB/s", check));
    }
    let sizes: &[u64] = if plan.runs == 1 { &[1] } else { &[1, 10, 50] };
    for &gib in sizes {
        let mut times = Vec::new();
        for _ in 0..plan.runs {
            times.push(recover(plan, gib)?);
        }
        let name = format!("start after kill -9, {gib} GiB shaped, last 256 MiB real");
        report.add(&Figure::lower(name, "ms", times));
    }
    compaction(plan, report)
}

fn open(path: &Path, recovery_point: Offset, config: LogConfig) -> Result<Log> {
    let options = OpenOptions { recovery_point, ..OpenOptions::default() };
    let name = TopicPartition::new("bench", 0);
    Ok(Log::open(OsFs::shared(), path, name, Arc::new(config), &options)?.0)
}

fn append_all(path: &Path, size: usize, bytes: u64, rates: &mut Vec<f64>) -> Result<u64> {
    let mut log = open(path, Offset(0), LogConfig::default())?;
    let mut batch = batch_of(size, 1000);
    let count = bytes / batch.len() as u64;
    let began = Instant::now();
    for _ in 0..count {
        log.append(&mut batch, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(1))?;
    }
    let written = count * batch.len() as u64;
    rates.push(written as f64 / 1e6 / began.elapsed().as_secs_f64());
    Ok(written)
}

fn read_all(path: &Path, rates: &mut Vec<f64>) -> Result<()> {
    let log = open(path, Offset(0), LogConfig::default())?;
    let (mut next, mut bytes) = (Offset(0), 0);
    let began = Instant::now();
    while let Some(range) = log.read(next, log.end_offset(), 1 << 20, true)?.range {
        let read = range.read()?;
        let whole = millstream_records::Batches::new(&read).map_while(Result::ok);
        for batch in whole {
            next = batch.header().next_offset();
            bytes += batch.bytes().len();
        }
    }
    rates.push(bytes as f64 / 1e6 / began.elapsed().as_secs_f64());
    Ok(())
}

/// Milliseconds to open a log of `gib` segments after a kill.
fn recover(plan: &Plan, gib: u64) -> Result<f64> {
    let folder = tempfile::tempdir_in(&plan.data_dir)?;
    let mut log = open(folder.path(), Offset(0), LogConfig::default())?;
    let mut batch = batch_of(1_000_000, 1000);
    let mut append = |log: &mut Log| {
        log.append(&mut batch, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(1)).map(drop)
    };
    for _ in 1..gib {
        append(&mut log)?;
        log.force_roll(TimestampMs(1))?;
    }
    let recovery_point = log.end_offset();
    for _ in 0..268 {
        append(&mut log)?;
    }
    let (path, last) = (log.path(), log.active_base_offset());
    drop(log);
    for entry in std::fs::read_dir(&*path)? {
        let entry = entry?;
        let name = entry.file_name().into_string().ok().context("a file's name")?;
        let base = name.strip_suffix(".log").and_then(|base| base.parse::<i64>().ok());
        if base.is_some_and(|base| base < last.get()) {
            std::fs::OpenOptions::new().write(true).open(entry.path())?.set_len(GIB)?;
        }
    }
    let began = Instant::now();
    let log = open(folder.path(), recovery_point, LogConfig::default())?;
    let took = began.elapsed().as_secs_f64() * 1e3;
    anyhow::ensure!(log.segment_count() as u64 == gib, "every segment is there");
    Ok(took)
}

fn compaction(plan: &Plan, report: &mut Report) -> Result<()> {
    let records: u64 = if plan.runs == 1 { 50_000 } else { 1_000_000 };
    let (mut rates, mut memory) = (vec![], vec![]);
    for _ in 0..plan.runs {
        let folder = tempfile::tempdir_in(&plan.data_dir)?;
        let config = LogConfig { compact: true, delete: false, ..LogConfig::default() };
        let mut log = open(folder.path(), Offset(0), config)?;
        fill(&mut log, records)?;
        log.force_roll(TimestampMs(2))?;
        let end = log.end_offset();
        let task = log.compaction_plan(Offset(0), end, TimestampMs(2))?.context("work")?;
        let options = CompactionOptions {
            dedupe_buffer_bytes: 128 << 20,
            load_factor: 0.9,
            max_batch_bytes: 1 << 20,
            seed: 1,
            now: TimestampMs(2),
        };
        std::fs::write("/proc/self/clear_refs", "5")?;
        let before = status_mib("VmRSS:")?;
        let log = Mutex::new(log);
        let began = Instant::now();
        let done = task.run(&options, &mut NoPace, &|step| {
            step(&mut log.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
        })?;
        let took = began.elapsed().as_secs_f64();
        rates.push(done.bytes_before as f64 / 1e6 / took);
        memory.push(status_mib("VmHWM:")? - before);
    }
    let name = format!("compaction, {records} records of 1,000 B, half of the keys twice");
    report.add(&Figure::higher(name, "MB/s", rates));
    report.add(&Figure::lower("compaction, memory at the most, key map of 128 MiB", "MiB", memory));
    Ok(())
}

fn fill(log: &mut Log, records: u64) -> Result<()> {
    let value = vec![b'v'; 1000];
    let mut builder = BatchBuilder::default();
    let keys = records * 2 / 3;
    let mut at = 0;
    while at < records {
        builder.reset(BatchOptions::default());
        for record in at..(at + 16).min(records) {
            let key = (record % keys).to_be_bytes();
            builder.append(TimestampMs(1), Some(&key), Some(&value), &[])?;
        }
        at += 16;
        let mut batch = builder.build()?;
        log.append(&mut batch, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(1))?;
    }
    Ok(())
}

fn status_mib(field: &str) -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).context("memory")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
