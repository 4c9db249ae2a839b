//! JoinGroup: new members, members that come back, static members under a new id.
//!
//! Key entry: [`ClassicGroup::join`]. Sources: KIP-345 (static membership), KIP-394 (MEMBER_ID_REQUIRED), KIP-814
//! (skipping the assignment). The reply of a join that takes part in a rebalance is parked in its member.

use std::sync::Arc;

use millstream_base::{ErrorCode, Uuid};

use super::member::own_protocols;
use super::{ClassicGroup, Cx, JoinWait, Member, State};
use crate::config::NEW_MEMBER_JOIN_TIMEOUT_MS;
use crate::effect::{JoinResponse, RequestToken, Undo};
use crate::request::JoinGroup;
use crate::timers::{SessionTimer, TimerKey};

/// What a static member was before it came back, for the case that its new id cannot be stored.
#[derive(Debug)]
pub(crate) struct StaticReplacement {
    pub(crate) group_id: Arc<str>,
    new_id: Arc<str>,
    old: Member,
    old_was_leader: bool,
}

impl ClassicGroup {
    /// Decides a join. The answer is in `cx` or comes later under `token`.
    pub(crate) fn join(&mut self, cx: &mut Cx<'_>, request: &JoinGroup, token: RequestToken) {
        if let Err(error) = self.join_checked(cx, request, token) {
            cx.join_reply(token, JoinResponse::error(&request.member_id, error));
        }
    }

