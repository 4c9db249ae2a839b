//! One `__consumer_offsets` partition's state, and the calls that the host makes.
//!
//! Key type: [`Shard`]. Calls are made one after the other, each outcome handled before the next (see
//! [`crate::Decided`]). `admin` and `commit` hold further calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_base::ErrorCode;

use crate::classic::{ClassicGroup, Cx, State};
use crate::codec::{self, DecodeRecordError};
use crate::config::GroupConfig;
use crate::consumer::{
    self, ConsumerGroup, ConsumerHeartbeat, ConsumerHeartbeatReply, GroupError, LEAVE_EPOCH,
    NoTopics, Topics,
};
use crate::effect::{
    Decided, JoinResponse, RequestToken, Response, SyncResponse, Undo, append_error,
};
use crate::offsets::Offsets;
use crate::record::Record;
use crate::request::{Heartbeat, JoinGroup, LeaveGroup, Now, SyncGroup};
use crate::timers::{TimerKey, Timers};

/// Where a record stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its offset.
    pub log_offset: i64,
    /// The producer of its batch, when the batch is transactional.
    pub producer_id: Option<i64>,
}

/// What became of a record that was read from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It is part of the state.
    Applied,
    /// Its kind is none that this version keeps; the number is the kind.
    Skipped(i16),
}

/// The time while a log is read: records bring their own, and no timer runs.
pub(crate) const LOADING: Now = Now { wall_ms: -1, mono_ms: 0 };

/// A group of either protocol.
#[derive(Clone, Debug)]
pub(crate) enum Group {
    /// Clients assign, or nobody does.
    Classic(Box<ClassicGroup>),
    /// The broker assigns.
    Consumer(Box<ConsumerGroup>),
}

/// The state of one `__consumer_offsets` partition.
#[derive(Debug)]
pub struct Shard {
    pub(crate) config: GroupConfig,
    pub(crate) topics: Arc<dyn Topics>,
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    pub(crate) offsets: Offsets,
    pub(crate) timers: Timers,
}

impl Shard {
    /// An empty shard, to be loaded.
    pub fn new(config: GroupConfig) -> Self {
        Self {
            config,
            topics: Arc::new(NoTopics),
            groups: BTreeMap::new(),
            offsets: Offsets::default(),
            timers: Timers::default(),
        }
    }

    /// Takes a new view of the cluster's topics. Consumer groups act on it at their members' next heartbeats.
    pub fn set_topics(&mut self, topics: Arc<dyn Topics>) {
        self.topics = topics;
    }

    /// Takes new settings; they count from the next request or timer on.
    pub fn set_config(&mut self, config: GroupConfig) {
        self.config = config;
    }

    // --- Loading -----------------------------------------------------------------------------------------------

