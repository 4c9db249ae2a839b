//! Opening all logs of a directory, several at a time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use millstream_base::{Offset, TimestampMs, TopicPartition, Uuid};
use millstream_env::fs::Fs;
use parking_lot::Mutex;

use super::{CLEAN_SHUTDOWN, CheckpointKind, FoundPartition, LogDir};
use crate::checkpoint::OffsetCheckpoint;
use crate::config::LogConfig;
use crate::error::StorageError;
use crate::log::{Log, OpenOptions, RecoveryReport};
use crate::metadata_file::PartitionMetadata;
use crate::names;

/// A log that was opened, or why it was not; the others are not held up by it.
#[derive(Debug)]
pub struct OpenedLog {
    /// Which partition.
    pub partition: TopicPartition,
    /// The log and what its opening did.
    pub outcome: Result<(Log, RecoveryReport), StorageError>,
}

impl LogDir {
    /// Opens the logs of `partitions`, `threads` at a time, each with the settings that `config_of` gives it. The
    /// order of the result is that of `partitions`.
    ///
    /// From here on the directory counts as in use: the marker of a clean stop is taken away, so that a crash is
    /// told from a stop.
    pub fn open_logs(
        &self,
        partitions: &[FoundPartition],
        threads: usize,
        now: TimestampMs,
        config_of: &(dyn Fn(&TopicPartition) -> Arc<LogConfig> + Sync),
    ) -> Result<Vec<OpenedLog>, StorageError> {
        let recovery_points = self.checkpoint_or_empty(CheckpointKind::RecoveryPoint)?;
        let starts = self.checkpoint_or_empty(CheckpointKind::LogStart)?;
        self.begin_use()?;
        let next = AtomicUsize::new(0);
        let slots: Vec<Mutex<Option<OpenedLog>>> =
            partitions.iter().map(|_| Mutex::new(None)).collect();
        let work = || {
            while let Some((slot, found)) = {
                let at = next.fetch_add(1, Ordering::Relaxed);
                slots.get(at).zip(partitions.get(at))
            } {
                let options = OpenOptions {
                    clean: self.was_clean(),
                    recovery_point: offset_of(&recovery_points, &found.partition),
                    log_start_offset: offset_of(&starts, &found.partition),
                    topic_id: found.topic_id,
                    now,
                    files: Some(Arc::clone(&self.files)),
                };
                let config = config_of(&found.partition);
                let fs = Arc::clone(&self.fs);
                let partition = found.partition.clone();
                let outcome = Log::open(fs, &self.path, partition.clone(), config, &options);
                *slot.lock() = Some(OpenedLog { partition, outcome });
            }
        };
        let helpers = threads.clamp(1, partitions.len().max(1)) - 1;
        std::thread::scope(|scope| {
            for _ in 0..helpers {
                scope.spawn(work);
            }
            work();
        });
        Ok(slots.into_iter().filter_map(Mutex::into_inner).collect())
    }

    /// Takes the marker of a clean stop away.
    pub fn begin_use(&self) -> Result<(), StorageError> {
        let marker = self.path.join(CLEAN_SHUTDOWN);
        match self.fs.remove_file(&marker) {
            Ok(()) => {
                self.fs.sync_dir(&self.path).map_err(|e| StorageError::io("sync", &self.path, e))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(StorageError::io("remove", &marker, e)),
        }
    }

    /// A damaged checkpoint only means more work: everything is then checked.
    fn checkpoint_or_empty(&self, kind: CheckpointKind) -> Result<OffsetCheckpoint, StorageError> {
        match self.read_checkpoint(kind) {
            Err(StorageError::Invalid { path, problem }) => {
                tracing::warn!(path = %path.display(), problem, "checkpoint is not used");
                Ok(OffsetCheckpoint::new())
            }
            other => other,
        }
    }
}

fn offset_of(checkpoint: &OffsetCheckpoint, partition: &TopicPartition) -> Offset {
    checkpoint.get(partition).copied().unwrap_or_default()
}

/// The topic id in a partition's directory, if there is one that can be read.
pub(super) fn topic_id(fs: &dyn Fs, dir: &Path) -> Option<Uuid> {
    let bytes = fs.read(&dir.join(names::PARTITION_METADATA), 4096).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    PartitionMetadata::from_text(&text).ok().flatten().map(|m| m.topic_id)
}
