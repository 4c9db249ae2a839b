//! Raft's log: the metadata log's batches, one an entry.
//!
//! Key type: [`Log`] (what openraft writes through), with [`LogReader`] (what it reads through). An entry's index is the
//! number of its batch, its term the batch's epoch. What no snapshot holds yet is kept in memory as well, which the size
//! between snapshots bounds. Nothing is said to be written before it is fsynced.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_base::{LeaderEpoch, Offset};
use millstream_env::clock::Clock;
use millstream_env::fs::Fs;
use millstream_env::task;
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::control::{entry_to_batch, payload_of};
use super::entries::{Entries, Stored};
use super::types::{Entry, LogId, StorageError, StorageIOError, Types, Vote, epoch_of};
use super::vote;
use crate::executor::Executor;
use crate::store::{Left, Place, Store};

/// About how many bytes of entries go into one message.
const MESSAGE_BYTES: usize = 1 << 20;
/// How long a full disk is left alone before the next attempt.
const RETRY: Duration = Duration::from_millis(500);

/// The log. Clones are the same log.
#[derive(Clone)]
pub(crate) struct Log {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    fs: Arc<dyn Fs>,
    directory: PathBuf,
    clock: Arc<dyn Clock>,
    executor: Executor,
    disk: Mutex<Store>,
    entries: RwLock<Entries>,
    /// What was voted for, as it lies on disk.
    vote: Mutex<Option<Vote>>,
    /// The last entry, and the offset after it, that a snapshot on disk holds.
    snapshot: watch::Sender<(Option<LogId>, Offset)>,
    cut_off: AtomicBool,
    /// Entries wait for room on the disk.
    waits: AtomicBool,
}

impl Log {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        directory: PathBuf,
        clock: Arc<dyn Clock>,
        executor: Executor,
        disk: Store,
        entries: Entries,
        vote: Option<Vote>,
    ) -> Self {
        let snapshot = watch::Sender::new((entries.purged, entries.purged_end));
        let (disk, entries, vote) = (Mutex::new(disk), RwLock::new(entries), Mutex::new(vote));
        let (cut_off, waits) = (AtomicBool::new(false), AtomicBool::new(false));
        let inner =
            Inner { fs, directory, clock, executor, disk, entries, vote, snapshot, cut_off, waits };
        Self { inner: Arc::new(inner) }
    }

    /// What is in memory, for a look.
    pub(crate) fn entries<R>(&self, look: impl FnOnce(&Entries) -> R) -> R {
        look(&self.inner.entries.read())
    }

    /// Says that a snapshot up to this entry is on disk.
    pub(crate) fn snapshot_is_there(&self, last: Option<LogId>, end: Offset) {
        self.inner.snapshot.send_if_modified(|known| {
            let newer = last > known.0;
            if newer {
                *known = (last, end);
            }
            newer
        });
    }

    /// From here on nothing is written any more.
    pub(crate) fn cut_off(&self) {
        self.inner.cut_off.store(true, Ordering::SeqCst);
    }

    /// Begins a new segment at the next entry. Waits for the disk.
    pub(crate) fn roll(&self) -> io::Result<()> {
        self.inner.disk.lock().roll()
    }

    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> io::Result<R> + Send + 'static,
    ) -> io::Result<R> {
        let inner = Arc::clone(&self.inner);
        let done = self.inner.executor.run(move || {
            if inner.cut_off.load(Ordering::SeqCst) {
                return Err(io::Error::other("the node was stopped"));
            }
            work(&inner)
        });
        let done = done.await;
        done.unwrap_or_else(|| Err(io::Error::other("the node is stopping")))
    }

    /// The entries as batches, from the end of the log on.
    fn to_batches(&self, entries: impl IntoIterator<Item = Entry>) -> io::Result<Vec<Stored>> {
        let now = self.inner.clock.now_ms();
        let (mut base, mut last) = self.entries(|known| (known.end(), known.last()));
        let mut batches = Vec::new();
        for entry in entries {
            let expected = last.map_or(0, |id| id.index + 1);
            assert_eq!(
                entry.log_id.index, expected,
                "an entry that does not follow the log's last"
            );
            let (batch, end) = entry_to_batch(&entry, base, now)
                .map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))?;
            let place = Place { segment: base, position: 0 };
            batches.push(Stored { id: entry.log_id, batch, end, place });
            (base, last) = (end, Some(entry.log_id));
        }
        Ok(batches)
    }

    async fn write(&self, batches: Vec<Stored>) -> io::Result<()> {
        let mut batches = Some(batches);
        while let Some(tried) = batches.take() {
            batches = self.blocking(move |inner| inner.write(tried)).await?;
            if batches.is_some() {
                self.inner.waits.store(true, Ordering::SeqCst);
                task::sleep(RETRY).await;
            }
        }
        self.inner.waits.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Whether entries wait for room on the disk.
    pub(crate) fn waits(&self) -> bool {
        self.inner.waits.load(Ordering::SeqCst)
    }

    /// Has work done that a full disk puts off: it must be the same however often it is tried.
    pub(crate) async fn when_there_is_room<R: Send + 'static>(
        &self,
        what: &str,
        work: impl Fn(&Inner) -> io::Result<R> + Send + Sync + 'static,
    ) -> io::Result<R> {
        let work = Arc::new(work);
        loop {
            let tried = Arc::clone(&work);
            match self.blocking(move |inner| tried(inner)).await {
                Err(error) if is_full(&error) => {
                    error!(%error, directory = %self.inner.directory.display(),
                        "{what} cannot be written; trying again until it can: make room on the disk");
                    task::sleep(RETRY).await;
                }
                done => return done,
            }
        }
    }
}

