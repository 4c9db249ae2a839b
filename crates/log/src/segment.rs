//! One segment: a `.log` file and its indexes.
//!
//! Key type: [`Segment`]. Shared by the log, which alone appends, and by readers, who look positions up
//! without the log's lock. Only the last segment of a log grows. `size` never covers bytes of a write that
//! has not succeeded.

mod aborted;
mod checks;
mod inner;
mod load;
mod lookup;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use millstream_env::fs::{File, OpenMode};
use millstream_records::BatchHeader;
use parking_lot::Mutex;

use crate::config::LogConfig;
use crate::error::{ReadError, StorageError};
use crate::home::Home;
use crate::index::{Entry, OffsetEntry, TimeEntry};
use crate::names;
use crate::open_files::LazyFile;
use crate::scan::ScanError;

pub(crate) use inner::{Inner, Place};

/// What a segment's files are for; told by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Stage {
    /// A segment of the log.
    Plain,
    /// Output of a compaction that is not complete.
    Cleaned,
    /// Complete output that is about to replace its sources.
    Swap,
    /// Waits for its removal.
    Deleted,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Plain, Self::Cleaned, Self::Swap, Self::Deleted];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Cleaned => names::CLEANED,
            Self::Swap => names::SWAP,
            Self::Deleted => names::DELETED,
        }
    }
}

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: i64,
    home: Arc<Home>,
    log: LazyFile,
    offset_file: LazyFile,
    time_file: LazyFile,
    size: AtomicU64,
    /// `index.interval.bytes` when the segment was opened.
    interval: u32,
    /// What is added to its files' names, see [`Stage`].
    stage: AtomicU8,
    /// This process wrote or checked every byte.
    all_checked: AtomicBool,
    inner: Mutex<Inner>,
}

impl Segment {
    /// A segment without bytes, whose files are made at the first write.
    pub(crate) fn new(home: &Arc<Home>, base: i64, config: &LogConfig) -> Self {
        Self::with(home, base, 0, config)
    }

    /// A segment that is on disk with `size` bytes.
    pub(crate) fn existing(home: &Arc<Home>, base: i64, size: u64, config: &LogConfig) -> Self {
        Self::with(home, base, size, config)
    }

    /// An empty segment for the output of a compaction.
    pub(crate) fn cleaned(
        home: &Arc<Home>,
        base: i64,
        config: &LogConfig,
    ) -> Result<Self, StorageError> {
        let segment = Self::with(home, base, 0, config);
        segment.stage.store(Stage::Cleaned as u8, Ordering::Release);
        segment.set_aborted(Vec::new())?;
        segment.recovering(|inner| segment.replace_index_files(inner, true))?;
        segment.create()?;
        Ok(segment)
    }

