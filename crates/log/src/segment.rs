//! One segment: a `.log` file and its indexes.
//!
//! Key type: [`Segment`]. Shared by the log, which alone appends, and by readers, who look positions up
//! without the log's lock. Only the last segment of a log grows. `size` never covers bytes of a write that
//! has not succeeded.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use millstream_env::fs::{File, OpenMode};
use millstream_records::BatchHeader;
use parking_lot::Mutex;

use crate::checked::Checked;
use crate::config::LogConfig;
use crate::error::{ReadError, StorageError};
use crate::home::{Home, LazyFile};
use crate::index::{Entry, Index, Lookup, OffsetEntry, TimeEntry, read_entry, search_file};
use crate::names;
use crate::scan::{ScanError, Scanner};
use crate::txn_index::AbortedTxn;

/// Batches whose places stay in memory, for readers near the end.
const RECENT: usize = 32;
/// Bytes that a look-up reads at once: about one index interval.
const LOOKUP_BLOCK: usize = 8 * 1024;
/// Bytes that a walk over a whole segment reads at once.
const WALK_BLOCK: usize = 64 * 1024;
/// Bytes that a check of CRCs reads at once.
const CHECK_BLOCK: usize = 256 * 1024;

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

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) position: u64,
    pub(crate) size: u32,
}

impl Place {
    fn new(position: u64, header: &BatchHeader) -> Self {
        Self {
            base_offset: header.base_offset.get(),
            last_offset: header.last_offset().get(),
            position,
            size: u32::try_from(header.size_bytes()).unwrap_or(u32::MAX),
        }
    }
}

