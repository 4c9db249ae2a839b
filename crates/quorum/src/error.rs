//! What can go wrong: opening the log, committing a command.

use std::path::PathBuf;
use std::sync::Arc;

use millstream_base::{ErrorCode, NodeId, Offset};
use millstream_metadata::ReplayError;
use millstream_metadata::decide::Refusal;
use millstream_wire::{DecodeError, EncodeError};

/// The metadata log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file cannot be read or written.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        cause: std::io::Error,
    },
    /// A batch is damaged although others follow it: no torn tail, so nothing may be cut.
    #[error(
        "{} is damaged at byte {position} ({reason}), and good records follow: restore the file from a backup or another node",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damage starts.
        position: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The log does not begin where the snapshot ends.
    #[error(
        "the metadata log in {} begins at offset {start}, but its newest snapshot ends at {snapshot}: a file is missing, restore it",
        path.display()
    )]
    Gap {
        /// The log's directory.
        path: PathBuf,
        /// The first offset of the log.
        start: Offset,
        /// The end of the snapshot; 0 when there is none.
        snapshot: Offset,
    },
    /// A record cannot be read.
    #[error(
        "the metadata record at offset {offset} cannot be read ({cause}): was it written by a newer release?"
    )]
    Record {
        /// Where it is.
        offset: Offset,
        /// What the decoder says.
        #[source]
        cause: DecodeError,
    },
    /// A record does not fit those before it.
    #[error("the metadata record at offset {offset} does not fit those before it: {cause}")]
    Replay {
        /// Where it is.
        offset: Offset,
        /// Why not.
        #[source]
        cause: ReplayError,
    },
    /// The log is of a quorum of several, but the settings name this node alone.
    #[error(
        "the metadata log in {} has the voters {voters}: set controller.quorum.voters to them", path.display()
    )]
    Voters {
        /// The log's directory.
        path: PathBuf,
        /// `id@host:port` of each.
        voters: String,
    },
    /// The first records cannot be written.
    #[error("the first metadata records cannot be written: {0}")]
    Bootstrap(#[source] CommitError),
}

/// A command was not committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    /// The decision was against it.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The log cannot be written. Whether the records are in it after a restart is open.
    #[error("the metadata log cannot be written: {0}")]
    Storage(Arc<std::io::Error>),
    /// An earlier fsync failed: what is on disk is not known until a restart has read it.
    #[error("the metadata log failed before ({0}) and takes nothing until the broker is restarted")]
    Failed(Arc<std::io::Error>),
    /// A record that cannot be encoded.
    #[error("a metadata record cannot be encoded: {0}")]
    Encode(Arc<EncodeError>),
    /// What the quorum itself writes cannot be encoded.
    #[error("an entry of the quorum cannot be encoded: {0}")]
    Control(String),
    /// The decision's own records contradict the image. A mistake in the decision; nothing was written.
    #[error("a decision contradicts the cluster's state: {0}")]
    Replay(ReplayError),
    /// More records than one batch holds.
    #[error("the change is too large for one batch of metadata records")]
    TooLarge,
    /// Another node decides, or none at the moment; what was asked may be asked again.
    #[error("{}", match leader {
        Some(leader) => format!("this node is not the active controller: node {leader} is"),
        None => "there is no active controller at the moment: ask again".to_owned(),
    })]
    NotController {
        /// Who decides, if that is known.
        leader: Option<NodeId>,
    },
    /// The log is closed, or closes before the command was decided.
    #[error("the metadata log is closed: the broker is stopping")]
    Closed,
}

impl CommitError {
    /// The code that clients are answered with.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code,
            Self::Storage(_) | Self::Failed(_) => ErrorCode::KafkaStorageError,
            Self::Closed | Self::NotController { .. } => ErrorCode::NotController,
            Self::Encode(_) | Self::Control(_) | Self::Replay(_) => ErrorCode::UnknownServerError,
            Self::TooLarge => ErrorCode::PolicyViolation,
        }
    }
}

/// A member was not added or removed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MemberError {
    /// This node does not lead, or no longer.
    #[error("{}", CommitError::NotController { leader: *leader })]
    NotController {
        /// Who leads, if that is known.
        leader: Option<NodeId>,
    },
    /// It votes already.
    #[error("node {0} is a voter already: remove it first if its metadata directory is a new one")]
    AlreadyVoter(NodeId),
    /// It does not vote.
    #[error("node {0} is no voter")]
    NotVoter(NodeId),
    /// The named directory is not the one that the voter has.
    #[error("voter {0} has another metadata directory than the one that is to be removed")]
    OtherDirectory(NodeId),
    /// Nobody would be left.
    #[error("node {0} is the last voter and cannot be removed")]
    LastVoter(NodeId),
    /// Another change is not finished.
    #[error("another change of the quorum's members is under way: ask again when it is finished")]
    Busy,
    /// It does not come near the end of the log.
    #[error(
        "node {0} does not catch up with the metadata log: see whether it runs and is reached at the address given"
    )]
    NotCaughtUp(NodeId),
    /// This node runs without the others.
    #[error(
        "this node runs alone and reaches no others: set controller.listener.names and the listener, then restart it"
    )]
    Alone,
    /// The log is closed or cannot be written.
    #[error("the metadata log takes no changes: {0}")]
    Failed(String),
}

impl MemberError {
    /// The code that clients are answered with.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotController { .. } => ErrorCode::NotController,
            Self::AlreadyVoter(_) => ErrorCode::DuplicateVoter,
            Self::NotVoter(_) | Self::OtherDirectory(_) => ErrorCode::VoterNotFound,
            Self::LastVoter(_) | Self::Alone => ErrorCode::InvalidRequest,
            Self::Busy | Self::NotCaughtUp(_) => ErrorCode::RequestTimedOut,
            Self::Failed(_) => ErrorCode::UnknownServerError,
        }
    }
}

impl From<Refusal> for CommitError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
