//! Reads a partition of `__transaction_state` into a shard, in the background.
//!
//! Key entry: [`load`]. Only a log that cannot be read as batches at all fails the shard.

use millstream_records::Record;
use millstream_txns::{Loaded, Shard, TxnConfig};
use tracing::{error, info};

use crate::replica::Partition;
use crate::state_log::Reading;

/// Reads the whole log. May take long: not on an async thread. `None` when the log cannot be read; why is logged.
pub(super) fn load(partition: &Partition, config: TxnConfig, buffer_bytes: u32) -> Option<Shard> {
    let mut shard = Shard::new(config);
    let mut reading = Reading::new(partition, "transaction");
    let read = reading.read(
        buffer_bytes,
        |header| !header.attributes.is_control(),
        |reading, _, record| take(reading, record, &mut shard),
    );
    let report = reading.report;
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

fn take(reading: &mut Reading<'_>, record: &Record<'_>, shard: &mut Shard) {
    let Some(key) = record.key else {
        return reading.name_bad(record.offset, &"it has no key");
    };
    match shard.load(key, record.value) {
        Ok(Loaded::Applied) => {}
        Ok(Loaded::Skipped(_)) => reading.report.skipped += 1,
        Err(cause) => reading.name_bad(record.offset, &cause),
    }
}
