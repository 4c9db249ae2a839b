//! What a shard answers: records to append, replies to send, and what to undo when the append fails.
//!
//! Key type: [`Decided`]. A reply in it may be sent when the records beside it are committed; without records, at once
//! (as soon as everything written before is committed).

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::ErrorCode;

use crate::classic::StaticReplacement;
use crate::record::Record;

/// The host's name for a request whose reply may come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestToken(pub u64);

/// The outcome of one request or timer. Handle it before the next call: append `records` as one batch, then
/// [`crate::Shard::apply`] it, or give the whole to [`crate::Shard::abort`].
#[derive(Debug)]
#[must_use = "records must be appended and replies sent"]
pub struct Decided<R> {
    /// To be appended in one batch; often empty.
    pub records: Vec<Record>,
    /// The answer to the request itself, where it is never deferred.
    pub reply: R,
    /// Answers to requests that waited (and to this one, where its API can wait).
    pub replies: Vec<(RequestToken, Response)>,
    pub(crate) undo: Undo,
    pub(crate) after: Vec<After>,
}

impl<R> Decided<R> {
    /// An answer that changes nothing.
    pub(crate) fn reply(reply: R) -> Self {
        Self {
            records: Vec::new(),
            reply,
            replies: Vec::new(),
            undo: Undo::Nothing,
            after: Vec::new(),
        }
    }

    /// The same with another answer.
    pub(crate) fn map<S>(self, with: impl FnOnce(R) -> S) -> Decided<S> {
        Decided {
            records: self.records,
            reply: with(self.reply),
            replies: self.replies,
            undo: self.undo,
            after: self.after,
        }
    }
}

/// Soft state that follows once the records are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// A member of a consumer group was heard of.
    Session {
        /// Which group.
        group_id: Arc<str>,
        /// Which member.
        member_id: Arc<str>,
        /// How long it may be silent.
        timeout_ms: i64,
    },
    /// A member has something to do for the rebalance, or (without a timeout) nothing any more.
    Rebalance {
        /// Which group.
        group_id: Arc<str>,
        /// Which member.
        member_id: Arc<str>,
        /// The epoch at which it has to do it.
        epoch: i32,
        /// How long it may take.
        timeout_ms: Option<i64>,
    },
    /// A consumer group has looked at the topics.
    Seen {
        /// Which group.
        group_id: Arc<str>,
        /// Their version.
        topics: i64,
        /// All expressions were evaluated anew.
        regexes: bool,
        /// Why the group rebalances, if it does.
        reason: Option<Arc<str>>,
    },
    /// The check of retention has more to do: it goes on at once.
    RetentionSoon {
        /// When it would have come again.
        instead_of_ms: i64,
    },
    /// A consumer group is a classic one again, and its members must join anew.
    ClassicAgain {
        /// Which group.
        group_id: Arc<str>,
        /// Why.
        reason: Arc<str>,
    },
}

/// Soft state to be put back when the records could not be appended.
#[derive(Debug, Default)]
pub(crate) enum Undo {
    /// Nothing but turning the replies into errors.
    #[default]
    Nothing,
    /// The group was made by this very request.
    NewGroup(Arc<str>),
    /// The leader's assignment could not be stored: rebalance again.
    Sync {
        /// Which group.
        group_id: Arc<str>,
        /// The generation that was about to become stable.
        generation: i32,
    },
    /// A static member came back under a new id.
    StaticMember(Box<StaticReplacement>),
}

/// The answer to a request that can wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To a JoinGroup.
    Join(JoinResponse),
    /// To a SyncGroup.
    Sync(SyncResponse),
}

/// JoinGroup's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinResponse {
    /// [`ErrorCode::None`] when joined.
    pub error: ErrorCode,
    /// -1 with an error.
    pub generation: i32,
    /// Null with an error.
    pub protocol_type: Option<Arc<str>>,
    /// The protocol that the group voted for; null with an error.
    pub protocol_name: Option<Arc<str>>,
    /// The leader's member id.
    pub leader: Arc<str>,
    /// The leader keeps the assignment as it is (version 9 and up).
    pub skip_assignment: bool,
    /// The member's id, fresh where it had none.
    pub member_id: Arc<str>,
    /// Everybody, for the leader; empty for others.
    pub members: Vec<JoinMember>,
}

/// One member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

impl JoinResponse {
    pub(crate) fn error(member_id: &Arc<str>, error: ErrorCode) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol_name: None,
            leader: "".into(),
            skip_assignment: false,
            member_id: Arc::clone(member_id),
            members: Vec::new(),
        }
    }
}

/// SyncGroup's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncResponse {
    /// [`ErrorCode::None`] when the assignment is there.
    pub error: ErrorCode,
    /// Null with an error.
    pub protocol_type: Option<Arc<str>>,
    /// Null with an error.
    pub protocol_name: Option<Arc<str>>,
    /// What the leader gave to the member.
    pub assignment: Bytes,
}

impl SyncResponse {
    pub(crate) const fn error(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol_name: None, assignment: Bytes::new() }
    }
}

impl Response {
    /// The same answer with `error` in place of what was decided: its records will not be committed.
    #[must_use]
    pub fn failed(self, error: ErrorCode) -> Self {
        match self {
            Self::Join(join) => Self::Join(JoinResponse::error(&join.member_id, error)),
            Self::Sync(_) => Self::Sync(SyncResponse::error(error)),
        }
    }
}

/// The error that a group member sees when the log refused a record with `error`: a member retries against the
/// coordinator, so errors of the partition are told in the coordinator's words.
pub(crate) const fn append_error(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::RecordListTooLarge
        | ErrorCode::MessageTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}
