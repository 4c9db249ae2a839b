//! One group of commands from decision to disk to image.
//!
//! Key type: [`Core`], which has the log and the state that the next decision stands on. It is owned by whoever
//! holds its lock and knows nothing of threads or callers.
//!
//! Invariant: `replayer` holds exactly what is in the log and on disk, unless `failed` is set.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_base::{LeaderEpoch, NodeId, Offset, TimestampMs};
use millstream_env::fs::Fs;
use millstream_metadata::{ClusterImage, ImageDelta, MetadataRecord, Replayer};
use millstream_records::{BatchView, Scratch};
use millstream_wire::stored::AbortTransactionRecord;

use crate::batches::{Encoder, ReadError, records_of};
use crate::error::{CommitError, OpenError};
use crate::job::{Job, Turn};
use crate::raft::types::{Member, Position};
use crate::snapshot::{self, SnapshotId};
use crate::store::{Left, Recovered, Store};

/// The log and the state at its end.
#[derive(Debug)]
pub(crate) struct Core {
    fs: Arc<dyn Fs>,
    directory: PathBuf,
    store: Store,
    replayer: Replayer,
    /// Where in the log the replayer stands, as Raft counts.
    position: Position,
    epoch: LeaderEpoch,
    encoder: Encoder,
    /// Set once an fsync has failed (the kernel may have dropped the pages) or a write left something behind, so
    /// nothing that follows can be trusted.
    failed: Option<Arc<std::io::Error>>,
    /// Somebody else writes the log from here on.
    retired: bool,
    bytes_since_snapshot: u64,
    snapshot_after_bytes: u64,
}

/// A group of commands after they were decided.
struct Group {
    bytes: Vec<u8>,
    batches: u64,
    next_offset: Offset,
}

/// What a committed group changed.
pub(crate) struct Committed {
    /// The new image.
    pub image: Arc<ClusterImage>,
    /// What is different in it.
    pub delta: ImageDelta,
}