    fn with(home: &Arc<Home>, base: i64, size: u64, config: &LogConfig) -> Self {
        Self {
            base,
            home: Arc::clone(home),
            log: LazyFile::default(),
            offset_file: LazyFile::default(),
            time_file: LazyFile::default(),
            size: AtomicU64::new(size),
            interval: config.index_interval_bytes,
            stage: AtomicU8::new(Stage::Plain as u8),
            all_checked: AtomicBool::new(size == 0),
            inner: Mutex::new(Inner::new(size == 0)),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn path(&self, suffix: &str) -> PathBuf {
        let stage = self.stage.load(Ordering::Acquire);
        let added = Stage::ALL.iter().find(|s| **s as u8 == stage).map_or("", |s| s.suffix());
        self.home.offset_file(self.base, &format!("{suffix}{added}"))
    }

    /// Renames the files for another stage of the segment's life, the log first or last, and lists the new names.
    /// Who has a file open keeps it.
    pub(crate) fn move_to(
        &self,
        stage: Stage,
        log_last: bool,
    ) -> Result<Vec<PathBuf>, StorageError> {
        let mut suffixes = [names::LOG, names::INDEX, names::TIME_INDEX, names::TXN_INDEX];
        if log_last {
            suffixes.rotate_left(1);
        }
        let mut files = Vec::new();
        for suffix in suffixes {
            let from = self.path(suffix);
            let to = self.home.offset_file(self.base, &format!("{suffix}{}", stage.suffix()));
            match self.home.fs.rename(&from, &to) {
                Ok(()) => files.push(to),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(StorageError::io("rename", &from, e)),
            }
        }
        self.stage.store(stage as u8, Ordering::Release);
        Ok(files)
    }

    fn error(&self, what: &'static str, suffix: &str, source: io::Error) -> StorageError {
        StorageError::io(what, &self.path(suffix), source)
    }

    /// The `.log` file for reading.
    pub(crate) fn log_file(&self) -> Result<Arc<dyn File>, StorageError> {
        self.log.get(&self.home, || self.path(names::LOG), OpenMode::Read)
    }

    /// The `.log` file for writing; made if it is missing.
    pub(crate) fn log_file_for_writing(&self) -> Result<Arc<dyn File>, StorageError> {
        self.log.get(&self.home, || self.path(names::LOG), OpenMode::Create)
    }

    /// Makes the empty file, so that the directory says where the log goes on.
    pub(crate) fn create(&self) -> Result<(), StorageError> {
        let file = self.log_file_for_writing()?;
        file.truncate(0).map_err(|e| self.error("truncate", names::LOG, e))
    }

    /// Closes all files; they open again when needed. Who holds one keeps it.
    pub(crate) fn close_files(&self) {
        self.log.close();
        self.offset_file.close();
        self.time_file.close();
    }

    /// Whether this append would make an index larger than `config` allows.
    pub(crate) fn index_full(&self, config: &LogConfig) -> bool {
        let inner = self.inner.lock();
        inner.offsets.len() >= config.max_index_entries(OffsetEntry::SIZE)
            || inner.times.len() >= config.max_index_entries(TimeEntry::SIZE)
    }

    /// Takes written batches into account, one after the other. `end` is the new size.
    pub(crate) fn appended<'a>(
        &self,
        config: &LogConfig,
        batches: impl Iterator<Item = (u64, &'a BatchHeader)>,
        end: u64,
    ) {
        let mut inner = self.inner.lock();
        for (position, header) in batches {
            inner.note(self.base, position, header, config.index_interval_bytes);
        }
        if !self.all_checked.load(Ordering::Relaxed) {
            inner.checked.add(self.size(), end);
        }
        self.size.store(end, Ordering::Release);
        if inner.offsets.wants_writing() || inner.times.wants_writing() {
            self.write_indexes_logged(&mut inner);
        }
    }

    /// Writing an index entry may fail without harm: entries stay in memory and are tried again.
    fn write_indexes_logged(&self, inner: &mut Inner) {
        if let Err(e) = self.write_indexes_locked(inner, false) {
            tracing::warn!(error = %e, "index entries could not be written yet");
        }
    }

    /// Writes waiting entries; with `make` both files exist afterwards.
    fn write_indexes_locked(&self, inner: &mut Inner, make: bool) -> Result<(), StorageError> {
        if make || inner.offsets.has_unwritten() {
            let path = self.path(names::INDEX);
            let file = self.open_index(&path)?;
            inner.offsets.write(&*file).map_err(|e| StorageError::io("write to", &path, e))?;
        }
        if make || inner.times.has_unwritten() {
            let path = self.path(names::TIME_INDEX);
            let file = self.open_index(&path)?;
            inner.times.write(&*file).map_err(|e| StorageError::io("write to", &path, e))?;
        }
        Ok(())
    }

    fn open_index(&self, path: &Path) -> Result<Arc<dyn File>, StorageError> {
        let opened = self.home.fs.open(path, OpenMode::Create);
        opened.map_err(|e| StorageError::io("open", path, e))
    }

    /// Ends the segment's growth: the last time entry, everything written, memory given back.
    pub(crate) fn seal(&self) -> Result<(), StorageError> {
        let mut inner = self.inner.lock();
        inner.time_entry(self.base);
        self.write_indexes_locked(&mut inner, self.size() > 0)?;
        inner.offsets.seal();
        inner.times.seal();
        inner.recent = std::collections::VecDeque::new();
        Ok(())
    }

    /// Writes all index entries and the last time entry, as at a clean stop; the segment may grow on.
    pub(crate) fn settle_indexes(&self) -> Result<(), StorageError> {
        let mut inner = self.inner.lock();
        inner.time_entry(self.base);
        self.write_indexes_locked(&mut inner, self.size() > 0)
    }

    /// Waits until all files are on the disk.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        self.log_file()?.sync_data().map_err(|e| self.error("sync", names::LOG, e))?;
        for suffix in [names::INDEX, names::TIME_INDEX, names::TXN_INDEX] {
            let file = match self.home.fs.open(&self.path(suffix), OpenMode::Read) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                other => other.map_err(|e| self.error("open", suffix, e))?,
            };
            file.sync_data().map_err(|e| self.error("sync", suffix, e))?;
        }
        Ok(())
    }

    pub(crate) fn scan_error(&self, error: ScanError) -> ReadError {
        match error {
            ScanError::Io(e) => self.error("read", names::LOG, e).into(),
            ScanError::Batch { position, error } => {
                ReadError::Corrupt { path: self.path(names::LOG), position, source: error }
            }
        }
    }

    pub(crate) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }
}
