//! What follows from a member that joins, changes, moves on or goes: records and timers.
//!
//! Key type: [`Change`]. One pass through the group: the member's own record, expressions, the group's epoch, the target
//! assignment, the member's next step. Nothing of the group is touched; the records say all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::{ErrorCode, Uuid};

use super::assign::{self, GroupAssignment, Spec, SpecMember};
use super::reconcile::Step;
use super::regex;
use super::state::{Assignment, ConsumerGroup, ConsumerMember, ResolvedRegex};
use super::topics::{Topics, metadata_hash};
use crate::config::GroupConfig;
use crate::effect::After;
use crate::record::{ConsumerEpoch, ConsumerPart, Record, TargetEpoch};
use crate::request::Now;

/// An error with what the client is told beside its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupError {
    /// Kafka's code.
    pub code: ErrorCode,
    /// What is wrong; empty where the code says it all.
    pub message: String,
}

impl GroupError {
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<ErrorCode> for GroupError {
    fn from(code: ErrorCode) -> Self {
        Self::new(code, "")
    }
}

/// A pass through a group, as it would be.
pub(crate) struct Change<'a> {
    pub(crate) group: &'a ConsumerGroup,
    pub(crate) topics: &'a dyn Topics,
    pub(crate) now: Now,
    pub(crate) config: &'a GroupConfig,
    /// The least time between two target assignments.
    pub(crate) assignment_interval_ms: i64,
    pub(crate) records: Vec<Record>,
    /// The group's epoch after the change.
    pub(crate) epoch: i32,
    /// The epoch that the target assignment is made for after the change.
    target_epoch: i32,
    /// All expressions were evaluated anew.
    evaluated: bool,
    /// The group's expressions after the change.
    regexes: BTreeMap<Arc<str>, ResolvedRegex>,
    /// Members that are other than in the group, or not there any more.
    members: BTreeMap<Arc<str>, Option<ConsumerMember>>,
    /// Why the group rebalances, if it does.
    pub(crate) reason: Option<Arc<str>>,
}

impl<'a> Change<'a> {
    pub(crate) fn new(
        group: &'a ConsumerGroup,
        topics: &'a dyn Topics,
        now: Now,
        config: &'a GroupConfig,
    ) -> Self {
        Self {
            group,
            topics,
            now,
            config,
            assignment_interval_ms: 0,
            records: Vec::new(),
            epoch: group.epoch,
            target_epoch: group.target_epoch,
            evaluated: false,
            regexes: group.regexes.clone(),
            members: BTreeMap::new(),
            reason: None,
        }
    }

    fn push(&mut self, part: ConsumerPart) {
        self.records.push(self.group.record(part));
    }

    /// The members after the change.
    fn members(&self) -> impl Iterator<Item = &ConsumerMember> {
        let kept = self.group.members.values().filter(|it| !self.members.contains_key(&it.id));
        kept.chain(self.members.values().flatten())
    }

    fn subscribed_names(&self) -> BTreeSet<Arc<str>> {
        let mut names = BTreeSet::new();
        for member in self.members() {
            names.extend(self.names_of(member).cloned());
        }
        names
    }

    fn names_of<'b>(&'b self, member: &'b ConsumerMember) -> impl Iterator<Item = &'b Arc<str>> {
        let resolved = member.regex.as_ref().and_then(|regex| self.regexes.get(regex));
        member.topics.iter().chain(resolved.into_iter().flat_map(|it| &it.topics))
    }

    fn ids_of(&self, member: &ConsumerMember) -> BTreeSet<Uuid> {
        self.names_of(member)
            .filter_map(|name| self.topics.by_name(name))
            .map(|topic| topic.id)
            .collect()
    }

    // --- Members -----------------------------------------------------------------------------------------------

    /// A static member comes back under another id: the old one goes, the new one takes its place and partitions.
    pub(crate) fn replace(&mut self, old: &ConsumerMember, new: &ConsumerMember) {
        self.records.extend(self.group.member_tombstones(&old.id));
        self.members.insert(Arc::clone(&old.id), None);
        self.push(ConsumerPart::Member(Arc::clone(&new.id), Some(Box::new(new.to_record()))));
        if let Some(target) = self.group.target.get(&old.id) {
            self.push(ConsumerPart::Target(Arc::clone(&new.id), Some(target.clone())));
        }
        self.push(ConsumerPart::Current(Arc::clone(&new.id), Some(new.to_current())));
        self.members.insert(Arc::clone(&new.id), Some(new.clone()));
    }

