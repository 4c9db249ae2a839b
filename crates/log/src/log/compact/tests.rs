//! What a compaction leaves in memory.

use std::cell::RefCell;

use millstream_base::{LeaderEpoch, TopicPartition};
use millstream_env::fs::OsFs;
use millstream_partition::AppendOrigin;
use millstream_records::{BatchBuilder, BatchOptions};

use super::*;
use crate::log::OpenOptions;

#[test]
fn the_output_keeps_no_index_entries_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { compact: true, index_interval_bytes: 100, ..LogConfig::default() };
    let name = TopicPartition::new("compacted", 0);
    let options = OpenOptions::default();
    let (mut log, _) =
        Log::open(OsFs::shared(), dir.path(), name, Arc::new(config), &options).unwrap();
    let now = TimestampMs(1000);
    for n in 0..100_i64 {
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.append(TimestampMs(n), Some(&n.to_be_bytes()), Some(&[7; 60]), &[]).unwrap();
        let mut batch = builder.build().unwrap();
        log.append(&mut batch, LeaderEpoch(0), AppendOrigin::Client, now).unwrap();
    }
    log.force_roll(now).unwrap();
    let plan = log.compaction_plan(Offset(0), log.end_offset(), now).unwrap().unwrap();
    let log = RefCell::new(log);
    let limits = CompactionOptions {
        dedupe_buffer_bytes: 1 << 20,
        load_factor: 0.9,
        max_batch_bytes: 1 << 20,
        seed: 1,
        now,
    };
    let done = plan.run(&limits, &mut NoPace, &|step| step(&mut log.borrow_mut())).unwrap();
    assert_eq!(done.records_kept, 100);
    let log = log.into_inner();
    let kept = log.segments[0].recovering(|inner| {
        assert!(inner.offsets.len() > 10, "there are entries");
        (inner.offsets.last_in_memory(), inner.times.last_in_memory())
    });
    assert_eq!(kept, (None, None));
    let read = log.read(Offset(50), log.end_offset(), 100, true).unwrap();
    assert_eq!(read.range.unwrap().base_offset, Offset(50));
    let found = log.offset_for_timestamp(TimestampMs(50)).unwrap().unwrap();
    assert_eq!(found.offset, Offset(50));
}
