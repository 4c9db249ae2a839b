//! What can be asked about the quorum.
//!
//! Key types: [`Leadership`], [`QuorumStatus`]. Values only.

use millstream_base::{NodeId, Offset, TimestampMs, Uuid};

use crate::transport::Peer;

/// Who leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leadership {
    /// The leader, as far as this node knows. `None` while there is none, and on a leader that has lost its majority.
    pub leader: Option<NodeId>,
    /// The epoch: a leader of a later time has a greater one. Raft's term.
    pub epoch: i32,
    /// Whether this node leads and has applied all that leaders before it committed: it takes commands.
    pub is_me: bool,
}

/// What DescribeQuorum tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuorumStatus {
    /// The leader, if there is one.
    pub leader: Option<NodeId>,
    /// Its epoch.
    pub epoch: i32,
    /// The offset up to which entries are committed (and applied here).
    pub high_watermark: Offset,
    /// Who votes.
    pub voters: Vec<ReplicaStatus>,
    /// Who follows without a vote.
    pub observers: Vec<ReplicaStatus>,
}

/// How far one node is. Only the leader knows more than who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Who, and where it is reached.
    pub peer: Peer,
    /// The id of its metadata directory; [`Uuid::ZERO`] when it is not known.
    pub directory_id: Uuid,
    /// The offset after the last record that it has on disk; -1 when it is not known.
    pub log_end_offset: Offset,
    /// When it last took something; `None` when it is not known.
    pub last_fetch: Option<TimestampMs>,
    /// When it last had all that the leader had; `None` when it is not known.
    pub last_caught_up: Option<TimestampMs>,
}
