//! Writing what a shard decided: one batch, one write.
//!
//! Key entry: [`append`].

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::{ErrorCode, LeaderEpoch, TimestampMs};
use millstream_partition::AppendOrigin;
use millstream_records::{BatchBuilder, BatchOptions};
use tracing::warn;

use crate::coordinator::InTransaction;
use crate::replica::{Appended, Partition, Writer};

/// What is to be written, and how.
pub(crate) struct Batch<'a> {
    /// Where.
    pub partition: &'a Arc<Partition>,
    /// The epoch in which it was decided: in another it is not written.
    pub epoch: LeaderEpoch,
    /// The transaction that the records are part of.
    pub transaction: Option<&'a InTransaction>,
    /// When.
    pub now: TimestampMs,
}

/// A record's key, and its value unless it is a tombstone.
type KeyAndValue = (Bytes, Option<Bytes>);

/// Appends records, as the partition's own words if they are refused. A record that cannot be encoded comes as an error.
pub(crate) fn append<E: std::fmt::Display>(
    batch: &Batch<'_>,
    builder: &mut BatchBuilder,
    records: impl Iterator<Item = Result<KeyAndValue, E>>,
) -> Result<Appended, ErrorCode> {
    let Batch { partition, epoch, transaction, now } = *batch;
    builder.reset(options(transaction));
    for record in records {
        let (key, value) = record.map_err(|cause| {
            warn!(%cause, "a record of a coordinator does not fit Kafka's format");
            ErrorCode::InvalidRequest
        })?;
        builder
            .append(now, Some(&key), value.as_deref(), &[])
            .map_err(|_| ErrorCode::RecordListTooLarge)?;
    }
    let config = partition.config();
    let limit = usize::try_from(config.max_message_bytes).unwrap_or_default();
    if builder.size_bytes() > limit {
        return Err(ErrorCode::RecordListTooLarge);
    }
    let mut bytes = builder.build().map_err(|_| ErrorCode::RecordListTooLarge)?;
    let required = usize::try_from(config.min_insync_replicas).ok();
    let writer = Writer { origin: AppendOrigin::Coordinator, epoch: Some(epoch) };
    let appended = match transaction {
        None => partition.append_in_epoch(&mut bytes, epoch, required, now),
        Some(InTransaction { producer, verification }) => partition.append_verified(
            &mut bytes,
            *producer,
            verification.as_ref(),
            writer,
            required,
            now,
        ),
    };
    appended.map_err(|cause| {
        warn!(partition = %partition.name, %cause, "the state of a coordinator could not be written");
        cause.code()
    })
}

fn options(transaction: Option<&InTransaction>) -> BatchOptions {
    let Some(transaction) = transaction else { return BatchOptions::default() };
    let (producer_id, producer_epoch) = transaction.producer;
    BatchOptions { producer_id, producer_epoch, transactional: true, ..BatchOptions::default() }
}
