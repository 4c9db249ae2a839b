//! Aborted transactions of one segment, in Kafka's `.txnindex` format.
//!
//! Key type: [`AbortedTxn`]. Entries are ordered by their last offset. 34 bytes each, big endian: version i16,
//! producer id i64, first offset i64, last offset i64 (the marker's), last stable offset i64.

use millstream_base::{Offset, ProducerId};

/// Bytes an entry.
pub(crate) const ENTRY: usize = 34;

/// An aborted transaction, as a fetch with isolation level `read_committed` reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    /// Whose.
    pub producer_id: ProducerId,
    /// Its first record.
    pub first_offset: Offset,
    /// Its marker.
    pub last_offset: Offset,
    /// The last stable offset when the marker was written.
    pub last_stable_offset: Offset,
}

impl AbortedTxn {
    pub(crate) fn encode(&self) -> [u8; ENTRY] {
        let mut out = [0; ENTRY];
        let fields = [
            self.producer_id.get(),
            self.first_offset.get(),
            self.last_offset.get(),
            self.last_stable_offset.get(),
        ];
        for (place, field) in out[2..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_be_bytes());
        }
        out
    }

    /// `None` for a version that is not known.
    pub(crate) fn decode(bytes: &[u8; ENTRY]) -> Option<Self> {
        if bytes.first_chunk::<2>() != Some(&[0, 0]) {
            return None;
        }
        let mut fields = bytes[2..].chunks_exact(8).map(|chunk| {
            let chunk = chunk.first_chunk::<8>().copied().unwrap_or_default();
            i64::from_be_bytes(chunk)
        });
        Some(Self {
            producer_id: ProducerId(fields.next()?),
            first_offset: Offset(fields.next()?),
            last_offset: Offset(fields.next()?),
            last_stable_offset: Offset(fields.next()?),
        })
    }

    /// All entries of a file's bytes; `None` when they are not whole entries of a known version.
    pub(crate) fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let (entries, rest) = bytes.as_chunks::<ENTRY>();
        if !rest.is_empty() {
            return None;
        }
        entries.iter().map(Self::decode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_entries_are_read_and_written() {
        // Written by Kafka 4.0.0: producer 6, offsets 11 to 12, stable at 5.
        let mut bytes = [0; ENTRY];
        (bytes[9], bytes[17], bytes[25], bytes[33]) = (6, 11, 12, 5);
        let txn = AbortedTxn::decode(&bytes).unwrap();
        assert_eq!((txn.producer_id.get(), txn.first_offset.get()), (6, 11));
        assert_eq!((txn.last_offset.get(), txn.last_stable_offset.get()), (12, 5));
        assert_eq!(txn.encode(), bytes);
        assert!(AbortedTxn::decode_all(&bytes[..33]).is_none());
        bytes[1] = 1;
        assert!(AbortedTxn::decode(&bytes).is_none());
    }
}
