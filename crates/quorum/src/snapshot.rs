//! Snapshots of the metadata log: the image as records, so that the log before it can go.
//!
//! Key functions: [`write`], [`load_newest`]. The files are Kafka's: `<end offset>-<epoch>.checkpoint`, a control
//! batch with the header, batches of records with offsets from 0, a control batch with the footer. A snapshot
//! appears under its name only when it is whole and on disk.

use std::path::{Path, PathBuf};

use millstream_base::{LeaderEpoch, Offset, TimestampMs};
use millstream_env::fs::Fs;
use millstream_metadata::{ClusterImage, Replayer};
use millstream_records::{BatchBuilder, BatchOptions, Batches, ControlType, Scratch};
use millstream_wire::stored::{SnapshotFooterRecord, SnapshotHeaderRecord};
use millstream_wire::{Encode, Encoder as WireEncoder};

use crate::batches::{Encoder, ReadError, records_of};
use crate::error::{CommitError, OpenError};
use crate::raft::control::{self, Control};
use crate::raft::types::{Position, log_id, term_of};
use crate::store::io_error;

const SUFFIX: &str = ".checkpoint";
/// How many records go into one batch.
const RECORDS_PER_BATCH: usize = 1000;
/// A larger file is no snapshot that was written here.
const MAX_BYTES: u64 = 4 << 30;

/// What a snapshot covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SnapshotId {
    /// The offset after the last record that is in it.
    pub end: Offset,
    /// The epoch of that record.
    pub epoch: LeaderEpoch,
}

impl SnapshotId {
    fn path(self, directory: &Path) -> PathBuf {
        directory.join(format!("{:020}-{:010}{SUFFIX}", self.end.get(), self.epoch.get()))
    }

    fn of_name(name: &str) -> Option<Self> {
        let (end, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        Some(Self { end: Offset(end.parse().ok()?), epoch: LeaderEpoch(epoch.parse().ok()?) })
    }
}

/// Writes the image down. On success the snapshot is on disk.
pub(crate) fn write(
    fs: &dyn Fs,
    directory: &Path,
    id: SnapshotId,
    image: &ClusterImage,
    position: &Position,
    now: TimestampMs,
) -> Result<(), CommitError> {
    let out = to_bytes(id, image, position, now)?;
    write_bytes(fs, directory, id, &out)
}

/// Writes a snapshot down that came as bytes.
pub(crate) fn write_bytes(
    fs: &dyn Fs,
    directory: &Path,
    id: SnapshotId,
    bytes: &[u8],
) -> Result<(), CommitError> {
    fs.write_atomically(&id.path(directory), bytes).map_err(|e| CommitError::Storage(e.into()))
}

/// A snapshot's bytes.
pub(crate) fn to_bytes(
    id: SnapshotId,
    image: &ClusterImage,
    position: &Position,
    now: TimestampMs,
) -> Result<Vec<u8>, CommitError> {
    let mut out = Vec::new();
    let header = SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: now.get() };
    let mut next = Offset::ZERO;
    kafka_control(ControlType::SnapshotHeader, &header, &mut next, id.epoch, now, &mut out)?;
    let position = Control::Position(position.clone());
    let position = control::batch(&position, next, id.epoch, now).map_err(CommitError::Control)?;
    out.extend_from_slice(&position);
    next = next.plus(1);
    let mut encoder = Encoder::default();
    for records in image.to_records().chunks(RECORDS_PER_BATCH) {
        encoder.append(records, next, id.epoch, now, &mut out)?;
        next = next.plus(i64::try_from(records.len()).unwrap_or(i64::MAX));
    }
    let footer = SnapshotFooterRecord { version: 0 };
    kafka_control(ControlType::SnapshotFooter, &footer, &mut next, id.epoch, now, &mut out)?;
    Ok(out)
}

