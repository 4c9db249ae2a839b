//! Taking over what lies on disk: index files that are believed, or built anew.

use std::io;
use std::sync::Arc;

use millstream_env::fs::{File, OpenMode};

use super::{Inner, Segment};
use crate::config::LogConfig;
use crate::error::{ReadError, StorageError};
use crate::index::{Entry, Index, OffsetEntry, TimeEntry, read_entry};
use crate::names;
use crate::scan::{ScanError, Scanner};

/// Bytes that a walk over a whole segment reads at once.
const WALK_BLOCK: usize = 64 * 1024;
/// Bytes that are read at once where one index interval is expected.
const TAIL_BLOCK: usize = 8 * 1024;

impl Segment {
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
        let mut indexed_to = 0;
        if let Some(at) = offsets.checked_sub(1) {
            let last = read_entry::<OffsetEntry>(&*index, at)?;
            let first = read_entry::<OffsetEntry>(&*index, 0)?;
            let grows = at == 0 || first.position < last.position;
            if u64::from(last.position) >= self.size() || !grows || last.position == 0 {
                return Ok(None);
            }
            indexed_to = u64::from(last.position);
        }
        if self.lacks_entries(indexed_to)? {
            return Ok(None);
        }
        let Some(at) = times.checked_sub(1) else { return Ok(None) };
        let last = read_entry::<TimeEntry>(&*time_index, at)?;
        let first = read_entry::<TimeEntry>(&*time_index, 0)?;
        let grows = at == 0 || first.timestamp < last.timestamp;
        Ok((grows && last.timestamp >= 0).then_some((offsets, times, last)))
    }

    /// Whether a batch behind the last entry's should have an entry of its own.
    fn lacks_entries(&self, last: u64) -> io::Result<bool> {
        let file = self.log_file().map_err(io::Error::from)?;
        let mut scanner = Scanner::new(&*file, last, self.size(), TAIL_BLOCK);
        loop {
            match scanner.next() {
                Ok(Some((position, _))) if position - last > u64::from(self.interval) => {
                    return Ok(true);
                }
                Ok(Some(_)) => {}
                // Damage is for the reader who meets it.
                Ok(None) | Err(ScanError::Batch { .. }) => return Ok(false),
                Err(ScanError::Io(e)) => return Err(e),
            }
        }
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
        self.replace_index_files(inner, true)?;
        inner.recent = std::collections::VecDeque::new();
        Ok(())
    }

    /// Cuts the index files to nothing and writes all entries. Without entries files are made only if asked for: to
    /// make them costs more than all else where a crash left thousands of small logs, and a stop makes them anyway.
    pub(crate) fn replace_index_files(
        &self,
        inner: &mut Inner,
        make: bool,
    ) -> Result<(), StorageError> {
        self.offset_file.close();
        self.time_file.close();
        for suffix in [names::INDEX, names::TIME_INDEX] {
            let path = self.path(suffix);
            let cut = match self.home.fs.open(&path, OpenMode::Write) {
                Ok(file) => file.truncate(0),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(e) => Err(e),
            };
            cut.map_err(|e| StorageError::io("truncate", &path, e))?;
        }
        self.write_indexes_locked(inner, make && self.size() > 0)
    }

    /// Gives the recovery access to the state; the segment counts as loaded.
    pub(crate) fn recovering<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.lock();
        inner.loaded = true;
        act(&mut inner)
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
                let file =
                    self.offset_file.get(&self.home, || self.path(names::INDEX), OpenMode::Read)?;
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
}
