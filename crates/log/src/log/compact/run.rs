//! One run: read the dirty part for its keys, then write what stays, group by group of segments.

use std::sync::Arc;

use millstream_base::Offset;
use millstream_env::fs::File;
use millstream_records::{BatchHeader, BatchView, Scratch};

use super::filter::{Fate, Filter, marker};
use super::map::OffsetMap;
use super::txns::Transactions;
use super::{Compacted, CompactionError, CompactionOptions, CompactionPlan, Pace};
use crate::error::{ReadError, StorageError};
use crate::log::Log;
use crate::names;
use crate::scan::Scanner;
use crate::segment::Segment;

/// Bytes that are read at once.
const READ_BLOCK: usize = 256 * 1024;
/// Bytes that gather before they are written.
const WRITE_BLOCK: usize = 1024 * 1024;

/// Runs a step on the log under its lock.
pub type WithLog<'a> = &'a dyn Fn(&mut dyn FnMut(&mut Log));

impl CompactionPlan {
    /// Compacts. Waits for the disk; takes the log's lock by `with_log` for the renames alone.
    ///
    /// # Errors
    /// [`CompactionError`]; output that is not in place is removed then.
    pub fn run(
        &self,
        options: &CompactionOptions,
        pace: &mut dyn Pace,
        with_log: WithLog<'_>,
    ) -> Result<Compacted, CompactionError> {
        let (map, map_end) = self.build_map(options, pace)?;
        let mut filter = Filter::new(self, &map, map_end, options.now, options.max_batch_bytes);
        let mut done = Compacted { upto: Offset(map_end), keys: map.len(), ..Compacted::default() };
        let last = self.segments.partition_point(|s| s.base < map_end);
        let mut rest = self.segments.get(..last).unwrap_or_default();
        while !rest.is_empty() {
            let (group, later) = rest.split_at(self.group_len(rest));
            rest = later;
            let output = self.write_group(group, &mut filter, pace);
            let output = output.inspect_err(|_| self.remove_output(group))?;
            done.bytes_before += group.iter().map(|s| s.size()).sum::<u64>();
            done.bytes_after += output.size();
            done.replaced.push(self.swap(group, &output, options.now, with_log)?);
        }
        (done.records_read, done.records_kept) = (filter.records_read, filter.records_kept);
        Ok(done)
    }

    /// The last offset of each key in the dirty part, and where the part ends that the map covers.
    fn build_map(
        &self,
        options: &CompactionOptions,
        pace: &mut dyn Pace,
    ) -> Result<(OffsetMap, i64), CompactionError> {
        let bytes = options.dedupe_buffer_bytes;
        let keys = self.count_dirty()?;
        let mut map = OffsetMap::new(bytes, keys, options.load_factor, options.seed);
        let mut transactions = Transactions::new(&self.aborted);
        let mut end = self.first_dirty;
        let mut scratch = Scratch::default();
        for segment in &self.segments {
            let mut reader = BatchReader::new(segment)?;
            let mut whole = true;
            while let Some((header, batch)) = reader.next(pace)? {
                if header.base_offset.get() >= self.first_uncleanable {
                    break;
                }
                let view = BatchView::parse(batch).map_err(|e| reader_error(segment, e))?;
                let next = header.next_offset().get();
                let hidden = match header.attributes.is_control() {
                    true => {
                        transactions.marker(&header, marker(&view, &mut scratch)?);
                        true
                    }
                    false => transactions.data(&header),
                };
                if next <= self.first_dirty {
                    continue;
                }
                if !hidden && !self.take_keys(&view, &mut map, &mut scratch, options)? {
                    whole = false;
                    break;
                }
                end = next;
            }
            if !whole {
                if end == self.first_dirty {
                    return Err(CompactionError::BufferTooSmall { bytes });
                }
                return Ok((map, end));
            }
        }
        Ok((map, self.first_uncleanable))
    }