    /// Replays one record of the log. An error concerns this record alone: go on with the next.
    ///
    /// # Errors
    /// The key or value is not what its kind says.
    pub fn load(
        &mut self,
        origin: Origin,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<Loaded, DecodeRecordError> {
        match codec::decode(key, value)? {
            codec::Decoded::Record(record) => {
                self.replay(LOADING, &record, origin, true);
                Ok(Loaded::Applied)
            }
            codec::Decoded::Unknown(kind) => Ok(Loaded::Skipped(kind)),
        }
    }

    /// Replays a transaction marker, from the log or as it is written.
    pub fn end_transaction(&mut self, producer_id: i64, committed: bool) {
        for group_id in self.offsets.end_transaction(producer_id, committed) {
            self.ensure_simple_group(&group_id);
        }
    }

    /// The log is read: sessions of its members begin now, and retention is checked from now on.
    pub fn finish_loading(&mut self, now: Now) -> Decided<()> {
        let check = now.mono_ms.saturating_add(self.config.offsets_retention_check_interval_ms);
        self.timers.insert(check, TimerKey::Retention);
        let mut cx = Cx::new(now, &self.config, &mut self.timers);
        for group in self.groups.values_mut() {
            match group {
                Group::Classic(group) => group.start_timers(&mut cx),
                Group::Consumer(group) => {
                    let times = self.config.times(&*self.topics, &group.id);
                    group.start_timers(times.session_timeout_ms, &mut cx);
                }
            }
        }
        cx.finish(())
    }

    /// The shard is given up: everybody who waits is told `error`.
    pub fn unload(&mut self, error: ErrorCode) -> Vec<(RequestToken, Response)> {
        let mut cx = Cx::new(LOADING, &self.config, &mut self.timers);
        for group in self.groups.values_mut() {
            match group {
                Group::Classic(group) => group.dissolve(&mut cx, error),
                Group::Consumer(group) => group.dissolve(cx.timers),
            }
        }
        let replies = cx.finish(()).replies;
        let topics = Arc::clone(&self.topics);
        *self = Self { topics, ..Self::new(self.config.clone()) };
        replies
    }

    // --- After a decision --------------------------------------------------------------------------------------

    /// The records of a decision are in the log, from `origin.log_offset` on: they become state. The replies may be
    /// sent once the records are committed.
    pub fn apply<R>(
        &mut self,
        now: Now,
        decided: Decided<R>,
        origin: Origin,
    ) -> (R, Vec<(RequestToken, Response)>) {
        let Decided { records, reply, mut replies, undo: _, after } = decided;
        for (index, record) in records.iter().enumerate() {
            let ahead = i64::try_from(index).unwrap_or(i64::MAX);
            let log_offset = origin.log_offset.saturating_add(ahead);
            replies.extend(self.replay(now, record, Origin { log_offset, ..origin }, false));
        }
        for follow in after {
            self.follow(now, follow);
        }
        (reply, replies)
    }

    /// The records of a decision could not be appended: soft state goes back, and the replies turn into errors.
    pub fn abort<R>(
        &mut self,
        now: Now,
        decided: Decided<R>,
        error: ErrorCode,
    ) -> Vec<(RequestToken, Response)> {
        let error = append_error(error);
        let failed = |(token, response): (RequestToken, Response)| (token, response.failed(error));
        let mut replies: Vec<_> = decided.replies.into_iter().map(failed).collect();
        let mut cx = Cx::new(now, &self.config, &mut self.timers);
        match decided.undo {
            Undo::Nothing => {}
            Undo::NewGroup(group_id) => {
                if let Some(Group::Classic(mut group)) = self.groups.remove(&group_id) {
                    group.dissolve(&mut cx, error);
                }
            }
            Undo::Sync { group_id, generation } => {
                if let Some(Group::Classic(group)) = self.groups.get_mut(&group_id) {
                    group.undo_sync(&mut cx, generation);
                }
            }
            Undo::StaticMember(replacement) => {
                let group_id = Arc::clone(&replacement.group_id);
                if let Some(Group::Classic(group)) = self.groups.get_mut(&group_id) {
                    group.restore_static(&mut cx, *replacement);
                }
            }
        }
        replies.extend(cx.finish(()).replies);
        replies
    }

    /// What a client is told when the append behind its request failed with `error`.
    pub const fn append_error(error: ErrorCode) -> ErrorCode {
        append_error(error)
    }

    // --- Membership --------------------------------------------------------------------------------------------

    /// JoinGroup. The answer is in `replies` under `token`, now or later.
    pub fn join_group(
        &mut self,
        now: Now,
        request: &JoinGroup,
        token: RequestToken,
    ) -> Decided<()> {
        let refused = |error| {
            let response = Response::Join(JoinResponse::error(&request.member_id, error));
            let mut decided = Decided::reply(());
            decided.replies.push((token, response));
            decided
        };
        let limits = self.config.min_session_timeout_ms..=self.config.max_session_timeout_ms;
        if request.group_id.is_empty() {
            return refused(ErrorCode::InvalidGroupId);
        }
        if !limits.contains(&request.session_timeout_ms) {
            return refused(ErrorCode::InvalidSessionTimeout);
        }
        if !self.groups.contains_key(&request.group_id) {
            return self.join_new_group(now, request, token, refused);
        }
        match self.groups.get_mut(&request.group_id) {
            Some(Group::Classic(group)) => {
                let mut cx = Cx::new(now, &self.config, &mut self.timers);
                group.join(&mut cx, request, token);
                cx.finish(())
            }
            // A consumer group without members makes place for a classic one.
            Some(Group::Consumer(group)) if group.members.is_empty() => {
                let tombstones = group.tombstones();
                self.join_emptied_group(now, request, token, tombstones, refused)
            }
            Some(Group::Consumer(group)) => {
                group.join_classic(now, request, token, &*self.topics, &self.config)
            }
            None => refused(ErrorCode::UnknownMemberId),
        }
    }

    /// The first classic member of what was a consumer group. The old group goes first, in a batch of its own: then
    /// this is a new group, and the member is told to come again, as by any rebalance.
    fn join_emptied_group(
        &mut self,
        _now: Now,
        request: &JoinGroup,
        token: RequestToken,
        tombstones: Vec<Record>,
        refused: impl FnOnce(ErrorCode) -> Decided<()>,
    ) -> Decided<()> {
        if !request.member_id.is_empty() {
            return refused(ErrorCode::UnknownMemberId);
        }
        let again = JoinResponse::error(&request.member_id, ErrorCode::RebalanceInProgress);
        let mut decided = Decided::reply(());
        decided.records = tombstones;
        decided.replies.push((token, Response::Join(again)));
        decided
    }

    fn join_new_group(
        &mut self,
        now: Now,
        request: &JoinGroup,
        token: RequestToken,
        refused: impl FnOnce(ErrorCode) -> Decided<()>,
    ) -> Decided<()> {
        if !request.member_id.is_empty() {
            return refused(ErrorCode::UnknownMemberId);
        }
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return refused(ErrorCode::InconsistentGroupProtocol);
        }
        let mut group = ClassicGroup::new(Arc::clone(&request.group_id), now);
        let mut cx = Cx::new(now, &self.config, &mut self.timers);
        cx.records.push(group.empty_record(now));
        cx.undo = Undo::NewGroup(Arc::clone(&request.group_id));
        group.join(&mut cx, request, token);
        let decided = cx.finish(());
        self.groups.insert(Arc::clone(&request.group_id), Group::Classic(Box::new(group)));
        decided
    }

