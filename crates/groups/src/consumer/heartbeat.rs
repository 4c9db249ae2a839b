//! ConsumerGroupHeartbeat (key 68): joins, follows, leaves, in one request.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_base::{ErrorCode, Uuid};

use super::change::{Change, GroupError};
use super::state::{
    Assignment, ConsumerGroup, ConsumerMember, EpochAssignment, LEAVE_EPOCH, MemberState,
    STATIC_LEAVE_EPOCH,
};
use super::topics::Topics;
use crate::config::{GroupConfig, GroupTimes};
use crate::effect::{After, Decided};
use crate::record::{ConsumerPart, Record};
use crate::request::{ClientInfo, Now};

/// ConsumerGroupHeartbeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerHeartbeat {
    /// Which group.
    pub group_id: Arc<str>,
    /// Empty only from clients of version 0 that join: then an id is made.
    pub member_id: Arc<str>,
    /// 0 to join, -1 to leave, -2 to leave for a while (static members), else the epoch that the member is at.
    pub member_epoch: i32,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<Arc<str>>,
    /// The member's rack; `None` when unchanged.
    pub rack: Option<Arc<str>>,
    /// How long it needs to give partitions back; -1 when unchanged.
    pub rebalance_timeout_ms: i32,
    /// The topics that it names; `None` when unchanged.
    pub topics: Option<Vec<Arc<str>>>,
    /// The expression by which it names more; `None` when unchanged, empty for none.
    pub regex: Option<Arc<str>>,
    /// The assignor that it asks for; `None` when unchanged.
    pub assignor: Option<Arc<str>>,
    /// What it has; `None` when it does not say.
    pub owned: Option<Assignment>,
    /// Who asks.
    pub client: ClientInfo,
    /// Whether the client must make its member id (version 1 and up).
    pub needs_member_id: bool,
    /// 16 random bytes, used when a member id has to be made.
    pub random: [u8; 16],
}

/// ConsumerGroupHeartbeat's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerHeartbeatReply {
    /// The member's id.
    pub member_id: Arc<str>,
    /// The member's epoch from now on.
    pub member_epoch: i32,
    /// When to come back.
    pub heartbeat_interval_ms: i32,
    /// What the member shall have; `None` when that has not changed.
    pub assignment: Option<Assignment>,
}

/// What a heartbeat leads to.
pub(crate) type Heard = Decided<Result<ConsumerHeartbeatReply, GroupError>>;

impl ConsumerHeartbeat {
    /// The request with a member id, made where a client of version 0 joins without one.
    pub(crate) fn with_id(&self) -> Self {
        if !self.member_id.is_empty() {
            return self.clone();
        }
        let id = Uuid::from_random(self.random).to_string();
        Self { member_id: id.into(), ..self.clone() }
    }

    /// Whether the request can be meant so, in any group.
    pub(crate) fn check(&self, config: &GroupConfig) -> Result<(), GroupError> {
        let bad = |message: &str| Err(GroupError::new(ErrorCode::InvalidRequest, message));
        let is_empty =
            |text: &Option<Arc<str>>| text.as_deref().is_some_and(|it| it.trim().is_empty());
        if self.group_id.trim().is_empty() {
            return bad("GroupId can't be empty.");
        }
        if is_empty(&self.instance_id) {
            return bad("InstanceId can't be empty.");
        }
        if is_empty(&self.rack) {
            return bad("RackId can't be empty.");
        }
        if self.member_id.is_empty() && (self.needs_member_id || self.member_epoch != 0) {
            return bad("MemberId can't be empty.");
        }
        match self.member_epoch {
            0 => self.check_join()?,
            STATIC_LEAVE_EPOCH if self.instance_id.is_none() => {
                return bad("InstanceId can't be null.");
            }
            epoch if epoch < STATIC_LEAVE_EPOCH => {
                return bad("MemberEpoch is invalid.");
            }
            _ => {}
        }
        match self.assignor.as_deref() {
            Some(name) if !config.consumer_assignors.iter().any(|known| known == name) => {
                let known = config.consumer_assignors.join(", ");
                let message = format!(
                    "ServerAssignor {name} is not supported. Supported assignors: {known}."
                );
                Err(GroupError::new(ErrorCode::UnsupportedAssignor, message))
            }
            _ => Ok(()),
        }
    }