    /// The member as it is now. True when its subscription is another than `before`.
    pub(crate) fn describe(
        &mut self,
        before: Option<&ConsumerMember>,
        member: &ConsumerMember,
    ) -> Result<bool, GroupError> {
        if before.is_none_or(|before| !before.same_metadata(member)) {
            let record = Box::new(member.to_record());
            self.push(ConsumerPart::Member(Arc::clone(&member.id), Some(record)));
        }
        self.members.insert(Arc::clone(&member.id), Some(member.clone()));
        if let Some(regex) = &member.regex {
            self.resolve(regex)?;
        }
        if let Some(old) = before.and_then(|before| before.regex.as_ref()) {
            self.drop_unused(old);
        }
        Ok(before.is_none_or(|before| !before.same_subscription(member)))
    }

    /// Looks up what a new expression matches.
    fn resolve(&mut self, expression: &Arc<str>) -> Result<(), GroupError> {
        if self.regexes.contains_key(expression) {
            return Ok(());
        }
        let compiled = regex::compile(expression)
            .map_err(|cause| GroupError::new(ErrorCode::InvalidRegularExpression, cause))?;
        let topics = regex::resolve(&compiled, self.topics);
        self.put_regex(expression, topics);
        Ok(())
    }

    fn put_regex(&mut self, expression: &Arc<str>, topics: BTreeSet<Arc<str>>) {
        let (version, timestamp_ms) = (self.topics.version(), self.now.wall_ms);
        let resolved = ResolvedRegex { topics, version, timestamp_ms };
        self.push(ConsumerPart::Regex(Arc::clone(expression), Some(resolved.clone())));
        self.regexes.insert(Arc::clone(expression), resolved);
    }

    fn drop_unused(&mut self, expression: &Arc<str>) {
        let is_used = self.members().any(|member| member.regex.as_ref() == Some(expression));
        if !is_used && self.regexes.remove(expression).is_some() {
            self.push(ConsumerPart::Regex(Arc::clone(expression), None));
        }
    }

    /// Members go, with all their records.
    pub(crate) fn remove(&mut self, ids: &[Arc<str>]) {
        for id in ids {
            self.records.extend(self.group.member_tombstones(id));
            self.members.insert(Arc::clone(id), None);
        }
        let regexes: Vec<_> = self.regexes.keys().cloned().collect();
        for expression in regexes {
            self.drop_unused(&expression);
        }
    }

    // --- The group ---------------------------------------------------------------------------------------------

    /// Whether topics may have changed since the group last looked.
    pub(crate) fn has_stale_topics(&self) -> bool {
        self.group.soft.seen_topics != Some(self.topics.version())
    }

    /// Takes up changes of topics and bumps the group's epoch where the assignment must be made anew.
    pub(crate) fn bump(&mut self, must: bool, reason: &str) {
        let is_stale =
            self.has_stale_topics() || self.group.has_stale_regexes(self.now, self.config);
        if !must && !is_stale && self.group.epoch != 0 {
            return;
        }
        if is_stale {
            self.refresh_regexes();
        }
        let metadata_hash = metadata_hash(&self.subscribed_names(), self.topics);
        let topics_changed = metadata_hash != self.group.metadata_hash;
        if !must && !topics_changed && self.group.epoch != 0 {
            return;
        }
        self.epoch = self.group.epoch.saturating_add(1);
        let value = ConsumerEpoch { epoch: self.epoch, metadata_hash };
        self.push(ConsumerPart::Epoch(Some(value)));
        if self.group.has_partition_record {
            self.push(ConsumerPart::Partitions(None));
        }
        self.reason = Some(if must { reason } else { "topics changed" }.into());
    }

    fn refresh_regexes(&mut self) {
        self.evaluated = true;
        let expressions: Vec<Arc<str>> = self.regexes.keys().cloned().collect();
        for expression in expressions {
            // An expression of Kafka's dialect that ours does not know keeps what it matched.
            let Ok(compiled) = regex::compile(&expression) else { continue };
            let topics = regex::resolve(&compiled, self.topics);
            if self.regexes.get(&expression).is_none_or(|old| old.topics != topics) {
                self.put_regex(&expression, topics);
            }
        }
    }

