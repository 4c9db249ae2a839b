//! One log directory (`log.dirs`): whose it is, who holds it, which partitions lie in it.
//!
//! Key type: [`LogDir`]. [`claim`] takes the lock `.lock` and reads or writes `meta.properties`; then a directory
//! reads the checkpoints of offsets, opens the logs in parallel, and leaves the marker of a clean stop. Nothing is
//! changed on disk before the directory is known to be ours.

mod claim;
mod load;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_base::{TopicPartition, Uuid};
use millstream_env::fs::{FileLock, Fs, OpenMode};

pub use claim::{ClaimOptions, Claimed, LogDirError, claim, claim_to_join};
pub use load::OpenedLog;

use crate::checkpoint::{self, OffsetCheckpoint};
use crate::error::StorageError;
use crate::log::FlushTicket;
use crate::metadata_file::MetaProperties;
use crate::names;
use crate::open_files::OpenFiles;

const LOCK: &str = ".lock";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
const CLUSTER_METADATA: &str = "__cluster_metadata";
/// Files that stay open unless the broker sets another bound; well below any usual limit of a process.
const DEFAULT_OPEN_FILES: usize = 512;
/// Tickets that are cheaper to sync one by one than with everything else on the file system.
const FEW_TICKETS: usize = 32;
/// Checkpoints of more bytes than this are not Kafka's.
const MAX_CHECKPOINT: u64 = 256 << 20;

/// Which offsets a checkpoint file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointKind {
    /// `recovery-point-offset-checkpoint`: what is on disk.
    RecoveryPoint,
    /// `log-start-offset-checkpoint`: starts that are not the first segment's base.
    LogStart,
    /// `replication-offset-checkpoint`: high watermarks.
    HighWatermark,
    /// `cleaner-offset-checkpoint`: what compaction has seen.
    Cleaner,
}

impl CheckpointKind {
    /// The file's name.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::RecoveryPoint => "recovery-point-offset-checkpoint",
            Self::LogStart => "log-start-offset-checkpoint",
            Self::HighWatermark => "replication-offset-checkpoint",
            Self::Cleaner => "cleaner-offset-checkpoint",
        }
    }
}

/// A partition's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPartition {
    /// Which partition.
    pub partition: TopicPartition,
    /// The directory's path.
    pub path: PathBuf,
    /// The topic id of its `partition.metadata`, if that can be read.
    pub topic_id: Option<Uuid>,
}

/// An open log directory. Its lock is held for as long as this lives.
#[derive(Debug)]
pub struct LogDir {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    id: Uuid,
    meta: MetaProperties,
    /// The broker epoch in the marker of a clean stop, if there is one.
    clean: Option<i64>,
    files: Arc<OpenFiles>,
    _lock: Box<dyn FileLock>,
}

