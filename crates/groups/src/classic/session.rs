//! What a member of a generation does: sync, heartbeat, commit, leave, or fall silent.
//!
//! Key entries: [`ClassicGroup::sync`], [`ClassicGroup::heartbeat`], [`ClassicGroup::leave`]. The leader's sync yields
//! the group's record; the group is Stable when that record is applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_base::ErrorCode;

use super::{ClassicGroup, Cx, State};
use crate::effect::{RequestToken, SyncResponse, Undo};
use crate::request::{Heartbeat, LeavingMember, SyncGroup};
use crate::timers::TimerKey;

impl ClassicGroup {
    /// Decides a sync. The answer is in `cx` or comes later under `token`.
    pub(crate) fn sync(&mut self, cx: &mut Cx<'_>, request: &SyncGroup, token: RequestToken) {
        if let Err(error) = self.sync_checked(cx, request, token) {
            cx.sync_reply(token, SyncResponse::error(error));
        }
    }

    fn sync_checked(
        &mut self,
        cx: &mut Cx<'_>,
        request: &SyncGroup,
        token: RequestToken,
    ) -> Result<(), ErrorCode> {
        let member_id = &request.member_id;
        self.validate_member(member_id, request.instance_id.as_deref())?;
        self.validate_generation(request.generation)?;
        let differs = |asked: &Option<Arc<str>>, ours: &Option<Arc<str>>| {
            asked.is_some() && ours.is_some() && asked != ours
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => return Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => return Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance => {
                self.park_sync(cx, member_id, token);
                if self.is_leader(member_id) {
                    self.store_assignment(cx, request);
                }
            }
            State::Stable => {
                self.has_synced(cx, member_id);
                let assignment = self.members.get(member_id).map(|it| it.assignment.clone());
                cx.sync_reply(token, self.synced(assignment.unwrap_or_default()));
            }
        }
        Ok(())
    }

    fn park_sync(&mut self, cx: &mut Cx<'_>, member_id: &str, token: RequestToken) {
        self.has_synced(cx, member_id);
        let Some(member) = self.members.get_mut(member_id) else { return };
        if let Some(parked) = member.sync.replace(token) {
            cx.sync_reply(parked, SyncResponse::error(ErrorCode::RebalanceInProgress));
        }
    }

    fn has_synced(&mut self, cx: &mut Cx<'_>, member_id: &str) {
        self.pending_sync.remove(member_id);
        if self.pending_sync.is_empty() {
            self.cancel_sync_timer(cx.timers);
        }
    }

