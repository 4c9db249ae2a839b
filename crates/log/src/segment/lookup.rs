//! Where a batch lies: by offset, by timestamp.
//!
//! Index entries are hints: what the log holds decides, and an entry that it contradicts is not believed.

use millstream_env::fs::OpenMode;

use super::{Place, Segment};
use crate::error::{ReadError, StorageError};
use crate::index::{Lookup, OffsetEntry, TimeEntry, read_entry, search_file};
use crate::names;
use crate::scan::{ScanError, Scanner};

/// Bytes that a look-up reads at once: about one index interval.
const LOOKUP_BLOCK: usize = 8 * 1024;
/// Bytes that a walk over a whole segment reads at once.
const WALK_BLOCK: usize = 64 * 1024;

impl Segment {
    /// When the records' file was written last, in milliseconds; `i64::MAX` when nobody knows.
    pub(crate) fn modified_ms(&self) -> Result<i64, ReadError> {
        let path = self.path(names::LOG);
        let entry = self.home.fs.entry(&path).map_err(|e| StorageError::io("look at", &path, e))?;
        Ok(entry.map_or(i64::MAX, |entry| entry.modified_ms))
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

    /// Where a batch lies that the index names, at least `entries` of its entries before the end; 0 for the first batch.
    pub(crate) fn position_near_end(&self, entries: u32) -> Result<u64, ReadError> {
        self.load()?;
        let place = {
            let inner = self.inner.lock();
            let Some(at) = inner.offsets.len().checked_sub(entries) else { return Ok(0) };
            inner.offsets.in_memory(at).ok_or(at)
        };
        let entry: OffsetEntry = match place {
            Ok(entry) => entry,
            Err(at) => {
                let path = || self.path(names::INDEX);
                let file = self.offset_file.get(&self.home, path, OpenMode::Read)?;
                read_entry(&*file, at).map_err(|e| self.error("read", names::INDEX, e))?
            }
        };
        Ok(u64::from(entry.position))
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

    /// The offset of a batch at or after `position`: the first, unless an index entry misleads; then `None`, as where there is no
    /// such batch before `end`.
    pub(crate) fn first_offset_from(
        &self,
        position: u64,
        end: u64,
    ) -> Result<Option<i64>, ReadError> {
        if position >= end {
            return Ok(None);
        }
        self.load()?;
        let fits = |e: &OffsetEntry| u64::from(e.position) <= position;
        let found = self.inner.lock().offsets.lookup(fits);
        let hint = match found {
            Lookup::Found(entry) => Some(entry),
            Lookup::Before => None,
            Lookup::OnDisk { entries } => {
                let path = || self.path(names::INDEX);
                let file = self.offset_file.get(&self.home, path, OpenMode::Read)?;
                let found = search_file(&*file, entries, fits);
                found.map_err(|e| self.error("read", names::INDEX, e))?.1
            }
        };
        let from = hint.map_or(0, |entry| u64::from(entry.position));
        let file = self.log_file()?;
        let mut scanner = Scanner::new(&*file, from, end, LOOKUP_BLOCK);
        loop {
            match scanner.next() {
                Ok(Some((at, header))) if at >= position => {
                    return Ok(Some(header.base_offset.get()));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(ScanError::Batch { .. }) => return Ok(None),
                Err(ScanError::Io(e)) => return Err(self.scan_error(ScanError::Io(e))),
            }
        }
    }

    fn search_offsets(&self, entries: u32, offset: i64) -> Result<Option<OffsetEntry>, ReadError> {
        let file = self.offset_file.get(&self.home, || self.path(names::INDEX), OpenMode::Read)?;
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
                    || self.path(names::TIME_INDEX),
                    OpenMode::Read,
                )?;
                let fits = |e: &TimeEntry| e.timestamp < timestamp;
                let found = search_file(&*file, entries, fits);
                found.map_err(|e| self.error("read", names::TIME_INDEX, e))?.1
            }
        };
        Ok(entry.map_or(self.base, |e| self.base + i64::from(e.relative)))
    }
}