impl LogDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file system that it lies in.
    pub const fn fs(&self) -> &Arc<dyn Fs> {
        &self.fs
    }

    /// The bound on files that the logs of this directory keep open; also for [`crate::OpenOptions::files`] of logs
    /// that are opened one by one.
    pub const fn open_files(&self) -> &Arc<OpenFiles> {
        &self.files
    }

    /// Its own id, as metadata names it.
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// Whose it is.
    pub const fn meta(&self) -> &MetaProperties {
        &self.meta
    }

    /// Whether the broker that held it before stopped cleanly.
    pub const fn was_clean(&self) -> bool {
        self.clean.is_some()
    }

    /// The epoch of the broker that held it before and stopped cleanly; -1 where the marker names none.
    pub const fn clean_epoch(&self) -> Option<i64> {
        self.clean
    }

    /// Bytes that may still be written, and bytes in all.
    pub fn space(&self) -> Result<(u64, u64), StorageError> {
        let io = |e| StorageError::io("look at", &self.path, e);
        let free = self.fs.free_bytes(&self.path).map_err(io)?;
        Ok((free, self.fs.total_bytes(&self.path).map_err(io)?))
    }

    /// Reads a checkpoint; empty when there is none.
    ///
    /// # Errors
    /// [`StorageError::Invalid`] when it cannot be understood.
    pub fn read_checkpoint(&self, kind: CheckpointKind) -> Result<OffsetCheckpoint, StorageError> {
        let path = self.path.join(kind.file_name());
        match self.fs.read(&path, MAX_CHECKPOINT) {
            Ok(bytes) => checkpoint::from_text(&String::from_utf8_lossy(&bytes))
                .map_err(|problem| StorageError::invalid(&path, problem)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(OffsetCheckpoint::new()),
            Err(e) => Err(StorageError::io("read", &path, e)),
        }
    }

    /// Replaces a checkpoint as a whole, synced.
    pub fn write_checkpoint(
        &self,
        kind: CheckpointKind,
        offsets: &OffsetCheckpoint,
    ) -> Result<(), StorageError> {
        let path = self.path.join(kind.file_name());
        let text = checkpoint::to_text(offsets);
        self.fs
            .write_atomically(&path, text.as_bytes())
            .map_err(|e| StorageError::io("write", &path, e))
    }

    /// Syncs what many logs wait for (see [`crate::Log::prepare_close`]): a few one by one, many by one sync of the whole
    /// file system. The outcomes are in the order of the tickets.
    pub fn finish(&self, tickets: &[FlushTicket]) -> Vec<Result<(), StorageError>> {
        let run_each = || tickets.iter().map(FlushTicket::run).collect();
        if tickets.len() <= FEW_TICKETS {
            return run_each();
        }
        let mut outcomes: Vec<_> = tickets.iter().map(FlushTicket::write_unsynced).collect();
        match self.fs.sync_all(&self.path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::Unsupported => return run_each(),
            Err(e) => {
                let error = StorageError::io("sync", &self.path, e);
                outcomes.fill_with(|| Err(error.clone()));
            }
        }
        outcomes
    }

    /// Leaves the marker of a clean stop, after all logs are closed and the checkpoints are written.
    pub fn mark_clean(&self, broker_epoch: i64) -> Result<(), StorageError> {
        let path = self.path.join(CLEAN_SHUTDOWN);
        let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
        self.fs
            .write_atomically(&path, text.as_bytes())
            .map_err(|e| StorageError::io("write", &path, e))
    }

    /// The partitions that lie here, ordered by name. `__cluster_metadata` is none of them: the quorum owns it.
    pub fn partitions(&self) -> Result<Vec<FoundPartition>, StorageError> {
        let mut found = Vec::new();
        for name in self.directories()? {
            let partition = names::parse_partition_dir(&name);
            if let Some(partition) = partition.filter(|p| &*p.topic != CLUSTER_METADATA) {
                let path = self.path.join(&name);
                let topic_id = load::topic_id(&*self.fs, &path);
                found.push(FoundPartition { partition, path, topic_id });
            }
        }
        Ok(found)
    }

    /// The topic id of the partition's directory at `path`, if there is one that can be read.
    pub fn topic_id_in(fs: &dyn Fs, path: &Path) -> Option<Uuid> {
        load::topic_id(fs, path)
    }

    /// Directories of deleted partitions that are still to be removed.
    pub fn deleted_partitions(&self) -> Result<Vec<PathBuf>, StorageError> {
        let names = self.directories()?.into_iter();
        Ok(names.filter(|n| is_delete_dir(n)).map(|n| self.path.join(n)).collect())
    }

    /// Renames the directory of a log that is not open as [`crate::Log::rename_for_delete`] does with an open one.
    pub fn rename_for_delete(&self, found: &FoundPartition, id: Uuid) -> Result<(), StorageError> {
        let to = self.path.join(names::delete_dir(&found.partition, id));
        let renamed = self.fs.rename(&found.path, &to);
        renamed.map_err(|e| StorageError::io("rename", &found.path, e))
    }

    /// Removes a directory that [`crate::Log::rename_for_delete`] or [`LogDir::deleted_partitions`] named. Waits for
    /// the disk. Refuses any other path.
    pub fn remove_deleted(&self, path: &Path) -> Result<(), StorageError> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if path.parent() != Some(&self.path) || !is_delete_dir(&name) {
            return Err(StorageError::invalid(path, "is not a deleted partition's directory"));
        }
        match self.fs.remove_dir_all(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::io("remove", path, e))
            }
            _ => Ok(()),
        }
    }

    /// Whether the directory can still be written to; asked after a storage error.
    pub fn probe(&self) -> Result<(), StorageError> {
        let path = self.path.join(LOCK);
        let file = self.fs.open(&path, OpenMode::Write);
        file.map(drop).map_err(|e| StorageError::io("open", &path, e))
    }

    fn directories(&self) -> Result<Vec<String>, StorageError> {
        let entries = self.fs.list(&self.path);
        let entries = entries.map_err(|e| StorageError::io("list", &self.path, e))?;
        Ok(entries.into_iter().filter(|e| e.is_dir).map(|e| e.name).collect())
    }
}

/// `topic-partition.uuid-delete`.
fn is_delete_dir(name: &str) -> bool {
    name.strip_suffix(names::DELETE_DIR)
        .and_then(|rest| rest.rsplit_once('.'))
        .is_some_and(|(_, id)| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()))
}
