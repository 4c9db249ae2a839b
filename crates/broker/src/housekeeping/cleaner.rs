//! The cleaner: has compacted logs compacted, the dirtiest first, by `log.cleaner.threads` threads at a time.
//!
//! Key type: [`Cleaner`], which remembers up to where each log is clean (`cleaner-offset-checkpoint`) and which logs cannot be
//! cleaned: such a log is named once and left alone until the broker starts again, the others go on. All threads share one
//! brake (`log.cleaner.io.max.bytes.per.second`). A stop ends a run within a fraction of a second; nothing is lost by it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{Offset, PartitionIndex, Uuid};
use millstream_config::CleanerConfig;
use millstream_env::task::{self, JoinHandle};
use millstream_log::{CheckpointKind, CompactionError, CompactionOptions, Log, Pace};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::remove_later;
use crate::broker::Broker;
use crate::replica::Partition;

/// A sleeping cleaner looks this often whether it is to stop.
const NAP: Duration = Duration::from_millis(100);
/// Most bytes of one compressed batch when decompressed.
const MAX_BATCH_BYTES: usize = 256 << 20;

/// A topic's id and a partition's number: a topic that is made anew begins anew.
type Key = (Uuid, PartitionIndex);

/// What all cleaner threads share.
#[derive(Debug)]
struct Cleaner {
    broker: Arc<Broker>,
    stop: watch::Receiver<bool>,
    state: Mutex<State>,
    brake: Mutex<Brake>,
}

#[derive(Debug, Default)]
struct State {
    /// Everything below was compacted.
    clean_below: HashMap<Key, Offset>,
    /// Under way.
    busy: HashSet<Key>,
    /// Cannot be cleaned.
    given_up: HashSet<Key>,
}

/// Bytes that were spent and not yet slept for.
#[derive(Debug, Default)]
struct Brake {
    /// When all that was spent is paid for, on the monotonic clock.
    paid_at: Duration,
}

/// Cleans for as long as the broker runs.
pub(super) fn start(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let (broker, mut stop) = (Arc::clone(broker), stop.clone());
    task::spawn(async move {
        if !broker.config().cleaner.enable {
            return;
        }
        let cleaner = Cleaner {
            broker: Arc::clone(&broker),
            stop: stop.clone(),
            state: Mutex::default(),
            brake: Mutex::default(),
        };
        let cleaner = Arc::new(cleaner);
        let loading = Arc::clone(&cleaner);
        drop(task::spawn_blocking(move || loading.load()).await);
        loop {
            let backoff = u64::try_from(broker.config().cleaner.backoff_ms).unwrap_or_default();
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = task::sleep(Duration::from_millis(backoff.max(10))) => {}
            }
            let threads = usize::try_from(broker.config().cleaner.threads).unwrap_or_default();
            let work = |_| {
                let cleaner = Arc::clone(&cleaner);
                task::spawn_blocking(move || cleaner.work_off())
            };
            let running: Vec<_> = (0..threads).map(work).collect();
            for thread in running {
                if thread.await.is_err() {
                    warn!("a cleaner thread failed; the next round goes on without that log");
                }
            }
        }
    })
}

impl Cleaner {
    /// Reads what an earlier life of the broker has cleaned.
    fn load(&self) {
        let replicas = self.broker.replicas();
        let offsets = replicas.logs().read_checkpoints(CheckpointKind::Cleaner);
        let hosted = replicas.all();
        let known = hosted
            .iter()
            .filter_map(|partition| Some((key(partition), *offsets.get(&partition.name)?)));
        self.state.lock().clean_below.extend(known);
    }

    /// Cleans one log after the other until none is due.
    fn work_off(&self) {
        while !*self.stop.borrow() {
            let Some(partition) = self.take_dirtiest() else { return };
            self.clean(&partition);
            // A thread that panics leaves its mark: that log is not tried again.
            self.state.lock().busy.remove(&key(&partition));
        }
    }

    fn take_dirtiest(&self) -> Option<Arc<Partition>> {
        let now = self.broker.clock().now_ms();
        let mut best: Option<(f64, Arc<Partition>)> = None;
        for partition in self.broker.replicas().all() {
            let first_dirty = {
                let state = self.state.lock();
                let key = key(&partition);
                let skip = state.busy.contains(&key) || state.given_up.contains(&key);
                if skip || !partition.config().cleanup_compact || partition.is_gone() {
                    continue;
                }
                state.clean_below.get(&key).copied().unwrap_or_default()
            };
            let high_watermark = partition.high_watermark();
            let need =
                partition.with_log(|log| log.compaction_need(first_dirty, high_watermark, now));
            match need {
                Ok(need) if need.due => {
                    if best.as_ref().is_none_or(|(ratio, _)| need.dirty_ratio > *ratio) {
                        best = Some((need.dirty_ratio, partition));
                    }
                }
                Ok(_) => {}
                Err(failure) => self.give_up(&partition, &failure),
            }
        }
        let (_, partition) = best?;
        let is_mine = self.state.lock().busy.insert(key(&partition));
        is_mine.then_some(partition)
    }

