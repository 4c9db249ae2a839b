//! Records without a timestamp: they are as old as their file.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use millstream_base::{LeaderEpoch, TimestampMs, TopicPartition};
use millstream_env::fs::OsFs;
use millstream_log::{AppendOrigin, Log, LogConfig, OpenOptions};

use crate::support::batch;

#[test]
fn records_without_a_timestamp_expire_and_shield_nothing() {
    let temporary = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let day = 24 * 3600 * 1000;
    let config = Arc::new(LogConfig { retention_ms: day, ..LogConfig::default() });
    let options = OpenOptions { now: TimestampMs(now), ..OpenOptions::default() };
    let name = TopicPartition::new("untimed", 0);
    let (mut log, _) = Log::open(OsFs::shared(), temporary.path(), name, config, &options).unwrap();
    for timestamp in [-1, now, now] {
        let mut bytes = batch(&["value"], timestamp);
        let (epoch, origin) = (LeaderEpoch(0), AppendOrigin::Client);
        log.append(&mut bytes, epoch, origin, TimestampMs(now)).unwrap();
        log.force_roll(TimestampMs(now)).unwrap();
    }
    let end = log.end_offset();
    assert!(log.enforce_retention(end, TimestampMs(now + day / 2)).unwrap().is_empty());
    log.enforce_retention(end, TimestampMs(now + 2 * day)).unwrap();
    assert_eq!(log.log_start_offset(), end, "the first segment does not keep the others");
}
