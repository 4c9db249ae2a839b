//! What Raft needs in the metadata log beside the metadata: control batches of a type of our own, which Kafka's readers pass
//! over.
//!
//! Key type: [`Control`]. Each is one record: the key is version and type as in every control record, the value is JSON.

use bytes::Bytes;
use millstream_base::{LeaderEpoch, Offset, TimestampMs};
use millstream_records::{BatchBuilder, BatchOptions, BatchView, Scratch, patch};
use serde::{Deserialize, Serialize};

use super::types::{Command, Entry, Membership, Payload, Position, epoch_of};

/// Version 0, type 100: none of Kafka's.
const KEY: [u8; 4] = [0, 0, 0, 100];

/// The contents of a control record of ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Control {
    /// Nothing: a leader's first entry, or a command decided on a state that had changed.
    Blank,
    /// The members from here on.
    Membership(Membership),
    /// The id of the cluster.
    ClusterId(String),
    /// In a snapshot: where in the log it stands.
    Position(Position),
}

/// The batch of a control record.
pub(crate) fn batch(
    control: &Control,
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    now: TimestampMs,
) -> Result<Vec<u8>, String> {
    let value = serde_json::to_vec(control).map_err(|e| e.to_string())?;
    let options =
        BatchOptions { base_offset, leader_epoch, control: true, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    builder.append(now, Some(&KEY), Some(&value), &[]).map_err(|e| e.to_string())?;
    let mut out = Vec::new();
    builder.build_into(&mut out).map_err(|e| e.to_string())?;
    Ok(out)
}

/// The control record of ours in a control batch; `None` when it is one of Kafka's.
pub(crate) fn read(batch: &BatchView<'_>) -> Result<Option<Control>, String> {
    let mut scratch = Scratch::default();
    for record in batch.records(&mut scratch).map_err(|e| e.to_string())? {
        let record = record.map_err(|e| e.to_string())?;
        if record.key != Some(&KEY[..]) {
            continue;
        }
        let value = record.value.unwrap_or_default();
        return serde_json::from_slice(value).map(Some).map_err(|e| e.to_string());
    }
    Ok(None)
}

/// An entry as the batch that stands at `base`, and the offset after it.
pub(crate) fn entry_to_batch(
    entry: &Entry,
    base: Offset,
    now: TimestampMs,
) -> Result<(Bytes, Offset), String> {
    let epoch = epoch_of(entry.log_id.leader_id.term);
    let control = match &entry.payload {
        Payload::Normal(Command::Records { at, batch }) if *at == base.get() => {
            let view = BatchView::parse(batch).map_err(|e| e.to_string())?;
            let whole = view.bytes().len() == batch.len() && view.header().base_offset == base;
            if !whole || view.header().attributes.is_control() {
                return Err(format!("the entry for offset {base} is no batch of it"));
            }
            view.check_crc().map_err(|e| e.to_string())?;
            let end = view.header().next_offset();
            let mut bytes = batch.to_vec();
            patch::leader_epoch(&mut bytes, epoch).map_err(|e| e.to_string())?;
            return Ok((bytes.into(), end));
        }
        Payload::Normal(Command::ClusterId(id)) => Control::ClusterId(id.clone()),
        Payload::Membership(members) => Control::Membership(members.clone()),
        Payload::Blank | Payload::Normal(Command::Records { .. }) => Control::Blank,
    };
    Ok((batch(&control, base, epoch, now)?.into(), base.plus(1)))
}

/// What a batch of the log says to Raft.
pub(crate) fn payload_of(bytes: &Bytes) -> Result<Payload, String> {
    let view = BatchView::parse(bytes).map_err(|e| e.to_string())?;
    if !view.header().attributes.is_control() {
        let at = view.header().base_offset.get();
        return Ok(Payload::Normal(Command::Records { at, batch: bytes.clone() }));
    }
    Ok(match read(&view)? {
        Some(Control::Membership(members)) => Payload::Membership(members),
        Some(Control::ClusterId(id)) => Payload::Normal(Command::ClusterId(id)),
        Some(Control::Blank | Control::Position(_)) | None => Payload::Blank,
    })
}
