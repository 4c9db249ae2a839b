//! Random appends, reads, rolls and restarts against a list of records.

use millstream_base::{LeaderEpoch, Offset, TimestampMs};
use millstream_log::{AppendOrigin, LogConfig, OpenOptions};

use crate::fault_fs::FaultFs;
use crate::support::*;

fn run(seed: u64) {
    let mut rng = Rng::new(seed);
    let fs = FaultFs::new();
    let config = LogConfig {
        segment_bytes: u32::try_from(500 + rng.below(4000)).unwrap(),
        index_interval_bytes: u32::try_from(rng.below(600)).unwrap(),
        segment_index_bytes: u32::try_from(16 + rng.below(200)).unwrap(),
        ..LogConfig::default()
    };
    let (mut log, _) = open_with(&fs, config.clone(), &options(0));
    let mut model: Vec<(i64, String, i64)> = Vec::new();
    let mut start = 0;
    for step in 0..200_u64 {
        let now = i64::try_from(step * 10 + rng.below(40)).unwrap();
        match rng.below(12) {
            0 => {
                log.force_roll(TimestampMs(now)).unwrap();
            }
            1 => {
                let clean = rng.chance(2);
                if clean {
                    log.close().unwrap();
                }
                let options = OpenOptions {
                    clean,
                    recovery_point: log.recovery_point(),
                    log_start_offset: Offset(start),
                    ..options(now)
                };
                drop(log);
                let (opened, report) = open_with(&fs, config.clone(), &options);
                assert_eq!(report.cut, None);
                log = opened;
            }
            2 => {
                log.flush().unwrap();
            }
            3 if rng.chance(3) => {
                let to = log.log_start_offset().get() + rng.below(5) as i64;
                start = log.delete_records(Offset(to.min(log.end_offset().get()))).unwrap().get();
                let expected = model.iter().filter(|r| r.0 >= start).count();
                assert_eq!(read_all(&log, start, 1 << 20).len(), expected);
                log.enforce_retention(log.end_offset(), TimestampMs(0)).unwrap();
            }
            4 if rng.chance(4) => {
                let to = log.end_offset().get() - rng.below(6) as i64;
                let end = log.truncate_to(Offset(to.max(start)), TimestampMs(now)).unwrap().get();
                model.retain(|r| r.0 < end);
                start = log.log_start_offset().get();
            }
            _ => {
                let count = 1 + rng.below(4);
                let values: Vec<String> = (0..count).map(|n| format!("{step}-{n}")).collect();
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                let mut bytes = batch(&values, now);
                let done = log
                    .append(&mut bytes, LeaderEpoch(1), AppendOrigin::Client, TimestampMs(now))
                    .unwrap();
                assert_eq!(done.first_offset.get(), log.end_offset().get() - count as i64);
                for (n, value) in values.iter().enumerate() {
                    model.push((done.first_offset.get() + n as i64, (*value).to_owned(), now));
                }
            }
        }
        assert_eq!(log.log_start_offset().get(), start);
        let from = start + rng.below((log.end_offset().get() - start + 1) as u64) as i64;
        let expected: Vec<_> =
            model.iter().filter(|r| r.0 >= from).map(|r| (r.0, r.1.clone())).collect();
        assert_eq!(read_all(&log, from, 1 + rng.below(900) as u32), expected, "step {step}");
        let time = rng.below(2100) as i64;
        let expected = model.iter().find(|r| r.0 >= start && r.2 >= time).map(|r| r.0);
        let found = log.offset_for_timestamp(TimestampMs(time)).unwrap();
        assert_eq!(found.map(|f| f.offset.get()), expected, "step {step} time {time}");
    }
}

#[test]
fn the_log_reads_as_a_list_of_records() {
    for seed in 1..=60 {
        let result = std::panic::catch_unwind(|| run(seed));
        if let Err(cause) = result {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause);
        }
    }
}