impl Inner {
    /// Writes batches and fsyncs them. Gives them back when the disk took nothing of them, for another attempt.
    fn write(&self, mut batches: Vec<Stored>) -> io::Result<Option<Vec<Stored>>> {
        let Some(last) = batches.last().map(|entry| (entry.end, epoch_of(entry.id.leader_id.term)))
        else {
            return Ok(None);
        };
        let mut disk = self.disk.lock();
        let mut place = disk.place();
        let mut bytes = Vec::with_capacity(batches.iter().map(|entry| entry.batch.len()).sum());
        for entry in &mut batches {
            entry.place = place;
            place.position += entry.batch.len() as u64;
            bytes.extend_from_slice(&entry.batch);
        }
        match disk.append(&bytes, last.0, last.1) {
            Ok(()) => {}
            Err((cause, Left::Nothing)) => {
                error!(error = %cause, directory = %self.directory.display(),
                    "the metadata log cannot be written; trying again until it can");
                return Ok(Some(batches));
            }
            Err((cause, Left::Unknown)) => return Err(cause),
        }
        disk.sync()?;
        drop(disk);
        self.entries.write().entries.extend(batches);
        Ok(None)
    }

    fn truncate(&self, index: u64) -> io::Result<()> {
        let (place, end, last) = {
            let mut known = self.entries.write();
            let Some(place) = known.get(index).map(|entry| entry.place) else { return Ok(()) };
            let keep = index - known.first_index();
            known.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
            (place, known.end(), known.last())
        };
        info!(index, offset = %end, "entries that another leader has overruled are cut off the metadata log");
        let epoch = last.map_or(LeaderEpoch::NONE, |id| epoch_of(id.leader_id.term));
        self.disk.lock().truncate(place, end, epoch)
    }

    /// Lets go of what a snapshot holds. May be done again when it failed.
    fn purge(&self, upto: LogId, snapshot_end: Offset) -> io::Result<()> {
        let (restart, end) = {
            let known = self.entries.read();
            let restart = known.last().is_none_or(|last| last.index < upto.index);
            let end = if restart { Some(snapshot_end) } else { known.end_of(upto.index) };
            let Some(end) = end.filter(|end| *end >= known.purged_end) else { return Ok(()) };
            (restart, end)
        };
        let mut disk = self.disk.lock();
        if restart {
            disk.restart(end, epoch_of(upto.leader_id.term))?;
        } else if let Err(error) = disk.remove_before(end) {
            warn!(%error, "an old segment of the metadata log could not be removed; trying again after the next snapshot");
        }
        let mut known = self.entries.write();
        known.entries.retain(|entry| entry.id.index > upto.index);
        (known.purged, known.purged_end) = (Some(upto), end);
        Ok(())
    }
}

/// Whether the disk has no room, which may pass.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn write_error(error: &io::Error) -> StorageError {
    StorageIOError::write_logs(openraft::AnyError::new(error)).into()
}

fn read_error(reason: &str) -> StorageError {
    StorageIOError::read_logs(openraft::AnyError::error(reason)).into()
}

/// Reads entries from memory.
#[derive(Clone)]
pub(crate) struct LogReader(Log);

#[expect(clippy::result_large_err, reason = "openraft's error, as its traits ask")]
fn to_entries(found: Vec<Stored>) -> Result<Vec<Entry>, StorageError> {
    let mut entries = Vec::with_capacity(found.len());
    for stored in found {
        let payload = payload_of(&stored.batch).map_err(|reason| read_error(&reason))?;
        entries.push(Entry { log_id: stored.id, payload });
    }
    Ok(entries)
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<Types> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let (start, end) = bounds(&range);
        to_entries(self.0.entries(|known| known.range(start, end, usize::MAX)))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        to_entries(self.0.entries(|known| known.range(start, end, MESSAGE_BYTES)))
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        LogReader(self.clone()).try_get_log_entries(range).await
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = LogReader;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, StorageError> {
        let state = |known: &Entries| LogState {
            last_purged_log_id: known.purged,
            last_log_id: known.last(),
        };
        Ok(self.entries(state))
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        LogReader(self.clone())
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = *vote;
        let saved = self.when_there_is_room("the vote", move |inner| {
            let mut known = inner.vote.lock();
            vote::write_vote(inner.fs.as_ref(), &inner.directory, &vote)?;
            *known = Some(vote);
            Ok(())
        });
        saved.await.map_err(|e| StorageIOError::write_vote(openraft::AnyError::new(&e)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        let log_term = self.entries(|known| known.last().map_or(0, |id| id.leader_id.term));
        let mut vote = self.inner.vote.lock().unwrap_or_default();
        // Who led before a restart has to be elected again.
        vote.committed = false;
        if vote.leader_id.term < log_term {
            // A node that ran alone keeps no vote.
            vote = Vote::default();
            vote.leader_id.term = log_term;
        }
        Ok((vote.leader_id.term > 0).then_some(vote))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<Types>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let batches = self.to_batches(entries).map_err(|e| write_error(&e))?;
        self.write(batches).await.map_err(|e| write_error(&e))?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), StorageError> {
        self.blocking(move |inner| inner.truncate(since.index)).await.map_err(|e| write_error(&e))
    }

    async fn purge(&mut self, upto: LogId) -> Result<(), StorageError> {
        // What a snapshot is to take the place of goes only when that is on disk.
        let mut snapshot = self.inner.snapshot.subscribe();
        let there = snapshot.wait_for(|(last, _)| *last >= Some(upto)).await.map(|known| known.1);
        let end = there.map_err(|_| read_error("the node is stopping"))?;
        let purged =
            self.when_there_is_room("the metadata log", move |inner| inner.purge(upto, end));
        purged.await.map_err(|e| write_error(&e))
    }
}
