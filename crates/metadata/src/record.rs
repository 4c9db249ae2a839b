//! The records of the metadata log as bytes.
//!
//! Key type: [`MetadataRecord`], generated from the protocol table. A record's value in the log is Kafka's frame:
//! three unsigned varints (frame version 1, the kind's number, the kind's version) and the body of that version.
//! A record is written in the lowest version that loses nothing, so that older tools can read it.

use bytes::Bytes;
use millstream_wire::{DecodeError, Decoder, EncodeError, Encoder};

pub use millstream_wire::stored::MetadataRecord;

/// The lowest version, from those on that name directories, which carries everything the record says.
pub fn record_version(record: &MetadataRecord) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(r) if r.cordoned_log_dirs.is_some() => 4,
        MetadataRecord::RegisterBroker(_) => 3,
        MetadataRecord::Partition(r) => {
            let elr = r.eligible_leader_replicas.is_some() || r.last_known_elr.is_some();
            if elr { 2 } else { 1 }
        }
        MetadataRecord::PartitionChange(r) => {
            let elr = r.eligible_leader_replicas.is_some() || r.last_known_elr.is_some();
            if elr { 2 } else { i16::from(r.directories.is_some()) }
        }
        MetadataRecord::BrokerRegistrationChange(r) if r.cordoned_log_dirs.is_some() => 3,
        MetadataRecord::BrokerRegistrationChange(r) if !r.log_dirs.is_empty() => 2,
        MetadataRecord::BrokerRegistrationChange(_) => 1,
        _ => 0,
    }
}

/// The record with its frame, as it stands in the log.
pub fn encode_record(record: &MetadataRecord) -> Result<Bytes, EncodeError> {
    let mut encoder = Encoder::with_capacity(128);
    record.encode(&mut encoder, record_version(record))?;
    Ok(encoder.into_bytes())
}

/// Reads a record with its frame. Unknown kinds and versions, and bytes left over, are errors.
pub fn decode_record(value: Bytes) -> Result<MetadataRecord, DecodeError> {
    let mut decoder = Decoder::new(value);
    let record = MetadataRecord::decode(&mut decoder)?;
    decoder.finish()?;
    Ok(record)
}
