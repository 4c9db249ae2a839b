//! Looking at a segment's files from outside, for people.
//!
//! Key function: [`inspect_segment`]. It reads one `.log` file batch by batch, says what is wrong with each, and holds
//! the indexes beside it against it. Nothing is changed, no lock is taken, and a log that grows meanwhile is fine.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;

use millstream_base::Offset;
use millstream_env::fs::{File, Fs, OpenMode};
use millstream_records::{BatchError, BatchHeader, BatchView, HEADER_LEN};

use crate::error::StorageError;
use crate::index::{Entry, OffsetEntry, TimeEntry};
use crate::names;
use crate::txn_index::AbortedTxn;

/// Batches of more bytes than this are not read as a whole.
const MAX_BATCH: usize = 1 << 30;
/// Index files of more bytes than this are not Kafka's.
const MAX_INDEX: u64 = 1 << 30;

/// A batch of a segment.
#[derive(Debug)]
pub struct InspectedBatch<'a> {
    /// Where it starts in the file.
    pub position: u64,
    /// The batch.
    pub batch: BatchView<'a>,
    /// What is wrong with it: CRC, or an offset that does not follow the one before.
    pub problems: Vec<String>,
}

/// What a segment holds as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The base offset of the file's name.
    pub base_offset: Offset,
    /// Bytes of the file.
    pub bytes: u64,
    /// Whole batches.
    pub batches: u64,
    /// Records that they count.
    pub records: u64,
    /// The offset after the last batch.
    pub next_offset: Offset,
    /// Everything that is wrong, in sentences.
    pub problems: Vec<String>,
}

/// The indexes beside a log, held against it batch by batch.
#[derive(Default)]
struct Indexes {
    offsets: Vec<OffsetEntry>,
    times: Vec<TimeEntry>,
    /// Entries that the walk has passed.
    passed: (usize, usize),
    largest_timestamp: i64,
}

