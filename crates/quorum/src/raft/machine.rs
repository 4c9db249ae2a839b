//! What committed entries make of the metadata: the image at the end of what is committed.
//!
//! Key type: [`Machine`]; openraft drives it through [`Applier`]. Entries are applied in order, listeners are called and the
//! image is published before openraft hears that they are applied; all of it off the async threads.

use std::io::{self, Cursor};
use std::path::PathBuf;
use std::sync::Arc;

use millstream_base::Offset;
use millstream_env::clock::Clock;
use millstream_env::fs::Fs;
use millstream_metadata::{ClusterImage, MetadataRecord, Replayer};
use millstream_records::{BatchView, Scratch};
use openraft::storage::RaftStateMachine;
use openraft::{AnyError, OptionalSend, RaftSnapshotBuilder, Snapshot};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{info, warn};

use super::difference::difference;
use super::log::Log;
use super::types::{
    Command, Entry, LogId, Membership, Outcome, Payload, Position, SnapshotMeta, StorageError,
    StorageIOError, StoredMembership, Types, epoch_of,
};
use super::vote;
use crate::batches::{ReadError, records_of};
use crate::error::CommitError;
use crate::executor::Executor;
use crate::publish::Publisher;
use crate::snapshot::{self, SnapshotId};

/// The state at the end of what is committed and applied.
#[derive(Debug)]
pub(crate) struct State {
    pub replayer: Replayer,
    pub position: Position,
    /// The last state outside a transaction of metadata, while one is open.
    stable: Option<Box<(ClusterImage, Position)>>,
    pub bytes_since_snapshot: u64,
}

impl State {
    pub(crate) const fn new(replayer: Replayer, position: Position, bytes: u64) -> Self {
        Self { replayer, position, stable: None, bytes_since_snapshot: bytes }
    }
}

/// How far it is, for those who wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    pub last: Option<LogId>,
    pub end: Offset,
}

/// See the module. Shared by openraft's worker, the snapshot builder and whoever decides.
pub(crate) struct Machine {
    pub fs: Arc<dyn Fs>,
    pub directory: PathBuf,
    pub clock: Arc<dyn Clock>,
    pub executor: Executor,
    pub log: Log,
    pub publisher: Arc<Publisher>,
    pub state: Mutex<State>,
    /// The members of the settings, which count until the log names some.
    pub configured: Membership,
    pub applied: watch::Sender<Applied>,
    pub cluster_id: watch::Sender<Option<Arc<str>>>,
}

impl Machine {
    /// The members as of what is applied.
    fn membership(&self, position: &Position) -> StoredMembership {
        let configured = || StoredMembership::new(None, self.configured.clone());
        position.membership.clone().unwrap_or_else(configured)
    }

    fn apply(&self, entries: &[Entry]) -> Result<Vec<Outcome>, String> {
        let mut state = self.state.lock();
        let mut outcomes = Vec::with_capacity(entries.len());
        let mut records = false;
        for entry in entries {
            let outcome = self.apply_one(&mut state, entry)?;
            records |= matches!(&entry.payload, Payload::Normal(Command::Records { .. }));
            outcomes.push(outcome);
        }
        let applied = Applied { last: state.position.last, end: Offset(state.position.end) };
        if records {
            let delta = state.replayer.take_delta();
            let image = Arc::new(state.replayer.visible().clone());
            // Others may look at the state while listeners work.
            drop(state);
            self.publisher.publish(&image, &delta);
        } else {
            drop(state);
        }
        if let Some(last) = applied.last
            && let Err(error) = vote::write_committed(self.fs.as_ref(), &self.directory, last)
        {
            warn!(%error, "cannot note how far the metadata log is committed; a restart shows an older image at first");
        }
        self.applied.send_replace(applied);
        Ok(outcomes)
    }