    /// SyncGroup. The answer is in `replies` under `token`, now or later.
    pub fn sync_group(
        &mut self,
        now: Now,
        request: &SyncGroup,
        token: RequestToken,
    ) -> Decided<()> {
        if let Some(Group::Consumer(group)) = self.groups.get(&request.group_id) {
            return group.sync_classic(request, token, &*self.topics);
        }
        let mut cx = Cx::new(now, &self.config, &mut self.timers);
        let error = if request.group_id.is_empty() {
            ErrorCode::InvalidGroupId
        } else {
            ErrorCode::UnknownMemberId
        };
        match self.groups.get_mut(&request.group_id) {
            Some(Group::Classic(group)) => group.sync(&mut cx, request, token),
            Some(Group::Consumer(_)) | None => {
                cx.replies.push((token, Response::Sync(SyncResponse::error(error))));
            }
        }
        cx.finish(())
    }

    /// Heartbeat: never writes, never waits.
    ///
    /// # Errors
    /// What the member has to do instead of going on, as Kafka's code.
    pub fn heartbeat(&mut self, now: Now, request: &Heartbeat<'_>) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let mut cx = Cx::new(now, &self.config, &mut self.timers);
        let after = match self.groups.get_mut(request.group_id) {
            Some(Group::Classic(group)) => return group.heartbeat(&mut cx, request),
            Some(Group::Consumer(group)) => group.heartbeat_classic(request),
            None => return Err(ErrorCode::UnknownMemberId),
        };
        let (result, after) = after;
        for follow in after {
            self.follow(now, follow);
        }
        result
    }

    /// ConsumerGroupHeartbeat: a member of the consumer protocol joins, goes on or leaves.
    pub fn consumer_heartbeat(
        &mut self,
        now: Now,
        request: &ConsumerHeartbeat,
    ) -> Decided<Result<ConsumerHeartbeatReply, GroupError>> {
        if let Err(error) = request.check(&self.config) {
            return Decided::reply(Err(error));
        }
        let topics = &*self.topics;
        let not_found = |why: &str| {
            let message = format!("Group {} {why}.", request.group_id);
            Decided::reply(Err(GroupError::new(ErrorCode::GroupIdNotFound, message)))
        };
        let joins = request.member_epoch == 0;
        let fresh = || ConsumerGroup::new(Arc::clone(&request.group_id));
        let (group, prelude) = match self.groups.get(&request.group_id) {
            Some(Group::Consumer(group)) if request.member_epoch <= LEAVE_EPOCH => {
                return self.consumer_leave(now, group, request);
            }
            Some(Group::Consumer(group)) => {
                return group.heartbeat(now, &request.with_id(), topics, &self.config, Vec::new());
            }
            None if joins => (fresh(), Vec::new()),
            None => return not_found("not found"),
            Some(Group::Classic(_)) if !joins => return not_found("is not a consumer group"),
            Some(Group::Classic(group)) if group.state == State::Empty => {
                let tombstone = Record::Classic { group_id: Arc::clone(&group.id), value: None };
                (fresh(), vec![tombstone])
            }
            Some(Group::Classic(group)) => {
                let may = self.config.may_upgrade && group.uses_consumer_protocol();
                let fits = group.members.len() <= self.config.consumer_max_size;
                let upgraded = Some(group).filter(|_| may && fits);
                match upgraded.and_then(|group| consumer::from_classic(group, topics)) {
                    Some(upgraded) => upgraded,
                    None => {
                        return not_found("is a classic group and cannot become a consumer group");
                    }
                }
            }
        };
        let sessions = group.classic_sessions();
        let mut decided = group.heartbeat(now, &request.with_id(), topics, &self.config, prelude);
        if decided.reply.is_ok() {
            decided.after.extend(sessions);
        }
        decided
    }