    fn check_join(&self) -> Result<(), GroupError> {
        let bad = |message: &str| Err(GroupError::new(ErrorCode::InvalidRequest, message));
        if self.rebalance_timeout_ms == -1 {
            return bad("RebalanceTimeoutMs must be provided in first request.");
        }
        if self.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return bad("TopicPartitions must be empty when (re-)joining.");
        }
        let names = self.topics.as_ref().is_some_and(|topics| !topics.is_empty());
        let matches = self.regex.as_ref().is_some_and(|regex| !regex.is_empty());
        if !names && !matches {
            return bad(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-empty when (re-)joining.",
            );
        }
        Ok(())
    }

    /// All that a member says when it joins or has lost an answer: then it is told everything too.
    fn is_full(&self) -> bool {
        let subscribes = self.topics.is_some() || self.regex.is_some();
        self.rebalance_timeout_ms != -1 && subscribes && self.owned.is_some()
    }

    /// The member with what the request says of it.
    fn onto(&self, member: ConsumerMember) -> ConsumerMember {
        let regex = match &self.regex {
            None => member.regex,
            Some(regex) => Some(Arc::clone(regex)).filter(|regex| !regex.is_empty()),
        };
        let timeout = Some(self.rebalance_timeout_ms).filter(|timeout| *timeout != -1);
        let topics = self.topics.as_ref().map(|topics| topics.iter().cloned().collect());
        ConsumerMember {
            instance_id: self.instance_id.clone().or(member.instance_id),
            rack: self.rack.clone().or(member.rack),
            rebalance_timeout_ms: timeout.unwrap_or(member.rebalance_timeout_ms),
            topics: topics.unwrap_or(member.topics),
            regex,
            assignor: self.assignor.clone().or(member.assignor),
            client: self.client.clone(),
            classic: None,
            ..member
        }
    }
}

/// Whether all of `owned` is in `assigned`.
fn is_subset(owned: Option<&Assignment>, assigned: &EpochAssignment) -> bool {
    let Some(owned) = owned else { return false };
    let is_in = |(topic, partitions): (&Uuid, &BTreeSet<i32>)| {
        let assigned = assigned.get(topic);
        assigned.is_some_and(|assigned| partitions.iter().all(|it| assigned.contains_key(it)))
    };
    owned.iter().all(is_in)
}

pub(crate) fn plain(assigned: &EpochAssignment) -> Assignment {
    assigned
        .iter()
        .map(|(topic, partitions)| (*topic, partitions.keys().copied().collect()))
        .collect()
}

impl ConsumerGroup {
    /// A heartbeat of a member that is, or wants to be, of the group.
    pub(crate) fn heartbeat(
        &self,
        now: Now,
        request: &ConsumerHeartbeat,
        topics: &dyn Topics,
        config: &GroupConfig,
        prelude: Vec<Record>,
    ) -> Heard {
        let times = config.times(topics, &self.id);
        if let Some(quiet) = self.quiet(now, request, topics, config, times) {
            return quiet;
        }
        let mut change = Change::new(self, topics, now, config);
        change.assignment_interval_ms = times.assignment_interval_ms.into();
        change.records = prelude;
        match self.heartbeat_checked(request, &mut change, times) {
            Ok((reply, mut after)) => {
                after.push(change.seen());
                let mut decided = Decided::reply(Ok(reply));
                decided.records = change.records;
                decided.after = after;
                decided
            }
            Err(error) => Decided::reply(Err(error)),
        }
    }

    /// The commonest heartbeat: a member that has everything and says nothing new. Copies nothing of the group.
    fn quiet(
        &self,
        now: Now,
        request: &ConsumerHeartbeat,
        topics: &dyn Topics,
        config: &GroupConfig,
        times: GroupTimes,
    ) -> Option<Heard> {
        let member = self.members.get(&request.member_id)?;
        let says_nothing = request.rack.is_none()
            && request.rebalance_timeout_ms == -1
            && request.topics.is_none()
            && request.regex.is_none()
            && request.assignor.is_none();
        let is_same = member.epoch == request.member_epoch
            && request.member_epoch > 0
            && member.instance_id == request.instance_id
            && member.classic.is_none()
            && member.client == request.client;
        let is_settled = member.is_reconciled_to(self.target_epoch)
            && self.epoch == self.target_epoch
            && self.soft.seen_topics == Some(topics.version())
            && !self.has_stale_regexes(now, config);
        if !(says_nothing && is_same && is_settled) {
            return None;
        }
        let reply = ConsumerHeartbeatReply {
            member_id: Arc::clone(&member.id),
            member_epoch: member.epoch,
            heartbeat_interval_ms: times.heartbeat_interval_ms,
            assignment: None,
        };
        let mut decided = Decided::reply(Ok(reply));
        decided.after = vec![self.session(&member.id, times.session_timeout_ms)];
        Some(decided)
    }

