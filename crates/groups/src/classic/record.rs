//! A classic group from its record and back.

use std::sync::Arc;

use bytes::Bytes;

use super::{CONSUMER, ClassicGroup, Cx, Member, State, subscription};
use crate::record::{ClassicMemberRecord, ClassicRecord, Record};
use crate::request::Now;

impl ClassicGroup {
    /// The group as one record, with the assignment that `assignment_of` gives to each member.
    pub(super) fn to_record(
        &self,
        state_timestamp_ms: i64,
        assignment_of: impl Fn(&Member) -> Bytes,
    ) -> Record {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |member: &Member| ClassicMemberRecord {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client.id),
            client_host: Arc::clone(&member.client.host),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            session_timeout_ms: member.session_timeout_ms,
            subscription: member.metadata(protocol),
            assignment: assignment_of(member),
        };
        let value = ClassicRecord {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            state_timestamp_ms,
            members: self.members.values().map(member).collect(),
        };
        Record::Classic { group_id: Arc::clone(&self.id), value: Some(value) }
    }

    /// The record of a group that is being made: no members, no protocol.
    pub(crate) fn empty_record(&self, now: Now) -> Record {
        let value = ClassicRecord {
            protocol_type: "".into(),
            generation: 0,
            protocol: None,
            leader: None,
            state_timestamp_ms: now.wall_ms,
            members: Vec::new(),
        };
        Record::Classic { group_id: Arc::clone(&self.id), value: Some(value) }
    }

    /// The group that a record describes. Timers start when the whole log is read.
    pub(crate) fn from_record(id: Arc<str>, record: &ClassicRecord, now: Now) -> Self {
        let mut group = Self::new(id, now);
        let protocol_type = Some(&record.protocol_type).filter(|name| !name.is_empty());
        group.protocol_type = protocol_type.cloned();
        group.generation = record.generation;
        group.protocol = record.protocol.clone();
        for member in &record.members {
            // A damaged record may name a member twice: the first one stays.
            if !group.members.contains_key(&member.member_id) {
                group.add(Member::from_record(member, record.protocol.as_ref()));
            }
        }
        group.leader = record.leader.clone().filter(|id| group.members.contains_key(id));
        group.state = if group.members.is_empty() { State::Empty } else { State::Stable };
        group.state_since_ms = record.state_timestamp_ms;
        group.subscribed = group.compute_subscribed();
        group
    }

    /// The live side of a record: the generation that was decided is now stored.
    pub(crate) fn apply(&mut self, record: &ClassicRecord) {
        if record.generation != self.generation || self.state != State::CompletingRebalance {
            return;
        }
        for stored in &record.members {
            if let Some(member) = self.members.get_mut(&stored.member_id) {
                member.assignment = stored.assignment.clone();
            }
        }
        self.state = State::Stable;
        self.state_since_ms = record.state_timestamp_ms;
    }

    /// Everything is read: members get a session from now on.
    pub(crate) fn start_timers(&mut self, cx: &mut Cx<'_>) {
        let ids: Vec<_> = self.members.keys().cloned().collect();
        for id in ids {
            self.rearm(&id, cx);
        }
        if self.members.len() > cx.config.max_size {
            let reason = "the group was loaded with more members than group.max.size allows";
            self.prepare_rebalance(cx, reason.into());
        }
    }

    /// The topics of the members of the chosen protocol; `None` when this is no consumer group or not known.
    pub(super) fn compute_subscribed(&self) -> Option<std::collections::BTreeSet<Arc<str>>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        if self.members.is_empty() {
            return Some(std::collections::BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        let metadata: Vec<Bytes> =
            self.members.values().map(|member| member.metadata(protocol)).collect();
        subscription::union(metadata.iter().map(|bytes| &bytes[..]))
    }
}
