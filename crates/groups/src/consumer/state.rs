//! A consumer-protocol group as its records describe it.
//!
//! Key types: [`ConsumerGroup`], [`ConsumerMember`]. Everything here comes from records and changes by them alone,
//! except [`Soft`], which dies with the coordinator. Invariant: a partition has at most one owner, counting what a
//! member has still to give back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::{ErrorCode, Uuid};

use crate::classic::Cx;
use crate::effect::After;
use crate::request::{ClientInfo, LeavingMember, Protocol};
use crate::timers::{SessionTimer, TimerKey, Timers};

/// Partitions by topic id.
pub type Assignment = BTreeMap<Uuid, BTreeSet<i32>>;

/// Partitions by topic id, each with the epoch in which its member got it.
pub type EpochAssignment = BTreeMap<Uuid, BTreeMap<i32, i32>>;

/// The epoch of a static member that left for a while.
pub(crate) const STATIC_LEAVE_EPOCH: i32 = -2;
/// The epoch of a member that leaves.
pub(crate) const LEAVE_EPOCH: i32 = -1;

/// After how long the removal of a member is tried again when its records were refused.
const RETRY_MS: i64 = 1_000;

/// How far a member is on its way to its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberState {
    /// It has all that it may have at its epoch.
    #[default]
    Stable,
    /// It has to give partitions back first.
    UnrevokedPartitions,
    /// It waits for partitions that others have to give back.
    UnreleasedPartitions,
    /// A state of a newer version: the member has to start over.
    Unknown,
}

impl MemberState {
    /// The number in a record.
    pub(crate) const fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }

    /// The state of a number in a record.
    pub(crate) const fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }
}

/// What a member of a consumer group has that still speaks the classic protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassicMetadata {
    /// After how long without a heartbeat the member is dead.
    pub session_timeout_ms: i32,
    /// In order of preference.
    pub protocols: Vec<Protocol>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConsumerMember {
    pub(crate) id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) rack: Option<Arc<str>>,
    pub(crate) client: ClientInfo,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) topics: BTreeSet<Arc<str>>,
    pub(crate) regex: Option<Arc<str>>,
    pub(crate) assignor: Option<Arc<str>>,
    pub(crate) classic: Option<ClassicMetadata>,
    pub(crate) epoch: i32,
    pub(crate) previous_epoch: i32,
    pub(crate) state: MemberState,
    pub(crate) assigned: EpochAssignment,
    pub(crate) revoking: EpochAssignment,
}

impl ConsumerMember {
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            instance_id: None,
            rack: None,
            client: ClientInfo { id: "".into(), host: "".into() },
            rebalance_timeout_ms: -1,
            topics: BTreeSet::new(),
            regex: None,
            assignor: None,
            classic: None,
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: EpochAssignment::new(),
            revoking: EpochAssignment::new(),
        }
    }

    /// Whether the member has everything of that epoch.
    pub(crate) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == epoch
    }

    /// Whether both subscribe to the same.
    pub(crate) fn same_subscription(&self, other: &Self) -> bool {
        self.topics == other.topics && self.regex == other.regex
    }

    /// Whether both have the same record of kind 5.
    pub(crate) fn same_metadata(&self, other: &Self) -> bool {
        self.instance_id == other.instance_id
            && self.rack == other.rack
            && self.client == other.client
            && self.rebalance_timeout_ms == other.rebalance_timeout_ms
            && self.same_subscription(other)
            && self.assignor == other.assignor
            && self.classic == other.classic
    }

    /// Whether both have the same record of kind 8.
    pub(crate) fn same_assignment(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && self.previous_epoch == other.previous_epoch
            && self.state == other.state
            && self.assigned == other.assigned
            && self.revoking == other.revoking
    }

    /// Takes a new epoch; the old one becomes the previous one.
    pub(crate) fn advance(&mut self, epoch: i32) {
        self.previous_epoch = self.epoch;
        self.epoch = epoch;
    }
}