    fn join_checked(
        &mut self,
        cx: &mut Cx<'_>,
        request: &JoinGroup,
        token: RequestToken,
    ) -> Result<(), ErrorCode> {
        let is_unknown = request.member_id.is_empty();
        if !self.has_room_for(&request.member_id, cx.config.max_size) {
            self.expel(&request.member_id, cx);
            return Err(ErrorCode::GroupMaxSizeReached);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match (is_unknown, &request.instance_id) {
            (true, Some(instance_id)) => self.join_static(cx, request, instance_id, token),
            (true, None) => self.join_dynamic(cx, request, token),
            (false, _) => return self.join_known(cx, request, token),
        }
        Ok(())
    }

    /// Whether the group can take the joining member. While members rejoin, those that wait count, so that the last
    /// ones to come are turned away when the limit was lowered.
    fn has_room_for(&self, member_id: &str, max_size: usize) -> bool {
        let member = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                member.is_some_and(|member| member.join.is_some()) || self.awaiting_join < max_size
            }
            State::CompletingRebalance | State::Stable => {
                member.is_some() || self.members.len() < max_size
            }
        }
    }

    /// A rejoining member for whom there is no room any more.
    fn expel(&mut self, member_id: &str, cx: &mut Cx<'_>) {
        self.remove_pending(member_id, cx.timers);
        if let Some(member) = self.remove(member_id, cx.timers) {
            super::answer_parked(cx, &member, ErrorCode::GroupMaxSizeReached);
            self.maybe_complete_join(cx);
        }
    }

    fn join_static(
        &mut self,
        cx: &mut Cx<'_>,
        request: &JoinGroup,
        instance_id: &Arc<str>,
        token: RequestToken,
    ) {
        let new_id = member_id(instance_id, request.random);
        match self.static_members.get(instance_id).cloned() {
            Some(old_id) => self.replace_static(cx, request, &old_id, new_id, token),
            None => self.admit(cx, request, &new_id, token),
        }
    }

    fn join_dynamic(&mut self, cx: &mut Cx<'_>, request: &JoinGroup, token: RequestToken) {
        let new_id = member_id(&request.client.id, request.random);
        if !request.requires_known_member_id {
            return self.admit(cx, request, &new_id, token);
        }
        let mut timer = SessionTimer::default();
        let deadline = cx.deadline(request.session_timeout_ms.into());
        let key = || TimerKey::Session(Arc::clone(&self.id), Arc::clone(&new_id));
        timer.arm(deadline, cx.timers, key);
        cx.join_reply(token, JoinResponse::error(&new_id, ErrorCode::MemberIdRequired));
        self.pending.insert(new_id, timer);
    }

    /// A member that says its id: pending, or of the group, or neither.
    fn join_known(
        &mut self,
        cx: &mut Cx<'_>,
        request: &JoinGroup,
        token: RequestToken,
    ) -> Result<(), ErrorCode> {
        let member_id = &request.member_id;
        if request.instance_id.is_none() && self.remove_pending(member_id, cx.timers) {
            self.admit(cx, request, member_id, token);
            return Ok(());
        }
        self.validate_member(member_id, request.instance_id.as_deref())?;
        let same = self.members.get(member_id).is_some_and(|it| it.matches(&request.protocols));
        match self.state {
            State::Empty => return Err(ErrorCode::UnknownMemberId),
            // The member may have missed the first answer; nothing about it is new.
            State::CompletingRebalance if same => {
                let response = self.joined(member_id, self.is_leader(member_id));
                cx.join_reply(token, response);
            }
            // A follower without news goes on to SyncGroup. A leader without news still rebalances: it may have
            // seen changes of topics.
            State::Stable if same && !self.is_leader(member_id) => {
                let response = self.joined(member_id, false);
                cx.join_reply(token, response);
            }
            State::PreparingRebalance | State::CompletingRebalance | State::Stable => {
                let what = if self.is_leader(member_id) { "the leader" } else { "member" };
                let reason = reason(&format!("{what} {member_id} joined again"), request);
                self.update(cx, member_id, request, token);
                self.rebalance_or_complete_join(cx, reason);
            }
        }
        Ok(())
    }

    /// Takes in a member that the group did not have.
    fn admit(
        &mut self,
        cx: &mut Cx<'_>,
        request: &JoinGroup,
        new_id: &Arc<str>,
        token: RequestToken,
    ) {
        let mut member = Member::new(Arc::clone(new_id), request);
        member.is_new = true;
        member.join = Some(token);
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::clone(&request.protocol_type));
        }
        if matches!(self.join_wait, Some((_, JoinWait::Initial { .. }))) {
            self.member_added = true;
        }
        self.add(member);
        // It does not know its id yet, so it cannot send heartbeats; a client that gave up must not stay for ever.
        let deadline = cx.deadline(NEW_MEMBER_JOIN_TIMEOUT_MS);
        if let Some(member) = self.members.get_mut(new_id) {
            let group = &self.id;
            let key = || TimerKey::Session(Arc::clone(group), Arc::clone(new_id));
            member.session.arm(deadline, cx.timers, key);
        }
        let reason = reason(&format!("member {new_id} joined"), request);
        self.rebalance_or_complete_join(cx, reason);
    }

    /// A member of the group joins once more, perhaps with other protocols or timeouts.
    fn update(
        &mut self,
        cx: &mut Cx<'_>,
        member_id: &str,
        request: &JoinGroup,
        token: RequestToken,
    ) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let protocols = own_protocols(&request.protocols);
        let old = std::mem::replace(&mut member.protocols, protocols);
        member.rebalance_timeout_ms = request.rebalance_timeout_ms;
        member.session_timeout_ms = request.session_timeout_ms;
        for protocol in &member.protocols {
            *self.supported.entry(Arc::clone(&protocol.name)).or_default() += 1;
        }
        match member.join.replace(token) {
            // The same member on two connections: the older request is told to try again.
            Some(parked) => {
                let id = Arc::clone(&member.id);
                cx.join_reply(parked, JoinResponse::error(&id, ErrorCode::RebalanceInProgress));
            }
            None => self.awaiting_join += 1,
        }
        self.forget_protocols(&old);
    }

    /// A static member comes back without its id: it takes the place of its old self under a new id.
    fn replace_static(
        &mut self,
        cx: &mut Cx<'_>,
        request: &JoinGroup,
        old_id: &Arc<str>,
        new_id: Arc<str>,
        token: RequestToken,
    ) {
        let old_leader = self.leader_or_empty();
        let was_leader = self.is_leader(old_id);
        let Some(old) = self.remove(old_id, cx.timers) else { return };
        super::answer_parked(cx, &old, ErrorCode::FencedInstanceId);
        let old = Member { join: None, sync: None, session: SessionTimer::default(), ..old };
        let mut member = Member::new(Arc::clone(&new_id), request);
        member.assignment = old.assignment.clone();
        member.join = Some(token);
        if was_leader {
            self.leader = Some(Arc::clone(&new_id));
        }
        self.add(member);
        self.rearm(&new_id, cx);
        match self.state {
            State::Stable if self.select_protocol() == self.protocol => {
                self.keep_generation(cx, request, new_id, token, old_leader, (old, was_leader));
            }
            State::Stable | State::CompletingRebalance => {
                let reason = reason(&format!("static member {new_id} came back"), request);
                self.rebalance_or_complete_join(cx, reason);
            }
            State::PreparingRebalance | State::Empty => self.maybe_complete_join(cx),
        }
    }

    /// The static member's return changes nothing for others: its new id is stored, no rebalance.
    fn keep_generation(
        &mut self,
        cx: &mut Cx<'_>,
        request: &JoinGroup,
        new_id: Arc<str>,
        token: RequestToken,
        old_leader: Arc<str>,
        (old, old_was_leader): (Member, bool),
    ) {
        self.take_join(&new_id);
        let record = self.to_record(self.state_since_ms, |member| member.assignment.clone());
        cx.records.push(record);
        let mut response = self.joined(&new_id, false);
        if request.supports_skip_assignment {
            response.skip_assignment = self.is_leader(&new_id);
            if response.skip_assignment {
                response.members = self.roster();
            }
        } else {
            // An older client would compute an assignment if it were told that it leads.
            response.leader = old_leader;
        }
        cx.join_reply(token, response);
        let group_id = Arc::clone(&self.id);
        let replacement = StaticReplacement { group_id, new_id, old, old_was_leader };
        cx.undo = Undo::StaticMember(Box::new(replacement));
    }

    /// The record of a static member's new id was refused: the old id stands again.
    pub(crate) fn restore_static(&mut self, cx: &mut Cx<'_>, replacement: StaticReplacement) {
        if self.remove(&replacement.new_id, cx.timers).is_none() {
            return;
        }
        let id = Arc::clone(&replacement.old.id);
        if replacement.old_was_leader {
            self.leader = Some(Arc::clone(&id));
        }
        self.add(replacement.old);
        self.rearm(&id, cx);
    }

    /// Takes the parked join of a member, to be answered.
    pub(super) fn take_join(&mut self, member_id: &str) -> Option<RequestToken> {
        let token = self.members.get_mut(member_id)?.join.take()?;
        self.awaiting_join -= 1;
        Some(token)
    }
}

/// A member id as Kafka makes it: a readable prefix and a random UUID.
pub(crate) fn member_id(prefix: &str, random: [u8; 16]) -> Arc<str> {
    let value = u128::from_be_bytes(*Uuid::from_random(random).as_bytes());
    let part = |shift: u32, bits: u32| (value >> shift) & ((1_u128 << bits) - 1);
    let (a, b, c, d, e) = (part(96, 32), part(80, 16), part(64, 16), part(48, 16), part(0, 48));
    format!("{prefix}-{a:08x}-{b:04x}-{c:04x}-{d:04x}-{e:012x}").into()
}

fn reason(what: &str, request: &JoinGroup) -> Arc<str> {
    match request.reason.as_deref() {
        Some(client) if !client.is_empty() => format!("{what}; client reason: {client}").into(),
        _ => what.into(),
    }
}
