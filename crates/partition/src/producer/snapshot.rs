//! Kafka's `.snapshot` file of producer states, version 1.
//!
//! Layout (big endian): version i16, CRC-32C u32 of all that follows, count i32, then per producer: id i64,
//! epoch i16, last sequence i32, last offset i64, offset delta i32, timestamp i64, coordinator epoch i32, first
//! offset of the open transaction i64 (-1: none).

use std::collections::BTreeMap;

use millstream_base::{Offset, ProducerEpoch, ProducerId, TimestampMs};

use super::{ProducerState, StoredBatch};

const VERSION: i16 = 1;
const HEADER: usize = 10;
const ENTRY: usize = 46;
/// The CRC covers everything after it.
const CRC_FROM: usize = 6;

/// The bytes are not a producer snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not a version that this code knows.
    #[error("version {0}, expected 1")]
    Version(i16),
    /// The bytes were changed or cut.
    #[error("checksum {found:#010x}, computed {computed:#010x}")]
    Crc {
        /// In the file.
        found: u32,
        /// Of the file's bytes.
        computed: u32,
    },
    /// The length does not fit the number of entries.
    #[error("{bytes} bytes do not hold {entries} entries")]
    Length {
        /// The file's length.
        bytes: usize,
        /// The announced number.
        entries: i32,
    },
}

pub(super) fn encode(producers: &BTreeMap<ProducerId, ProducerState>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + producers.len() * ENTRY);
    out.extend(VERSION.to_be_bytes());
    out.extend([0; 4]);
    out.extend(i32::try_from(producers.len()).unwrap_or(i32::MAX).to_be_bytes());
    for (id, state) in producers {
        let last = state.last();
        out.extend(id.get().to_be_bytes());
        out.extend(state.epoch.get().to_be_bytes());
        out.extend(state.last_sequence().to_be_bytes());
        out.extend(state.last_offset().get().to_be_bytes());
        out.extend(last.map_or(0, |b| b.offset_delta).to_be_bytes());
        out.extend(state.timestamp.get().to_be_bytes());
        out.extend(state.coordinator_epoch.to_be_bytes());
        out.extend(state.txn_first_offset.unwrap_or(Offset::NONE).get().to_be_bytes());
    }
    let crc = crc32c::crc32c(out.get(CRC_FROM..).unwrap_or_default());
    if let Some(place) = out.get_mut(2..CRC_FROM) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<BTreeMap<ProducerId, ProducerState>, SnapshotError> {
    let length = |entries| SnapshotError::Length { bytes: bytes.len(), entries };
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(length(0))?;
    let version = i16::from_be_bytes(take(header, 0));
    if version != VERSION {
        return Err(SnapshotError::Version(version));
    }
    let found = u32::from_be_bytes(take(header, 2));
    let computed = crc32c::crc32c(bytes.get(CRC_FROM..).unwrap_or_default());
    if found != computed {
        return Err(SnapshotError::Crc { found, computed });
    }
    let entries = i32::from_be_bytes(take(header, CRC_FROM));
    let count = usize::try_from(entries).map_err(|_| length(entries))?;
    if count.checked_mul(ENTRY) != Some(body.len()) {
        return Err(length(entries));
    }
    Ok(body.chunks_exact(ENTRY).map(entry).collect())
}

fn entry(bytes: &[u8]) -> (ProducerId, ProducerState) {
    let id = ProducerId(i64::from_be_bytes(take(bytes, 0)));
    let last_sequence = i32::from_be_bytes(take(bytes, 10));
    let last_offset = Offset(i64::from_be_bytes(take(bytes, 14)));
    let timestamp = TimestampMs(i64::from_be_bytes(take(bytes, 26)));
    let txn = i64::from_be_bytes(take(bytes, 38));
    let mut state = ProducerState {
        epoch: ProducerEpoch(i16::from_be_bytes(take(bytes, 8))),
        coordinator_epoch: i32::from_be_bytes(take(bytes, 34)),
        timestamp,
        txn_first_offset: (txn >= 0).then_some(Offset(txn)),
        ..ProducerState::default()
    };
    if last_offset.get() >= 0 {
        let offset_delta = i32::from_be_bytes(take(bytes, 22));
        state.push_stored(StoredBatch { last_sequence, last_offset, offset_delta, timestamp });
    }
    (id, state)
}

/// `N` bytes at `at`; zeros where there are none (callers have checked the length).
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let slice = bytes.get(at..).and_then(|rest| rest.first_chunk::<N>());
    slice.copied().unwrap_or([0; N])
}
