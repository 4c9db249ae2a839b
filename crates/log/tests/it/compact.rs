//! Compaction against a model: random keys, tombstones, transactions, restarts and crashes.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millstream_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use millstream_log::{
    AppendOrigin, Compacted, CompactionError, CompactionOptions, Log, LogConfig, NoPace,
    OpenOptions, Pace,
};
use millstream_records::{BatchBuilder, BatchOptions, Batches, Compression, EndTxnMarker, Scratch};

use crate::fault_fs::{Fault, FaultFs};
use crate::support::*;

fn compacted() -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        segment_bytes: 1500,
        index_interval_bytes: 200,
        delete_retention_ms: 300,
        min_cleanable_dirty_ratio: 0.0,
        ..LogConfig::default()
    }
}

fn limits(now: i64) -> CompactionOptions {
    CompactionOptions {
        dedupe_buffer_bytes: 1 << 20,
        load_factor: 0.9,
        max_batch_bytes: 1 << 20,
        seed: 42,
        now: TimestampMs(now),
    }
}

fn compact(
    log: &RefCell<Log>,
    first_dirty: i64,
    options: &CompactionOptions,
    pace: &mut dyn Pace,
) -> Result<Option<Compacted>, CompactionError> {
    let end = log.borrow().end_offset();
    let plan = log.borrow().compaction_plan(Offset(first_dirty), end, options.now)?;
    let Some(plan) = plan else { return Ok(None) };
    plan.run(options, pace, &|step| step(&mut log.borrow_mut())).map(Some)
}

type Pair<'a> = (&'a str, Option<&'a str>);

fn keyed(records: &[Pair<'_>], time: i64, options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for (key, value) in records {
        let value = value.map(str::as_bytes);
        builder.append(TimestampMs(time), Some(key.as_bytes()), value, &[]).unwrap();
    }
    builder.build().unwrap()
}

fn put(log: &mut Log, records: &[Pair<'_>], time: i64) -> i64 {
    let mut bytes = keyed(records, time, BatchOptions::default());
    let now = TimestampMs(time);
    log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, now).unwrap().first_offset.get()
}

/// What a `read_committed` reader gets: `(offset, key, value)`.
fn committed(log: &Log) -> Vec<(i64, String, Option<String>)> {
    let stable = log.last_stable_offset(log.end_offset());
    let mut next = log.log_start_offset();
    let aborted = log.aborted_transactions(next, stable).unwrap();
    let mut found = Vec::new();
    while let Some(range) = log.read(next, stable, 700, true).unwrap().range {
        let bytes = range.read().unwrap();
        for view in Batches::new(&bytes) {
            let Ok(view) = view else { break };
            view.check_crc().unwrap();
            let header = view.header();
            assert!(header.base_offset >= next || found.is_empty());
            next = header.next_offset();
            let gone = aborted.iter().any(|txn| {
                txn.producer_id == header.producer_id
                    && (txn.first_offset..=txn.last_offset).contains(&header.base_offset)
            });
            let hidden = gone && header.attributes.is_transactional();
            if header.attributes.is_control() || hidden {
                continue;
            }
            let mut scratch = Scratch::default();
            for record in view.records(&mut scratch).unwrap().map(Result::unwrap) {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let key = text(record.key.unwrap());
                found.push((record.offset.get(), key, record.value.map(text)));
            }
        }
    }
    found
}

fn last_values(records: &[(i64, String, Option<String>)]) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (_, key, value) in records {
        match value {
            Some(value) => values.insert(key.clone(), value.clone()),
            None => values.remove(key),
        };
    }
    values
}

