//! A consumer-protocol group from its records.
//!
//! Compaction keeps the last record of each key, in the order of the log. So a member's assignment may come before the
//! member itself, and a tombstone for what never was.

use std::sync::Arc;

use super::state::{ConsumerGroup, ConsumerMember, LEAVE_EPOCH};
use crate::record::{ConsumerMemberRecord, ConsumerPart, CurrentAssignment};
use crate::request::ClientInfo;
use crate::timers::Timers;

impl ConsumerGroup {
    /// Replays one record other than the group's own tombstone.
    pub(crate) fn replay(&mut self, part: &ConsumerPart, timers: &mut Timers) {
        match part {
            ConsumerPart::Epoch(None) => {}
            ConsumerPart::Epoch(Some(value)) => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            ConsumerPart::Partitions(value) => self.has_partition_record = value.is_some(),
            ConsumerPart::Member(id, None) => self.remove_member(id, timers),
            ConsumerPart::Member(id, Some(value)) => {
                let known = self.members.get(id).cloned();
                let member = known.unwrap_or_else(|| ConsumerMember::new(Arc::clone(id)));
                self.put_member(member.described(value));
            }
            ConsumerPart::TargetEpoch(value) => {
                self.target_epoch = value.map_or(0, |it| it.epoch);
                self.target_made_ms = value.map_or(0, |it| it.timestamp_ms);
            }
            ConsumerPart::Target(id, None) => drop(self.target.remove(id)),
            ConsumerPart::Target(id, Some(value)) => {
                self.target.insert(Arc::clone(id), value.clone());
            }
            ConsumerPart::Current(id, value) => self.replay_current(id, value.as_ref()),
            ConsumerPart::Regex(regex, None) => drop(self.regexes.remove(regex)),
            ConsumerPart::Regex(regex, Some(value)) => {
                self.regexes.insert(Arc::clone(regex), value.clone());
            }
        }
    }

    fn replay_current(&mut self, id: &Arc<str>, value: Option<&CurrentAssignment>) {
        let known = self.members.get(id).cloned();
        let mut member = match (known, value) {
            (Some(member), _) => member,
            (None, Some(_)) => ConsumerMember::new(Arc::clone(id)),
            (None, None) => return,
        };
        match value {
            Some(value) => {
                member.epoch = value.epoch;
                member.previous_epoch = value.previous_epoch;
                member.state = value.state;
                member.assigned = value.assigned.clone();
                member.revoking = value.revoking.clone();
            }
            None => {
                let bare = ConsumerMember::new(Arc::clone(id));
                member.epoch = LEAVE_EPOCH;
                member.previous_epoch = LEAVE_EPOCH;
                member.state = bare.state;
                member.assigned = bare.assigned;
                member.revoking = bare.revoking;
            }
        }
        self.put_member(member);
    }
}

impl ConsumerMember {
    /// The member with what a record says of it.
    fn described(self, record: &ConsumerMemberRecord) -> Self {
        Self {
            instance_id: record.instance_id.clone(),
            rack: record.rack.clone(),
            client: ClientInfo {
                id: Arc::clone(&record.client_id),
                host: Arc::clone(&record.client_host),
            },
            rebalance_timeout_ms: record.rebalance_timeout_ms,
            topics: record.topics.clone(),
            regex: record.regex.clone(),
            assignor: record.assignor.clone(),
            classic: record.classic.clone(),
            ..self
        }
    }

    /// What the member's record of kind 5 says.
    pub(crate) fn to_record(&self) -> ConsumerMemberRecord {
        ConsumerMemberRecord {
            instance_id: self.instance_id.clone(),
            rack: self.rack.clone(),
            client_id: Arc::clone(&self.client.id),
            client_host: Arc::clone(&self.client.host),
            topics: self.topics.clone(),
            regex: self.regex.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            assignor: self.assignor.clone(),
            classic: self.classic.clone(),
        }
    }

    /// What the member's record of kind 8 says.
    pub(crate) fn to_current(&self) -> CurrentAssignment {
        CurrentAssignment {
            epoch: self.epoch,
            previous_epoch: self.previous_epoch,
            state: self.state,
            assigned: self.assigned.clone(),
            revoking: self.revoking.clone(),
        }
    }
}