    /// Whether expressions were not evaluated for so long that they are due again, whatever the topics' version says.
    pub(crate) fn has_stale_regexes(&self, now: Now, config: &GroupConfig) -> bool {
        let interval_ms = i64::from(config.consumer_regex_refresh_interval_ms);
        let is_due = |seen_ms| now.mono_ms.saturating_sub(seen_ms) >= interval_ms;
        !self.regexes.is_empty() && self.soft.regexes_seen_ms.is_some_and(is_due)
    }

    pub(crate) fn session(&self, member_id: &Arc<str>, timeout_ms: i32) -> After {
        After::Session {
            group_id: Arc::clone(&self.id),
            member_id: Arc::clone(member_id),
            timeout_ms: timeout_ms.into(),
        }
    }

    fn heartbeat_checked(
        &self,
        request: &ConsumerHeartbeat,
        change: &mut Change<'_>,
        times: GroupTimes,
    ) -> Result<(ConsumerHeartbeatReply, Vec<After>), GroupError> {
        let config = change.config;
        let is_member = self.members.contains_key(&request.member_id);
        if !is_member && self.members.len() >= config.consumer_max_size {
            let message = format!(
                "The consumer group has reached its maximum capacity of {} members.",
                config.consumer_max_size
            );
            return Err(GroupError::new(ErrorCode::GroupMaxSizeReached, message));
        }
        let (member, replaced) = self.find_or_make(request)?;
        if let Some(old) = &replaced {
            change.replace(old, &member);
        }
        let known = self.members.get(&member.id);
        let before = if replaced.is_some() { Some(&member) } else { known };
        let updated = request.onto(member.clone());
        let resubscribed = change.describe(before, &updated)?;
        let what = if before.is_none() { "joined" } else { "changed its subscription" };
        change.bump(resubscribed, &format!("member {} {what}", updated.id));
        let old_id = replaced.as_ref().map(|old| &old.id);
        let target = change.target_of(&updated.id, old_id);
        let owned = request.owned.as_ref();
        let next = change.step(before, updated, &target, owned, resubscribed, old_id)?;
        let mut after = vec![self.session(&next.id, times.session_timeout_ms)];
        if before.is_none_or(|before| !before.same_assignment(&next)) {
            after.push(self.rebalance_timer(&next));
        }
        let moved = before.is_none_or(|before| plain(&before.assigned) != plain(&next.assigned));
        let tells = request.member_epoch == 0 || request.is_full() || moved;
        let reply = ConsumerHeartbeatReply {
            member_id: Arc::clone(&next.id),
            member_epoch: next.epoch,
            heartbeat_interval_ms: times.heartbeat_interval_ms,
            assignment: tells.then(|| plain(&next.assigned)),
        };
        Ok((reply, after))
    }

    /// A member that has partitions to give back has so long for it; one that moved on has no deadline.
    pub(crate) fn rebalance_timer(&self, member: &ConsumerMember) -> After {
        let timeout_ms = match member.state {
            MemberState::UnrevokedPartitions => Some(i64::from(member.rebalance_timeout_ms)),
            _ => None,
        };
        After::Rebalance {
            group_id: Arc::clone(&self.id),
            member_id: Arc::clone(&member.id),
            epoch: member.epoch,
            timeout_ms,
        }
    }