/// Walks the `.log` file at `path`; `visit` sees each batch and may end the walk.
///
/// # Errors
/// The file cannot be read, or its name does not start with 20 digits.
pub fn inspect_segment(
    fs: &dyn Fs,
    path: &Path,
    visit: &mut dyn FnMut(&InspectedBatch<'_>) -> ControlFlow<()>,
) -> Result<SegmentSummary, StorageError> {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let Some((base, suffix)) = names::parse_offset_file(&name) else {
        let problem = "is not a segment: its name must be 20 digits and `.log`";
        return Err(StorageError::invalid(path, problem));
    };
    if !suffix.starts_with(names::LOG) {
        let problem = format!("is a `{suffix}` file: give the `.log` file beside it");
        return Err(StorageError::invalid(path, problem));
    }
    let file = fs.open(path, OpenMode::Read).map_err(|e| StorageError::io("open", path, e))?;
    let bytes = file.size().map_err(|e| StorageError::io("read", path, e))?;
    let mut summary = SegmentSummary {
        base_offset: Offset(base),
        bytes,
        next_offset: Offset(base),
        ..SegmentSummary::default()
    };
    let mut indexes = match suffix == names::LOG {
        true => Indexes::read(fs, path, base, &mut summary.problems)?,
        false => Indexes::default(),
    };
    let whole = walk(&*file, &mut summary, &mut indexes, visit);
    if whole.map_err(|e| StorageError::io("read", path, e))? {
        indexes.finish(&mut summary.problems);
    }
    Ok(summary)
}

/// Whether the walk came to the end that the file has.
fn walk(
    file: &dyn File,
    summary: &mut SegmentSummary,
    indexes: &mut Indexes,
    visit: &mut dyn FnMut(&InspectedBatch<'_>) -> ControlFlow<()>,
) -> io::Result<bool> {
    let mut position = 0;
    let mut buffer = Vec::new();
    while position < summary.bytes {
        match read_batch(file, position, summary.bytes, &mut buffer)? {
            Err(problem) => {
                let left = summary.bytes - position;
                let text =
                    format!("at byte {position}: {problem}; the last {left} bytes cannot be read");
                summary.problems.push(text);
                return Ok(false);
            }
            Ok(batch) => {
                let inspected = judge(position, batch, summary);
                let header = *batch.header();
                indexes.batch(summary.base_offset.get(), position, &header, &mut summary.problems);
                position += header.size_bytes() as u64;
                if visit(&inspected).is_break() {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

fn read_batch<'b>(
    file: &dyn File,
    position: u64,
    end: u64,
    buffer: &'b mut Vec<u8>,
) -> io::Result<Result<BatchView<'b>, BatchError>> {
    let rest = usize::try_from(end - position).unwrap_or(usize::MAX);
    buffer.resize(HEADER_LEN.min(rest), 0);
    let read = file.read_up_to(buffer, position)?;
    buffer.truncate(read);
    let size = match BatchHeader::parse(buffer) {
        Ok(header) => header.size_bytes(),
        Err(problem) => return Ok(Err(problem)),
    };
    if size > rest.min(MAX_BATCH) {
        return Ok(Err(BatchError::Torn { needed: size, have: rest }));
    }
    buffer.resize(size, 0);
    let read = file.read_up_to(buffer, position)?;
    buffer.truncate(read);
    Ok(BatchView::parse(buffer))
}

fn judge<'a>(
    position: u64,
    batch: BatchView<'a>,
    summary: &mut SegmentSummary,
) -> InspectedBatch<'a> {
    let header = batch.header();
    let mut problems = Vec::new();
    if let Err(problem) = batch.check_crc() {
        problems.push(problem.to_string());
    }
    if header.base_offset < summary.next_offset {
        problems.push(format!(
            "base offset {} lies below the next one, {}",
            header.base_offset, summary.next_offset
        ));
    }
    if header.last_offset_delta < 0 {
        problems.push(format!("last offset delta {} is negative", header.last_offset_delta));
    }
    summary.batches += 1;
    summary.records += u64::from(header.records_count.max(0).unsigned_abs());
    summary.next_offset = header.next_offset();
    let told = problems.iter().map(|p| format!("at byte {position}: {p}"));
    summary.problems.extend(told);
    InspectedBatch { position, batch, problems }
}

impl Indexes {
    /// A missing index is no problem: it is built when needed.
    fn read(
        fs: &dyn Fs,
        path: &Path,
        base: i64,
        problems: &mut Vec<String>,
    ) -> Result<Self, StorageError> {
        let read = |suffix: &str| {
            let path = path.with_file_name(names::offset_file(base, suffix));
            match fs.read(&path, MAX_INDEX) {
                Ok(bytes) => Ok(bytes),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
                Err(e) => Err(StorageError::io("read", &path, e)),
            }
        };
        let mut offsets = entries::<OffsetEntry>(&read(names::INDEX)?, names::INDEX, problems);
        let mut times =
            entries::<TimeEntry>(&read(names::TIME_INDEX)?, names::TIME_INDEX, problems);
        // The space that Kafka sets aside in advance is zero.
        while offsets.pop_if(|e| e.relative == 0 && e.position == 0).is_some() {}
        while times.pop_if(|e| e.timestamp == 0 && e.relative == 0).is_some() {}
        if AbortedTxn::decode_all(&read(names::TXN_INDEX)?).is_none() {
            problems.push(format!("{} is not a transaction index", names::TXN_INDEX));
        }
        Ok(Self { offsets, times, passed: (0, 0), largest_timestamp: -1 })
    }

    fn batch(
        &mut self,
        base: i64,
        position: u64,
        header: &BatchHeader,
        problems: &mut Vec<String>,
    ) {
        while let Some(entry) = self.offsets.get(self.passed.0) {
            let at = u64::from(entry.position);
            let offset = base + i64::from(entry.relative);
            if at > position {
                break;
            }
            // Older Kafka names the last offset of all batches that were appended with this one.
            if at < position || header.base_offset.get() > offset {
                problems.push(misfit(
                    names::INDEX,
                    self.passed.0,
                    format!("offset {offset} at byte {at}"),
                ));
            }
            self.passed.0 += 1;
        }
        while let Some(entry) = self.times.get(self.passed.1) {
            let offset = base + i64::from(entry.relative);
            if offset >= header.last_offset().get() {
                break;
            }
            self.time_entry(*entry, offset, problems);
        }
        self.largest_timestamp = self.largest_timestamp.max(header.max_timestamp.get());
    }

    /// All batches up to the entry's offset have been met.
    fn time_entry(&mut self, entry: TimeEntry, offset: i64, problems: &mut Vec<String>) {
        if entry.timestamp < self.largest_timestamp {
            let what = format!("timestamp {} up to offset {offset}", entry.timestamp);
            problems.push(misfit(names::TIME_INDEX, self.passed.1, what));
        }
        self.passed.1 += 1;
    }

    /// What speaks of batches behind the last one.
    fn finish(&mut self, problems: &mut Vec<String>) {
        for (at, entry) in self.offsets.iter().enumerate().skip(self.passed.0) {
            problems.push(misfit(names::INDEX, at, format!("byte {}", entry.position)));
        }
        while let Some(entry) = self.times.get(self.passed.1) {
            self.time_entry(*entry, i64::from(entry.relative), problems);
        }
    }
}

fn misfit(suffix: &str, entry: usize, what: impl std::fmt::Display) -> String {
    format!("{suffix} entry {entry}: {what} does not fit the log")
}

fn entries<E: Entry>(bytes: &[u8], suffix: &str, problems: &mut Vec<String>) -> Vec<E> {
    if !bytes.len().is_multiple_of(E::SIZE) {
        problems.push(format!("{suffix} has {} bytes, no multiple of {}", bytes.len(), E::SIZE));
    }
    bytes.chunks_exact(E::SIZE).map(E::decode).collect()
}