/// What changes while a segment grows.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) offsets: Index<OffsetEntry>,
    pub(crate) times: Index<TimeEntry>,
    /// The largest timestamp and the last offset of the batch that brought it; -1 for none.
    pub(crate) max_timestamp: i64,
    pub(crate) max_timestamp_offset: i64,
    last_time_entry: i64,
    /// The first batch's largest timestamp: where the segment's age is counted from; `None` until known.
    pub(crate) first_timestamp: Option<i64>,
    since_index: u64,
    recent: VecDeque<Place>,
    /// Whether the index files were looked at; a new or recovered segment has nothing to look at.
    loaded: bool,
    checked: Checked,
    aborted: Option<Vec<AbortedTxn>>,
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
    writable: AtomicBool,
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
        segment.recovering(|inner| segment.replace_index_files(inner))?;
        segment.create()?;
        Ok(segment)
    }

    fn with(home: &Arc<Home>, base: i64, size: u64, config: &LogConfig) -> Self {
        let loaded = size == 0;
        Self {
            base,
            home: Arc::clone(home),
            log: LazyFile::default(),
            offset_file: LazyFile::default(),
            time_file: LazyFile::default(),
            size: AtomicU64::new(size),
            interval: config.index_interval_bytes,
            writable: AtomicBool::new(false),
            stage: AtomicU8::new(Stage::Plain as u8),
            all_checked: AtomicBool::new(size == 0),
            inner: Mutex::new(Inner {
                offsets: Index::new(),
                times: Index::new(),
                max_timestamp: -1,
                max_timestamp_offset: -1,
                last_time_entry: -1,
                first_timestamp: None,
                since_index: 0,
                recent: VecDeque::new(),
                loaded,
                checked: Checked::default(),
                aborted: if loaded { Some(Vec::new()) } else { None },
            }),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size.load(Ordering::Acquire)
    }

    pub(crate) fn path(&self, suffix: &str) -> std::path::PathBuf {
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
    ) -> Result<Vec<std::path::PathBuf>, StorageError> {
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
        self.log.get(&self.home, &self.path(names::LOG), OpenMode::Read)
    }

    /// The `.log` file for writing; made if it is missing.
    pub(crate) fn log_file_for_writing(&self) -> Result<Arc<dyn File>, StorageError> {
        if !self.writable.swap(true, Ordering::AcqRel) {
            self.log.close();
        }
        let file = self.log.get(&self.home, &self.path(names::LOG), OpenMode::Create);
        if file.is_err() {
            self.writable.store(false, Ordering::Release);
        }
        file
    }

    /// Makes the empty file, so that the directory says where the log goes on.
    pub(crate) fn create(&self) -> Result<(), StorageError> {
        let file = self.log_file_for_writing()?;
        file.truncate(0).map_err(|e| self.error("truncate", names::LOG, e))
    }

    /// Closes all files; they open again when needed. Who holds one keeps it.
    pub(crate) fn close_files(&self) {
        self.writable.store(false, Ordering::Release);
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
        if let Err(e) = self.write_indexes_locked(inner) {
            tracing::warn!(error = %e, "index entries could not be written yet");
        }
    }

    fn write_indexes_locked(&self, inner: &mut Inner) -> Result<(), StorageError> {
        if inner.offsets.has_unwritten() {
            let path = self.path(names::INDEX);
            let file = self.open_index(&path)?;
            inner.offsets.write(&*file).map_err(|e| StorageError::io("write to", &path, e))?;
        }
        if inner.times.has_unwritten() {
            let path = self.path(names::TIME_INDEX);
            let file = self.open_index(&path)?;
            inner.times.write(&*file).map_err(|e| StorageError::io("write to", &path, e))?;
        }
        Ok(())
    }

    fn open_index(&self, path: &std::path::Path) -> Result<Arc<dyn File>, StorageError> {
        let opened = self.home.fs.open(path, OpenMode::Create);
        opened.map_err(|e| StorageError::io("open", path, e))
    }

    /// Ends the segment's growth: the last time entry, everything written, memory given back.
    pub(crate) fn seal(&self) -> Result<(), StorageError> {
        let mut inner = self.inner.lock();
        inner.time_entry(self.base);
        self.write_indexes_locked(&mut inner)?;
        inner.offsets.seal();
        inner.times.seal();
        inner.recent = VecDeque::new();
        Ok(())
    }

    /// Writes all index entries and the last time entry, as at a clean stop; the segment may grow on.
    pub(crate) fn settle_indexes(&self) -> Result<(), StorageError> {
        let mut inner = self.inner.lock();
        inner.time_entry(self.base);
        self.write_indexes_locked(&mut inner)
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

    /// The largest timestamp, and the last offset of the batch that brought it.
    pub(crate) fn max_timestamp(&self) -> Result<(i64, i64), ReadError> {
        self.load()?;
        let inner = self.inner.lock();
        Ok((inner.max_timestamp, inner.max_timestamp_offset))
    }

    /// The first batch's largest timestamp; -1 without batches.
    pub(crate) fn first_timestamp(&self) -> Result<i64, ReadError> {
        let known = self.inner.lock().first_timestamp;
        if known.is_some() || self.size() == 0 {
            return Ok(known.unwrap_or(-1));
        }
        let file = self.log_file()?;
        let mut scanner = Scanner::new(&*file, 0, self.size(), 64);
        let first = scanner.next().map_err(|e| self.scan_error(e))?;
        let timestamp = first.map_or(-1, |(_, header)| header.max_timestamp.get());
        self.inner.lock().first_timestamp = Some(timestamp);
        Ok(timestamp)
    }

    pub(crate) fn scan_error(&self, error: ScanError) -> ReadError {
        match error {
            ScanError::Io(e) => self.error("read", names::LOG, e).into(),
            ScanError::Batch { position, error } => {
                ReadError::Corrupt { path: self.path(names::LOG), position, source: error }
            }
        }
    }

    /// Looks at the index files of a segment that was found on disk; builds them anew when they are missing
    /// or cannot be right.
    pub(crate) fn load(&self) -> Result<(), ReadError> {
        if self.inner.lock().loaded {
            return Ok(());
        }
        let mut inner = self.inner.lock();
        if inner.loaded {
            return Ok(());
        }
        match self.read_index_ends() {
            Ok(Some((offsets, times, last))) => {
                inner.offsets = Index::on_disk(offsets);
                inner.times = Index::on_disk(times);
                inner.max_timestamp = last.timestamp;
                inner.max_timestamp_offset = self.base + i64::from(last.relative);
                inner.last_time_entry = last.timestamp;
            }
            Ok(None) => {
                tracing::warn!(path = %self.path(names::LOG).display(), "building the indexes anew");
                self.rebuild_locked(&mut inner, self.interval)?;
            }
            Err(e) => return Err(self.error("read an index of", names::LOG, e).into()),
        }
        inner.loaded = true;
        Ok(())
    }

    /// The numbers of entries and the last time entry; `None` when something is missing or wrong.
    fn read_index_ends(&self) -> io::Result<Option<(u32, u32, TimeEntry)>> {
        let Some((index, offsets)) = self.index_file::<OffsetEntry>(names::INDEX)? else {
            return Ok(None);
        };
        let Some((time_index, times)) = self.index_file::<TimeEntry>(names::TIME_INDEX)? else {
            return Ok(None);
        };
        if let Some(at) = offsets.checked_sub(1) {
            let last = read_entry::<OffsetEntry>(&*index, at)?;
            let first = read_entry::<OffsetEntry>(&*index, 0)?;
            let grows = at == 0 || first.position < last.position;
            if u64::from(last.position) >= self.size() || !grows || last.position == 0 {
                return Ok(None);
            }
        }
        let Some(at) = times.checked_sub(1) else { return Ok(None) };
        let last = read_entry::<TimeEntry>(&*time_index, at)?;
        let first = read_entry::<TimeEntry>(&*time_index, 0)?;
        let grows = at == 0 || first.timestamp < last.timestamp;
        Ok((grows && last.timestamp >= 0).then_some((offsets, times, last)))
    }

    /// An index file and its number of entries; `None` when it is missing or not whole.
    fn index_file<E: Entry>(&self, suffix: &str) -> io::Result<Option<(Arc<dyn File>, u32)>> {
        let file = match self.home.fs.open(&self.path(suffix), OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let size = file.size()?;
        let whole = size % E::SIZE as u64 == 0;
        let entries = u32::try_from(size / E::SIZE as u64).ok();
        Ok(entries.filter(|_| whole).map(|entries| (file, entries)))
    }

    /// Builds both indexes from the batch headers and writes them.
    fn rebuild_locked(&self, inner: &mut Inner, interval: u32) -> Result<(), ReadError> {
        let file = self.log_file()?;
        inner.reset();
        let mut scanner = Scanner::new(&*file, 0, self.size(), WALK_BLOCK);
        loop {
            match scanner.next() {
                Ok(Some((position, header))) => inner.note(self.base, position, &header, interval),
                // What lies before damage can still be found.
                Ok(None) | Err(ScanError::Batch { .. }) => break,
                Err(e) => return Err(self.scan_error(e)),
            }
        }
        inner.time_entry(self.base);
        self.replace_index_files(inner)?;
        inner.recent = VecDeque::new();
        Ok(())
    }

    /// Cuts the index files to nothing and writes all entries.
    pub(crate) fn replace_index_files(&self, inner: &mut Inner) -> Result<(), StorageError> {
        self.offset_file.close();
        self.time_file.close();
        for suffix in [names::INDEX, names::TIME_INDEX] {
            let path = self.path(suffix);
            let file = self.open_index(&path)?;
            file.truncate(0).map_err(|e| StorageError::io("truncate", &path, e))?;
        }
        self.write_indexes_locked(inner)
    }

    /// Gives the recovery access to the state; the segment counts as loaded.
    pub(crate) fn recovering<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.lock();
        inner.loaded = true;
        act(&mut inner)
    }

    pub(crate) fn set_size(&self, size: u64) {
        self.size.store(size, Ordering::Release);
    }

    /// Goes on with a segment that was stopped cleanly: believes its indexes, walks from the last entry to the
    /// end, and returns the offset after the last batch.
    pub(crate) fn resume(&self, config: &LogConfig) -> Result<i64, ReadError> {
        self.load()?;
        let size = self.size();
        if size == 0 {
            return Ok(self.base);
        }
        let mut inner = self.inner.lock();
        let from = match (inner.offsets.last_in_memory(), inner.offsets.len().checked_sub(1)) {
            (Some(entry), _) => entry.position,
            (None, Some(at)) => {
                let path = self.path(names::INDEX);
                let file = self.offset_file.get(&self.home, &path, OpenMode::Read)?;
                let entry = read_entry::<OffsetEntry>(&*file, at);
                entry.map_err(|e| self.error("read", names::INDEX, e))?.position
            }
            (None, None) => 0,
        };
        let file = self.log_file()?;
        let mut scanner = Scanner::new(&*file, u64::from(from), size, WALK_BLOCK);
        let mut end = self.base;
        let known = inner.first_timestamp;
        while let Some((position, header)) = scanner.next().map_err(|e| self.scan_error(e))? {
            inner.note(self.base, position, &header, config.index_interval_bytes);
            end = header.next_offset().get();
        }
        if from > 0 {
            inner.first_timestamp = known;
        }
        Ok(end)
    }

    /// Takes over that the file was cut to `size`: indexes are built anew, `end` is the log's end.
    pub(crate) fn cut(&self, size: u64, end: i64, config: &LogConfig) -> Result<(), ReadError> {
        self.set_size(size);
        let aborted = self.aborted()?;
        let kept = aborted.iter().filter(|txn| txn.last_offset.get() < end).copied().collect();
        self.set_aborted(kept)?;
        let mut inner = self.inner.lock();
        inner.checked.cut(size);
        inner.loaded = true;
        self.rebuild_locked(&mut inner, config.index_interval_bytes)
    }

    /// Notes that every byte was held against its CRC.
    pub(crate) fn set_all_checked(&self) {
        self.all_checked.store(true, Ordering::Release);
    }

    /// Holds the batches of a range against their CRCs, unless this process wrote or checked them before.
    /// Returns where the sound ones end: `to`, or less when a batch behind the first is damaged.
    pub(crate) fn check_range(&self, from: u64, to: u64) -> Result<u64, ReadError> {
        if self.all_checked.load(Ordering::Acquire) || self.inner.lock().checked.covers(from, to) {
            return Ok(to);
        }
        let file = self.log_file()?;
        let mut scanner = Scanner::new(&*file, from, self.size(), CHECK_BLOCK);
        let mut sound = from;
        while sound < to {
            let checked = match scanner.next() {
                Ok(None) => break,
                Ok(Some((position, header))) => scanner.check_crc(position, &header),
                Err(e) => Err(e),
            };
            match checked {
                Ok(()) => sound = scanner.position(),
                Err(ScanError::Batch { position, error }) => {
                    let path = self.path(names::LOG);
                    tracing::error!(path = %path.display(), position, %error, "damaged batch is not served");
                    if sound == from {
                        return Err(ReadError::Corrupt { path, position, source: error });
                    }
                    break;
                }
                Err(e) => return Err(self.scan_error(e)),
            }
        }
        self.inner.lock().checked.add(from, sound);
        Ok(sound.min(to))
    }

    /// The first batch before `end` whose last offset is at least `offset`.
    pub(crate) fn find(&self, offset: i64, end: u64) -> Result<Option<Place>, ReadError> {
        if end == 0 {
            return Ok(None);
        }
        self.load()?;
        let (hint, disk) = {
            let inner = self.inner.lock();
            if let Some(place) = inner.recent_place(offset) {
                return Ok((place.position < end).then_some(place));
            }
            match inner.offsets.lookup(|e| self.base + i64::from(e.relative) <= offset) {
                Lookup::Found(entry) => (Some(entry), None),
                Lookup::Before => (None, None),
                Lookup::OnDisk { entries } => (None, Some(entries)),
            }
        };
        let hint = match disk {
            None => hint,
            Some(entries) => self.search_offsets(entries, offset)?,
        };
        self.scan_for(offset, hint, end)
    }

    fn search_offsets(&self, entries: u32, offset: i64) -> Result<Option<OffsetEntry>, ReadError> {
        let file = self.offset_file.get(&self.home, &self.path(names::INDEX), OpenMode::Read)?;
        let fits = |e: &OffsetEntry| self.base + i64::from(e.relative) <= offset;
        match search_file(&*file, entries, fits) {
            Ok((_, found)) => Ok(found),
            Err(e) => Err(self.error("read", names::INDEX, e).into()),
        }
    }

    /// Walks from an index entry to the batch. An entry that the log contradicts is not believed.
    fn scan_for(
        &self,
        offset: i64,
        hint: Option<OffsetEntry>,
        end: u64,
    ) -> Result<Option<Place>, ReadError> {
        let file = self.log_file()?;
        if let Some(hint) = hint.filter(|h| h.position > 0) {
            let from = u64::from(hint.position);
            let mut scanner = Scanner::new(&*file, from, end, LOOKUP_BLOCK);
            match scanner.next() {
                Ok(Some((_, header)))
                    if header.base_offset.get() <= self.base + i64::from(hint.relative) =>
                {
                    scanner = Scanner::new(&*file, from, end, LOOKUP_BLOCK);
                    return self.walk(&mut scanner, offset);
                }
                Err(ScanError::Io(e)) => return Err(self.scan_error(ScanError::Io(e))),
                Ok(_) | Err(ScanError::Batch { .. }) => {
                    tracing::warn!(path = %self.path(names::INDEX).display(), "index entry does not fit the log");
                }
            }
        }
        let block = if hint.is_some() { WALK_BLOCK } else { LOOKUP_BLOCK };
        self.walk(&mut Scanner::new(&*file, 0, end, block), offset)
    }

    fn walk(&self, scanner: &mut Scanner<'_>, offset: i64) -> Result<Option<Place>, ReadError> {
        loop {
            let Some((position, header)) = scanner.next().map_err(|e| self.scan_error(e))? else {
                return Ok(None);
            };
            if header.last_offset().get() >= offset {
                return Ok(Some(Place::new(position, &header)));
            }
        }
    }

    /// An offset such that all records below it, in this segment, have a timestamp below `timestamp`.
    pub(crate) fn offset_before_timestamp(&self, timestamp: i64) -> Result<i64, ReadError> {
        self.load()?;
        let found = self.inner.lock().times.lookup(|e| e.timestamp < timestamp);
        let entry = match found {
            Lookup::Found(entry) => Some(entry),
            Lookup::Before => None,
            Lookup::OnDisk { entries } => {
                let file = self.time_file.get(
                    &self.home,
                    &self.path(names::TIME_INDEX),
                    OpenMode::Read,
                )?;
                let fits = |e: &TimeEntry| e.timestamp < timestamp;
                let found = search_file(&*file, entries, fits);
                found.map_err(|e| self.error("read", names::TIME_INDEX, e))?.1
            }
        };
        Ok(entry.map_or(self.base, |e| self.base + i64::from(e.relative)))
    }

    /// Adds an aborted transaction to the index.
    pub(crate) fn add_aborted(&self, txn: AbortedTxn) -> Result<(), StorageError> {
        self.aborted()?;
        let mut inner = self.inner.lock();
        let list = inner.aborted.get_or_insert_default();
        let path = self.path(names::TXN_INDEX);
        let file = self.open_index(&path)?;
        let position = (list.len() * crate::txn_index::ENTRY) as u64;
        file.write_all_at(&txn.encode(), position)
            .map_err(|e| StorageError::io("write to", &path, e))?;
        list.push(txn);
        Ok(())
    }

    /// The aborted transactions whose markers lie in this segment, ordered by marker.
    pub(crate) fn aborted(&self) -> Result<Vec<AbortedTxn>, StorageError> {
        let mut inner = self.inner.lock();
        if let Some(list) = &inner.aborted {
            return Ok(list.clone());
        }
        let path = self.path(names::TXN_INDEX);
        let list = match self.home.fs.read(&path, 256 << 20) {
            Ok(bytes) => AbortedTxn::decode_all(&bytes)
                .ok_or_else(|| StorageError::invalid(&path, "not a transaction index"))?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(StorageError::io("read", &path, e)),
        };
        inner.aborted = Some(list.clone());
        Ok(list)
    }

    /// Replaces the transaction index.
    pub(crate) fn set_aborted(&self, list: Vec<AbortedTxn>) -> Result<(), StorageError> {
        let path = self.path(names::TXN_INDEX);
        if list.is_empty() {
            self.home.remove(&path)?;
        } else {
            let bytes: Vec<u8> = list.iter().flat_map(AbortedTxn::encode).collect();
            let file = self.open_index(&path)?;
            file.truncate(0).map_err(|e| StorageError::io("truncate", &path, e))?;
            file.write_all_at(&bytes, 0).map_err(|e| StorageError::io("write to", &path, e))?;
        }
        self.inner.lock().aborted = Some(list);
        Ok(())
    }
}

impl Inner {
    /// Starts over, as if the segment had no bytes.
    pub(crate) fn reset(&mut self) {
        self.offsets = Index::new();
        self.times = Index::new();
        (self.max_timestamp, self.max_timestamp_offset) = (-1, -1);
        (self.last_time_entry, self.first_timestamp, self.since_index) = (-1, None, 0);
        self.recent.clear();
    }

    /// Takes one batch into the indexes.
    pub(crate) fn note(&mut self, base: i64, position: u64, header: &BatchHeader, interval: u32) {
        let last = header.last_offset().get();
        let timestamp = header.max_timestamp.get();
        if timestamp > self.max_timestamp {
            (self.max_timestamp, self.max_timestamp_offset) = (timestamp, last);
        }
        self.first_timestamp.get_or_insert(timestamp);
        if self.since_index > u64::from(interval)
            && let Some(entry) = offset_entry(base, last, position)
        {
            self.offsets.push(entry);
            self.time_entry(base);
            self.since_index = 0;
        }
        self.since_index += header.size_bytes() as u64;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Place::new(position, header));
    }

    /// An entry for the largest timestamp so far, unless the last entry says so.
    fn time_entry(&mut self, base: i64) {
        if self.max_timestamp <= self.last_time_entry {
            return;
        }
        if let Ok(relative) = u32::try_from(self.max_timestamp_offset - base) {
            self.times.push(TimeEntry { timestamp: self.max_timestamp, relative });
            self.last_time_entry = self.max_timestamp;
        }
    }

    /// The place of the first batch that ends at or after `offset`, if it is among the newest ones.
    fn recent_place(&self, offset: i64) -> Option<Place> {
        // Below the oldest remembered batch nothing is known.
        self.recent.front().filter(|oldest| oldest.base_offset <= offset)?;
        let at = self.recent.partition_point(|p| p.last_offset < offset);
        self.recent.get(at).copied()
    }
}

fn offset_entry(base: i64, last: i64, position: u64) -> Option<OffsetEntry> {
    let relative = u32::try_from(last - base).ok()?;
    Some(OffsetEntry { relative, position: u32::try_from(position).ok()? })
}