    fn consumer_leave(
        &self,
        now: Now,
        group: &ConsumerGroup,
        request: &ConsumerHeartbeat,
    ) -> Decided<Result<ConsumerHeartbeatReply, GroupError>> {
        let mut left = group.leave(now, request, &*self.topics, &self.config);
        if request.member_epoch == LEAVE_EPOCH && left.reply.is_ok() {
            let ids = [Arc::clone(&request.member_id)];
            let gone = group.fence_or_downgrade(now, &ids, &*self.topics, &self.config, "left");
            (left.records, left.after) = (gone.records, gone.after);
        }
        left
    }

    /// LeaveGroup: one code for the whole, or one for each member in their order.
    pub fn leave_group(
        &mut self,
        now: Now,
        request: &LeaveGroup,
    ) -> Decided<Result<Vec<ErrorCode>, ErrorCode>> {
        if request.group_id.is_empty() {
            return Decided::reply(Err(ErrorCode::InvalidGroupId));
        }
        if let Some(Group::Consumer(group)) = self.groups.get(&request.group_id) {
            let (codes, ids) = group.leaving(&request.members);
            let topics = &*self.topics;
            let gone = match ids.is_empty() {
                true => Decided::reply(()),
                false => group.fence_or_downgrade(now, &ids, topics, &self.config, "left"),
            };
            return gone.map(|()| Ok(codes));
        }
        let mut cx = Cx::new(now, &self.config, &mut self.timers);
        let codes = match self.groups.get_mut(&request.group_id) {
            Some(Group::Classic(group)) => Ok(group.leave(&mut cx, &request.members)),
            Some(Group::Consumer(_)) | None => {
                Ok(vec![ErrorCode::UnknownMemberId; request.members.len()])
            }
        };
        cx.finish(codes)
    }

    // --- Time --------------------------------------------------------------------------------------------------

    /// When [`Self::on_timer`] has to be called next, on the monotonic clock in milliseconds.
    pub fn next_deadline(&self) -> Option<i64> {
        self.timers.next()
    }

    /// Handles one deadline that has passed; call again until there is none.
    pub fn on_timer(&mut self, now: Now) -> Option<Decided<()>> {
        let (due_ms, key) = self.timers.pop_due(now.mono_ms)?;
        let group_id = match &key {
            TimerKey::Join(group)
            | TimerKey::Sync(group)
            | TimerKey::Session(group, _)
            | TimerKey::Rebalance(group, _) => group,
            TimerKey::Retention => return Some(self.check_retention(now)),
        };
        if let Some(Group::Consumer(group)) = self.groups.get_mut(group_id) {
            let gone = match &key {
                TimerKey::Session(_, member) => {
                    let is_over = group.session_over(member, due_ms, now.mono_ms, &mut self.timers);
                    is_over.then_some((member, "were not heard of in time"))
                }
                TimerKey::Rebalance(_, member) => {
                    let is_over =
                        group.rebalance_over(member, due_ms, now.mono_ms, &mut self.timers);
                    is_over.then_some((member, "did not do their part of the rebalance in time"))
                }
                TimerKey::Join(_) | TimerKey::Sync(_) | TimerKey::Retention => None,
            };
            let Some((member, why)) = gone else { return Some(Decided::reply(())) };
            let ids = [Arc::clone(member)];
            return Some(group.fence_or_downgrade(now, &ids, &*self.topics, &self.config, why));
        }
        let mut cx = Cx::new(now, &self.config, &mut self.timers);
        if let Some(Group::Classic(group)) = self.groups.get_mut(group_id) {
            match &key {
                TimerKey::Join(_) => group.on_join_timer(&mut cx, due_ms),
                TimerKey::Sync(_) => group.on_sync_timer(&mut cx, due_ms),
                TimerKey::Session(_, member) => group.on_session_timer(&mut cx, member, due_ms),
                TimerKey::Rebalance(..) | TimerKey::Retention => {}
            }
        }
        Some(cx.finish(()))
    }
}
