//! Reads a partition of `__consumer_offsets` into a shard, in the background.
//!
//! Key entry: [`load`]. Only a log that cannot be read as batches at all fails the shard.

use std::sync::Arc;
use std::time::Duration;

use millstream_groups::{GroupConfig, Loaded, Origin, Shard};
use millstream_records::{BatchHeader, EndTxnMarker, Record};
use tracing::info;

use super::shard::HostedShard;
use crate::state_log::{self, Hosted, LoadReport, Reading};

/// Reads the whole log, as far as it is there, with what is not committed yet. May take long: not on an async thread. `None` when
/// the log cannot be read, or the shard is closed meanwhile.
pub(super) fn load(
    hosted: &Arc<HostedShard>,
    config: GroupConfig,
    buffer_bytes: u32,
    elapsed: impl Fn() -> Duration,
) -> Option<(Shard, LoadReport)> {
    let partition = &hosted.partition;
    let start = elapsed();
    let mut shard = Shard::new(config);
    let report = state_log::load(
        partition,
        "group",
        buffer_bytes,
        || hosted.is_loading(),
        |_| true,
        |reading, header, record| take(reading, header, record, &mut shard),
    )?;
    if report.records > 0 {
        let took_ms = elapsed().saturating_sub(start).as_millis();
        info!(
            partition = %partition.name,
            epoch = hosted.epoch().get(),
            groups = shard.group_count(),
            records = report.records,
            skipped = report.skipped,
            bad = report.bad,
            %took_ms,
            "loaded consumer groups"
        );
    }
    Some((shard, report))
}

fn take(reading: &mut Reading<'_>, header: &BatchHeader, record: &Record<'_>, shard: &mut Shard) {
    if header.attributes.is_control() {
        if let Some(marker) = EndTxnMarker::read(record.key, record.value) {
            shard.end_transaction(header.producer_id.get(), marker.committed);
        }
        return;
    }
    let Some(key) = record.key else {
        return reading.name_bad(record.offset, &"it has no key");
    };
    let producer_id = header.attributes.is_transactional().then_some(header.producer_id.get());
    let origin = Origin { log_offset: record.offset.get(), producer_id };
    match shard.load(origin, key, record.value) {
        Ok(Loaded::Applied) => {}
        Ok(Loaded::Skipped(_)) => reading.report.skipped += 1,
        Err(cause) => reading.name_bad(record.offset, &cause),
    }
}