#[test]
fn of_each_key_the_last_value_stays_and_tombstones_go_in_time() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, compacted(), &options(0));
    for n in 0..100 {
        let key = format!("k{}", n % 7);
        put(&mut log, &[(&key, Some(&format!("v{n}")))], n);
    }
    put(&mut log, &[("k3", None)], 100);
    log.force_roll(TimestampMs(100)).unwrap();
    let size = log.size_bytes();
    let log = RefCell::new(log);
    let need = log.borrow().compaction_need(Offset(0), Offset(101), TimestampMs(100)).unwrap();
    assert!(need.due && need.clean_bytes == 0 && need.dirty_bytes == size);
    let done = compact(&log, 0, &limits(100), &mut NoPace).unwrap().unwrap();
    assert_eq!((done.upto, done.keys, done.records_read), (Offset(101), 7, 101));
    assert_eq!(done.records_kept, 7);
    assert!(done.bytes_after < size / 5);
    let all = committed(&log.borrow());
    assert_eq!(all.iter().map(|r| r.0).collect::<Vec<_>>(), [93, 95, 96, 97, 98, 99, 100]);
    assert_eq!(all.last().unwrap().2, None);
    for gone in &done.replaced {
        gone.remove().unwrap();
    }
    let need = log.borrow().compaction_need(done.upto, Offset(101), TimestampMs(100)).unwrap();
    assert!(!need.due && need.dirty_bytes == 0);
    // The tombstone stays for delete.retention.ms, then goes; the end of the log does not move.
    for (now, left) in [(399, 7), (400, 6)] {
        put(&mut log.borrow_mut(), &[("other", Some("x"))], now);
        log.borrow_mut().force_roll(TimestampMs(now)).unwrap();
        let before = log.borrow().end_offset();
        compact(&log, 101, &limits(now), &mut NoPace).unwrap().unwrap();
        assert_eq!(log.borrow().end_offset(), before);
        let found = committed(&log.borrow());
        assert_eq!(found.iter().filter(|r| r.1 != "other").count(), left, "at {now}");
    }
    // Offsets that are gone are read as the next that is there.
    let read = log.borrow().read(Offset(0), log.borrow().end_offset(), 10_000, true).unwrap();
    assert!(read.range.unwrap().base_offset > Offset(80));
}

#[test]
fn a_buffer_that_is_too_small_cleans_a_part_or_says_so() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, compacted(), &options(0));
    for n in 0..300 {
        put(&mut log, &[(&format!("k{}", n % 150), Some("value"))], n);
    }
    log.force_roll(TimestampMs(300)).unwrap();
    let log = RefCell::new(log);
    let expected = last_values(&committed(&log.borrow()));
    let mut first_dirty = 0;
    let mut runs = 0;
    while first_dirty < 300 {
        let options = CompactionOptions { dedupe_buffer_bytes: 24 * 40, ..limits(1000) };
        let done = compact(&log, first_dirty, &options, &mut NoPace).unwrap().unwrap();
        assert!(done.upto.get() > first_dirty && done.keys <= 36);
        first_dirty = done.upto.get();
        runs += 1;
        assert_eq!(last_values(&committed(&log.borrow())), expected);
    }
    assert!(runs > 5);
    assert_eq!(committed(&log.borrow()).len(), 150);
    put(&mut log.borrow_mut(), &[("a", Some("x")), ("b", Some("y"))], 400);
    log.borrow_mut().force_roll(TimestampMs(400)).unwrap();
    let options = CompactionOptions { dedupe_buffer_bytes: 30, ..limits(1000) };
    let error = compact(&log, 300, &options, &mut NoPace).unwrap_err();
    assert!(matches!(error, CompactionError::BufferTooSmall { .. }), "{error}");
}

#[test]
fn lags_hold_back_and_hurry() {
    let fs = FaultFs::new();
    let config = LogConfig { min_compaction_lag_ms: 100, ..compacted() };
    let (mut log, _) = open_with(&fs, config, &options(0));
    for n in 0..60 {
        put(&mut log, &[("k", Some(&format!("v{n}")))], n * 10);
    }
    log.force_roll(TimestampMs(600)).unwrap();
    let log = RefCell::new(log);
    let done = compact(&log, 0, &limits(400), &mut NoPace).unwrap().unwrap();
    assert!(done.upto.get() > 0 && done.upto.get() < 31, "{}", done.upto);
    assert!(compact(&log, 0, &limits(10), &mut NoPace).unwrap().is_none());
    let config =
        LogConfig { min_cleanable_dirty_ratio: 1.0, max_compaction_lag_ms: 1000, ..compacted() };
    log.borrow_mut().set_config(Arc::new(config));
    let need =
        |now| log.borrow().compaction_need(done.upto, Offset(60), TimestampMs(now)).unwrap().due;
    assert!(!need(900) && need(5000));
}

#[test]
fn a_segment_with_an_open_transaction_waits() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, compacted(), &options(0));
    for n in 0..50 {
        put(&mut log, &[("k", Some(&format!("v{n}")))], n);
    }
    let transaction = BatchOptions { transactional: true, ..producer(1, 0, 0) };
    let mut bytes = keyed(&[("k", Some("open"))], 50, transaction);
    log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, TimestampMs(50)).unwrap();
    log.force_roll(TimestampMs(50)).unwrap();
    let log = RefCell::new(log);
    let need = |first_dirty| {
        log.borrow().compaction_need(first_dirty, Offset(51), TimestampMs(50)).unwrap()
    };
    assert!(need(Offset(0)).due);
    let done = compact(&log, 0, &limits(50), &mut NoPace).unwrap().unwrap();
    assert!(done.upto > Offset(0) && done.upto < Offset(50), "{}", done.upto);
    // What is due can be planned, and what is done is not due again.
    assert!(!need(done.upto).due && need(done.upto).dirty_bytes == 0);
    assert!(compact(&log, done.upto.get(), &limits(50), &mut NoPace).unwrap().is_none());
}