    fn apply_one(&self, state: &mut State, entry: &Entry) -> Result<Outcome, String> {
        let id = entry.log_id;
        let end = self.log.entries(|known| known.end_of(id.index));
        let end = end.ok_or_else(|| format!("entry {id} is gone before it was applied"))?;
        let mut outcome = Outcome::Nothing;
        match &entry.payload {
            Payload::Blank => {}
            Payload::Membership(members) => {
                state.position.membership = Some(StoredMembership::new(Some(id), members.clone()));
            }
            Payload::Normal(Command::ClusterId(cluster)) => {
                let known = state.position.cluster_id.get_or_insert_with(|| cluster.clone());
                self.cluster_id.send_replace(Some(known.as_str().into()));
                outcome = Outcome::Applied;
            }
            Payload::Normal(Command::Records { batch, .. }) => {
                self.replay(state, batch)?;
                state.bytes_since_snapshot += batch.len() as u64;
                outcome = Outcome::Applied;
            }
        }
        (state.position.last, state.position.end) = (Some(id), end.get());
        if !state.replayer.in_transaction() {
            state.stable = None;
        }
        Ok(outcome)
    }

    fn replay(&self, state: &mut State, batch: &[u8]) -> Result<(), String> {
        let view = BatchView::parse(batch).map_err(|e| e.to_string())?;
        let records = records_of(&view, &mut Scratch::default()).map_err(|e| match e {
            ReadError::Batch(reason) => reason,
            ReadError::Record(offset, cause) => format!("the record at {offset}: {cause}"),
        })?;
        for (offset, record) in records {
            if matches!(record, MetadataRecord::BeginTransaction(_)) {
                let image = state.replayer.image().clone();
                state.stable = Some(Box::new((image, state.position.clone())));
            }
            let replayed = state.replayer.replay(&record);
            replayed.map_err(|cause| format!("the record at {offset}: {cause}"))?;
        }
        Ok(())
    }

    /// The image to be written down, and where it stands.
    fn stable(&self) -> (ClusterImage, Position) {
        let mut state = self.state.lock();
        state.bytes_since_snapshot = 0;
        match &state.stable {
            Some(stable) => (**stable).clone(),
            None => (state.replayer.image().clone(), state.position.clone()),
        }
    }

    fn build(&self, image: &ClusterImage, position: &Position) -> io::Result<Snapshot<Types>> {
        let id = id_of(position);
        let bytes = snapshot::to_bytes(id, image, position, self.clock.now_ms());
        let bytes = bytes.map_err(storage)?;
        snapshot::write_bytes(self.fs.as_ref(), &self.directory, id, &bytes).map_err(storage)?;
        self.finish(id, position);
        info!(offset = position.end, bytes = bytes.len(), "wrote a snapshot of the metadata");
        Ok(Snapshot { meta: self.meta(position), snapshot: Box::new(Cursor::new(bytes)) })
    }

    /// A snapshot is on disk: what it covers may go.
    fn finish(&self, id: SnapshotId, position: &Position) {
        self.log.snapshot_is_there(position.last, Offset(position.end));
        if let Err(error) = self.log.roll() {
            warn!(%error, "no new segment of the metadata log could be begun: the old one goes on until the next snapshot");
        }
        if let Err(error) = snapshot::remove_older(self.fs.as_ref(), &self.directory, id) {
            warn!(%error, "an old snapshot of the metadata could not be removed");
        }
    }

    fn meta(&self, position: &Position) -> SnapshotMeta {
        let (term, index) = position.last.map_or((0, 0), |id| (id.leader_id.term, id.index));
        SnapshotMeta {
            last_log_id: position.last,
            last_membership: self.membership(position),
            snapshot_id: format!("{index}-{term}-{}", position.end),
        }
    }

    fn current(&self) -> Result<Option<Snapshot<Types>>, String> {
        let newest = snapshot::newest(self.fs.as_ref(), &self.directory);
        let Some((id, bytes)) = newest.map_err(|e| e.to_string())? else { return Ok(None) };
        let (image, position) =
            snapshot::read(&self.directory, &bytes).map_err(|e| e.to_string())?;
        let read = snapshot::Snapshot { id, image, position };
        let position = read.position();
        if position.last.is_none() {
            return Ok(None);
        }
        if read.position.is_some() {
            let snapshot = Box::new(Cursor::new(bytes));
            return Ok(Some(Snapshot { meta: self.meta(&position), snapshot }));
        }
        // One that does not say where it stands is no use to others.
        let bytes = snapshot::to_bytes(id, &read.image, &position, self.clock.now_ms());
        let bytes = bytes.map_err(|e| e.to_string())?;
        let snapshot = Box::new(Cursor::new(bytes));
        Ok(Some(Snapshot { meta: self.meta(&position), snapshot }))
    }

