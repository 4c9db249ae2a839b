//! Reading: an offset becomes a range of a file.
//!
//! Key types: [`ReadPlan`] (decided under the log's lock, without I/O), [`FileRange`] (the bytes, as a file and a
//! range of it). A range stays readable when its segment is rolled or deleted. Only truncation (a follower's
//! log, whose end was not the leader's) makes it short: then `sendfile` and reads stop early.

use std::sync::Arc;

use millstream_base::Offset;
use millstream_env::fs::{File, Residency};

use super::Log;
use crate::error::{ReadError, StorageError};
use crate::segment::{Place, Segment};

/// Bytes of whole batches, except that the last one may be cut where the byte limit fell.
#[derive(Clone, Debug)]
pub struct FileRange {
    /// The segment's file, kept open.
    pub file: Arc<dyn File>,
    /// Where the first batch starts.
    pub position: u64,
    /// How many bytes.
    pub len: u32,
    /// The offset of the first batch, at or before the one that was asked for.
    pub base_offset: Offset,
    /// The size of the first batch.
    pub first_batch_len: u32,
}

impl FileRange {
    /// Reads the bytes into memory.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.len as usize];
        let read = self.file.read_up_to(&mut bytes, self.position)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Whether the bytes can be sent without waiting for the disk.
    pub fn cached(&self) -> Residency {
        self.file.cached(self.position, u64::from(self.len))
    }

    /// Asks the system to read the bytes ahead.
    pub fn prefetch(&self) {
        self.file.prefetch(self.position, u64::from(self.len));
    }
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct LogRead {
    /// The bytes; `None` when there are none between the offset and the upper bound.
    pub range: Option<FileRange>,
    /// The log's start when the read was planned.
    pub log_start_offset: Offset,
    /// The log's end when the read was planned.
    pub end_offset: Offset,
}

impl LogRead {
    /// How many bytes were found.
    pub fn len(&self) -> u32 {
        self.range.as_ref().map_or(0, |r| r.len)
    }

    /// Whether nothing was found.
    pub const fn is_empty(&self) -> bool {
        self.range.is_none()
    }
}

/// A read that is decided but not carried out. Holds no lock.
#[derive(Clone, Debug)]
pub struct ReadPlan {
    pub(super) segments: Arc<Vec<Arc<Segment>>>,
    first: usize,
    /// The size of the last segment when the read was planned.
    active_end: u64,
    from: i64,
    upper: i64,
    max_bytes: u32,
    min_one: bool,
    log_start: i64,
    log_end: i64,
}

impl Log {
    /// Plans a read of records from `from` up to (not including) `upper`, which is the high watermark, the last
    /// stable offset or the log's end. Does no I/O.
    ///
    /// At most `max_bytes`; with `min_one` the first batch comes whole even if it is larger. `from` above
    /// `upper` but within the log finds nothing.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] for `from` outside the log.
    pub fn plan_read(
        &self,
        from: Offset,
        upper: Offset,
        max_bytes: u32,
        min_one: bool,
    ) -> Result<ReadPlan, ReadError> {
        self.check_online()?;
        let offset = from.get();
        if offset < self.start || offset > self.end {
            return Err(ReadError::OutOfRange {
                offset: from,
                start: Offset(self.start),
                end: Offset(self.end),
            });
        }
        Ok(ReadPlan {
            first: self.segment_index(offset),
            segments: Arc::clone(&self.segments),
            active_end: self.active().size(),
            from: offset,
            upper: upper.get().min(self.end),
            max_bytes,
            min_one,
            log_start: self.start,
            log_end: self.end,
        })
    }

    /// [`Log::plan_read`] and [`ReadPlan::resolve`] in one. May wait for the disk.
    pub fn read(
        &self,
        from: Offset,
        upper: Offset,
        max_bytes: u32,
        min_one: bool,
    ) -> Result<LogRead, ReadError> {
        self.plan_read(from, upper, max_bytes, min_one)?.resolve()
    }
}

impl ReadPlan {
    /// Looks the range up. Reads index entries and a few batch headers unless they are in memory, so it may wait
    /// for the disk: call it without the log's lock where that would hurt.
    pub fn resolve(&self) -> Result<LogRead, ReadError> {
        let mut found = LogRead {
            range: None,
            log_start_offset: Offset(self.log_start),
            end_offset: Offset(self.log_end),
        };
        if self.from >= self.upper || (self.max_bytes == 0 && !self.min_one) {
            return Ok(found);
        }
        for (at, segment) in self.segments.iter().enumerate().skip(self.first) {
            if segment.base >= self.upper {
                break;
            }
            let end = self.segment_end(at, segment);
            if let Some(place) = segment.find(self.from, end)? {
                found.range = self.range(at, segment, place, end)?;
                break;
            }
        }
        Ok(found)
    }

    /// An offset that no whole batch of `range`, which this plan found, reaches. May wait for the disk.
    pub(super) fn bound_of(&self, range: &FileRange) -> Result<Offset, ReadError> {
        let first = range.base_offset.get();
        let at = self.segments.partition_point(|s| s.base <= first).saturating_sub(1);
        let next_base = self.segments.get(at + 1).map_or(self.log_end, |s| s.base);
        let Some(segment) = self.segments.get(at) else { return Ok(Offset(self.upper)) };
        let position = range.position + u64::from(range.len);
        let after = segment.first_offset_from(position, self.segment_end(at, segment))?;
        Ok(Offset(after.unwrap_or(next_base).min(self.upper)))
    }

    fn segment_end(&self, at: usize, segment: &Segment) -> u64 {
        if at + 1 == self.segments.len() { self.active_end } else { segment.size() }
    }

    fn range(
        &self,
        at: usize,
        segment: &Segment,
        first: Place,
        end: u64,
    ) -> Result<Option<FileRange>, ReadError> {
        if first.base_offset >= self.upper || first.last_offset >= self.upper {
            return Ok(None);
        }
        let next_base = self.segments.get(at + 1).map_or(self.log_end, |s| s.base);
        let end = if self.upper >= next_base {
            end
        } else {
            segment.find(self.upper, end)?.map_or(end, |place| place.position)
        };
        let available = end.saturating_sub(first.position);
        let mut len = available.min(u64::from(self.max_bytes));
        if len < u64::from(first.size) {
            if !self.min_one {
                // A reader can do nothing with less than one batch.
                return Ok(None);
            }
            len = u64::from(first.size);
        }
        let sound = segment.check_range(first.position, first.position + len)?;
        len = sound - first.position;
        Ok(Some(FileRange {
            file: segment.log_file()?,
            position: first.position,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            base_offset: Offset(first.base_offset),
            first_batch_len: first.size,
        }))
    }
}

impl From<StorageError> for std::io::Error {
    fn from(error: StorageError) -> Self {
        Self::new(error.kind(), error)
    }
}
