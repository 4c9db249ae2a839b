//! Opening a node of a quorum of several: what is on disk is read, and what is known to be committed is applied, so that the
//! image can be read before anyone leads.
//!
//! Key functions: [`open`], [`start`].

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use millstream_base::Offset;
use millstream_env::clock::Clock;
use millstream_env::fs::Fs;
use millstream_env::task;
use millstream_metadata::Replayer;
use millstream_records::{BatchView, Scratch};
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::entries::{Entries, Read, entries_after};
use super::log::Log;
use super::machine::{Applied, Applier, Machine, State};
use super::network::Network;
use super::node::{Node, Running};
use super::types::Membership;
use super::{control, members, vote};
use crate::core::{corrupt, replay_batch};
use crate::error::OpenError;
use crate::executor::Executor;
use crate::options::QuorumOptions;
use crate::publish::Publisher;
use crate::snapshot::{self, SnapshotId};
use crate::status::Leadership;
use crate::store::Store;
use crate::transport::{Peer, Transport};

/// How the log is read, and what for.
pub(crate) struct Opening {
    pub fs: Arc<dyn Fs>,
    pub clock: Arc<dyn Clock>,
    pub executor: Executor,
    pub options: QuorumOptions,
    pub address: Option<Peer>,
}

/// What is on disk.
struct OnDisk {
    store: Store,
    entries: Entries,
    state: State,
    /// Whether a quorum wrote it: otherwise a node that ran alone, or Kafka.
    by_quorum: bool,
    cut_bytes: u64,
}

/// Only this node: what a log that no quorum wrote has as its members.
fn alone(options: &QuorumOptions) -> Membership {
    let only = QuorumOptions { voters: Vec::new(), is_voter: true, ..options.clone() };
    members::configured(&only, None)
}

/// Opens a node; it takes part once it is started.
pub(crate) fn open(
    opening: Opening,
    publisher: impl FnOnce(Arc<millstream_metadata::ClusterImage>) -> Arc<Publisher>,
    leadership: watch::Sender<Leadership>,
    cluster_id: watch::Sender<Option<Arc<str>>>,
) -> Result<Arc<Node>, OpenError> {
    let Opening { fs, clock, executor, options, address } = opening;
    let directory = options.data_dir.join(crate::METADATA_DIR);
    let OnDisk { store, entries, mut state, by_quorum, cut_bytes } = read(&fs, &directory)?;
    if cut_bytes > 0 {
        warn!(directory = %directory.display(), bytes = cut_bytes,
            "cut a torn tail off the metadata log: the last write before the stop was not finished");
    }
    let promised = vote::read_vote(fs.as_ref(), &directory)?;
    let legacy = !by_quorum && entries.last().is_some();
    let committed = if legacy || options.is_alone() {
        entries.last()
    } else {
        vote::read_committed(fs.as_ref(), &directory)
    };
    let committed = committed.map(|id| id.index);
    replay(&mut state, &entries, committed, &directory)?;
    let configured =
        if legacy { alone(&options) } else { members::configured(&options, address.as_ref()) };
    let image = Arc::new(state.replayer.visible().clone());
    let known = state.position.cluster_id.clone();
    if let Some(id) = &known {
        cluster_id.send_replace(Some(id.as_str().into()));
    }
    let applied = Applied { last: state.position.last, end: Offset(state.position.end) };
    let log = Log::new(
        Arc::clone(&fs),
        directory.clone(),
        Arc::clone(&clock),
        executor.clone(),
        store,
        entries,
        promised,
    );
    let machine = Machine {
        fs,
        directory,
        clock,
        executor,
        log,
        publisher: publisher(image),
        state: Mutex::new(state),
        configured,
        applied: watch::Sender::new(applied),
        cluster_id,
    };
    Ok(Arc::new(Node::new(options, Arc::new(machine), leadership, address)))
}

