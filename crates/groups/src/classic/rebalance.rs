//! From "members must join again" to the next generation.
//!
//! Key entries: `rebalance_or_complete_join` after any change of membership, `on_join_timer` and `on_sync_timer` when
//! somebody did not come in time. An empty group gives its first members `group.initial.rebalance.delay.ms` to be
//! followed by others, so that a starting service rebalances once and not once per instance.

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::ErrorCode;

use super::{ClassicGroup, Cx, JoinWait, State};
use crate::effect::SyncResponse;
use crate::timers::{TimerKey, Timers};

impl ClassicGroup {
    pub(super) fn rebalance_or_complete_join(&mut self, cx: &mut Cx<'_>, reason: Arc<str>) {
        if self.state == State::PreparingRebalance {
            self.maybe_complete_join(cx);
        } else {
            self.prepare_rebalance(cx, reason);
        }
    }

    pub(crate) fn prepare_rebalance(&mut self, cx: &mut Cx<'_>, reason: Arc<str>) {
        if self.state == State::CompletingRebalance {
            self.fail_syncs(cx, ErrorCode::RebalanceInProgress);
        }
        self.cancel_sync_wait(cx.timers);
        self.rebalance_reason = Some(reason);
        let is_first = self.state == State::Empty;
        self.transition(State::PreparingRebalance, cx.now);
        if is_first {
            let delay_ms = i64::from(cx.config.initial_rebalance_delay_ms);
            let remaining_ms = (self.rebalance_timeout_ms() - delay_ms).max(0);
            self.wait_for_joins(cx, delay_ms, JoinWait::Initial { delay_ms, remaining_ms });
        } else if self.has_all_joined() {
            self.complete_join(cx);
        } else {
            self.wait_for_joins(cx, self.rebalance_timeout_ms(), JoinWait::Rebalance);
        }
    }

    /// Completes the join phase if nobody is missing and no initial delay runs.
    pub(super) fn maybe_complete_join(&mut self, cx: &mut Cx<'_>) {
        let initial = matches!(self.join_wait, Some((_, JoinWait::Initial { .. })));
        if self.state == State::PreparingRebalance && self.has_all_joined() && !initial {
            self.complete_join(cx);
        }
    }

    fn wait_for_joins(&mut self, cx: &mut Cx<'_>, after_ms: i64, wait: JoinWait) {
        self.cancel_join_wait(cx.timers);
        let deadline = cx.deadline(after_ms);
        cx.timers.insert(deadline, TimerKey::Join(Arc::clone(&self.id)));
        self.join_wait = Some((deadline, wait));
    }

    pub(super) fn cancel_join_wait(&mut self, timers: &mut Timers) {
        if let Some((deadline, _)) = self.join_wait.take() {
            timers.remove(deadline, TimerKey::Join(Arc::clone(&self.id)));
        }
    }

    pub(super) fn cancel_sync_wait(&mut self, timers: &mut Timers) {
        self.pending_sync.clear();
        self.cancel_sync_timer(timers);
    }

    pub(super) fn cancel_sync_timer(&mut self, timers: &mut Timers) {
        if let Some(deadline) = self.sync_deadline_ms.take() {
            timers.remove(deadline, TimerKey::Sync(Arc::clone(&self.id)));
        }
    }

    /// The time for joining is over.
    pub(crate) fn on_join_timer(&mut self, cx: &mut Cx<'_>, due_ms: i64) {
        let Some((deadline, wait)) = self.join_wait else { return };
        if deadline != due_ms {
            return;
        }
        self.join_wait = None;
        match wait {
            JoinWait::Initial { delay_ms, remaining_ms }
                if self.member_added && remaining_ms > 0 =>
            {
                self.member_added = false;
                let next_delay = i64::from(cx.config.initial_rebalance_delay_ms).min(remaining_ms);
                let left = (remaining_ms - delay_ms).max(0);
                let wait = JoinWait::Initial { delay_ms: next_delay, remaining_ms: left };
                self.wait_for_joins(cx, next_delay, wait);
            }
            JoinWait::Initial { .. } | JoinWait::Rebalance => self.complete_join(cx),
        }
    }