/// Appends a control batch of one record.
fn kafka_control(
    kind: ControlType,
    body: &impl Encode,
    next: &mut Offset,
    leader_epoch: LeaderEpoch,
    now: TimestampMs,
    out: &mut Vec<u8>,
) -> Result<(), CommitError> {
    let mut value = WireEncoder::with_capacity(32);
    body.encode(&mut value, 0).map_err(|e| CommitError::Encode(e.into()))?;
    let options =
        BatchOptions { base_offset: *next, leader_epoch, control: true, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    let added = builder.append(now, Some(&kind.key()), Some(&value.into_bytes()), &[]);
    added.map_err(|_| CommitError::TooLarge)?;
    builder.build_into(out).map_err(|_| CommitError::TooLarge)?;
    *next = next.plus(1);
    Ok(())
}

/// Removes the snapshots before `newest`.
pub(crate) fn remove_older(
    fs: &dyn Fs,
    directory: &Path,
    newest: SnapshotId,
) -> std::io::Result<()> {
    for entry in fs.list(directory)? {
        if SnapshotId::of_name(&entry.name).is_some_and(|id| id < newest) {
            fs.remove_file(&directory.join(&entry.name))?;
        }
    }
    Ok(())
}

/// A snapshot, read.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    pub id: SnapshotId,
    pub image: ClusterImage,
    /// Where in the log it stands; `None` in one that a single node or Kafka wrote.
    pub position: Option<Position>,
}

impl Snapshot {
    /// Where in the log it stands, as Raft counts. One that does not say so covers as many entries as offsets.
    pub(crate) fn position(&self) -> Position {
        self.position.clone().unwrap_or_else(|| {
            let end = self.id.end.get();
            let index = u64::try_from(end).ok().filter(|end| *end > 0);
            let last = index.map(|index| log_id(term_of(self.id.epoch), index));
            Position { last, end, ..Position::default() }
        })
    }
}

/// The newest snapshot's name and bytes.
pub(crate) fn newest(
    fs: &dyn Fs,
    directory: &Path,
) -> Result<Option<(SnapshotId, Vec<u8>)>, OpenError> {
    let entries = match fs.list(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(io_error("list", directory, e)),
    };
    let newest = entries.iter().filter_map(|entry| SnapshotId::of_name(&entry.name)).max();
    let Some(id) = newest else { return Ok(None) };
    let path = id.path(directory);
    let bytes = fs.read(&path, MAX_BYTES).map_err(|e| io_error("read", &path, e))?;
    Ok(Some((id, bytes)))
}

/// The newest snapshot; an empty one at offset 0 when there is none.
pub(crate) fn load_newest(fs: &dyn Fs, directory: &Path) -> Result<Snapshot, OpenError> {
    let Some((id, bytes)) = newest(fs, directory)? else {
        let (id, image) = (SnapshotId::default(), ClusterImage::new());
        return Ok(Snapshot { id, image, position: None });
    };
    let (image, position) = read(&id.path(directory), &bytes)?;
    Ok(Snapshot { id, image, position })
}

/// Reads a snapshot's bytes; `path` is for the errors.
pub(crate) fn read(
    path: &Path,
    bytes: &[u8],
) -> Result<(ClusterImage, Option<Position>), OpenError> {
    let mut replayer = Replayer::new(ClusterImage::new());
    let mut scratch = Scratch::default();
    let mut batches = Batches::new(bytes);
    let (mut last_was_control, mut stands) = (false, None);
    let corrupt = |position: usize, reason: String| OpenError::Corrupt {
        path: path.to_owned(),
        position: position as u64,
        reason,
    };
    while let Some(batch) = batches.next() {
        let position = batches.position();
        let batch = batch.map_err(|e| corrupt(position, e.to_string()))?;
        batch.check_crc().map_err(|e| corrupt(position, e.to_string()))?;
        last_was_control = batch.header().attributes.is_control();
        if last_was_control {
            let ours = control::read(&batch).map_err(|reason| corrupt(position, reason))?;
            if let Some(Control::Position(position)) = ours {
                stands = Some(position);
            }
        }
        let records = records_of(&batch, &mut scratch).map_err(|e| match e {
            ReadError::Batch(reason) => corrupt(position, reason),
            ReadError::Record(offset, cause) => OpenError::Record { offset, cause },
        })?;
        for (offset, record) in records {
            replayer.replay(&record).map_err(|cause| OpenError::Replay { offset, cause })?;
        }
    }
    if !last_was_control {
        return Err(corrupt(bytes.len(), "it ends without a footer".to_owned()));
    }
    Ok((replayer.image().clone(), stands))
}
