//! The classic group protocol: clients assign, the broker counts members and generations.
//!
//! Key type: [`ClassicGroup`]. States go Empty -> PreparingRebalance -> CompletingRebalance -> Stable, and back to
//! PreparingRebalance whenever membership or metadata changes. `join`, `rebalance` and `session` hold the transitions;
//! this file holds the group itself. The group becomes Stable only when its record is applied.

mod join;
mod member;
mod rebalance;
mod record;
mod session;
mod subscription;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millstream_base::ErrorCode;

pub(crate) use self::join::{StaticReplacement, member_id};
pub(crate) use self::member::{Member, own_protocols};
use crate::config::GroupConfig;
use crate::effect::{
    Decided, JoinMember, JoinResponse, RequestToken, Response, SyncResponse, Undo,
};
use crate::record::Record;
use crate::request::{Now, Protocol};
use crate::timers::{SessionTimer, TimerKey, Timers};

/// The protocol type of consumers: the only one whose metadata the broker looks into.
pub(crate) const CONSUMER: &str = "consumer";

/// What a transition reads and where it puts its effects.
pub(crate) struct Cx<'a> {
    pub(crate) now: Now,
    pub(crate) config: &'a GroupConfig,
    pub(crate) timers: &'a mut Timers,
    pub(crate) records: Vec<Record>,
    pub(crate) replies: Vec<(RequestToken, Response)>,
    pub(crate) undo: Undo,
}

impl<'a> Cx<'a> {
    pub(crate) fn new(now: Now, config: &'a GroupConfig, timers: &'a mut Timers) -> Self {
        Self { now, config, timers, records: Vec::new(), replies: Vec::new(), undo: Undo::Nothing }
    }

    pub(crate) fn finish<R>(self, reply: R) -> Decided<R> {
        Decided {
            records: self.records,
            reply,
            replies: self.replies,
            undo: self.undo,
            after: Vec::new(),
        }
    }

    fn join_reply(&mut self, token: RequestToken, response: JoinResponse) {
        self.replies.push((token, Response::Join(response)));
    }

    fn sync_reply(&mut self, token: RequestToken, response: SyncResponse) {
        self.replies.push((token, Response::Sync(response)));
    }

    fn deadline(&self, after_ms: i64) -> i64 {
        self.now.mono_ms.saturating_add(after_ms.max(0))
    }
}

/// Where a classic group stands. There is no Dead here: a dead group is gone from the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// No members; perhaps offsets.
    Empty,
    /// Members are asked to join again.
    PreparingRebalance,
    /// Members have joined; the leader's assignment is awaited.
    CompletingRebalance,
    /// Every member can have its assignment.
    Stable,
}

impl State {
    /// Kafka's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

/// What the join timer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JoinWait {
    /// The first members of an empty group: more are given time to come, up to what remains.
    Initial { delay_ms: i64, remaining_ms: i64 },
    /// The members of the last generation.
    Rebalance,
}

/// A group whose members speak the classic protocol, or that has only offsets.
#[derive(Clone, Debug)]
pub(crate) struct ClassicGroup {
    pub(crate) id: Arc<str>,
    pub(crate) state: State,
    /// Wall clock of the last change of state; -1 when a record lacked it.
    pub(crate) state_since_ms: i64,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) leader: Option<Arc<str>>,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    /// Told their id with MEMBER_ID_REQUIRED and not back yet.
    pending: BTreeMap<Arc<str>, SessionTimer>,
    /// `group.instance.id` to member id.
    static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// How many members support each protocol.
    supported: BTreeMap<Arc<str>, usize>,
    awaiting_join: usize,
    pending_sync: BTreeSet<Arc<str>>,
    join_wait: Option<(i64, JoinWait)>,
    sync_deadline_ms: Option<i64>,
    member_added: bool,
    /// Topics that consumers of the current generation subscribe to; `None` when not known.
    subscribed: Option<BTreeSet<Arc<str>>>,
    /// Why the last rebalance began, for show.
    pub(crate) rebalance_reason: Option<Arc<str>>,
}

impl ClassicGroup {
    pub(crate) fn new(id: Arc<str>, now: Now) -> Self {
        Self {
            id,
            state: State::Empty,
            state_since_ms: now.wall_ms,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            pending: BTreeMap::new(),
            static_members: BTreeMap::new(),
            supported: BTreeMap::new(),
            awaiting_join: 0,
            pending_sync: BTreeSet::new(),
            join_wait: None,
            sync_deadline_ms: None,
            member_added: false,
            subscribed: None,
            rebalance_reason: None,
        }
    }

    pub(crate) fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether the group reads `topic`; when that cannot be known of a consumer group, it is taken to.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    pub(crate) const fn subscribed_topics(&self) -> Option<&BTreeSet<Arc<str>>> {
        self.subscribed.as_ref()
    }