    /// Ends the join phase: whoever did not come is out, the others are of the next generation.
    fn complete_join(&mut self, cx: &mut Cx<'_>) {
        self.cancel_join_wait(cx.timers);
        self.member_added = false;
        self.remove_absent_members(cx);
        if !self.members.is_empty() && !self.elect_joined_leader() {
            // Only static members are left and none is here: wait until they come or their sessions end.
            // Not less than a second, so that a member with a timeout of zero does not make this spin.
            let after_ms = self.rebalance_timeout_ms().max(1_000);
            return self.wait_for_joins(cx, after_ms, JoinWait::Rebalance);
        }
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.cancel_sync_wait(cx.timers);
        if self.members.is_empty() {
            self.become_empty(cx);
        } else {
            self.begin_sync(cx);
        }
    }

    fn remove_absent_members(&mut self, cx: &mut Cx<'_>) {
        let absent: Vec<Arc<str>> = self
            .members
            .values()
            .filter(|member| member.join.is_none() && member.instance_id.is_none())
            .map(|member| Arc::clone(&member.id))
            .collect();
        for id in absent {
            if let Some(member) = self.remove(&id, cx.timers) {
                super::answer_parked(cx, &member, ErrorCode::UnknownMemberId);
            }
        }
    }

    /// Makes sure that the leader is one who has joined.
    fn elect_joined_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(|leader| leader.join.is_some()) {
            return true;
        }
        let joined = self.members.values().find(|member| member.join.is_some());
        let Some(joined) = joined else { return false };
        self.leader = Some(Arc::clone(&joined.id));
        true
    }

    fn become_empty(&mut self, cx: &mut Cx<'_>) {
        self.protocol = None;
        self.leader = None;
        self.subscribed = self.compute_subscribed();
        self.transition(State::Empty, cx.now);
        let record = self.to_record(cx.now.wall_ms, |_| Bytes::new());
        cx.records.push(record);
    }

    fn begin_sync(&mut self, cx: &mut Cx<'_>) {
        self.protocol = self.select_protocol();
        self.subscribed = self.compute_subscribed();
        self.transition(State::CompletingRebalance, cx.now);
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            if let Some(token) = self.take_join(&id) {
                let response = self.joined(&id, self.is_leader(&id));
                cx.join_reply(token, response);
            }
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.rearm(&id, cx);
            self.pending_sync.insert(id);
        }
        let deadline = cx.deadline(self.rebalance_timeout_ms());
        cx.timers.insert(deadline, TimerKey::Sync(Arc::clone(&self.id)));
        self.sync_deadline_ms = Some(deadline);
    }

    /// The time for syncing is over: whoever did not sync is out, and the rest rebalances.
    pub(crate) fn on_sync_timer(&mut self, cx: &mut Cx<'_>, due_ms: i64) {
        if self.sync_deadline_ms != Some(due_ms) {
            return;
        }
        self.sync_deadline_ms = None;
        let is_waiting = matches!(self.state, State::CompletingRebalance | State::Stable);
        if !is_waiting || self.pending_sync.is_empty() {
            return;
        }
        let absent = std::mem::take(&mut self.pending_sync);
        for id in &absent {
            if let Some(member) = self.remove(id, cx.timers) {
                super::answer_parked(cx, &member, ErrorCode::UnknownMemberId);
            }
        }
        let reason = format!("{} member(s) joined and did not sync in time", absent.len());
        self.prepare_rebalance(cx, reason.into());
    }

    /// The assignment of this generation does not come: everybody who waits for it is told `error`.
    pub(crate) fn fail_syncs(&mut self, cx: &mut Cx<'_>, error: ErrorCode) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let Some(member) = self.members.get_mut(&id) else { continue };
            member.assignment = Bytes::new();
            if let Some(token) = member.sync.take() {
                cx.sync_reply(token, SyncResponse::error(error));
                self.rearm(&id, cx);
            }
        }
    }
}
