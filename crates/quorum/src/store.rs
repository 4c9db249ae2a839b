//! The metadata log on disk: Kafka's batches in segment files, appended and fsynced.
//!
//! Key type: [`Store`]. It differs from a partition's log in what it must promise: nothing is acknowledged before
//! it is fsynced, so a torn tail holds only what nobody was promised and is cut, while damage with good batches
//! after it would lose promised records and is refused. It needs no index, because it is read from end to end.

mod scan;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_base::{LeaderEpoch, Offset};
use millstream_env::fs::{DirEntry, File, Fs, OpenMode};
use millstream_records::BatchView;

use self::scan::{Scan, check_torn};
use crate::error::OpenError;

/// The name of a segment that begins at `base`.
fn segment_name(base: Offset) -> String {
    format!("{:020}.log", base.get())
}

/// A segment's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Segment {
    base: Offset,
    bytes: u64,
}

impl Segment {
    fn of_entry(entry: &DirEntry) -> Option<Self> {
        let digits = entry.name.strip_suffix(".log")?;
        let numeric = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
        let base = numeric.then(|| digits.parse().ok().map(Offset)).flatten()?;
        Some(Self { base, bytes: entry.size })
    }
}

/// The log, open for appending.
#[derive(Debug)]
pub(crate) struct Store {
    fs: Arc<dyn Fs>,
    directory: PathBuf,
    /// The segments by their base offsets; the last one is appended to.
    segments: Vec<Offset>,
    file: Arc<dyn File>,
    /// Where the next batch goes in the last segment.
    position: u64,
    next_offset: Offset,
    last_epoch: LeaderEpoch,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The base offset of its segment.
    pub segment: Offset,
    /// Where in that segment's file it begins.
    pub position: u64,
}

/// What reading the log from its start found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recovered {
    /// The first offset that is there.
    pub start: Offset,
    /// How many bytes of a torn tail were cut.
    pub cut_bytes: u64,
}

impl Store {
    /// Opens the log in `directory`, creating it at offset `start` when there is none, hands every batch in it to
    /// `each`, and cuts a torn tail.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        directory: &Path,
        start: Offset,
        mut each: impl FnMut(&BatchView<'_>, Place) -> Result<(), OpenError>,
    ) -> Result<(Self, Recovered), OpenError> {
        fs.create_dir_all(directory).map_err(|e| io_error("create", directory, e))?;
        let entries = fs.list(directory).map_err(|e| io_error("list", directory, e))?;
        let mut found: Vec<Segment> = entries.iter().filter_map(Segment::of_entry).collect();
        found.sort_unstable();
        let created = found.is_empty();
        if created {
            found.push(Segment { base: start, bytes: 0 });
        }
        let mut first = found.first().map_or(start, |segment| segment.base);
        let (mut scan, mut cut_bytes) = (Scan::at(first), 0);
        let (mut segments, mut last) = (Vec::new(), None);
        for (index, Segment { base, bytes }) in found.iter().copied().enumerate() {
            let path = directory.join(segment_name(base));
            if bytes == 0 && base < scan.next_offset {
                // Begun by a start over that failed; the segment before it went on.
                fs.remove_file(&path).map_err(|e| io_error("remove", &path, e))?;
                continue;
            }
            if base > scan.next_offset && base <= start {
                // A removal of old segments was cut short: the snapshot holds all that lies before this one.
                (first, scan) = (base, Scan::at(base));
            }
            let file = fs.open(&path, OpenMode::Create).map_err(|e| io_error("open", &path, e))?;
            if base != scan.next_offset {
                let reason = format!("it should begin at offset {}", scan.next_offset);
                return Err(OpenError::Corrupt { path, position: 0, reason });
            }
            scan.segment(&path, file.as_ref(), &mut each)?;
            let size = file.size().map_err(|e| io_error("read", &path, e))?;
            if scan.position < size {
                let later = found.get(index + 1..).unwrap_or_default();
                let unused = |s: &Segment| s.bytes == 0 && s.base <= scan.next_offset;
                check_torn(&path, file.as_ref(), &scan, size, later.iter().all(unused))?;
                cut_bytes = size - scan.position;
                file.truncate(scan.position).map_err(|e| io_error("truncate", &path, e))?;
            }
            segments.push(base);
            last = Some((file, path));
        }
        let Some((file, path)) = last else {
            return Err(io_error("open", directory, io::ErrorKind::NotFound.into()));
        };
        // A batch that was written but not fsynced before the last stop is taken as committed from here on.
        file.sync_data().map_err(|e| io_error("fsync", &path, e))?;
        if created {
            fs.sync_dir(directory).map_err(|e| io_error("fsync", directory, e))?;
        }
        let store = Self {
            fs,
            directory: directory.to_owned(),
            segments,
            file,
            position: scan.position,
            next_offset: scan.next_offset,
            last_epoch: scan.last_epoch,
        };
        Ok((store, Recovered { start: first, cut_bytes }))
    }

    /// The offset of the next record.
    pub(crate) const fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// The epoch of the last batch; -1 when there is none.
    pub(crate) const fn last_epoch(&self) -> LeaderEpoch {
        self.last_epoch
    }

