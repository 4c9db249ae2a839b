//! What a shard is asked: plain structs, free of protocol versions.
//!
//! Key types: [`JoinGroup`], [`SyncGroup`], [`Heartbeat`], [`LeaveGroup`], [`Now`]. A handler fills them from the wire;
//! bytes in them may still be slices of the request's frame, because the shard copies what it keeps.

use std::sync::Arc;

use bytes::Bytes;

/// The two clocks of one instant. Deadlines use the monotonic one, so a jump of the wall clock expires nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970-01-01 UTC: what records and replies carry.
    pub wall_ms: i64,
    /// Milliseconds of a clock that never goes back: what timers use.
    pub mono_ms: i64,
}

/// Who sends a request: shown by DescribeGroups and used to build member ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientInfo {
    /// The client id of the request header; empty when it was null.
    pub id: Arc<str>,
    /// The peer address, written as Kafka writes it: `/10.0.0.7`.
    pub host: Arc<str>,
}

/// One protocol that a classic member supports, with its opaque metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// The name of the assignor, for consumers.
    pub name: Arc<str>,
    /// Opaque to the broker, except the topics of a consumer's subscription.
    pub metadata: Bytes,
}

/// JoinGroup (key 11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinGroup {
    /// Which group.
    pub group_id: Arc<str>,
    /// Empty for a member that has no id yet.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member (version 5 and up).
    pub instance_id: Option<Arc<str>>,
    /// Who asks.
    pub client: ClientInfo,
    /// After how long without a heartbeat the member is dead.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for the member; version 0 has none and passes the session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer` for consumers, `connect` for Connect workers.
    pub protocol_type: Arc<str>,
    /// In order of preference.
    pub protocols: Vec<Protocol>,
    /// Why the member joins (version 8 and up), kept for show.
    pub reason: Option<Arc<str>>,
    /// Whether a member without id is first told its id with MEMBER_ID_REQUIRED (version 4 and up).
    pub requires_known_member_id: bool,
    /// Whether the leader understands `skip_assignment` (version 9 and up).
    pub supports_skip_assignment: bool,
    /// 16 random bytes, used when a member id has to be made.
    pub random: [u8; 16],
}

/// SyncGroup (key 14).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// Which group.
    pub group_id: Arc<str>,
    /// Which member.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The generation that the member's join answered.
    pub generation: i32,
    /// Checked against the group's when given (version 5 and up).
    pub protocol_type: Option<Arc<str>>,
    /// Checked against the group's when given (version 5 and up).
    pub protocol_name: Option<Arc<str>>,
    /// From the leader: member id and assignment.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// Heartbeat (key 12). Borrowed, because nothing of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat<'a> {
    /// Which group.
    pub group_id: &'a str,
    /// Which member.
    pub member_id: &'a str,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<&'a str>,
    /// The generation that the member belongs to.
    pub generation: i32,
}

/// LeaveGroup (key 13).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveGroup {
    /// Which group.
    pub group_id: Arc<str>,
    /// One before version 3, any number after.
    pub members: Vec<LeavingMember>,
}

/// One member of a [`LeaveGroup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// May be empty when `instance_id` names the member.
    pub member_id: Arc<str>,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// Why (version 5 and up), kept for show.
    pub reason: Option<Arc<str>>,
}