#[test]
fn damage_stops_a_run_and_changes_nothing() {
    let fs = FaultFs::new();
    let (mut log, _) = open_with(&fs, compacted(), &options(0));
    for n in 0..60 {
        put(&mut log, &[("k", Some(&format!("v{n}")))], n);
    }
    log.force_roll(TimestampMs(60)).unwrap();
    let before = log.size_bytes();
    let files = fs.files(&dir());
    fs.patch(&file("00000000000000000000.log"), |bytes| bytes[300] ^= 1);
    let log = RefCell::new(log);
    let error = compact(&log, 0, &limits(60), &mut NoPace).unwrap_err();
    assert!(matches!(error, CompactionError::Read(_)), "{error}");
    assert_eq!((log.borrow().size_bytes(), fs.files(&dir())), (before, files));
}

/// Stops after some calls.
struct Stop(u64);

impl Pace for Stop {
    fn spent(&mut self, _: u64) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

/// A log's life and what must be read of it.
struct World {
    fs: Arc<FaultFs>,
    rng: Rng,
    log: Option<RefCell<Log>>,
    /// Every record that was ever appended, by offset; aborted ones are taken out.
    records: BTreeMap<i64, (String, Option<String>)>,
    /// Offsets of open transactions.
    open: HashMap<i64, Vec<i64>>,
    sequences: HashMap<i64, i32>,
    first_dirty: i64,
    now: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        let fs = FaultFs::new();
        let (log, _) = open_with(&fs, compacted(), &options(0));
        Self {
            fs,
            rng: Rng::new(seed),
            log: Some(RefCell::new(log)),
            records: BTreeMap::new(),
            open: HashMap::new(),
            sequences: HashMap::new(),
            first_dirty: 0,
            now: 0,
        }
    }

    fn log(&self) -> &RefCell<Log> {
        self.log.as_ref().unwrap()
    }

