//! Reads a partition of `__transaction_state` into a shard, in the background.
//!
//! Key entry: [`load`]. A record that cannot be read is reported and passed over: one bad transactional id does not keep the
//! others from loading. Only a log that cannot be read as batches at all fails the shard.

use millstream_base::Offset;
use millstream_records::{BatchView, Scratch};
use millstream_txns::{Loaded, Shard, TxnConfig};
use tracing::{error, info, warn};

use crate::coordinator::read_batches;
use crate::replica::Partition;

/// Bad records that are named in the log, at most; the rest is counted.
const MAX_NAMED: usize = 10;

/// What was found on the way.
#[derive(Debug, Default)]
struct Report {
    records: u64,
    skipped: u64,
    bad: usize,
}

/// Reads the whole log. May take long: not on an async thread. `None` when the log cannot be read; why is logged.
pub(super) fn load(partition: &Partition, config: TxnConfig, buffer_bytes: u32) -> Option<Shard> {
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
            "the transactions of this partition cannot be loaded: its clients are told that there is no coordinator"
        );
        return None;
    }
    if report.records > 0 {
        info!(
            partition = %partition.name,
            transactional_ids = shard.len(),
            records = report.records,
            skipped = report.skipped,
            bad = report.bad,
            "loaded transactions"
        );
    }
    Some(shard)
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
            warn!(partition = %partition.name, %offset, %cause, "a record of transaction state is passed over");
        }
    };
    if header.attributes.is_control() {
        return;
    }
    let records = match batch.records(scratch) {
        Ok(records) => records,
        Err(cause) => return name_bad(report, header.base_offset, &cause),
    };
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(cause) => return name_bad(report, header.base_offset, &cause),
        };
        report.records += 1;
        let Some(key) = record.key else {
            name_bad(report, record.offset, &"it has no key");
            continue;
        };
        match shard.load(key, record.value) {
            Ok(Loaded::Applied) => {}
            Ok(Loaded::Skipped(_)) => report.skipped += 1,
            Err(cause) => name_bad(report, record.offset, &cause),
        }
    }
}
