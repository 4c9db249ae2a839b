//! What nodes of the quorum say to each other, as bytes.
//!
//! Key types: [`Request`], [`Answer`]. Reading never panics or allocates by an unchecked length; what a message asks for is
//! judged elsewhere.

use bytes::Bytes;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use serde::{Deserialize, Serialize};

use super::types::{LogId, Member, SnapshotMeta, Types, Vote};

/// The first byte of every message. Another one is of a release that this one does not know.
const FORMAT: u8 = 1;

/// A message, with who sends it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The cluster that the sender belongs to, if it knows.
    pub cluster_id: Option<String>,
    /// The sender.
    pub from: i32,
    /// The id of its metadata directory.
    pub directory: [u8; 16],
    /// Who is meant.
    pub to: i32,
    /// The metadata directory that the sender knows it with; zeros when it knows none.
    pub expected: [u8; 16],
    /// What it says.
    pub body: Ask,
}

/// What a message says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Take these entries.
    Append(AppendEntriesRequest<Types>),
    /// Vote for me.
    Vote(VoteRequest<i32>),
    /// Take this part of a snapshot.
    Snapshot { vote: Vote, meta: SnapshotMeta, offset: u64, done: bool, data: Bytes },
    /// Would you vote for me?
    Probe { last: Option<LogId>, gone: Option<i32> },
    /// Let me follow the log; this is where I am.
    Join(Member),
    /// Are you there?
    Ping,
    /// I lead no more after this term; that one is to follow.
    Leaving { term: u64, next: i32 },
}

/// The answer to a message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The cluster that the answering node belongs to, if it knows.
    pub cluster_id: Option<String>,
    /// Who answers.
    pub from: i32,
    /// The id of its metadata directory.
    pub directory: [u8; 16],
    /// What it says.
    pub body: Reply,
}

/// What an answer says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// To [`Ask::Append`].
    Append(Appended),
    /// To [`Ask::Vote`].
    Vote(VoteResponse<i32>),
    /// To [`Ask::Snapshot`]: the vote that this node is bound by.
    Snapshot(Vote),
    /// To [`Ask::Snapshot`]: begin again, this is no part that was waited for.
    SnapshotAgain { expect: u64, got: u64 },
    /// To [`Ask::Probe`].
    Probe { yes: bool },
    /// To [`Ask::Join`], [`Ask::Ping`] and [`Ask::Leaving`]: well.
    Done,
    /// To [`Ask::Join`]: ask that one.
    Elsewhere(Option<i32>),
    /// The message is refused; the text says why and what to do.
    Refused(String),
    /// It could not be worked on now.
    Failed(String),
}

/// openraft's answer with names that are ours, so that it can be cloned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Appended {
    Success,
    Partial(Option<LogId>),
    Conflict,
    HigherVote(Vote),
}

impl From<AppendEntriesResponse<i32>> for Appended {
    fn from(response: AppendEntriesResponse<i32>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(last) => Self::Partial(last),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(vote),
        }
    }
}

impl From<Appended> for AppendEntriesResponse<i32> {
    fn from(response: Appended) -> Self {
        match response {
            Appended::Success => Self::Success,
            Appended::Partial(last) => Self::PartialSuccess(last),
            Appended::Conflict => Self::Conflict,
            Appended::HigherVote(vote) => Self::HigherVote(vote),
        }
    }
}

/// The bytes of a message or an answer.
pub(crate) fn to_bytes<T: Serialize>(message: &T) -> Result<Bytes, postcard::Error> {
    postcard::to_extend(message, vec![FORMAT]).map(Bytes::from)
}

/// Reads what [`to_bytes`] wrote.
pub(crate) fn from_bytes<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&FORMAT, rest)) => match postcard::take_from_bytes(rest) {
            Ok((message, [])) => Ok(message),
            Ok(_) => Err("bytes follow the message".to_owned()),
            Err(error) => Err(error.to_string()),
        },
        Some((format, _)) => {
            Err(format!("a message of format {format}, which this release does not know"))
        }
        None => Err("an empty message".to_owned()),
    }
}