    fn clean(&self, partition: &Arc<Partition>) {
        let first_dirty = self.state.lock().clean_below.get(&key(partition)).copied();
        let first_dirty = first_dirty.unwrap_or_default();
        let (now, high_watermark) = (self.broker.clock().now_ms(), partition.high_watermark());
        let plan = partition.with_log(|log| log.compaction_plan(first_dirty, high_watermark, now));
        let plan = match plan {
            Ok(Some(plan)) => plan,
            Ok(None) => return,
            Err(failure) => return self.give_up(partition, &failure),
        };
        let options = {
            let config = self.broker.config();
            let cleaner: &CleanerConfig = &config.cleaner;
            let threads = usize::try_from(cleaner.threads).unwrap_or(1).max(1);
            let buffer = usize::try_from(cleaner.dedupe_buffer_size).unwrap_or_default();
            CompactionOptions {
                dedupe_buffer_bytes: buffer / threads,
                load_factor: cleaner.io_buffer_load_factor,
                max_batch_bytes: MAX_BATCH_BYTES,
                seed: self.broker.random().next_u64(),
                now,
            }
        };
        let with_log = |step: &mut dyn FnMut(&mut Log)| partition.with_log(|log| step(log));
        match plan.run(&options, &mut Pacer { cleaner: self }, &with_log) {
            Ok(done) => {
                info!(
                    partition = %partition.name, from = %first_dirty, upto = %done.upto,
                    bytes_before = done.bytes_before, bytes_after = done.bytes_after,
                    records_read = done.records_read, records_kept = done.records_kept, keys = done.keys,
                    "compacted"
                );
                self.state.lock().clean_below.insert(key(partition), done.upto);
                self.write_checkpoint();
                let delay = partition.config().file_delete_delay_ms;
                remove_later(done.replaced, delay);
            }
            Err(CompactionError::Stopped | CompactionError::Changed) => {}
            Err(_) if partition.is_gone() => {}
            Err(failure) => self.give_up(partition, &failure),
        }
    }

    fn give_up(&self, partition: &Partition, failure: &dyn std::fmt::Display) {
        if self.state.lock().given_up.insert(key(partition)) {
            error!(partition = %partition.name, error = %failure,
                "the log cannot be compacted; it is left as it is until the broker starts again");
        }
    }

    fn write_checkpoint(&self) {
        let replicas = self.broker.replicas();
        let _turn = replicas.checkpoint_turn();
        let hosted = replicas.all();
        let offsets: Vec<_> = {
            let mut state = self.state.lock();
            let there: HashSet<Key> = hosted.iter().map(|partition| key(partition)).collect();
            state.clean_below.retain(|key, _| there.contains(key));
            let offset = |p: &Arc<Partition>| state.clean_below.get(&key(p)).copied();
            hosted.iter().filter_map(|p| Some((Arc::clone(p), offset(p)?))).collect()
        };
        let lines = offsets
            .into_iter()
            .map(|(p, offset)| (p.with_log(|log| log.path()), p.name.clone(), offset));
        if let Err(failure) = replicas.logs().write_checkpoints(CheckpointKind::Cleaner, lines) {
            warn!(error = %failure, "the cleaner's checkpoint could not be written; a restart cleans again");
        }
    }
}

fn key(partition: &Partition) -> Key {
    (partition.topic_id, partition.index())
}

/// One run's brake.
struct Pacer<'a> {
    cleaner: &'a Cleaner,
}

impl Pace for Pacer<'_> {
    fn spent(&mut self, bytes: u64) -> bool {
        let broker = &self.cleaner.broker;
        let rate = broker.config().cleaner.io_max_bytes_per_second;
        // Of counts that fit a disk a float is exact enough; the default is no limit.
        let cost = Duration::try_from_secs_f64(bytes as f64 / rate).unwrap_or_default();
        let until = {
            let mut brake = self.cleaner.brake.lock();
            brake.paid_at = brake.paid_at.max(broker.clock().monotonic()) + cost;
            brake.paid_at
        };
        loop {
            if *self.cleaner.stop.borrow() {
                return false;
            }
            let left = until.saturating_sub(broker.clock().monotonic());
            if left < Duration::from_millis(1) {
                return true;
            }
            task::sleep_here(left.min(NAP));
        }
    }
}
