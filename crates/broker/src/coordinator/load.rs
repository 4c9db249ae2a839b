//! Reads a partition of `__consumer_offsets` into a shard, in the background.
//!
//! Key entry: [`load`]. Only a log that cannot be read as batches at all fails the shard.

use std::sync::Arc;
use std::time::Duration;

use millstream_groups::{GroupConfig, Loaded, Origin, Shard};
use millstream_records::{BatchHeader, EndTxnMarker, Record};
use tracing::{error, info};

use super::shard::HostedShard;
use crate::state_log::Reading;

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
    let mut reading = Reading::new(partition, "group");
    let read = reading.read(
        buffer_bytes,
        |_| true,
        |reading, header, record| take(reading, header, record, &mut shard),
    );
    let report = reading.report;
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
