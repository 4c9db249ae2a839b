//! Crashes at any change, torn writes, power losses.

use std::sync::Arc;

use millstream_base::{LeaderEpoch, Offset, TimestampMs};
use millstream_log::{AppendOrigin, Log, LogConfig, OpenOptions};

use crate::fault_fs::{Fault, FaultFs};
use crate::support::*;

#[test]
fn a_last_write_torn_at_any_byte_is_cut_off() {
    let size = batch(&["the last one"], 9).len();
    for keep in 0..=size {
        let fs = FaultFs::new();
        let (mut log, _) = open_with(&fs, LogConfig::default(), &options(0));
        append(&mut log, &["kept"], 1);
        let before = fs.files(&dir()).iter().find(|f| f.0.ends_with(".log")).unwrap().1;
        fs.arm(0, Fault::Crash { keep });
        let mut bytes = batch(&["the last one"], 9);
        let result = log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(9));
        assert!(result.is_err());
        drop(log);
        fs.restart(false);
        let (mut log, report) = open_with(&fs, LogConfig::default(), &options(10));
        let whole = keep == size;
        assert_eq!(log.end_offset(), Offset(if whole { 2 } else { 1 }), "{keep} bytes kept");
        match report.cut {
            None => assert!(keep == 0 || whole),
            Some(cut) => {
                assert_eq!((cut.position, cut.bytes), (before as u64, keep as u64));
                assert_eq!(cut.end_offset, Offset(1));
            }
        }
        assert_eq!(append(&mut log, &["on"], 11), if whole { 2 } else { 1 });
        assert_eq!(read_all(&log, 0, 1000).len(), if whole { 3 } else { 2 });
    }
}

#[test]
fn a_bit_that_flips_in_the_tail_ends_the_log_there() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, LogConfig::default(), &options(0));
    for n in 0..5 {
        append(&mut log, &["value"], n);
    }
    drop(log);
    let size = fs.files(&dir()).iter().find(|f| f.0.ends_with(".log")).unwrap().1 / 5;
    fs.patch(&file("00000000000000000000.log"), |bytes| bytes[size * 3 + 65] ^= 4);
    let (log, report) = open_with(&fs, LogConfig::default(), &options(0));
    let cut = report.cut.unwrap();
    assert_eq!((log.end_offset(), cut.bytes), (Offset(3), 2 * size as u64));
    assert!(cut.reason.contains("CRC"), "{}", cut.reason);
}

#[test]
fn every_flush_writes_the_epochs_until_one_is_complete() {
    for late in [false, true] {
        let fs = FaultFs::new();
        let (mut log, _) = open_with(&fs, LogConfig::default(), &options(0));
        let ticket = |log: &mut Log, epoch| {
            let mut bytes = batch(&["value"], 1);
            let (epoch, now) = (LeaderEpoch(epoch), TimestampMs(1));
            log.append(&mut bytes, epoch, AppendOrigin::Client, now).unwrap();
            // A start does not look into segments below the recovery point.
            log.force_roll(now).unwrap();
            log.prepare_flush().unwrap().unwrap()
        };
        let first = ticket(&mut log, 5);
        // What the first was to write the second must write: it has not run.
        let second = ticket(&mut log, if late { 6 } else { 5 });
        let recovery_point = log.complete_flush(&second, second.run()).unwrap();
        assert_eq!(recovery_point, Offset(2));
        if late {
            // Nor does it bring back what was true when it was made.
            log.complete_flush(&first, first.run()).unwrap();
        }
        drop((log, first, second));
        fs.restart(true);
        let options = OpenOptions { recovery_point, ..options(9) };
        let (log, _) = open_with(&fs, LogConfig::default(), &options);
        let last = LeaderEpoch(if late { 6 } else { 5 });
        assert_eq!(log.epoch_end_offset(last), Some((last, Offset(2))));
    }
}

/// What a random life of a log did until it crashed.
struct Life {
    /// Values by offset that were appended with success.
    acknowledged: Vec<String>,
    /// The values of the append that failed.
    in_doubt: Vec<String>,
    /// Records below this were synced with success.
    synced: i64,
    start: i64,
    recovery_point: i64,
}

