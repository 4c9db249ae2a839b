//! Reading the log of a coordinator's partition when this broker comes to lead it.
//!
//! Key entry: [`load`]. A record that cannot be read is reported and passed over: one bad group or transactional id does not
//! keep the others from loading. Only a log that cannot be read as batches at all is an error.

use std::fmt::Display;

use millstream_base::Offset;
use millstream_log::ReadError;
use millstream_records::{BatchError, BatchHeader, BatchView, Batches, Record, Scratch};
use tracing::{error, warn};

use crate::replica::Partition;

/// Bad records that are named in the log, at most; the rest is counted.
const MAX_NAMED: usize = 10;

/// Why a log cannot be loaded.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("reading the segment: {0}")]
    Io(#[from] std::io::Error),
    #[error("the batch at offset {offset}: {source}")]
    Batch { offset: Offset, source: BatchError },
}

/// What was found on the way.
#[derive(Debug, Default)]
pub(crate) struct LoadReport {
    /// Where the reading ended: all below is in the shard.
    pub end: Offset,
    /// All records.
    pub records: u64,
    /// Those of kinds that are not kept.
    pub skipped: u64,
    /// Those that cannot be read.
    pub bad: usize,
}

/// A partition whose log is being read.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    partition: &'a Partition,
    /// What its records are of, for the log.
    of: &'static str,
    /// What was found so far.
    pub report: LoadReport,
}

/// Gives every record of every batch that `wants` to be read, in order. May take long: not on an async thread. `None` when
/// `is_wanted` says that nobody needs it any more, or when the log cannot be read; why is logged.
pub(crate) fn load(
    partition: &Partition,
    of: &'static str,
    buffer_bytes: u32,
    is_wanted: impl Fn() -> bool,
    wants: impl Fn(&BatchHeader) -> bool,
    mut each: impl FnMut(&mut Reading<'_>, &BatchHeader, &Record<'_>),
) -> Option<LoadReport> {
    let mut reading = Reading { partition, of, report: LoadReport::default() };
    let mut scratch = Scratch::new();
    let read = read_batches(partition, buffer_bytes, is_wanted, |batch| {
        if wants(batch.header()) {
            reading.take(batch, &mut scratch, &mut each);
        }
    });
    match read {
        Ok(Some(end)) => Some(LoadReport { end, ..reading.report }),
        Ok(None) => None,
        Err(cause) => {
            error!(partition = %partition.name, %cause,
                "the {of} state of this partition cannot be loaded: its clients are told that there is no coordinator");
            None
        }
    }
}

impl Reading<'_> {
    fn take(
        &mut self,
        batch: &BatchView<'_>,
        scratch: &mut Scratch,
        each: &mut impl FnMut(&mut Self, &BatchHeader, &Record<'_>),
    ) {
        let header = *batch.header();
        let records = match batch.records(scratch) {
            Ok(records) => records,
            Err(cause) => return self.name_bad(header.base_offset, &cause),
        };
        for record in records {
            match record {
                Ok(record) => {
                    self.report.records += 1;
                    each(self, &header, &record);
                }
                Err(cause) => return self.name_bad(header.base_offset, &cause),
            }
        }
    }

    /// A record is passed over.
    pub(crate) fn name_bad(&mut self, offset: Offset, cause: &dyn Display) {
        self.report.bad += 1;
        if self.report.bad <= MAX_NAMED {
            let partition = &self.partition.name;
            warn!(%partition, %offset, %cause, "a record of {} state is passed over", self.of);
        }
    }
}

/// Reads every batch of a partition's log, in order; says where the log ended. What is not committed yet is read too: this
/// broker leads, so it will be.
fn read_batches(
    partition: &Partition,
    buffer_bytes: u32,
    is_wanted: impl Fn() -> bool,
    mut each: impl FnMut(&BatchView<'_>),
) -> Result<Option<Offset>, LoadError> {
    let (mut from, end) = partition.with_log(|log| (log.log_start_offset(), log.end_offset()));
    while from < end {
        if !is_wanted() {
            return Ok(None);
        }
        let plan = partition.with_log(|log| log.plan_read(from, end, buffer_bytes, true))?;
        let Some(range) = plan.resolve()?.range else { break };
        let bytes = range.read()?;
        let before = from;
        for batch in Batches::new(&bytes) {
            let batch = match batch {
                Ok(batch) => batch,
                // The last batch of a read may be cut; the next read begins with it.
                Err(_) if from > before => break,
                Err(source) => return Err(LoadError::Batch { offset: from, source }),
            };
            each(&batch);
            from = batch.header().last_offset().plus(1);
        }
        if from <= before {
            break;
        }
    }
    Ok(Some(end))
}
