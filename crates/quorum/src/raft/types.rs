//! The types with which openraft is used.
//!
//! Key types: [`Types`] (its type configuration), [`Command`] (what an entry of ours says), [`Member`].

use bytes::Bytes;
use millstream_base::{LeaderEpoch, NodeId, Offset, Uuid};
use millstream_records::BatchView;
use serde::{Deserialize, Serialize};

use super::control::Control;
use crate::transport::Peer;

openraft::declare_raft_types!(
    /// How openraft is used here.
    pub(crate) Types:
        D = Command,
        R = Outcome,
        NodeId = i32,
        Node = Member,
        Entry = openraft::Entry<Types>,
        SnapshotData = std::io::Cursor<Vec<u8>>,
        AsyncRuntime = super::runtime::Runtime,
);

pub(crate) type Raft = openraft::Raft<Types>;
pub(crate) type LogId = openraft::LogId<i32>;
pub(crate) type Vote = openraft::Vote<i32>;
pub(crate) type Entry = openraft::Entry<Types>;
pub(crate) type Payload = openraft::EntryPayload<Types>;
pub(crate) type Membership = openraft::Membership<i32, Member>;
pub(crate) type StoredMembership = openraft::StoredMembership<i32, Member>;
pub(crate) type StorageError = openraft::StorageError<i32>;
pub(crate) type StorageIOError = openraft::StorageIOError<i32>;
pub(crate) type SnapshotMeta = openraft::SnapshotMeta<i32, Member>;

/// What an entry of ours says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Command {
    /// Metadata records, as one batch with `at` as its base offset: decided on the state at that offset. Appended
    /// anywhere else it says nothing.
    Records {
        /// Where it must stand.
        at: i64,
        /// The batch.
        batch: Bytes,
    },
    /// The id of the cluster. The first one stays.
    ClusterId(String),
}

/// What applying an entry did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Its command took effect.
    Applied,
    /// It has none, or it was decided on a state that something else changed.
    Nothing,
}

/// A member of the quorum, as the log remembers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub host: String,
    pub port: u16,
    /// The id of its metadata directory; zeros until it is known.
    pub directory: [u8; 16],
}

impl Member {
    pub(crate) fn new(peer: &Peer, directory: Uuid) -> Self {
        Self { host: peer.host.clone(), port: peer.port, directory: directory.0 }
    }

    pub(crate) fn directory(&self) -> Uuid {
        Uuid(self.directory)
    }

    pub(crate) fn peer(&self, id: i32) -> Peer {
        Peer { id: NodeId(id), host: self.host.clone(), port: self.port }
    }
}

/// A log id of this term and index.
pub(crate) fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::CommittedLeaderId::new(term, 0), index)
}

/// The term of an epoch; epochs before the first are term 0.
pub(crate) fn term_of(epoch: LeaderEpoch) -> u64 {
    u64::try_from(epoch.get()).unwrap_or(0)
}

/// The epoch of a term.
pub(crate) fn epoch_of(term: u64) -> LeaderEpoch {
    LeaderEpoch(i32::try_from(term).unwrap_or(i32::MAX))
}

/// What a snapshot holds beside the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last entry that it covers.
    pub last: Option<LogId>,
    /// The offset after it.
    pub end: i64,
    /// The members as of that entry; `None` while they are those of the settings.
    pub membership: Option<StoredMembership>,
    /// The id of the cluster, if it was agreed by then.
    pub cluster_id: Option<String>,
}

impl Default for Position {
    fn default() -> Self {
        Self { last: None, end: Offset::ZERO.get(), membership: None, cluster_id: None }
    }
}

impl Position {
    /// Goes on past a batch of the log.
    pub(crate) fn advance(&mut self, batch: &BatchView<'_>) -> Result<(), String> {
        let header = batch.header();
        self.wrote(1, header.partition_leader_epoch, header.next_offset());
        if header.attributes.is_control() {
            self.control(super::control::read(batch)?);
        }
        Ok(())
    }

    /// Goes on past `count` batches, the last of which ends before `end`.
    pub(crate) fn wrote(&mut self, count: u64, epoch: LeaderEpoch, end: Offset) {
        let next = self.last.map_or(0, |last| last.index + 1);
        if count > 0 {
            self.last = Some(log_id(term_of(epoch), next + count - 1));
        }
        self.end = end.get();
    }

    fn control(&mut self, control: Option<Control>) {
        match control {
            Some(Control::Membership(members)) => {
                self.membership = Some(StoredMembership::new(self.last, members));
            }
            Some(Control::ClusterId(id)) => {
                self.cluster_id.get_or_insert(id);
            }
            Some(Control::Blank | Control::Position(_)) | None => {}
        }
    }
}