    /// The leader's assignment: one record, and an answer for everybody who already waits.
    fn store_assignment(&mut self, cx: &mut Cx<'_>, request: &SyncGroup) {
        let given: BTreeMap<&str, Bytes> = request
            .assignments
            .iter()
            .map(|(id, bytes)| (&**id, Bytes::copy_from_slice(bytes)))
            .collect();
        let of = |id: &str| given.get(id).cloned().unwrap_or_default();
        let record = self.to_record(cx.now.wall_ms, |member| of(&member.id));
        cx.records.push(record);
        cx.undo = Undo::Sync { group_id: Arc::clone(&self.id), generation: self.generation };
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let token = self.members.get_mut(&id).and_then(|member| member.sync.take());
            if let Some(token) = token {
                cx.sync_reply(token, self.synced(of(&id)));
                // While it waited, its session may have run out unnoticed.
                self.rearm(&id, cx);
            }
        }
    }

    /// The leader's record was refused: back to joining. The waiting syncs are answered by the caller.
    pub(crate) fn undo_sync(&mut self, cx: &mut Cx<'_>, generation: i32) {
        if self.state == State::CompletingRebalance && self.generation == generation {
            self.prepare_rebalance(cx, "the assignment could not be stored".into());
        }
    }

    /// The hot path: nothing is allocated and no queue is touched.
    pub(crate) fn heartbeat(
        &mut self,
        cx: &mut Cx<'_>,
        request: &Heartbeat<'_>,
    ) -> Result<(), ErrorCode> {
        self.validate_member(request.member_id, request.instance_id)?;
        self.validate_generation(request.generation)?;
        self.rearm(request.member_id, cx);
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// Whether a commit with these credentials is allowed. `transactional` commits of older clients carry none.
    pub(crate) fn validate_commit(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        transactional: bool,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation >= 0 || !member_id.is_empty() || instance_id.is_some() {
            self.validate_member(member_id, instance_id)?;
            self.validate_generation(generation)?;
        } else if !transactional && self.state != State::Empty {
            // A group with members takes commits from them alone.
            return Err(ErrorCode::UnknownMemberId);
        }
        if !transactional && self.state == State::CompletingRebalance {
            // The member is known and its generation is right, so it only has to sync first.
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// A commit keeps its member alive as a heartbeat does.
    pub(crate) fn on_commit(&mut self, cx: &mut Cx<'_>, member_id: &str) {
        if matches!(self.state, State::Stable | State::PreparingRebalance) {
            self.rearm(member_id, cx);
        }
    }

    /// Members that say goodbye; one error code each. The rest rebalances once, not once per member.
    pub(crate) fn leave(&mut self, cx: &mut Cx<'_>, leaving: &[LeavingMember]) -> Vec<ErrorCode> {
        let before = self.members.len();
        let codes: Vec<ErrorCode> = leaving
            .iter()
            .map(|who| self.leave_one(cx, who).err().unwrap_or(ErrorCode::None))
            .collect();
        if self.members.len() < before {
            let why = leaving.iter().find_map(|who| who.reason.as_deref()).unwrap_or("not given");
            let count = before - self.members.len();
            self.after_removal(cx, format!("{count} member(s) left; client reason: {why}").into());
        } else {
            self.maybe_complete_join(cx);
        }
        codes
    }

    fn leave_one(&mut self, cx: &mut Cx<'_>, who: &LeavingMember) -> Result<(), ErrorCode> {
        let mut member_id = Arc::clone(&who.member_id);
        if let Some(instance_id) = &who.instance_id {
            // Administrators remove a static member by its instance id alone.
            if member_id.is_empty() {
                let known = self.static_members.get(instance_id);
                member_id = known.cloned().ok_or(ErrorCode::UnknownMemberId)?;
            }
        } else if self.remove_pending(&member_id, cx.timers) {
            return Ok(());
        }
        self.validate_member(&member_id, who.instance_id.as_deref())?;
        if let Some(member) = self.remove(&member_id, cx.timers) {
            super::answer_parked(cx, &member, ErrorCode::UnknownMemberId);
        }
        Ok(())
    }

    fn after_removal(&mut self, cx: &mut Cx<'_>, reason: Arc<str>) {
        match self.state {
            State::Empty => {}
            State::PreparingRebalance => self.maybe_complete_join(cx),
            State::CompletingRebalance | State::Stable => self.prepare_rebalance(cx, reason),
        }
    }

    /// The queue entry of a member came due.
    pub(crate) fn on_session_timer(&mut self, cx: &mut Cx<'_>, member_id: &Arc<str>, due_ms: i64) {
        let key = || TimerKey::Session(Arc::clone(&self.id), Arc::clone(member_id));
        let now_ms = cx.now.mono_ms;
        if let Some(timer) = self.pending.get_mut(member_id) {
            if timer.fired(due_ms, now_ms, cx.timers, key) {
                self.pending.remove(member_id);
                self.maybe_complete_join(cx);
            }
            return;
        }
        let Some(member) = self.members.get_mut(member_id) else { return };
        let is_over = member.session.fired(due_ms, now_ms, cx.timers, key);
        if !is_over || member.has_satisfied_heartbeat() {
            return;
        }
        if let Some(member) = self.remove(member_id, cx.timers) {
            super::answer_parked(cx, &member, ErrorCode::UnknownMemberId);
        }
        self.after_removal(cx, format!("member {member_id} was not heard of in time").into());
    }
}
