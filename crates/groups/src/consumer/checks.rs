//! Whether a request fits the group as it is, and the records that delete it.

use std::sync::Arc;

use millstream_base::ErrorCode;

use super::state::{ConsumerGroup, ConsumerMember};
use crate::record::{ConsumerPart, Record};

impl ConsumerGroup {
    /// Whether a commit with these credentials is allowed.
    pub(crate) fn validate_commit(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        epoch: i32,
        knows_member_epochs: bool,
    ) -> Result<(), ErrorCode> {
        if epoch < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.member(member_id, instance_id)?;
        if member.classic.is_some() {
            return if epoch == member.epoch { Ok(()) } else { Err(ErrorCode::IllegalGeneration) };
        }
        if !knows_member_epochs {
            return Err(ErrorCode::UnsupportedVersion);
        }
        // A commit from before the member's last step is still good for what it has kept since (KIP-1251);
        // the caller checks that partition by partition.
        if epoch <= member.epoch { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }

    /// Whether a commit of `epoch` for one partition is allowed: the member must have had it since.
    pub(crate) fn validate_partition_commit(
        &self,
        member_id: &str,
        epoch: i32,
        topic: Option<millstream_base::Uuid>,
        partition: i32,
    ) -> Result<(), ErrorCode> {
        let Some(member) = self.members.get(member_id) else { return Ok(()) };
        if epoch == member.epoch || member.classic.is_some() {
            return Ok(());
        }
        let since = topic.and_then(|topic| epoch_of(member, topic, partition));
        match since {
            Some(since) if epoch >= since => Ok(()),
            _ => Err(ErrorCode::StaleMemberEpoch),
        }
    }

    /// Whether a member may fetch offsets. Without a member id anybody may.
    pub(crate) fn validate_fetch(
        &self,
        member_id: Option<&str>,
        epoch: i32,
    ) -> Result<(), ErrorCode> {
        let member_id = member_id.unwrap_or_default();
        if member_id.is_empty() && epoch < 0 {
            return Ok(());
        }
        let member = self.member(member_id, None)?;
        if epoch == member.epoch { Ok(()) } else { Err(ErrorCode::StaleMemberEpoch) }
    }

    /// A record of this group.
    pub(crate) fn record(&self, part: ConsumerPart) -> Record {
        Record::Consumer { group_id: Arc::clone(&self.id), part }
    }

    /// The records that delete one member.
    pub(crate) fn member_tombstones(&self, member_id: &Arc<str>) -> [Record; 3] {
        [
            self.record(ConsumerPart::Current(Arc::clone(member_id), None)),
            self.record(ConsumerPart::Target(Arc::clone(member_id), None)),
            self.record(ConsumerPart::Member(Arc::clone(member_id), None)),
        ]
    }

    /// The records that delete the group with all its members.
    pub(crate) fn tombstones(&self) -> Vec<Record> {
        let mut records: Vec<Record> =
            self.members.keys().flat_map(|id| self.member_tombstones(id)).collect();
        records.push(self.record(ConsumerPart::TargetEpoch(None)));
        let regexes = self.regexes.keys();
        records.extend(regexes.map(|it| self.record(ConsumerPart::Regex(Arc::clone(it), None))));
        if self.has_partition_record {
            records.push(self.record(ConsumerPart::Partitions(None)));
        }
        records.push(self.record(ConsumerPart::Epoch(None)));
        records
    }
}

/// Since which epoch the member has the partition.
fn epoch_of(member: &ConsumerMember, topic: millstream_base::Uuid, partition: i32) -> Option<i32> {
    let of = |assignment: &super::EpochAssignment| {
        assignment.get(&topic).and_then(|partitions| partitions.get(&partition)).copied()
    };
    of(&member.assigned).or_else(|| of(&member.revoking))
}