    fn install(&self, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<()> {
        let (image, position) = snapshot::read(&self.directory, bytes).map_err(io::Error::other)?;
        let silent = || io::Error::other("the snapshot does not say where it stands");
        let position = position.ok_or_else(silent)?;
        if position.last != meta.last_log_id {
            return Err(io::Error::other("the snapshot is not the one that was announced"));
        }
        let id = id_of(&position);
        snapshot::write_bytes(self.fs.as_ref(), &self.directory, id, bytes).map_err(storage)?;
        self.log.snapshot_is_there(position.last, Offset(position.end));
        let (delta, applied) = {
            let mut state = self.state.lock();
            let delta = difference(state.replayer.visible(), &image);
            let applied = Applied { last: position.last, end: Offset(position.end) };
            if let Some(id) = &position.cluster_id {
                self.cluster_id.send_replace(Some(id.as_str().into()));
            }
            *state = State::new(Replayer::new(image.clone()), position, 0);
            (delta, applied)
        };
        info!(offset = %applied.end, "took over a snapshot of the metadata from the leader");
        if !delta.is_empty() {
            self.publisher.publish(&Arc::new(image), &delta);
        }
        self.applied.send_replace(applied);
        if let Err(error) = snapshot::remove_older(self.fs.as_ref(), &self.directory, id) {
            warn!(%error, "an old snapshot of the metadata could not be removed");
        }
        Ok(())
    }
}

fn storage(error: CommitError) -> io::Error {
    match error {
        CommitError::Storage(cause) => io::Error::new(cause.kind(), cause),
        other => io::Error::other(other),
    }
}

fn id_of(position: &Position) -> SnapshotId {
    let term = position.last.map_or(0, |id| id.leader_id.term);
    SnapshotId { end: Offset(position.end), epoch: epoch_of(term) }
}

/// The machine as openraft drives it.
#[derive(Clone)]
pub(crate) struct Applier(pub Arc<Machine>);

impl Applier {
    async fn blocking<R: Send + 'static>(
        &self,
        work: impl FnOnce(&Machine) -> Result<R, String> + Send + 'static,
    ) -> Result<R, AnyError> {
        let machine = Arc::clone(&self.0);
        let done = self.0.executor.run(move || work(&machine)).await;
        let stopped = "a listener or a replay panicked, or the node is stopping".to_owned();
        done.unwrap_or(Err(stopped)).map_err(AnyError::error)
    }

    /// As `blocking`, for what a full disk puts off.
    async fn when_there_is_room<R: Send + 'static>(
        &self,
        work: impl Fn(&Machine) -> io::Result<R> + Send + Sync + 'static,
    ) -> Result<R, AnyError> {
        let machine = Arc::clone(&self.0);
        let work = move || work(&machine);
        let done = self.0.log.when_there_is_room("a snapshot of the metadata", move |_| work());
        done.await.map_err(|e| AnyError::new(&e))
    }
}

impl RaftStateMachine<Types> for Applier {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let state = self.0.state.lock();
        Ok((state.position.last, self.0.membership(&state.position)))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Outcome>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let applied = self.blocking(move |machine| machine.apply(&entries)).await;
        applied.map_err(|e| StorageIOError::write_state_machine(e).into())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        let (image, position) = self.0.stable();
        Builder { applier: self.clone(), image: Arc::new(image), position }
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let (meta, bytes) = (meta.clone(), snapshot.into_inner());
        let installed =
            self.when_there_is_room(move |machine| machine.install(&meta, &bytes)).await;
        installed.map_err(|e| StorageIOError::write_snapshot(None, e).into())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, StorageError> {
        let read = self.blocking(Machine::current).await;
        read.map_err(|e| StorageIOError::read_snapshot(None, e).into())
    }
}

/// Writes down the state at the time when it was made.
pub(crate) struct Builder {
    applier: Applier,
    image: Arc<ClusterImage>,
    position: Position,
}

impl RaftSnapshotBuilder<Types> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, StorageError> {
        let (image, position) = (Arc::clone(&self.image), self.position.clone());
        let build = move |machine: &Machine| machine.build(&image, &position);
        let built = self.applier.when_there_is_room(build).await;
        built.map_err(|e| StorageIOError::write_snapshot(None, e).into())
    }
}
