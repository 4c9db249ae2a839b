//! How the metadata log is opened: who this node is, who votes, how patient it is.
//!
//! Key types: [`QuorumOptions`], [`Voter`], [`Timing`]. Values only.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{NodeId, Uuid};

use crate::transport::Peer;

/// How the log is to be opened.
#[derive(Debug, Clone)]
pub struct QuorumOptions {
    /// The data directory that holds the metadata log (`metadata.log.dir`).
    pub data_dir: PathBuf,
    /// This node (`node.id`).
    pub node_id: NodeId,
    /// The id of `data_dir` (`directory.id` of its `meta.properties`): a node that comes with another one has lost
    /// what it promised. [`Uuid::ZERO`] when there is none, which is never compared.
    pub directory_id: Uuid,
    /// Where the others reach this node: its controller listener, or the listener for brokers where it has none.
    /// `None` is allowed where the node is one of `voters`, or alone.
    pub address: Option<(String, u16)>,
    /// `controller.quorum.voters` (or who was found at `controller.quorum.bootstrap.servers`). Empty means this node alone.
    /// They make up a new log's quorum; where the log knows its voters already, only their addresses count.
    pub voters: Vec<Voter>,
    /// Whether this node may be a voter: its roles have `controller`. Another one observes.
    pub is_voter: bool,
    /// The id of the cluster that this directory belongs to, if it is known.
    pub cluster_id: Option<String>,
    /// The id that this node gives to a new cluster if it is its first leader; made of `directory_id` when `None`.
    pub proposed_cluster_id: Option<String>,
    /// The feature levels with which a new cluster begins.
    pub features: Vec<(Arc<str>, i16)>,
    /// `metadata.log.max.record.bytes.between.snapshots`.
    pub snapshot_after_bytes: u64,
    /// How long what waits.
    pub timing: Timing,
    /// Where the random part of time-outs begins. Nodes must differ; the same seed gives the same delays.
    pub seed: u64,
}

impl Default for QuorumOptions {
    /// A node alone, in the current directory.
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("."),
            node_id: NodeId(1),
            directory_id: Uuid::ZERO,
            address: None,
            voters: Vec::new(),
            is_voter: true,
            cluster_id: None,
            proposed_cluster_id: None,
            features: Vec::new(),
            snapshot_after_bytes: u64::MAX,
            timing: Timing::default(),
            seed: 0,
        }
    }
}

impl QuorumOptions {
    /// Whether this node is the only voter that the settings name.
    pub fn is_alone(&self) -> bool {
        self.is_voter && self.voters.iter().all(|voter| voter.peer.id == self.node_id)
    }
}

/// A member of the quorum that may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Who, and where.
    pub peer: Peer,
    /// The id of its metadata directory; [`Uuid::ZERO`] when it is not known yet.
    pub directory_id: Uuid,
}

/// How long what waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How often a leader tells that it is there.
    pub heartbeat: Duration,
    /// A voter that heard nothing from a leader for a random time between this...
    pub election_min: Duration,
    /// ... and this asks to be elected. After as long a leader that reaches no majority no longer says that it leads.
    pub election_max: Duration,
    /// How long one message may take.
    pub request: Duration,
}

impl Timing {
    /// After `controller.quorum.election.timeout.ms`: elections within that time and half of it.
    pub fn of_election_timeout(election: Duration) -> Self {
        Self {
            heartbeat: (election / 8).clamp(Duration::from_millis(10), Duration::from_millis(150)),
            election_min: election / 2,
            election_max: election,
            request: election.max(Duration::from_millis(200)),
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::of_election_timeout(Duration::from_millis(1000))
    }
}
