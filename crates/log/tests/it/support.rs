//! What the tests share: batches, a log in memory, random numbers that a seed repeats.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_base::{
    LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicPartition, Uuid,
};
use millstream_log::{AppendOrigin, Log, LogConfig, OpenOptions, RecoveryReport};
use millstream_records::{BatchBuilder, BatchOptions, Batches, Scratch};

use crate::fault_fs::FaultFs;

/// A repeatable sequence of numbers (xorshift).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn chance(&mut self, one_in: u64) -> bool {
        self.below(one_in) == 0
    }
}

pub fn root() -> PathBuf {
    PathBuf::from("/data")
}

pub fn tp() -> TopicPartition {
    TopicPartition::new("orders", 3)
}

pub const TOPIC: Uuid = Uuid([5; 16]);

pub fn options(now: i64) -> OpenOptions {
    OpenOptions { topic_id: Some(TOPIC), now: TimestampMs(now), ..OpenOptions::default() }
}

pub fn open_with(
    fs: &Arc<FaultFs>,
    config: LogConfig,
    options: &OpenOptions,
) -> (Log, RecoveryReport) {
    let fs: Arc<dyn millstream_env::fs::Fs> = fs.clone();
    let _ = fs.create_dir_all(&root());
    Log::open(fs, &root(), tp(), Arc::new(config), options).unwrap()
}

pub fn small() -> LogConfig {
    LogConfig { segment_bytes: 2000, index_interval_bytes: 150, ..LogConfig::default() }
}

/// A batch of plain values, one record each, all of one timestamp.
pub fn batch(values: &[&str], timestamp: i64) -> Vec<u8> {
    batch_with(values, timestamp, BatchOptions::default())
}

pub fn batch_with(values: &[&str], timestamp: i64, options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.append(TimestampMs(timestamp), Some(b"k"), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

pub fn producer(id: i64, epoch: i16, sequence: i32) -> BatchOptions {
    BatchOptions {
        producer_id: ProducerId(id),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BatchOptions::default()
    }
}

pub fn append(log: &mut Log, values: &[&str], timestamp: i64) -> i64 {
    let mut bytes = batch(values, timestamp);
    let now = TimestampMs(timestamp);
    let done = log.append(&mut bytes, LeaderEpoch(0), AppendOrigin::Client, now).unwrap();
    done.first_offset.get()
}

/// Every record from `from` on as `(offset, value)`, read in bites of `max_bytes`.
pub fn read_all(log: &Log, from: i64, max_bytes: u32) -> Vec<(i64, String)> {
    let mut found = Vec::new();
    let mut next = from;
    loop {
        let read = log.read(Offset(next), log.end_offset(), max_bytes, true).unwrap();
        let Some(range) = read.range else { break };
        let bytes = range.read().unwrap();
        assert_eq!(bytes.len(), range.len as usize);
        let before = next;
        for view in Batches::new(&bytes) {
            // The last batch may be cut.
            let Ok(view) = view else { break };
            view.check_crc().unwrap();
            let mut scratch = Scratch::default();
            for record in view.records(&mut scratch).unwrap() {
                let record = record.unwrap();
                if record.offset.get() >= next {
                    let value = String::from_utf8(record.value.unwrap_or_default().to_vec());
                    found.push((record.offset.get(), value.unwrap()));
                }
            }
            next = view.header().next_offset().get();
        }
        assert!(next > before, "a read brings at least one batch");
    }
    found
}

pub fn dir() -> PathBuf {
    root().join(tp().to_string())
}

pub fn file(name: &str) -> PathBuf {
    Path::new(&dir()).join(name)
}
