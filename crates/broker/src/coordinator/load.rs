//! Reads a partition of `__consumer_offsets` into a shard, in the background.
//!
//! Key entry: [`load`]. A record that cannot be read is reported and passed over: one bad group does not keep the
//! others from loading. Only a log that cannot be read as batches at all fails the shard.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::Offset;
use millstream_groups::{GroupConfig, Loaded, Origin, Shard};
use millstream_log::ReadError;
use millstream_records::{BatchError, BatchView, Batches, EndTxnMarker, Scratch};
use tracing::{error, info, warn};

use super::shard::HostedShard;
use crate::replica::Partition;

/// Bad records that are named in the log, at most; the rest is counted.
const MAX_NAMED: usize = 10;

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
struct Report {
    records: u64,
    skipped: u64,
    bad: usize,
}

/// Reads the whole log. May take long: not on an async thread. `None` when the log cannot be read; why is logged.
pub(super) fn load(
    hosted: &Arc<HostedShard>,
    config: GroupConfig,
    buffer_bytes: u32,
    elapsed: impl Fn() -> Duration,
) -> Option<Shard> {
    let partition = &hosted.partition;
    let start = elapsed();
    let mut shard = Shard::new(config);
    let mut report = Report::default();
    let mut scratch = Scratch::new();
    let read = read_batches(partition, buffer_bytes, |batch| {
        read_batch(partition, batch, &mut shard, &mut scratch, &mut report);
    });
    if let Err(cause) = read {
        error!(
            partition = %partition.name,
            %cause,
            "the groups of this partition cannot be loaded: its clients are told that there is no coordinator"
        );
        return None;
    }
    if report.records > 0 {
        let took_ms = elapsed().saturating_sub(start).as_millis();
        info!(
            partition = %partition.name,
            groups = shard.group_count(),
            records = report.records,
            skipped = report.skipped,
            bad = report.bad,
            %took_ms,
            "loaded consumer groups"
        );
    }
    Some(shard)
}

/// Reads every batch of a partition's log, in order.
pub(crate) fn read_batches(
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

fn read_batch(
    partition: &Partition,
    batch: &BatchView<'_>,
    shard: &mut Shard,
    scratch: &mut Scratch,
    report: &mut Report,
) {
    let header = *batch.header();
    let name_bad = |report: &mut Report, offset: Offset, cause: &dyn std::fmt::Display| {
        report.bad += 1;
        if report.bad <= MAX_NAMED {
            warn!(partition = %partition.name, %offset, %cause, "a record of group state is passed over");
        }
    };
    let records = match batch.records(scratch) {
        Ok(records) => records,
        Err(cause) => return name_bad(report, header.base_offset, &cause),
    };
    let producer_id = header.attributes.is_transactional().then_some(header.producer_id.get());
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(cause) => return name_bad(report, header.base_offset, &cause),
        };
        report.records += 1;
        if header.attributes.is_control() {
            if let Some(marker) = EndTxnMarker::read(record.key, record.value) {
                shard.end_transaction(header.producer_id.get(), marker.committed);
            }
            continue;
        }
        let Some(key) = record.key else {
            name_bad(report, record.offset, &"it has no key");
            continue;
        };
        let origin = Origin { log_offset: record.offset.get(), producer_id };
        match shard.load(origin, key, record.value) {
            Ok(Loaded::Applied) => {}
            Ok(Loaded::Skipped(_)) => report.skipped += 1,
            Err(cause) => name_bad(report, record.offset, &cause),
        }
    }
}