impl Core {
    /// Reads the newest snapshot and the log after it.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        directory: &Path,
        snapshot_after_bytes: u64,
        least_epoch: LeaderEpoch,
    ) -> Result<(Self, Recovered), OpenError> {
        let loaded = snapshot::load_newest(fs.as_ref(), directory)?;
        let mut position = loaded.position();
        let (snapshot, image) = (loaded.id, loaded.image);
        let mut replayer = Replayer::new(image);
        let mut scratch = Scratch::default();
        let mut bytes_since_snapshot = 0;
        let (store, recovered) =
            Store::open(Arc::clone(&fs), directory, snapshot.end, |batch, _| {
                if batch.header().next_offset() > snapshot.end {
                    bytes_since_snapshot += batch.bytes().len() as u64;
                    position.advance(batch).map_err(|reason| corrupt(directory, batch, &reason))?;
                }
                replay_batch(&mut replayer, &mut scratch, batch, snapshot.end, directory)
            })?;
        if recovered.start > snapshot.end || store.next_offset() < snapshot.end {
            let (path, start) = (directory.to_owned(), recovered.start);
            return Err(OpenError::Gap { path, start, snapshot: snapshot.end });
        }
        let last = store.last_epoch().max(snapshot.epoch).max(least_epoch).get();
        let core = Self {
            fs,
            directory: directory.to_owned(),
            store,
            replayer,
            position,
            epoch: LeaderEpoch(last.saturating_add(1).max(1)),
            encoder: Encoder::default(),
            failed: None,
            retired: false,
            bytes_since_snapshot,
            snapshot_after_bytes,
        };
        Ok((core, recovered))
    }

    /// The image at the end of the log.
    pub(crate) fn image(&self) -> &ClusterImage {
        self.replayer.visible()
    }

    /// The offset of the next record.
    pub(crate) const fn next_offset(&self) -> Offset {
        self.store.next_offset()
    }

    /// Writes nothing any more.
    pub(crate) const fn retire(&mut self) {
        self.retired = true;
    }

    /// The id of the cluster, if a quorum agreed on one.
    pub(crate) fn cluster_id(&self) -> Option<String> {
        self.position.cluster_id.clone()
    }

    /// The voters, if the log names others than this node.
    pub(crate) fn other_voters(&self, me: NodeId) -> Option<String> {
        let members = self.position.membership.as_ref()?.membership();
        let alone = members.voter_ids().all(|id| id == me.get());
        let name = |(id, member): (&i32, &Member)| format!("{id}@{}:{}", member.host, member.port);
        let voters = || members.nodes().map(name).collect::<Vec<_>>().join(",");
        (!alone).then(voters)
    }

    /// The epoch that records are written with.
    pub(crate) const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Whether nothing was ever written.
    pub(crate) fn is_new(&self) -> bool {
        self.next_offset() == Offset::ZERO
    }

    /// The record that ends a transaction which somebody began and never ended, if there is one.
    pub(crate) fn unfinished(&self) -> Option<MetadataRecord> {
        let reason = Some("the node was restarted within the transaction".into());
        let abort = AbortTransactionRecord { reason };
        self.replayer.in_transaction().then_some(MetadataRecord::AbortTransaction(abort))
    }

    /// Decides every command of a group against the state that those before it leave, writes all their records
    /// with one write and one fsync, and says how each went. `publish` is called with the new image when it
    /// changed, before anyone is answered.
    pub(crate) fn run(
        &mut self,
        mut jobs: Vec<Box<dyn Job + '_>>,
        now: TimestampMs,
        publish: impl FnOnce(Committed),
    ) {
        let failed = self.failed.as_ref().map(|cause| CommitError::Failed(Arc::clone(cause)));
        let retired = self.retired.then_some(CommitError::NotController { leader: None });
        if let Some(error) = failed.or(retired) {
            jobs.into_iter().for_each(|job| job.finish(Err(error.clone())));
            return;
        }
        let durable = self.replayer.clone();
        let mut group = Group { bytes: Vec::new(), batches: 0, next_offset: self.next_offset() };
        let decided: Vec<Result<(), CommitError>> =
            jobs.iter_mut().map(|job| self.decide(job.as_mut(), &mut group, now)).collect();
        let written = self.write(&group);
        match &written {
            Ok(()) if !group.bytes.is_empty() => {
                let delta = self.replayer.take_delta();
                publish(Committed { image: Arc::new(self.image().clone()), delta });
            }
            Ok(()) => {}
            Err(_) => self.replayer = durable,
        }
        for (job, decided) in jobs.into_iter().zip(decided) {
            job.finish(decided.and(written.clone()));
        }
    }

    /// Decides one command and replays its records; on an error the state is as before.
    fn decide(
        &mut self,
        job: &mut (dyn Job + '_),
        group: &mut Group,
        now: TimestampMs,
    ) -> Result<(), CommitError> {
        let turn = Turn { next_offset: group.next_offset, now };
        let records = job.decide(self.replayer.image(), &turn);
        if records.is_empty() {
            return Ok(());
        }
        let (before, len) = (self.replayer.clone(), group.bytes.len());
        let taken = self.take(&records, group, now);
        if taken.is_err() {
            self.replayer = before;
            group.bytes.truncate(len);
        }
        taken
    }

    fn take(
        &mut self,
        records: &[MetadataRecord],
        group: &mut Group,
        now: TimestampMs,
    ) -> Result<(), CommitError> {
        for record in records {
            self.replayer.replay(record).map_err(CommitError::Replay)?;
        }
        self.encoder.append(records, group.next_offset, self.epoch, now, &mut group.bytes)?;
        let count = i64::try_from(records.len()).map_err(|_| CommitError::TooLarge)?;
        group.next_offset = group.next_offset.plus(count);
        group.batches += 1;
        Ok(())
    }

    fn write(&mut self, group: &Group) -> Result<(), CommitError> {
        if group.bytes.is_empty() {
            return Ok(());
        }
        if let Err((cause, left)) = self.store.append(&group.bytes, group.next_offset, self.epoch) {
            let cause = Arc::new(cause);
            if left == Left::Unknown {
                self.failed = Some(Arc::clone(&cause));
            }
            return Err(CommitError::Storage(cause));
        }
        self.bytes_since_snapshot += group.bytes.len() as u64;
        self.store.sync().map_err(|cause| {
            let cause = Arc::new(cause);
            self.failed = Some(Arc::clone(&cause));
            CommitError::Storage(cause)
        })?;
        self.position.wrote(group.batches, self.epoch, group.next_offset);
        Ok(())
    }

    /// Writes a snapshot and lets go of the log before it, if enough was written since the last one.
    pub(crate) fn snapshot_if_due(&mut self, now: TimestampMs) -> Result<bool, CommitError> {
        let due = self.bytes_since_snapshot >= self.snapshot_after_bytes;
        if !due || self.retired || self.failed.is_some() || self.replayer.in_transaction() {
            return Ok(false);
        }
        // Also after a failure the next attempt waits for as much again.
        self.bytes_since_snapshot = 0;
        let id = SnapshotId { end: self.next_offset(), epoch: self.store.last_epoch() };
        snapshot::write(self.fs.as_ref(), &self.directory, id, self.image(), &self.position, now)?;
        let storage = |e: std::io::Error| CommitError::Storage(Arc::new(e));
        self.store.start_over().map_err(|(cause, left)| {
            let cause = Arc::new(cause);
            if left == Left::Unknown {
                self.failed = Some(Arc::clone(&cause));
            }
            CommitError::Storage(cause)
        })?;
        snapshot::remove_older(self.fs.as_ref(), &self.directory, id).map_err(storage)?;
        Ok(true)
    }
}

/// Replays what of a batch lies after the snapshot.
pub(crate) fn replay_batch(
    replayer: &mut Replayer,
    scratch: &mut Scratch,
    batch: &BatchView<'_>,
    snapshot_end: Offset,
    directory: &Path,
) -> Result<(), OpenError> {
    if batch.header().next_offset() <= snapshot_end {
        return Ok(());
    }
    let records = records_of(batch, scratch).map_err(|e| match e {
        ReadError::Record(offset, cause) => OpenError::Record { offset, cause },
        ReadError::Batch(reason) => corrupt(directory, batch, &reason),
    })?;
    for (offset, record) in records.into_iter().filter(|(offset, _)| *offset >= snapshot_end) {
        replayer.replay(&record).map_err(|cause| OpenError::Replay { offset, cause })?;
    }
    Ok(())
}

/// What is wrong with a batch.
pub(crate) fn corrupt(directory: &Path, batch: &BatchView<'_>, reason: &str) -> OpenError {
    let base = batch.header().base_offset;
    let reason = format!("the batch at offset {base}: {reason}");
    OpenError::Corrupt { path: directory.to_owned(), position: 0, reason }
}