    /// Puts a batch's keys into the map; `false` when they do not all fit.
    fn take_keys(
        &self,
        view: &BatchView<'_>,
        map: &mut OffsetMap,
        scratch: &mut Scratch,
        options: &CompactionOptions,
    ) -> Result<bool, CompactionError> {
        let offset = view.header().base_offset;
        let problem =
            |e: &dyn std::fmt::Display| CompactionError::Batch { offset, problem: e.to_string() };
        let records = view.records_within(scratch, options.max_batch_bytes);
        for record in records.map_err(|e| problem(&e))? {
            let record = record.map_err(|e| problem(&e))?;
            let Some(key) = record.key else { continue };
            if record.offset.get() >= self.first_dirty && !map.put(key, record.offset.get()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// How many records the dirty part has.
    fn count_dirty(&self) -> Result<u64, CompactionError> {
        let mut records = 0;
        let first = self.segments.partition_point(|s| s.base <= self.first_dirty);
        for segment in self.segments.iter().skip(first.saturating_sub(1)) {
            if segment.size() == 0 {
                continue;
            }
            let file = segment.log_file()?;
            let mut scanner = Scanner::new(&*file, 0, segment.size(), READ_BLOCK);
            while let Some((_, header)) = scanner.next().map_err(|e| segment.scan_error(e))? {
                if header.next_offset().get() > self.first_dirty {
                    records += u64::from(header.records_count.unsigned_abs());
                }
            }
        }
        Ok(records)
    }

    /// How many of the segments go into one: as many as fit its size and its offsets.
    fn group_len(&self, segments: &[Arc<Segment>]) -> usize {
        let base = segments.first().map_or(0, |s| s.base);
        let mut bytes = 0;
        let fits = |segment: &&Arc<Segment>| {
            bytes += segment.size();
            let at = self.segments.partition_point(|s| s.base <= segment.base);
            let end = self.segments.get(at).map_or(self.first_uncleanable, |next| next.base);
            bytes <= u64::from(self.config.segment_bytes) && end - base <= i64::from(i32::MAX)
        };
        segments.iter().take_while(fits).count().max(1)
    }

    /// Writes what stays of a group into one new segment and syncs it.
    fn write_group(
        &self,
        group: &[Arc<Segment>],
        filter: &mut Filter<'_>,
        pace: &mut dyn Pace,
    ) -> Result<Arc<Segment>, CompactionError> {
        let base = group.first().map_or(self.start, |s| s.base);
        let output = Arc::new(Segment::cleaned(&self.home, base, &self.config)?);
        let mut writer = Writer::new(&output, self)?;
        for segment in group {
            let mut reader = BatchReader::new(segment)?;
            while let Some((header, batch)) = reader.next(pace)? {
                let view = BatchView::parse(batch).map_err(|e| reader_error(segment, e))?;
                match filter.batch(&view)? {
                    Fate::Drop => {}
                    Fate::Keep => writer.add(&header, batch)?,
                    Fate::Rewrite(bytes) => {
                        let header =
                            BatchHeader::parse(&bytes).map_err(|e| reader_error(segment, e))?;
                        writer.add(&header, &bytes)?;
                    }
                }
                if !pace.spent(0) {
                    return Err(CompactionError::Stopped);
                }
            }
        }
        writer.flush()?;
        if !pace.spent(output.size()) {
            return Err(CompactionError::Stopped);
        }
        output.set_aborted(filter.take_aborted())?;
        output.seal()?;
        output.sync()?;
        Ok(output)
    }

    /// What was written of a group that did not end well.
    pub(super) fn remove_output(&self, group: &[Arc<Segment>]) {
        let Some(base) = group.first().map(|s| s.base) else { return };
        for suffix in [names::LOG, names::INDEX, names::TIME_INDEX, names::TXN_INDEX] {
            for stage in [names::CLEANED, names::SWAP] {
                let path = self.home.offset_file(base, &format!("{suffix}{stage}"));
                if let Err(e) = self.home.remove(&path) {
                    // The next start removes it.
                    tracing::warn!(path = %path.display(), error = %e, "output of a compaction is left behind");
                }
            }
        }
    }
}

fn reader_error(segment: &Segment, source: millstream_records::BatchError) -> CompactionError {
    ReadError::Corrupt { path: segment.path(names::LOG), position: 0, source }.into()
}

/// Reads a segment's batches whole, with their CRCs checked.
struct BatchReader<'a> {
    segment: &'a Segment,
    file: Option<Arc<dyn File>>,
    position: u64,
    buffer: Vec<u8>,
    /// What of the file is in the buffer.
    buffered: (u64, usize),
}

impl<'a> BatchReader<'a> {
    fn new(segment: &'a Segment) -> Result<Self, StorageError> {
        let file = if segment.size() == 0 { None } else { Some(segment.log_file()?) };
        Ok(Self { segment, file, position: 0, buffer: Vec::new(), buffered: (0, 0) })
    }

    fn next(
        &mut self,
        pace: &mut dyn Pace,
    ) -> Result<Option<(BatchHeader, &[u8])>, CompactionError> {
        let end = self.segment.size();
        let Some(file) = self.file.clone() else { return Ok(None) };
        if self.position >= end {
            return Ok(None);
        }
        let position = self.position;
        let corrupt =
            |source| ReadError::Corrupt { path: self.segment.path(names::LOG), position, source };
        let mut needed = millstream_records::HEADER_LEN;
        loop {
            let rest = usize::try_from(end - position).unwrap_or(usize::MAX);
            let skip = usize::try_from(position - self.buffered.0).unwrap_or(usize::MAX);
            if skip.saturating_add(needed) > self.buffered.1 {
                if needed > rest {
                    let torn = millstream_records::BatchError::Torn { needed, have: rest };
                    return Err(corrupt(torn).into());
                }
                self.buffer.resize(needed.max(READ_BLOCK).min(rest), 0);
                let read = file.read_up_to(&mut self.buffer, position);
                let read =
                    read.map_err(|e| StorageError::io("read", &self.segment.path(names::LOG), e))?;
                self.buffered = (position, read);
                if !pace.spent(read as u64) {
                    return Err(CompactionError::Stopped);
                }
                if read < needed {
                    let torn = millstream_records::BatchError::Torn { needed, have: read };
                    return Err(corrupt(torn).into());
                }
                continue;
            }
            let bytes = self.buffer.get(skip..skip + needed).unwrap_or_default();
            let header = BatchHeader::parse(bytes).map_err(corrupt)?;
            if bytes.len() < header.size_bytes() {
                needed = header.size_bytes();
                continue;
            }
            let view = BatchView::parse(bytes).map_err(corrupt)?;
            view.check_crc().map_err(corrupt)?;
            self.position = position + needed as u64;
            let bytes = self.buffer.get(skip..skip + needed).unwrap_or_default();
            return Ok(Some((header, bytes)));
        }
    }
}

/// Gathers batches and writes them to the output.
struct Writer<'a> {
    plan: &'a CompactionPlan,
    output: &'a Segment,
    file: Arc<dyn File>,
    headers: Vec<(u64, BatchHeader)>,
    bytes: Vec<u8>,
}

impl<'a> Writer<'a> {
    fn new(output: &'a Segment, plan: &'a CompactionPlan) -> Result<Self, StorageError> {
        let file = output.log_file_for_writing()?;
        Ok(Self { plan, output, file, headers: Vec::new(), bytes: Vec::new() })
    }

    fn add(&mut self, header: &BatchHeader, batch: &[u8]) -> Result<(), StorageError> {
        self.headers.push((self.output.size() + self.bytes.len() as u64, *header));
        self.bytes.extend_from_slice(batch);
        if self.bytes.len() >= WRITE_BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        let position = self.output.size();
        self.file
            .write_all_at(&self.bytes, position)
            .map_err(|e| StorageError::io("write to", &self.output.path(names::LOG), e))?;
        let placed = self.headers.iter().map(|(at, header)| (*at, header));
        self.output.appended(&self.plan.config, placed, position + self.bytes.len() as u64);
        self.headers.clear();
        self.bytes.clear();
        Ok(())
    }
}
