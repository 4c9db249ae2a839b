//! Opening a log: what a crash left is put right before anything is read.
//!
//! Key types: [`OpenOptions`], [`RecoveryReport`]. After a clean stop files are believed and only the end of the
//! last segment is looked at. Otherwise every batch past the recovery point is held against its CRC, the first
//! one that is not whole ends the log, and indexes, producer states and epochs are built anew.

mod leftovers;
mod recent;
mod recover;

use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_base::{Offset, TimestampMs, TopicPartition, Uuid};
use millstream_env::fs::{DirEntry, Fs, OpenMode};
use millstream_partition::{EpochCache, ProducerTable};

use super::Log;
use super::flush::Unsynced;
use crate::config::LogConfig;
use crate::error::{ReadError, StorageError};
use crate::home::Home;
use crate::metadata_file::PartitionMetadata;
use crate::names;
use crate::open_files::OpenFiles;
use crate::segment::Segment;

/// Small files that are read as a whole must not be larger.
const SMALL_FILE: u64 = 64 << 20;

/// What is known of a log before it is opened.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Whether the broker was stopped cleanly, so that files can be believed.
    pub clean: bool,
    /// From `recovery-point-offset-checkpoint`: what lies below was synced. 0 when unknown.
    pub recovery_point: Offset,
    /// From `log-start-offset-checkpoint`. 0 when unknown.
    pub log_start_offset: Offset,
    /// The topic's id: written into a new directory, held against that of an old one.
    pub topic_id: Option<Uuid>,
    /// The wall clock.
    pub now: TimestampMs,
    /// The bound on open files that this log shares; `None` for a bound of its own that is never reached.
    pub files: Option<Arc<OpenFiles>>,
}

impl Default for OpenOptions {
    /// Nothing is known and nothing is believed.
    fn default() -> Self {
        Self {
            clean: false,
            recovery_point: Offset::ZERO,
            log_start_offset: Offset::ZERO,
            topic_id: None,
            now: TimestampMs(0),
            files: None,
        }
    }
}

/// Bytes that were cut off because no whole, sound batch starts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file.
    pub file: PathBuf,
    /// Where it was cut.
    pub position: u64,
    /// How many bytes were cut, those of removed later segments included.
    pub bytes: u64,
    /// The log's end since.
    pub end_offset: Offset,
    /// What was wrong.
    pub reason: String,
}

/// What opening a log did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The directory was made.
    pub created: bool,
    /// Segments whose batches were checked.
    pub checked_segments: usize,
    /// Bytes of them.
    pub checked_bytes: u64,
    /// What was cut off.
    pub cut: Option<Cut>,
    /// Leftover files of interrupted deletions and compactions that were removed or put in place.
    pub leftovers: usize,
    /// Producer snapshots and checkpoints that could not be read and were built anew.
    pub rebuilt: Vec<String>,
}

impl Log {
    /// Opens the log of `partition` in the log directory `root`; makes its directory if there is none.
    pub fn open(
        fs: Arc<dyn Fs>,
        root: &Path,
        partition: TopicPartition,
        config: Arc<LogConfig>,
        options: &OpenOptions,
    ) -> Result<(Self, RecoveryReport), StorageError> {
        let path = root.join(partition.to_string());
        let made = match fs.create_dir(&path) {
            Ok(()) => true,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(e) => return Err(StorageError::io("make directory", &path, e)),
        };
        let files = options.files.clone().unwrap_or_else(|| OpenFiles::new(usize::MAX));
        let home = Home::new(fs, &path, files);
        let mut log = Self::empty(home, partition, config, options);
        let mut report = RecoveryReport { created: made, ..RecoveryReport::default() };
        if made {
            log.write_metadata()?;
            log.names.mark();
        } else {
            log.load(options, &mut report)?;
        }
        Ok((log, report))
    }

    fn empty(
        home: Arc<Home>,
        partition: TopicPartition,
        config: Arc<LogConfig>,
        options: &OpenOptions,
    ) -> Self {
        let start = options.log_start_offset.get().max(0);
        Self {
            segments: Arc::new(vec![Arc::new(Segment::new(&home, start, &config))]),
            home,
            partition,
            topic_id: options.topic_id,
            config,
            start,
            end: start,
            recovery_point: start,
            producers: ProducerTable::new(),
            epochs: EpochCache::new(),
            epochs_unsynced: Unsynced::default(),
            names: Unsynced::default(),
            active_since_ms: options.now.get(),
            unflushed_since_ms: None,
            offline: None,
            headers: Vec::new(),
            staged: Vec::new(),
        }
    }

    fn load(
        &mut self,
        options: &OpenOptions,
        report: &mut RecoveryReport,
    ) -> Result<(), StorageError> {
        let mut entries = self.list()?;
        if leftovers::clear(&self.home, &entries, report)? {
            entries = self.list()?;
        }
        self.load_metadata(&entries, options.topic_id, report)?;
        self.load_epochs(&entries, report)?;
        let logs = log_files(&entries);
        self.remove_orphans(&entries, &logs, report)?;
        if logs.is_empty() {
            return Ok(());
        }
        let existing = logs
            .iter()
            .map(|&(base, size)| Segment::existing(&self.home, base, size, &self.config));
        self.segments = Arc::new(existing.map(Arc::new).collect());
        self.start = self.first_base().max(options.log_start_offset.get());
        let snapshots = snapshots(&entries);
        if !(options.clean && self.resume(&snapshots, report, options.now)?) {
            let from = options.recovery_point.get();
            let recovered = self.recover(from, &snapshots, report, options.now);
            recovered.map_err(|e| self.as_storage(e))?;
        }
        self.settle(options, &snapshots)
    }