/// Reads snapshot and log.
fn read(fs: &Arc<dyn Fs>, directory: &Path) -> Result<OnDisk, OpenError> {
    let loaded = snapshot::load_newest(fs.as_ref(), directory)?;
    let position = loaded.position();
    let SnapshotId { end, epoch } = loaded.id;
    let mut batches = Vec::new();
    let mut by_quorum = loaded.position.as_ref().is_some_and(|known| known.membership.is_some());
    let (mut store, recovered) = Store::open(Arc::clone(fs), directory, end, |batch, place| {
        if batch.header().attributes.is_control() {
            let ours = control::read(batch).map_err(|reason| corrupt(directory, batch, &reason))?;
            by_quorum |= ours.is_some();
        }
        batches.push(Read {
            base: batch.header().base_offset,
            end: batch.header().next_offset(),
            epoch: batch.header().partition_leader_epoch,
            place,
            bytes: Bytes::copy_from_slice(batch.bytes()),
        });
        Ok(())
    })?;
    if recovered.start > end {
        let (path, start) = (directory.to_owned(), recovered.start);
        return Err(OpenError::Gap { path, start, snapshot: end });
    }
    let continues = store.next_offset() >= end;
    let entries = continues.then(|| entries_after(batches, position.last, end)).flatten();
    let entries = if let Some(entries) = entries {
        entries
    } else {
        if loaded.position.is_none() {
            let (path, start) = (directory.to_owned(), recovered.start);
            return Err(OpenError::Gap { path, start, snapshot: end });
        }
        info!(offset = %end, "the metadata log goes on after the snapshot that was taken over");
        let restarted = store.restart(end, epoch);
        restarted.map_err(|e| crate::store::io_error("begin", directory, e))?;
        Entries { purged: position.last, purged_end: end, ..Entries::default() }
    };
    let state = State::new(Replayer::new(loaded.image), position, 0);
    Ok(OnDisk { store, entries, state, by_quorum, cut_bytes: recovered.cut_bytes })
}

/// Applies what is known to be committed.
fn replay(
    state: &mut State,
    entries: &Entries,
    committed: Option<u64>,
    directory: &Path,
) -> Result<(), OpenError> {
    let mut scratch = Scratch::default();
    for entry in &entries.entries {
        if committed.is_none_or(|committed| entry.id.index > committed) {
            break;
        }
        let batch = BatchView::parse(&entry.batch).map_err(|e| OpenError::Corrupt {
            path: directory.to_owned(),
            position: entry.place.position,
            reason: e.to_string(),
        })?;
        let before = Offset(state.position.end);
        replay_batch(&mut state.replayer, &mut scratch, &batch, before, directory)?;
        state.position.advance(&batch).map_err(|reason| corrupt(directory, &batch, &reason))?;
        state.bytes_since_snapshot += entry.batch.len() as u64;
    }
    drop(state.replayer.take_delta());
    Ok(())
}

/// Begins to take part.
pub(crate) fn start(node: &Arc<Node>, transport: Arc<dyn Transport>, propose: Proposer) {
    let node = Arc::clone(node);
    drop(task::spawn(async move {
        let applier = Applier(Arc::clone(&node.machine));
        let network = Network(Arc::downgrade(&node));
        let log = node.machine.log.clone();
        let config = Arc::new(config(&node.options));
        let raft = openraft::Raft::new(node.id(), config, network, log, applier).await;
        let raft = match raft {
            Ok(raft) => raft,
            Err(error) => {
                error!(node = node.id(), %error, "the metadata quorum cannot be started on this node");
                return;
            }
        };
        if node.stopped.load(Ordering::SeqCst)
            || !node.run(Running { raft: raft.clone(), transport })
        {
            drop(raft.shutdown().await);
            return;
        }
        drop(task::spawn(propose(Arc::clone(&node))));
        super::elections::drive(node).await;
        drop(raft.shutdown().await);
    }));
}

/// Makes the task that hands commands to a node.
pub(crate) type Proposer =
    Box<dyn FnOnce(Arc<Node>) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

fn config(options: &QuorumOptions) -> Config {
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    Config {
        cluster_name: "metadata".to_owned(),
        // openraft has no part in elections and heartbeats but to carry them out; see `elections.rs`. The interval is the
        // time that one message may take.
        heartbeat_interval: ms(options.timing.election_min / 2),
        election_timeout_min: ms(super::LEASE) - 1,
        election_timeout_max: ms(super::LEASE),
        enable_elect: false,
        enable_heartbeat: false,
        install_snapshot_timeout: 30_000,
        max_payload_entries: 1_000,
        replication_lag_threshold: u64::MAX,
        snapshot_policy: SnapshotPolicy::Never,
        snapshot_max_chunk_size: 1 << 20,
        max_in_snapshot_log_to_keep: 100,
        ..Config::default()
    }
}
