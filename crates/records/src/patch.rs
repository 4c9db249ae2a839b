//! What a broker changes in a batch that it stores: base offset, leader epoch, timestamps; in place.
//!
//! Base offset and leader epoch lie outside the CRC. A change of the covered header bytes moves the CRC by the
//! difference that these bytes make (CRC32C is linear), so the records are not read again, and a batch whose CRC
//! was wrong before stays wrong: a patch never makes damaged bytes look sound.

use millstream_base::{LeaderEpoch, Offset, TimestampMs};

use crate::attributes::{Attributes, TimestampType};
use crate::batch::{BatchError, BatchView};
use crate::bytes_at::{array, put};
use crate::header::{HEADER_LEN, at};

/// Sets the offset of the first record. The CRC stays as it is.
///
/// # Errors
/// [`BatchError::Torn`] when `batch` is shorter than a header.
#[inline]
pub fn base_offset(batch: &mut [u8], offset: Offset) -> Result<(), BatchError> {
    check_len(batch)?;
    put(batch, at::BASE_OFFSET, offset.0.to_be_bytes());
    Ok(())
}

/// Sets the epoch of the leader that appends the batch. The CRC stays as it is.
///
/// # Errors
/// [`BatchError::Torn`] when `batch` is shorter than a header.
#[inline]
pub fn leader_epoch(batch: &mut [u8], epoch: LeaderEpoch) -> Result<(), BatchError> {
    check_len(batch)?;
    put(batch, at::LEADER_EPOCH, epoch.0.to_be_bytes());
    Ok(())
}

/// Makes `batch` one of LogAppendTime: every record counts as written at `now`. The CRC is brought along.
///
/// # Errors
/// Those of [`BatchView::parse`]; the batch must be whole.
pub fn log_append_time(batch: &mut [u8], now: TimestampMs) -> Result<(), BatchError> {
    timestamps(batch, TimestampType::LogAppendTime, now)
}

/// Sets the timestamp type and the max timestamp, and brings the CRC along.
///
/// # Errors
/// Those of [`BatchView::parse`]; the batch must be whole.
pub fn timestamps(
    batch: &mut [u8],
    timestamp_type: TimestampType,
    max_timestamp: TimestampMs,
) -> Result<(), BatchError> {
    let size = BatchView::parse(batch)?.bytes().len();
    let before = covered_header(batch);
    let attributes = Attributes(i16::from_be_bytes(array(batch, at::ATTRIBUTES)));
    let attributes = attributes.with_timestamp_type(timestamp_type);
    put(batch, at::ATTRIBUTES, attributes.0.to_be_bytes());
    put(batch, at::MAX_TIMESTAMP, max_timestamp.0.to_be_bytes());
    let after = covered_header(batch);
    if before == after {
        return Ok(());
    }
    let difference = crc32c::crc32c(&before) ^ crc32c::crc32c(&after);
    // Combining with an empty CRC moves the difference over the records without reading them.
    let moved = crc32c::crc32c_combine(difference, 0, size - HEADER_LEN);
    let crc = u32::from_be_bytes(array(batch, at::CRC)) ^ moved;
    put(batch, at::CRC, crc.to_be_bytes());
    Ok(())
}

/// The part of the header that the CRC covers.
fn covered_header(batch: &[u8]) -> [u8; HEADER_LEN - at::ATTRIBUTES] {
    array(batch, at::ATTRIBUTES)
}

fn check_len(batch: &[u8]) -> Result<(), BatchError> {
    if batch.len() < HEADER_LEN {
        return Err(BatchError::Torn { needed: HEADER_LEN, have: batch.len() });
    }
    Ok(())
}