fn live(fs: &Arc<FaultFs>, rng: &mut Rng, config: &LogConfig, sync_each: bool) -> Life {
    let mut life =
        Life { acknowledged: vec![], in_doubt: vec![], synced: 0, start: 0, recovery_point: 0 };
    let file_system: Arc<dyn millstream_env::fs::Fs> = fs.clone();
    let opened = Log::open(file_system, &root(), tp(), Arc::new(config.clone()), &options(0));
    let Ok((mut log, _)) = opened else { return life };
    for step in 0..100_000_u64 {
        let now = TimestampMs(i64::try_from(step).unwrap());
        let count = 1 + rng.below(3);
        let values: Vec<String> = (0..count).map(|n| format!("{step}/{n}")).collect();
        let slices: Vec<&str> = values.iter().map(String::as_str).collect();
        let sequence = i32::try_from(life.acknowledged.len()).unwrap();
        let mut bytes = batch_with(&slices, now.get(), producer(4, 0, sequence));
        life.in_doubt = values;
        if log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, now).is_err() {
            break;
        }
        if sync_each && log.flush().is_err() {
            break;
        }
        life.acknowledged.append(&mut life.in_doubt);
        if sync_each {
            life.synced = log.end_offset().get();
        }
        life.recovery_point = log.recovery_point().get();
        let other = match rng.below(20) {
            0 => log.flush().map(|offset| {
                life.synced = offset.get();
                life.recovery_point = offset.get();
            }),
            1 => log.force_roll(now).map(drop),
            2 => {
                let end = log.end_offset();
                let to = Offset(log.log_start_offset().get() + 3).min(end);
                life.start = log.delete_records(to).unwrap().get();
                log.enforce_retention(end, now).map_or(Ok(()), |deleted| {
                    deleted.iter().try_for_each(millstream_log::DeletedSegments::remove)
                })
            }
            _ => Ok(()),
        };
        if other.is_err() {
            break;
        }
    }
    life
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Kill,
    PowerLoss,
    MixedPowerLoss,
}

fn crash(seed: u64, end: End) {
    let power_loss = end != End::Kill;
    let mut rng = Rng::new(seed);
    let config =
        LogConfig { segment_bytes: 1000, index_interval_bytes: 200, ..LogConfig::default() };
    let fs = FaultFs::new();
    {
        use millstream_env::fs::Fs;
        fs.create_dir_all(&root()).unwrap();
        fs.sync_dir(&root()).unwrap();
    }
    let at = rng.below(400);
    fs.arm(at, Fault::Crash { keep: rng.below(200) as usize });
    let life = live(&fs, &mut rng, &config, power_loss);
    assert!(fs.crashed());
    match end {
        End::Kill | End::PowerLoss => fs.restart(power_loss),
        End::MixedPowerLoss => fs.restart_mixed(|| usize::try_from(rng.next() >> 33).unwrap()),
    }
    // The checkpoint may be older than the log's own recovery point, never newer.
    let recovery_point = if rng.chance(3) { 0 } else { life.recovery_point };
    let options = OpenOptions {
        recovery_point: Offset(recovery_point),
        log_start_offset: Offset(life.start),
        ..options(0)
    };
    let (mut log, _) = open_with(&fs, config, &options);
    let must =
        if power_loss { life.synced } else { i64::try_from(life.acknowledged.len()).unwrap() };
    let all: Vec<&String> = life.acknowledged.iter().chain(&life.in_doubt).collect();
    let end = log.end_offset().get();
    assert!(end >= must, "the end {end} is below {must}");
    assert!(end <= all.len() as i64);
    let from = log.log_start_offset().get();
    let found = read_all(&log, from, 333);
    assert_eq!(found.len() as i64, end - from);
    for (offset, value) in found {
        assert_eq!(&value, all[usize::try_from(offset).unwrap()], "offset {offset}");
    }
    // The producer goes on where the log ends.
    if end > 0 {
        let sequence = i32::try_from(end).unwrap();
        let mut next = batch_with(&["next"], 1, producer(4, 0, sequence));
        let done = log.append(&mut next, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(1));
        assert_eq!(done.unwrap().first_offset.get(), end);
    }
}

fn seeds(count: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    for seed in 1..=count {
        if let Err(cause) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause);
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_kill_at_any_change() {
    seeds(300, |seed| crash(seed, End::Kill));
}

#[test]
fn nothing_synced_is_lost_by_a_power_loss_at_any_change() {
    seeds(300, |seed| crash(seed, End::PowerLoss));
    seeds(300, |seed| crash(seed, End::MixedPowerLoss));
}