/// What a regular expression matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedRegex {
    /// The matching topics.
    pub topics: BTreeSet<Arc<str>>,
    /// The version of the metadata that was looked at.
    pub version: i64,
    /// Wall clock of the look.
    pub timestamp_ms: i64,
}

/// Deadlines of one member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemberTimers {
    pub(crate) session: SessionTimer,
    /// It has to give partitions back, or, speaking the classic protocol, to join or to sync.
    pub(crate) rebalance: SessionTimer,
    /// The epoch of the member when `rebalance` was set.
    pub(crate) rebalance_epoch: i32,
}

/// What dies with the coordinator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Soft {
    pub(crate) timers: BTreeMap<Arc<str>, MemberTimers>,
    /// The version of the topics that the metadata hash was computed for.
    pub(crate) seen_topics: Option<i64>,
    /// When all expressions were evaluated, on the monotonic clock.
    pub(crate) regexes_seen_ms: Option<i64>,
    /// Why the last rebalance began, for show.
    pub(crate) rebalance_reason: Option<Arc<str>>,
}

/// A group whose members speak the consumer protocol.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerGroup {
    pub(crate) id: Arc<str>,
    pub(crate) epoch: i32,
    pub(crate) metadata_hash: i64,
    /// Kafka 4.0's record of partition counts is in the log and has to go when the hash is written.
    pub(crate) has_partition_record: bool,
    pub(crate) members: BTreeMap<Arc<str>, ConsumerMember>,
    pub(crate) static_members: BTreeMap<Arc<str>, Arc<str>>,
    pub(crate) target_epoch: i32,
    /// When the target was made, on the wall clock; 0 when that is not known.
    pub(crate) target_made_ms: i64,
    pub(crate) target: BTreeMap<Arc<str>, Assignment>,
    pub(crate) regexes: BTreeMap<Arc<str>, ResolvedRegex>,
    /// Who has a partition, counting what is still to be given back.
    owners: BTreeMap<Uuid, BTreeMap<i32, Arc<str>>>,
    pub(crate) soft: Soft,
}