    /// Makes the target assignment for the group's epoch if it is not made yet and it is time. Gives that of `member_id`.
    pub(crate) fn target_of(
        &mut self,
        member_id: &Arc<str>,
        old_id: Option<&Arc<str>>,
    ) -> Assignment {
        let known = |id: &Arc<str>| self.group.target.get(id).cloned();
        if self.epoch <= self.group.target_epoch || self.is_too_early() {
            let own = known(member_id).or_else(|| old_id.and_then(known));
            return own.unwrap_or_default();
        }
        let mut result = self.assign(old_id.map(|old| (old, member_id)));
        let mut changed = Vec::new();
        for (id, assignment) in &result {
            let before = match old_id {
                // The replaced member's target was copied already.
                Some(old) if id == member_id => self.group.target.get(old),
                _ => self.group.target.get(id),
            };
            if before != Some(assignment) {
                changed.push((Arc::clone(id), assignment.clone()));
            }
        }
        for (id, assignment) in changed {
            self.push(ConsumerPart::Target(id, Some(assignment)));
        }
        let value = TargetEpoch { epoch: self.epoch, timestamp_ms: self.now.wall_ms };
        self.push(ConsumerPart::TargetEpoch(Some(value)));
        self.target_epoch = self.epoch;
        result.remove(member_id).unwrap_or_default()
    }

    /// Whether the last target was made so lately that further changes are gathered first (KIP-1263). Then a later
    /// heartbeat makes the next one. Nothing can be gathered for a group's only member.
    fn is_too_early(&self) -> bool {
        let since_ms = self.now.wall_ms.saturating_sub(self.group.target_made_ms);
        // A wall clock that went back holds nobody up.
        let is_recent = (0..self.assignment_interval_ms).contains(&since_ms);
        is_recent && self.members().nth(1).is_some()
    }

    /// What the group has looked at, once the records are applied.
    pub(crate) fn seen(&mut self) -> After {
        After::Seen {
            group_id: Arc::clone(&self.group.id),
            topics: self.topics.version(),
            regexes: self.evaluated,
            reason: self.reason.take(),
        }
    }

    fn assign(&self, renamed: Option<(&Arc<str>, &Arc<str>)>) -> GroupAssignment {
        let mut spec = Spec::default();
        let mut members: Vec<&ConsumerMember> = self.members().collect();
        members.sort_by(|a, b| a.id.cmp(&b.id));
        for member in members.iter().copied() {
            let key = match renamed {
                Some((old, new)) if *new == member.id => old,
                _ => &member.id,
            };
            let topics = self.ids_of(member);
            for id in &topics {
                if let Some(topic) = self.topics.by_id(*id) {
                    spec.topics.insert(*id, topic.partitions);
                }
            }
            spec.members.push(SpecMember {
                id: Arc::clone(&member.id),
                instance_id: member.instance_id.clone(),
                rack: member.rack.clone(),
                topics,
                current: self.group.target.get(key).cloned().unwrap_or_default(),
            });
        }
        if spec.members.iter().any(|member| member.rack.is_some()) {
            for (id, count) in &spec.topics {
                for partition in 0..*count {
                    let racks = self.topics.racks(*id, partition).into_iter().collect();
                    spec.racks.insert((*id, partition), racks);
                }
            }
        }
        let assignor = ConsumerGroup::assignor(members.into_iter(), self.config.default_assignor());
        assign::assign(assignor, &spec)
    }

    /// The member's next step towards `target`; its record, if it moves.
    pub(crate) fn step(
        &mut self,
        before: Option<&ConsumerMember>,
        member: ConsumerMember,
        target: &Assignment,
        owned: Option<&Assignment>,
        enforce: bool,
        replaced: Option<&Arc<str>>,
    ) -> Result<ConsumerMember, GroupError> {
        let subscribed = self.ids_of(&member);
        let step = Step {
            group: self.group,
            target_epoch: self.target_epoch,
            target,
            subscribed: &subscribed,
            owned,
            enforce,
            replaced,
        };
        let next = step.next(member)?;
        if before.is_none_or(|before| !before.same_assignment(&next)) {
            self.push(ConsumerPart::Current(Arc::clone(&next.id), Some(next.to_current())));
        }
        Ok(next)
    }
}
