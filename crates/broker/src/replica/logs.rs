//! The log directories of this broker: opening what lies in them, making, deleting and closing logs, checkpoints.
//!
//! Key type: [`Logs`]. All calls wait for the disk and belong on a thread where that does no harm.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{Offset, TopicPartition, Uuid};
use millstream_env::clock::Clock;
use millstream_env::random::Random;
use millstream_env::task;
use millstream_log::{
    CheckpointKind, Log, LogConfig, LogDir, OffsetCheckpoint, OpenOptions, RecoveryReport,
    StorageError,
};
use parking_lot::Mutex;
use tracing::{error, info, warn};

/// The partition directory of the metadata log, which is not a replica.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// The log directories, with how many partitions each holds.
#[derive(Debug)]
pub(crate) struct Logs {
    dirs: Vec<LogDir>,
    held: Mutex<Vec<usize>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// What a log's checkpoints say of it.
#[derive(Debug, Clone)]
pub(crate) struct LogState {
    /// Where it lies.
    pub path: Arc<Path>,
    /// Which partition.
    pub partition: TopicPartition,
    /// Everything below is on disk.
    pub recovery_point: Offset,
    /// Its start.
    pub log_start: Offset,
    /// What readers may see.
    pub high_watermark: Offset,
}

impl Logs {
    /// Logs in `dirs`, which are open and locked.
    pub(crate) fn new(dirs: Vec<LogDir>, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let held = Mutex::new(vec![0; dirs.len()]);
        Self { dirs, held, clock, random }
    }

    /// The directories.
    pub(crate) fn dirs(&self) -> &[LogDir] {
        &self.dirs
    }

    /// Opens every log that lies in the directories, `threads` at a time in each.
    pub(crate) fn open_all(
        &self,
        threads: usize,
        config_of: &(dyn Fn(&TopicPartition) -> Arc<LogConfig> + Sync),
    ) -> Result<HashMap<TopicPartition, Log>, StorageError> {
        let now = self.clock.now_ms();
        let mut opened = HashMap::new();
        for (at, dir) in self.dirs.iter().enumerate() {
            let mut found = dir.partitions()?;
            found.retain(|found| &*found.partition.topic != METADATA_TOPIC);
            if let Some(held) = self.held.lock().get_mut(at) {
                *held = found.len();
            }
            for log in dir.open_logs(&found, threads, now, config_of)? {
                match log.outcome {
                    Ok((open, report)) => {
                        tell(&log.partition, &report);
                        opened.insert(log.partition, open);
                    }
                    Err(failure) => {
                        error!(partition = %log.partition, error = %failure, "a log cannot be opened");
                    }
                }
            }
            for path in dir.deleted_partitions()? {
                dir.remove_deleted(&path)?;
            }
        }
        Ok(opened)
    }

    /// Makes an empty log in the directory that holds the fewest.
    pub(crate) fn create(
        &self,
        partition: &TopicPartition,
        topic_id: Uuid,
        config: Arc<LogConfig>,
    ) -> Result<Log, StorageError> {
        let at = {
            let mut held = self.held.lock();
            let fewest = held.iter().enumerate().min_by_key(|(_, count)| **count);
            let at = fewest.map_or(0, |(at, _)| at);
            if let Some(count) = held.get_mut(at) {
                *count += 1;
            }
            at
        };
        let Some(dir) = self.dirs.get(at) else {
            let problem = "there is no log directory to put a partition in".to_owned();
            return Err(StorageError::Invalid { path: PathBuf::new(), problem });
        };
        let options = OpenOptions {
            topic_id: Some(topic_id),
            now: self.clock.now_ms(),
            ..OpenOptions::default()
        };
        let fs = Arc::clone(dir.fs());
        let (log, _) = Log::open(fs, dir.path(), partition.clone(), config, &options)?;
        Ok(log)
    }

    /// Takes a log out of service and has its files removed after `file.delete.delay.ms`.
    pub(crate) fn delete(self: &Arc<Self>, log: &mut Log) -> Result<(), StorageError> {
        let delay = u64::try_from(log.config().file_delete_delay_ms).unwrap_or_default();
        let at = self.dir_of(&log.path());
        let path = log.rename_for_delete(Uuid::from_random(self.random.bytes16()))?;
        if let Some(count) = self.held.lock().get_mut(at) {
            *count = count.saturating_sub(1);
        }
        let logs = Arc::clone(self);
        task::spawn(async move {
            task::sleep(Duration::from_millis(delay)).await;
            let remove = move || {
                let dir = logs.dirs.get(at);
                if let Some(Err(failure)) = dir.map(|dir| dir.remove_deleted(&path)) {
                    warn!(error = %failure, "the files of a deleted partition are left behind");
                }
            };
            // Nothing hangs on the outcome: what is left is removed at the next start.
            drop(task::spawn_blocking(remove).await);
        });
        Ok(())
    }

    /// The place in `dirs` of the directory that a log lies in.
    pub(crate) fn dir_of(&self, log: &Path) -> usize {
        self.dirs.iter().position(|dir| log.starts_with(dir.path())).unwrap_or_default()
    }

    /// Writes the checkpoints of all directories.
    pub(crate) fn checkpoint(&self, states: &[LogState]) -> Result<(), StorageError> {
        for (at, dir) in self.dirs.iter().enumerate() {
            let here = || states.iter().filter(|state| self.dir_of(&state.path) == at);
            let offsets = |of: fn(&LogState) -> Offset| -> OffsetCheckpoint {
                here().map(|state| (state.partition.clone(), of(state))).collect()
            };
            let mut starts = offsets(|state| state.log_start);
            starts.retain(|_, start| *start > Offset::ZERO);
            dir.write_checkpoint(CheckpointKind::RecoveryPoint, &offsets(|s| s.recovery_point))?;
            dir.write_checkpoint(CheckpointKind::LogStart, &starts)?;
            dir.write_checkpoint(CheckpointKind::HighWatermark, &offsets(|s| s.high_watermark))?;
        }
        Ok(())
    }

    /// Leaves the markers of a clean stop: every log is closed and every checkpoint written.
    pub(crate) fn mark_clean(&self) -> Result<(), StorageError> {
        self.dirs.iter().try_for_each(|dir| dir.mark_clean(-1))
    }
}

/// What was repaired is said with partition, offsets and bytes.
fn tell(partition: &TopicPartition, report: &RecoveryReport) {
    if let Some(cut) = &report.cut {
        warn!(
            %partition, file = %cut.file.display(), position = cut.position, bytes = cut.bytes,
            end_offset = %cut.end_offset, reason = %cut.reason,
            "cut a torn tail off the log"
        );
    }
    if report.checked_bytes > 0 {
        info!(
            %partition, segments = report.checked_segments, bytes = report.checked_bytes,
            "checked after an unclean stop"
        );
    }
    for rebuilt in &report.rebuilt {
        warn!(%partition, "rebuilt {rebuilt}");
    }
}