    fn append(&mut self, producer_id: i64, transactional: bool) {
        let count = 1 + self.rng.below(4);
        let mut records: Vec<(String, Option<String>)> = Vec::new();
        for n in 0..count {
            let key = format!("k{}", self.rng.below(12));
            let value = format!("v{}-{n}", self.now);
            records.push((key, (!self.rng.chance(5)).then_some(value)));
        }
        let codecs = [Compression::None, Compression::None, Compression::Lz4, Compression::Snappy];
        let codec = codecs[usize::try_from(self.rng.below(4)).unwrap()];
        let sequence = self.sequences.entry(producer_id).or_default();
        let mut options = BatchOptions { codec: codec.into(), ..BatchOptions::default() };
        if producer_id >= 0 {
            options = BatchOptions {
                transactional,
                codec: codec.into(),
                ..producer(producer_id, 0, *sequence)
            };
            *sequence += i32::try_from(count).unwrap();
        }
        let pairs: Vec<Pair<'_>> =
            records.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
        let mut bytes = keyed(&pairs, self.now, options);
        let now = TimestampMs(self.now);
        let done =
            self.log().borrow_mut().append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, now);
        let first = done.unwrap().first_offset.get();
        for (n, record) in records.into_iter().enumerate() {
            let offset = first + i64::try_from(n).unwrap();
            self.records.insert(offset, record);
            if transactional {
                self.open.entry(producer_id).or_default().push(offset);
            }
        }
    }

    fn end_txn(&mut self, producer_id: i64) {
        let offsets = self.open.remove(&producer_id);
        let commit = self.rng.chance(2);
        if !commit {
            for offset in offsets.into_iter().flatten() {
                self.records.remove(&offset);
            }
        }
        let marker = EndTxnMarker { committed: commit, coordinator_epoch: 0 };
        let now = TimestampMs(self.now);
        let mut bytes = marker
            .batch(ProducerId(producer_id), ProducerEpoch(0), Offset(0), LeaderEpoch(0), now)
            .unwrap();
        let mut log = self.log().borrow_mut();
        log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Coordinator, now).unwrap();
        let end = log.end_offset();
        log.on_high_watermark(end);
    }

    fn compact(&mut self) {
        self.a_due_log_has_a_plan();
        let buffer = if self.rng.chance(3) { 24 * 6 } else { 1 << 16 };
        let options = CompactionOptions { dedupe_buffer_bytes: buffer, ..limits(self.now) };
        let crash = self.rng.chance(3);
        let power_loss = crash && self.rng.chance(2);
        if power_loss {
            // Compaction must not lose what was safe before it.
            self.log().borrow_mut().flush().unwrap();
        }
        if crash {
            let after = self.rng.below(40);
            let keep = usize::try_from(self.rng.below(300)).unwrap();
            let fault = match self.rng.chance(4) {
                true => Fault::Full { keep },
                false => Fault::Crash { keep },
            };
            self.fs.arm(after, fault);
        }
        let calls = if self.rng.chance(6) { self.rng.below(30) } else { u64::MAX };
        let outcome = compact(self.log(), self.first_dirty, &options, &mut Stop(calls));
        match outcome {
            Ok(None) | Err(CompactionError::Stopped | CompactionError::BufferTooSmall { .. }) => {}
            Ok(Some(done)) => {
                self.first_dirty = done.upto.get();
                if !self.fs.crashed() {
                    self.check();
                }
                let delayed = self.rng.chance(2);
                for gone in done.replaced.iter().filter(|_| !delayed) {
                    // The disk may be gone by now.
                    let _ = gone.remove();
                }
            }
            Err(e) => assert!(crash, "{e}"),
        }
        self.fs.disarm();
        if self.fs.crashed() {
            self.log = None;
            match power_loss {
                true => {
                    let rng = &mut self.rng;
                    self.fs.restart_mixed(|| usize::try_from(rng.next() >> 33).unwrap());
                }
                false => self.fs.restart(false),
            }
            self.reopen(false);
        } else if self.log().borrow().offline_reason().is_some() {
            self.reopen(false);
        }
    }

    fn a_due_log_has_a_plan(&self) {
        let log = self.log().borrow();
        let (first, end, now) = (Offset(self.first_dirty), log.end_offset(), TimestampMs(self.now));
        let due = log.compaction_need(first, end, now).unwrap().due;
        assert_eq!(due, log.compaction_plan(first, end, now).unwrap().is_some());
    }

    fn reopen(&mut self, clean: bool) {
        if let (Some(log), true) = (&self.log, clean) {
            log.borrow_mut().close().unwrap();
        }
        self.log = None;
        let now = TimestampMs(self.now);
        let (log, report) =
            open_with(&self.fs, compacted(), &OpenOptions { clean, now, ..options(0) });
        assert_eq!(report.cut, None);
        self.log = Some(RefCell::new(log));
        let mut log = self.log().borrow_mut();
        let end = log.end_offset();
        log.on_high_watermark(end);
    }

    fn check(&self) {
        let log = self.log().borrow();
        let stable = log.last_stable_offset(log.end_offset()).get();
        let found = committed(&log);
        for (offset, key, value) in &found {
            let record = self.records.get(offset);
            assert_eq!(record, Some(&(key.clone(), value.clone())), "offset {offset}");
        }
        let model: Vec<_> = self
            .records
            .range(..stable)
            .map(|(offset, (key, value))| (*offset, key.clone(), value.clone()))
            .collect();
        assert_eq!(last_values(&found), last_values(&model));
    }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..120 {
        world.now += i64::try_from(world.rng.below(30)).unwrap();
        match world.rng.below(12) {
            0 => {
                let now = TimestampMs(world.now);
                world.log().borrow_mut().force_roll(now).unwrap();
            }
            1 | 2 => world.compact(),
            3 => {
                let clean = world.rng.chance(2);
                world.reopen(clean);
            }
            4..=6 => {
                let producer = 10 + i64::try_from(world.rng.below(3)).unwrap();
                world.append(producer, true);
            }
            7 | 8 => {
                let producer = 10 + i64::try_from(world.rng.below(3)).unwrap();
                world.end_txn(producer);
            }
            9 => world.append(20, false),
            _ => world.append(-1, false),
        }
        if world.rng.chance(3) {
            world.check();
        }
    }
    // Every producer goes on where it stopped, after all that.
    world.reopen(false);
    world.append(20, false);
    world.check();
}

#[test]
fn the_compacted_log_reads_as_the_models_last_values() {
    for seed in 1..=60 {
        if let Err(cause) = std::panic::catch_unwind(|| run(seed)) {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(cause);
        }
    }
}