    /// Writes whole batches, the last of which ends before `next_offset`. On an error nothing of them stays,
    /// unless the second value of the error says so.
    pub(crate) fn append(
        &mut self,
        batches: &[u8],
        next_offset: Offset,
        epoch: LeaderEpoch,
    ) -> Result<(), (io::Error, Left)> {
        if let Err(error) = self.file.write_all_at(batches, self.position) {
            let left = match self.file.truncate(self.position) {
                Ok(()) => Left::Nothing,
                Err(_) => Left::Unknown,
            };
            return Err((error, left));
        }
        self.position += batches.len() as u64;
        self.next_offset = next_offset;
        self.last_epoch = epoch;
        Ok(())
    }

    /// Waits until all that was appended is on disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Begins a new segment and removes those before it: a snapshot holds what they held. On an error the log goes on
    /// in the segment that it has, unless the second value of the error says otherwise.
    pub(crate) fn start_over(&mut self) -> Result<(), (io::Error, Left)> {
        if self.segments.last() != Some(&self.next_offset) {
            let path = self.directory.join(segment_name(self.next_offset));
            match self.begin_segment(&path) {
                Ok(file) => self.file = file,
                Err(error) => {
                    // Were it to stay, the next start would find two files for the same offsets.
                    let left = match self.remove(&path) {
                        Ok(()) => Left::Nothing,
                        Err(_) => Left::Unknown,
                    };
                    return Err((error, left));
                }
            }
            self.segments.push(self.next_offset);
            self.position = 0;
        }
        self.remove_old().map_err(|error| (error, Left::Nothing))
    }

    /// Where the next batch goes.
    pub(crate) fn place(&self) -> Place {
        let segment = self.segments.last().copied().unwrap_or(self.next_offset);
        Place { segment, position: self.position }
    }

    /// Cuts off everything from `place` on, so that the log ends at `next_offset`. On disk when it returns.
    pub(crate) fn truncate(
        &mut self,
        place: Place,
        next_offset: Offset,
        last_epoch: LeaderEpoch,
    ) -> io::Result<()> {
        while self.segments.last().is_some_and(|base| *base > place.segment) {
            let Some(base) = self.segments.pop() else { break };
            self.remove(&self.directory.join(segment_name(base)))?;
        }
        let path = self.directory.join(segment_name(place.segment));
        self.file = self.fs.open(&path, OpenMode::Write)?;
        self.file.truncate(place.position)?;
        self.file.sync_data()?;
        self.fs.sync_dir(&self.directory)?;
        self.position = place.position;
        (self.next_offset, self.last_epoch) = (next_offset, last_epoch);
        Ok(())
    }

    /// Begins a new segment, so that those before it can go when a snapshot holds what they hold.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        if self.segments.last() == Some(&self.next_offset) {
            return Ok(());
        }
        // A torn write that was cut off again must not come back in what is no longer the last segment.
        self.file.sync_data()?;
        self.file = self.begin_segment(&self.directory.join(segment_name(self.next_offset)))?;
        self.segments.push(self.next_offset);
        self.position = 0;
        Ok(())
    }

    /// Removes the segments that hold nothing from `offset` on.
    pub(crate) fn remove_before(&mut self, offset: Offset) -> io::Result<()> {
        while self.segments.get(1).is_some_and(|second| *second <= offset) {
            self.remove_first()?;
        }
        Ok(())
    }

    /// Lets go of everything and goes on at `offset`: a snapshot holds what is before it.
    pub(crate) fn restart(&mut self, offset: Offset, epoch: LeaderEpoch) -> io::Result<()> {
        let path = self.directory.join(segment_name(offset));
        let ahead = self.segments.iter().any(|base| *base >= offset);
        while ahead && self.segments.last().is_some_and(|base| *base >= offset) {
            let Some(base) = self.segments.pop() else { break };
            self.remove(&self.directory.join(segment_name(base)))?;
        }
        self.file = self.begin_segment(&path)?;
        self.segments.push(offset);
        (self.next_offset, self.last_epoch, self.position) = (offset, epoch, 0);
        self.remove_old()
    }

    fn begin_segment(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = self.fs.open(path, OpenMode::Create)?;
        file.truncate(0)?;
        self.fs.sync_dir(&self.directory)?;
        Ok(file)
    }

    /// Removes all segments but the last. One that cannot be removed is tried again the next time.
    fn remove_old(&mut self) -> io::Result<()> {
        while self.segments.len() > 1 {
            self.remove_first()?;
        }
        Ok(())
    }

    fn remove_first(&mut self) -> io::Result<()> {
        let Some(base) = self.segments.first() else { return Ok(()) };
        let name = segment_name(*base);
        for suffix in [".log", ".index", ".timeindex", ".snapshot"] {
            self.remove(&self.directory.join(name.replace(".log", suffix)))?;
        }
        self.segments.remove(0);
        Ok(())
    }

    /// Removes a file; one that is gone is fine.
    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.fs.remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }
}

/// Whether something that failed left anything behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    /// All is as before.
    Nothing,
    /// Nobody knows.
    Unknown,
}

pub(crate) fn io_error(action: &'static str, path: &Path, cause: io::Error) -> OpenError {
    OpenError::Io { action, path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests;