    fn transition(&mut self, state: State, now: Now) {
        self.state = state;
        self.state_since_ms = now.wall_ms;
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    fn leader_or_empty(&self) -> Arc<str> {
        self.leader.clone().unwrap_or_else(|| "".into())
    }

    /// Whether `member_id` (and `instance_id`, when given) names a member of the group as it is now.
    pub(crate) fn validate_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if &**known != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn validate_generation(&self, generation: i32) -> Result<(), ErrorCode> {
        if generation == self.generation { Ok(()) } else { Err(ErrorCode::IllegalGeneration) }
    }

    /// Whether a member with these protocols could be of the group.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.members.is_empty() {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let all = self.members.len();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.supported.get(&protocol.name) == Some(&all))
    }

    /// The protocol that all members support and most prefer. Equal votes go by the leader's order.
    fn select_protocol(&self) -> Option<Arc<str>> {
        let all = self.members.len();
        let candidates: Vec<&str> = self
            .supported
            .iter()
            .filter(|(_, count)| **count == all)
            .map(|(name, _)| &**name)
            .collect();
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.vote(&candidates) {
                *votes.entry(choice).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        let order = leader.or_else(|| self.members.values().next())?;
        let winner = order.protocols.iter().find(|mine| votes.get(&*mine.name) == Some(&most));
        match winner {
            Some(protocol) => Some(Arc::clone(&protocol.name)),
            None => {
                votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.into())
            }
        }
    }

    fn add(&mut self, member: Member) {
        debug_assert!(!self.members.contains_key(&member.id), "a member is added once");
        for protocol in &member.protocols {
            *self.supported.entry(Arc::clone(&protocol.name)).or_default() += 1;
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(Arc::clone(instance_id), Arc::clone(&member.id));
        }
        self.leader.get_or_insert_with(|| Arc::clone(&member.id));
        self.awaiting_join += usize::from(member.join.is_some());
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// Takes a member out, with its timer. Its parked requests come back with it, unanswered.
    fn remove(&mut self, member_id: &str, timers: &mut Timers) -> Option<Member> {
        let mut member = self.members.remove(member_id)?;
        let key = || TimerKey::Session(Arc::clone(&self.id), Arc::clone(&member.id));
        member.session.cancel(timers, key);
        self.forget_protocols(&member.protocols);
        self.awaiting_join -= usize::from(member.join.is_some());
        self.pending_sync.remove(member_id);
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id).is_some_and(|id| **id == *member_id)
        {
            self.static_members.remove(instance_id);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    fn forget_protocols(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            if let Some(count) = self.supported.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&protocol.name);
                }
            }
        }
    }

    /// Removes everything that the group keeps outside of itself; the parked requests get `error`.
    pub(crate) fn dissolve(&mut self, cx: &mut Cx<'_>, error: ErrorCode) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(member) = self.remove(&id, cx.timers) {
                answer_parked(cx, &member, error);
            }
        }
        let pending: Vec<_> = self.pending.keys().cloned().collect();
        for id in pending {
            self.remove_pending(&id, cx.timers);
        }
        self.cancel_join_wait(cx.timers);
        self.cancel_sync_wait(cx.timers);
    }

    fn remove_pending(&mut self, member_id: &str, timers: &mut Timers) -> bool {
        let Some((id, mut timer)) = self.pending.remove_entry(member_id) else { return false };
        timer.cancel(timers, || TimerKey::Session(Arc::clone(&self.id), id));
        true
    }

    /// Gives a member its session timeout anew.
    fn rearm(&mut self, member_id: &str, cx: &mut Cx<'_>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let deadline = cx.now.mono_ms.saturating_add(i64::from(member.session_timeout_ms));
        let (group, id) = (&self.id, &member.id);
        let key = || TimerKey::Session(Arc::clone(group), Arc::clone(id));
        member.session.arm(deadline, cx.timers, key);
    }

    fn has_all_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending.is_empty()
    }

    /// The longest rebalance timeout of any member.
    fn rebalance_timeout_ms(&self) -> i64 {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max();
        i64::from(longest.unwrap_or(0))
    }

    /// Everybody with the metadata of the chosen protocol, for the leader.
    fn roster(&self) -> Vec<JoinMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let entry = |member: &Member| JoinMember {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.values().map(entry).collect()
    }

    /// The answer to a member that belongs to the current generation.
    fn joined(&self, member_id: &Arc<str>, with_roster: bool) -> JoinResponse {
        JoinResponse {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.leader_or_empty(),
            skip_assignment: false,
            member_id: Arc::clone(member_id),
            members: if with_roster { self.roster() } else { Vec::new() },
        }
    }

    fn synced(&self, assignment: Bytes) -> SyncResponse {
        SyncResponse {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment,
        }
    }
}

/// Tells whoever waits in `member` that it failed.
fn answer_parked(cx: &mut Cx<'_>, member: &Member, error: ErrorCode) {
    if let Some(token) = member.join {
        cx.join_reply(token, JoinResponse::error(&member.id, error));
    }
    if let Some(token) = member.sync {
        cx.sync_reply(token, SyncResponse::error(error));
    }
}