impl ConsumerGroup {
    pub(crate) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            epoch: 0,
            metadata_hash: 0,
            has_partition_record: false,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            target_epoch: 0,
            target_made_ms: 0,
            target: BTreeMap::new(),
            regexes: BTreeMap::new(),
            owners: BTreeMap::new(),
            soft: Soft::default(),
        }
    }

    /// Kafka's name of the state.
    pub(crate) fn state_name(&self) -> &'static str {
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(|it| it.is_reconciled_to(self.target_epoch)) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    /// Who has a partition.
    pub(crate) fn owner(&self, topic: Uuid, partition: i32) -> Option<&Arc<str>> {
        self.owners.get(&topic)?.get(&partition)
    }

    /// The member of that id and instance, checked.
    pub(crate) fn member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<&ConsumerMember, ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if &**known != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        self.members.get(member_id).ok_or(ErrorCode::UnknownMemberId)
    }

    /// Whether any member reads `topic`.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        let reads = |member: &ConsumerMember| {
            let resolved = member.regex.as_ref().and_then(|regex| self.regexes.get(regex));
            member.topics.contains(topic) || resolved.is_some_and(|it| it.topics.contains(topic))
        };
        self.members.values().any(reads)
    }

    /// The assignor that most members ask for; `default` where none does.
    pub(crate) fn assignor<'a>(
        members: impl Iterator<Item = &'a ConsumerMember>,
        default: &'a str,
    ) -> &'a str {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for assignor in members.filter_map(|member| member.assignor.as_deref()) {
            *votes.entry(assignor).or_default() += 1;
        }
        // Equal votes go to the first name.
        let best = votes.iter().max_by(|(a, x), (b, y)| x.cmp(y).then(b.cmp(a)));
        best.map_or(default, |(name, _)| name)
    }

    // --- Replay ------------------------------------------------------------------------------------------------

    /// Makes `member` what a record says, and the partitions its.
    pub(crate) fn put_member(&mut self, member: ConsumerMember) {
        if let Some(old) = self.members.remove(&member.id) {
            self.disown(&old);
        }
        for partitions in [&member.assigned, &member.revoking] {
            for (topic, partitions) in partitions {
                let owners = self.owners.entry(*topic).or_default();
                for partition in partitions.keys() {
                    owners.insert(*partition, Arc::clone(&member.id));
                }
            }
        }
        if let Some(instance_id) = &member.instance_id {
            self.static_members.insert(Arc::clone(instance_id), Arc::clone(&member.id));
        }
        self.members.insert(Arc::clone(&member.id), member);
    }

    /// Takes a member out; its timers are cancelled.
    pub(crate) fn remove_member(&mut self, member_id: &str, timers: &mut Timers) {
        if let Some(old) = self.members.remove(member_id) {
            self.disown(&old);
        }
        self.cancel_timers(member_id, timers);
    }

    fn disown(&mut self, member: &ConsumerMember) {
        for partitions in [&member.assigned, &member.revoking] {
            for (topic, partitions) in partitions {
                let Some(owners) = self.owners.get_mut(topic) else { continue };
                for partition in partitions.keys() {
                    // Another member's record may have come first.
                    if owners.get(partition).is_some_and(|owner| *owner == member.id) {
                        owners.remove(partition);
                    }
                }
                if owners.is_empty() {
                    self.owners.remove(topic);
                }
            }
        }
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id) == Some(&member.id)
        {
            self.static_members.remove(instance_id);
        }
    }

    // --- Timers ------------------------------------------------------------------------------------------------

    /// Gives a member its session timeout anew.
    pub(crate) fn arm_session(&mut self, member_id: &Arc<str>, deadline: i64, timers: &mut Timers) {
        let soft = self.soft.timers.entry(Arc::clone(member_id)).or_default();
        let group = &self.id;
        let key = || TimerKey::Session(Arc::clone(group), Arc::clone(member_id));
        soft.session.arm(deadline, timers, key);
    }

    /// Gives a member until `deadline` to do its part of the rebalance.
    pub(crate) fn arm_rebalance(
        &mut self,
        member_id: &Arc<str>,
        epoch: i32,
        deadline: i64,
        timers: &mut Timers,
    ) {
        let soft = self.soft.timers.entry(Arc::clone(member_id)).or_default();
        let group = &self.id;
        let key = || TimerKey::Rebalance(Arc::clone(group), Arc::clone(member_id));
        soft.rebalance_epoch = epoch;
        soft.rebalance.arm(deadline, timers, key);
    }

    /// Whether a member's part of the rebalance has a deadline already.
    pub(crate) fn has_rebalance_timer(&self, member_id: &str) -> bool {
        self.soft.timers.get(member_id).is_some_and(|soft| soft.rebalance.is_armed())
    }

    pub(crate) fn cancel_rebalance(&mut self, member_id: &Arc<str>, timers: &mut Timers) {
        let Some(soft) = self.soft.timers.get_mut(member_id) else { return };
        let key = || TimerKey::Rebalance(Arc::clone(&self.id), Arc::clone(member_id));
        soft.rebalance.cancel(timers, key);
    }

    fn cancel_timers(&mut self, member_id: &str, timers: &mut Timers) {
        let Some((id, mut soft)) = self.soft.timers.remove_entry(member_id) else { return };
        soft.session.cancel(timers, || TimerKey::Session(Arc::clone(&self.id), Arc::clone(&id)));
        soft.rebalance.cancel(timers, || TimerKey::Rebalance(Arc::clone(&self.id), id));
    }

    /// A session's queue entry came due: is it over?
    pub(crate) fn session_over(
        &mut self,
        member_id: &Arc<str>,
        due_ms: i64,
        now_ms: i64,
        timers: &mut Timers,
    ) -> bool {
        let Some(soft) = self.soft.timers.get_mut(member_id) else { return false };
        let key = || TimerKey::Session(Arc::clone(&self.id), Arc::clone(member_id));
        if !soft.session.fired(due_ms, now_ms, timers, key) {
            return false;
        }
        // Should the records of its removal be refused, it is tried again.
        soft.session.arm(now_ms.saturating_add(RETRY_MS), timers, key);
        self.members.contains_key(member_id)
    }

    /// A rebalance timer's queue entry came due: is the member still where it was?
    pub(crate) fn rebalance_over(
        &mut self,
        member_id: &Arc<str>,
        due_ms: i64,
        now_ms: i64,
        timers: &mut Timers,
    ) -> bool {
        let Some(soft) = self.soft.timers.get_mut(member_id) else { return false };
        let key = || TimerKey::Rebalance(Arc::clone(&self.id), Arc::clone(member_id));
        let epoch = soft.rebalance_epoch;
        if !soft.rebalance.fired(due_ms, now_ms, timers, key)
            || self.members.get(member_id).is_none_or(|member| member.epoch != epoch)
        {
            return false;
        }
        soft.rebalance.arm(now_ms.saturating_add(RETRY_MS), timers, key);
        true
    }

    /// Everything is read: sessions begin now, and whoever has partitions to give back has its time for it.
    pub(crate) fn start_timers(&mut self, session_timeout_ms: i32, cx: &mut Cx<'_>) {
        let members: Vec<ConsumerMember> = self.members.values().cloned().collect();
        for member in members {
            let classic = member.classic.as_ref().map(|it| it.session_timeout_ms);
            let session_ms = classic.unwrap_or(session_timeout_ms);
            let deadline = cx.now.mono_ms.saturating_add(session_ms.into());
            self.arm_session(&member.id, deadline, cx.timers);
            if member.state == MemberState::UnrevokedPartitions {
                let deadline = cx.now.mono_ms.saturating_add(member.rebalance_timeout_ms.into());
                self.arm_rebalance(&member.id, member.epoch, deadline, cx.timers);
            }
        }
    }

    /// The sessions of members that came in with a classic group.
    pub(crate) fn classic_sessions(&self) -> Vec<After> {
        let session = |member: &ConsumerMember| {
            let classic = member.classic.as_ref()?;
            Some(self.session(&member.id, classic.session_timeout_ms))
        };
        self.members.values().filter_map(session).collect()
    }

    /// Members that say goodbye by LeaveGroup: a code for each, and who really goes.
    pub(crate) fn leaving(&self, leaving: &[LeavingMember]) -> (Vec<ErrorCode>, Vec<Arc<str>>) {
        let mut ids = Vec::new();
        let mut code = |who: &LeavingMember| {
            let mut member_id = Arc::clone(&who.member_id);
            if let Some(instance_id) = who.instance_id.as_ref().filter(|_| member_id.is_empty()) {
                match self.static_members.get(instance_id) {
                    Some(known) => member_id = Arc::clone(known),
                    None => return ErrorCode::UnknownMemberId,
                }
            }
            match self.member(&member_id, who.instance_id.as_deref()) {
                Ok(_) if ids.contains(&member_id) => ErrorCode::UnknownMemberId,
                Ok(_) => {
                    ids.push(member_id);
                    ErrorCode::None
                }
                Err(error) => error,
            }
        };
        let codes = leaving.iter().map(&mut code).collect();
        (codes, ids)
    }

    /// Removes everything that the group keeps outside of itself.
    pub(crate) fn dissolve(&mut self, timers: &mut Timers) {
        let ids: Vec<_> = self.soft.timers.keys().cloned().collect();
        for id in ids {
            self.cancel_timers(&id, timers);
        }
    }
}
