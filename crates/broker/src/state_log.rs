//! What the coordinators of groups and of transactions do alike with a partition of their topic: whether it can be asked,
//! and reading its log when this broker comes to lead it.
//!
//! Key types: [`State`], [`Reading`]. A record that cannot be read is reported and passed over: one bad group or
//! transactional id does not keep the others from loading. Only a log that cannot be read as batches at all is an error.

use std::fmt::Display;

use millstream_base::{ErrorCode, Offset};
use millstream_log::ReadError;
use millstream_records::{BatchError, BatchHeader, BatchView, Batches, Record, Scratch};
use tracing::warn;

use crate::replica::Partition;

/// Bad records that are named in the log, at most; the rest is counted.
const MAX_NAMED: usize = 10;

/// Whether a shard can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Its log is being read.
    Loading,
    /// It answers.
    Active,
    /// Its log cannot be read, or written.
    Failed,
    /// This broker does not lead its partition any more.
    Closed,
}

impl State {
    /// What a client is told.
    pub(crate) const fn refusal(self) -> Option<ErrorCode> {
        match self {
            Self::Active => None,
            Self::Loading => Some(ErrorCode::CoordinatorLoadInProgress),
            Self::Failed => Some(ErrorCode::CoordinatorNotAvailable),
            Self::Closed => Some(ErrorCode::NotCoordinator),
        }
    }
}

/// Why a log cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("reading the segment: {0}")]
    Io(#[from] std::io::Error),
    #[error("the batch at offset {offset}: {source}")]
    Batch { offset: Offset, source: BatchError },
}

/// What was found on the way.
#[derive(Debug, Default)]
pub(crate) struct Report {
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
    pub report: Report,
}

impl<'a> Reading<'a> {
    /// Of a partition whose records are `of` something.
    pub(crate) fn new(partition: &'a Partition, of: &'static str) -> Self {
        Self { partition, of, report: Report::default() }
    }

    /// Gives every record of every batch that `wants` to be read, in order.
    pub(crate) fn read(
        &mut self,
        buffer_bytes: u32,
        wants: impl Fn(&BatchHeader) -> bool,
        mut each: impl FnMut(&mut Self, &BatchHeader, &Record<'_>),
    ) -> Result<(), LoadError> {
        let mut scratch = Scratch::new();
        read_batches(self.partition, buffer_bytes, |batch| {
            let header = *batch.header();
            if !wants(&header) {
                return;
            }
            let records = match batch.records(&mut scratch) {
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
        })
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

/// Reads every batch of a partition's log, in order.
fn read_batches(
    partition: &Partition,
    buffer_bytes: u32,
    mut each: impl FnMut(&BatchView<'_>),
) -> Result<(), LoadError> {
    let (mut from, end) = partition.with_log(|log| (log.log_start_offset(), log.end_offset()));
    while from < end {
        let plan = partition.with_log(|log| log.plan_read(from, end, buffer_bytes, true))?;
        let Some(range) = plan.resolve()?.range else { return Ok(()) };
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
            return Ok(());
        }
    }
    Ok(())
}