    /// The member that the request means, and the one whose place it takes.
    fn find_or_make(
        &self,
        request: &ConsumerHeartbeat,
    ) -> Result<(ConsumerMember, Option<ConsumerMember>), GroupError> {
        let joins = request.member_epoch == 0;
        let Some(instance_id) = &request.instance_id else {
            let member = match self.members.get(&request.member_id) {
                Some(member) => member.clone(),
                None if joins => ConsumerMember::new(Arc::clone(&request.member_id)),
                None => return Err(unknown(&request.member_id)),
            };
            check_epoch(&member, request)?;
            return Ok((member, None));
        };
        let known = self.static_members.get(instance_id).and_then(|id| self.members.get(id));
        match known {
            None if joins => Ok((ConsumerMember::new(Arc::clone(&request.member_id)), None)),
            None => {
                let message = format!("Instance id {instance_id} is unknown.");
                Err(GroupError::new(ErrorCode::UnknownMemberId, message))
            }
            Some(member) if member.id == request.member_id => {
                check_epoch(member, request)?;
                Ok((revived(member, &request.member_id, joins), None))
            }
            Some(member) if joins => {
                if member.epoch != STATIC_LEAVE_EPOCH && member.classic.is_none() {
                    let message = format!("Instance id {instance_id} is owned by {}.", member.id);
                    return Err(GroupError::new(ErrorCode::UnreleasedInstanceId, message));
                }
                Ok((revived(member, &request.member_id, true), Some(member.clone())))
            }
            Some(member) => {
                let message = format!("Static member was fenced by member {}.", member.id);
                Err(GroupError::new(ErrorCode::FencedInstanceId, message))
            }
        }
    }

    /// A member that leaves, for good or (static) for a while.
    pub(crate) fn leave(
        &self,
        now: Now,
        request: &ConsumerHeartbeat,
        topics: &dyn Topics,
        config: &GroupConfig,
    ) -> Heard {
        let reply = ConsumerHeartbeatReply {
            member_id: Arc::clone(&request.member_id),
            member_epoch: request.member_epoch,
            heartbeat_interval_ms: 0,
            assignment: None,
        };
        let member = match self.member(&request.member_id, request.instance_id.as_deref()) {
            Ok(member) => member,
            Err(ErrorCode::UnknownMemberId) => {
                return Decided::reply(Err(unknown(&request.member_id)));
            }
            Err(code) => return Decided::reply(Err(code.into())),
        };
        if request.member_epoch == LEAVE_EPOCH {
            let ids = [Arc::clone(&member.id)];
            return self.fence(now, &ids, topics, config, "left").map(|()| Ok(reply));
        }
        // It comes back soon: what it has stays its own until its session ends.
        let away = ConsumerMember {
            epoch: STATIC_LEAVE_EPOCH,
            previous_epoch: member.epoch,
            revoking: EpochAssignment::new(),
            ..member.clone()
        };
        let part = ConsumerPart::Current(Arc::clone(&away.id), Some(away.to_current()));
        let mut decided = Decided::reply(Ok(reply));
        decided.records.push(self.record(part));
        decided.after = vec![After::Rebalance {
            group_id: Arc::clone(&self.id),
            member_id: Arc::clone(&member.id),
            epoch: 0,
            timeout_ms: None,
        }];
        decided
    }

    /// Members go; the rest is assigned anew at its next heartbeat.
    pub(crate) fn fence(
        &self,
        now: Now,
        ids: &[Arc<str>],
        topics: &dyn Topics,
        config: &GroupConfig,
        why: &str,
    ) -> Decided<()> {
        let mut change = Change::new(self, topics, now, config);
        change.remove(ids);
        let who = ids.first().map(|id| &**id).unwrap_or_default();
        change.bump(true, &format!("{} member(s) {why}, the first: {who}", ids.len()));
        let mut decided = Decided::reply(());
        decided.after = vec![change.seen()];
        decided.records = change.records;
        decided
    }
}

/// A static member back from its absence, or under another id, starts at epoch 0 with what it had.
fn revived(member: &ConsumerMember, id: &Arc<str>, joins: bool) -> ConsumerMember {
    let mut member = ConsumerMember { id: Arc::clone(id), ..member.clone() };
    if joins {
        member.epoch = 0;
        member.previous_epoch = 0;
    }
    member
}

fn unknown(member_id: &str) -> GroupError {
    let message = format!("Member {member_id} is not a member of the group.");
    GroupError::new(ErrorCode::UnknownMemberId, message)
}

/// The epoch that the member says must be the one that it was given last, or the one before when that answer may
/// have been lost. 0 is always good: it starts over, empty-handed.
fn check_epoch(member: &ConsumerMember, request: &ConsumerHeartbeat) -> Result<(), GroupError> {
    let (said, known) = (request.member_epoch, member.epoch);
    if said == 0 || said == known {
        return Ok(());
    }
    let lost_answer = said == member.previous_epoch
        && said < known
        && is_subset(request.owned.as_ref(), &member.assigned);
    if lost_answer {
        return Ok(());
    }
    let message = format!(
        "The member's epoch is {known}, not {said}. The member must abandon all its partitions and rejoin."
    );
    Err(GroupError::new(ErrorCode::FencedMemberEpoch, message))
}