    /// The offsets agree with each other, whatever the checkpoints said.
    fn settle(&mut self, options: &OpenOptions, snapshots: &[i64]) -> Result<(), StorageError> {
        self.recovery_point = match options.clean {
            true => self.end,
            false => options.recovery_point.get().clamp(self.first_base(), self.end),
        };
        if self.recovery_point < self.end {
            self.unflushed_since_ms = Some(options.now.get());
        }
        if self.start > self.end {
            // Records below the start are gone for good; the log goes on where it says it starts.
            self.truncate_fully_and_start_at(Offset(self.start), options.now)?;
        }
        self.epochs_unsynced.mark_if(self.epochs.truncate_from_end(Offset(self.end)));
        self.epochs_unsynced.mark_if(self.epochs.truncate_from_start(Offset(self.start)));
        // Snapshots are kept where a segment begins and at the end.
        let segments = Arc::clone(&self.segments);
        let kept = |offset: &i64| {
            *offset == self.end || segments.binary_search_by_key(offset, |s| s.base).is_ok()
        };
        for &offset in snapshots.iter().filter(|offset| !kept(offset)) {
            self.home.remove(&self.home.offset_file(offset, names::SNAPSHOT))?;
        }
        Ok(())
    }

    fn as_storage(&self, error: ReadError) -> StorageError {
        match error {
            ReadError::Storage(e) => e,
            other => StorageError::invalid(&self.home.path(), other),
        }
    }

    fn list(&self) -> Result<Vec<DirEntry>, StorageError> {
        let path = self.home.path();
        self.home.fs.list(&path).map_err(|e| StorageError::io("list", &path, e))
    }

    fn write_metadata(&self) -> Result<(), StorageError> {
        let Some(topic_id) = self.topic_id else { return Ok(()) };
        let path = self.home.file(names::PARTITION_METADATA);
        let text = PartitionMetadata { topic_id }.to_text();
        let write = || {
            let file = self.home.fs.open(&path, OpenMode::Create)?;
            file.truncate(0)?;
            file.write_all_at(text.as_bytes(), 0)
        };
        write().map_err(|e| StorageError::io("write", &path, e))
    }

    /// The topic id on disk must be the asked one. A file that a crash left empty is written anew.
    fn load_metadata(
        &mut self,
        entries: &[DirEntry],
        wanted: Option<Uuid>,
        report: &mut RecoveryReport,
    ) -> Result<(), StorageError> {
        let path = self.home.file(names::PARTITION_METADATA);
        let there = entries.iter().any(|e| e.name == names::PARTITION_METADATA);
        let bytes = match there {
            true => {
                self.home.fs.read(&path, 4096).map_err(|e| StorageError::io("read", &path, e))?
            }
            false => Vec::new(),
        };
        let found = PartitionMetadata::from_text(&String::from_utf8_lossy(&bytes))
            .map_err(|problem| StorageError::invalid(&path, problem))?;
        let Some(found) = found else {
            report.rebuilt.push(names::PARTITION_METADATA.to_owned());
            self.names.mark();
            return self.write_metadata();
        };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found.topic_id) {
            let problem = format!(
                "holds topic id {}, and the topic's id is {wanted}: the directory is that of an earlier topic \
                 of this name; move it away",
                found.topic_id
            );
            return Err(StorageError::invalid(&path, problem));
        }
        self.topic_id = Some(found.topic_id);
        Ok(())
    }

    fn load_epochs(
        &mut self,
        entries: &[DirEntry],
        report: &mut RecoveryReport,
    ) -> Result<(), StorageError> {
        if !entries.iter().any(|e| e.name == names::EPOCHS) {
            return Ok(());
        }
        let path = self.home.file(names::EPOCHS);
        let bytes =
            self.home.fs.read(&path, SMALL_FILE).map_err(|e| StorageError::io("read", &path, e))?;
        match EpochCache::from_text(&String::from_utf8_lossy(&bytes)) {
            Ok(epochs) => self.epochs = epochs,
            Err(problem) => {
                tracing::warn!(path = %path.display(), %problem, "leader epochs are built anew");
                report.rebuilt.push(names::EPOCHS.to_owned());
                self.epochs_unsynced.mark();
            }
        }
        Ok(())
    }

    /// Index files without their log would be taken for those of a segment to come.
    fn remove_orphans(
        &self,
        entries: &[DirEntry],
        logs: &[(i64, u64)],
        report: &mut RecoveryReport,
    ) -> Result<(), StorageError> {
        for entry in entries {
            let Some((base, suffix)) = names::parse_offset_file(&entry.name) else { continue };
            let index = [names::INDEX, names::TIME_INDEX, names::TXN_INDEX].contains(&suffix);
            if index && logs.binary_search_by_key(&base, |l| l.0).is_err() {
                self.home.remove(&self.home.file(&entry.name))?;
                report.leftovers += 1;
            }
        }
        Ok(())
    }
}

/// Base offsets and sizes of the `.log` files, growing.
fn log_files(entries: &[DirEntry]) -> Vec<(i64, u64)> {
    let named = entries.iter().filter(|e| !e.is_dir).filter_map(|e| {
        let (base, suffix) = names::parse_offset_file(&e.name)?;
        (suffix == names::LOG).then_some((base, e.size))
    });
    named.collect()
}

/// Offsets of the `.snapshot` files, growing.
fn snapshots(entries: &[DirEntry]) -> Vec<i64> {
    let named = entries.iter().filter_map(|e| names::parse_offset_file(&e.name));
    named.filter(|(_, suffix)| *suffix == names::SNAPSHOT).map(|(offset, _)| offset).collect()
}
