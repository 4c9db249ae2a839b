//! Looking offsets up by timestamp, exactly.
//!
//! Key type: [`TimeSearch`], taken under the log's lock without I/O and carried out without it.

use std::sync::Arc;

use millstream_base::{LeaderEpoch, Offset, TimestampMs};
use millstream_env::fs::File;
use millstream_records::{BatchHeader, BatchView, RecordsError, Scratch};

use super::Log;
use crate::error::{ReadError, StorageError};
use crate::names;
use crate::scan::Scanner;
use crate::segment::Segment;

/// Bytes that a search reads at once.
const BLOCK: usize = 64 * 1024;

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// The record's timestamp.
    pub timestamp: TimestampMs,
    /// The record's offset.
    pub offset: Offset,
    /// The leader epoch of its batch.
    pub leader_epoch: LeaderEpoch,
}

/// A look-up by time that is decided but not carried out. Holds no lock.
#[derive(Clone, Debug)]
pub struct TimeSearch {
    segments: Arc<Vec<Arc<Segment>>>,
    start: i64,
}

impl Log {
    /// Plans a look-up by time. Does no I/O.
    pub fn plan_time_search(&self) -> Result<TimeSearch, StorageError> {
        self.check_online()?;
        Ok(TimeSearch { segments: Arc::clone(&self.segments), start: self.start })
    }

    /// [`TimeSearch::offset_for_timestamp`] at once. May wait for the disk.
    pub fn offset_for_timestamp(
        &self,
        timestamp: TimestampMs,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        self.plan_time_search()?.offset_for_timestamp(timestamp)
    }

    /// [`TimeSearch::max_timestamp_offset`] at once. May wait for the disk.
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampedOffset>, ReadError> {
        self.plan_time_search()?.max_timestamp_offset()
    }
}

impl TimeSearch {
    fn segments(&self) -> &[Arc<Segment>] {
        let first = self.segments.partition_point(|s| s.base <= self.start).saturating_sub(1);
        self.segments.get(first..).unwrap_or_default()
    }

    /// The first record, in offset order from the log's start, whose timestamp is at least `timestamp`.
    /// May wait for the disk.
    pub fn offset_for_timestamp(
        &self,
        timestamp: TimestampMs,
    ) -> Result<Option<TimestampedOffset>, ReadError> {
        for segment in self.segments() {
            if segment.size() == 0 || segment.max_timestamp()?.0 < timestamp.get() {
                continue;
            }
            let from = segment.offset_before_timestamp(timestamp.get())?.max(self.start);
            let found = search(segment, from, |h| h.max_timestamp >= timestamp, |t| t >= timestamp);
            if let Some(found) = found? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp, the first of them (ListOffsets with -3). May wait for the disk.
    pub fn max_timestamp_offset(&self) -> Result<Option<TimestampedOffset>, ReadError> {
        // Of the segment that begins below the log's start the largest timestamp may lie below it too.
        let mut after_start = None;
        loop {
            let mut best: Option<(i64, &Segment)> = None;
            for segment in self.segments() {
                let timestamp = match after_start.filter(|_| segment.base < self.start) {
                    Some(timestamp) => timestamp,
                    None => segment.max_timestamp()?.0,
                };
                if timestamp >= 0 && best.is_none_or(|(largest, _)| timestamp > largest) {
                    best = Some((timestamp, segment));
                }
            }
            let Some((timestamp, segment)) = best else { return Ok(None) };
            let wanted = TimestampMs(timestamp);
            let from = segment.offset_before_timestamp(timestamp)?.max(self.start);
            let found = search(segment, from, |h| h.max_timestamp >= wanted, |t| t >= wanted)?;
            if found.is_some() || segment.base >= self.start || after_start.is_some() {
                return Ok(found);
            }
            after_start = Some(self.max_after_start(segment)?);
        }
    }

    /// The largest timestamp of the records of `segment` that lie at or after the log's start; -1 for none.
    fn max_after_start(&self, segment: &Segment) -> Result<i64, ReadError> {
        let end = segment.size();
        let Some(place) = segment.find(self.start, end)? else { return Ok(-1) };
        let file = segment.log_file()?;
        let mut scanner = Scanner::new(&*file, place.position, end, BLOCK);
        let mut scratch = Scratch::default();
        let mut largest = -1;
        while let Some((position, header)) = scanner.next().map_err(|e| segment.scan_error(e))? {
            if header.base_offset.get() >= self.start {
                largest = largest.max(header.max_timestamp.get());
                continue;
            }
            let bytes = read_batch(segment, &*file, position, &header)?;
            let view = parse(segment, &bytes, position)?;
            let records = view.records(&mut scratch);
            for record in
                records.map_err(|e| StorageError::invalid(&segment.path(names::LOG), e))?
            {
                let record =
                    record.map_err(|e| StorageError::invalid(&segment.path(names::LOG), e))?;
                if record.offset.get() >= self.start {
                    largest = largest.max(record.timestamp.get());
                }
            }
        }
        Ok(largest)
    }
}

fn read_batch(
    segment: &Segment,
    file: &dyn File,
    position: u64,
    header: &BatchHeader,
) -> Result<Vec<u8>, StorageError> {
    let mut bytes = vec![0; header.size_bytes()];
    let read = file.read_exact_at(&mut bytes, position);
    read.map_err(|e| StorageError::io("read", &segment.path(names::LOG), e))?;
    Ok(bytes)
}

fn parse<'a>(
    segment: &Segment,
    bytes: &'a [u8],
    position: u64,
) -> Result<BatchView<'a>, ReadError> {
    let view = BatchView::parse(bytes).and_then(|view| view.check_crc().map(|()| view));
    view.map_err(|source| ReadError::Corrupt { path: segment.path(names::LOG), position, source })
}

/// The first record at or after `from` whose timestamp is `wanted`, among the batches that `may` have one.
fn search(
    segment: &Segment,
    from: i64,
    may: impl Fn(&BatchHeader) -> bool,
    wanted: impl Fn(TimestampMs) -> bool,
) -> Result<Option<TimestampedOffset>, ReadError> {
    let end = segment.size();
    let Some(place) = segment.find(from, end)? else { return Ok(None) };
    let file = segment.log_file()?;
    let mut scanner = Scanner::new(&*file, place.position, end, BLOCK);
    let mut scratch = Scratch::default();
    while let Some((position, header)) = scanner.next().map_err(|e| segment.scan_error(e))? {
        if !may(&header) {
            continue;
        }
        let bytes = read_batch(segment, &*file, position, &header)?;
        let view = parse(segment, &bytes, position)?;
        let found = first_record(&view, &mut scratch, from, &wanted)
            .map_err(|e| StorageError::invalid(&segment.path(names::LOG), e))?;
        if let Some((timestamp, offset)) = found {
            let leader_epoch = header.partition_leader_epoch;
            return Ok(Some(TimestampedOffset { timestamp, offset, leader_epoch }));
        }
    }
    Ok(None)
}

fn first_record(
    view: &BatchView<'_>,
    scratch: &mut Scratch,
    from: i64,
    wanted: impl Fn(TimestampMs) -> bool,
) -> Result<Option<(TimestampMs, Offset)>, RecordsError> {
    for record in view.records(scratch)? {
        let record = record?;
        if record.offset.get() >= from && wanted(record.timestamp) {
            return Ok(Some((record.timestamp, record.offset)));
        }
    }
    Ok(None)
}
