//! Reads a partition of `__transaction_state` into a shard, in the background.
//!
//! Key entry: [`load`]. Only a log that cannot be read as batches at all fails the shard.

use millstream_records::Record;
use millstream_txns::{Loaded, Shard, TxnConfig};
use tracing::info;

use super::shard::HostedTxns;
use crate::state_log::{self, Hosted, LoadReport, Reading};

/// Reads the whole log, as far as it is there, with what is not committed yet. May take long: not on an async thread. `None` when
/// the log cannot be read, or the shard is closed meanwhile.
pub(super) fn load(
    hosted: &HostedTxns,
    config: TxnConfig,
    buffer_bytes: u32,
) -> Option<(Shard, LoadReport)> {
    let mut shard = Shard::new(config);
    let report = state_log::load(
        &hosted.partition,
        "transaction",
        buffer_bytes,
        || hosted.is_loading(),
        |header| !header.attributes.is_control(),
        |reading, _, record| take(reading, record, &mut shard),
    )?;
    if report.records > 0 {
        info!(
            partition = %hosted.partition.name,
            epoch = hosted.epoch.get(),
            transactional_ids = shard.len(),
            records = report.records,
            skipped = report.skipped,
            bad = report.bad,
            "loaded transactions"
        );
    }
    Some((shard, report))
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
