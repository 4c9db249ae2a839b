//! One member's next step towards its target.
//!
//! Key entry: [`Step::next`]. A member first gives back what it shall not have (its epoch stays), then takes what is
//! free (its epoch becomes the target's), and waits for what others have still to give back. So no partition ever has
//! two owners.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::{ErrorCode, Uuid};

use super::state::{Assignment, ConsumerGroup, ConsumerMember, EpochAssignment, MemberState};

/// What a step depends on beside the member.
pub(crate) struct Step<'a> {
    pub(crate) group: &'a ConsumerGroup,
    pub(crate) target_epoch: i32,
    pub(crate) target: &'a Assignment,
    /// The ids of the topics that the member reads.
    pub(crate) subscribed: &'a BTreeSet<Uuid>,
    /// What the member says it has; `None` when it does not say.
    pub(crate) owned: Option<&'a Assignment>,
    /// The member's subscription has changed: what it does not read any more goes at once.
    pub(crate) enforce: bool,
    /// The id under which a static member was known before.
    pub(crate) replaced: Option<&'a Arc<str>>,
}

impl Step<'_> {
    /// The member after its next step; the same if it cannot move.
    pub(crate) fn next(&self, member: ConsumerMember) -> Result<ConsumerMember, ErrorCode> {
        match member.state {
            MemberState::Stable if member.epoch != self.target_epoch => Ok(self.advance(member)),
            MemberState::Stable if self.enforce => Ok(self.strip(member)),
            MemberState::Stable => Ok(member),
            MemberState::UnrevokedPartitions if self.still_owns(&member.revoking) => {
                Ok(if self.enforce { self.strip(member) } else { member })
            }
            MemberState::UnrevokedPartitions | MemberState::UnreleasedPartitions => {
                Ok(self.advance(member))
            }
            MemberState::Unknown => {
                // Written by a newer version: the member starts over, empty-handed.
                if self.owned.is_none_or(|owned| owned.values().any(|it| !it.is_empty())) {
                    return Err(ErrorCode::FencedMemberEpoch);
                }
                Ok(self.advance(ConsumerMember { epoch: self.target_epoch, ..member }))
            }
        }
    }

    /// Whether the member still has any of these; a member that does not say has them.
    fn still_owns(&self, revoking: &EpochAssignment) -> bool {
        let Some(owned) = self.owned else { return true };
        let overlaps = |(topic, partitions): (&Uuid, &BTreeMap<i32, i32>)| {
            let owned = owned.get(topic);
            owned.is_some_and(|owned| owned.iter().any(|it| partitions.contains_key(it)))
        };
        revoking.iter().any(overlaps)
    }

    /// Takes away topics that the member does not read any more, and nothing else.
    fn strip(&self, mut member: ConsumerMember) -> ConsumerMember {
        let gone: Vec<Uuid> =
            member.assigned.keys().filter(|id| !self.subscribed.contains(*id)).copied().collect();
        if gone.is_empty() {
            return member;
        }
        let mut revoking = member.revoking.clone();
        for topic in gone {
            let partitions = member.assigned.remove(&topic).unwrap_or_default();
            revoking.entry(topic).or_default().extend(partitions);
        }
        let epoch = member.epoch;
        if self.still_owns(&revoking) {
            member.state = MemberState::UnrevokedPartitions;
            member.revoking = revoking;
        }
        member.advance(epoch);
        member
    }

    fn is_free(&self, member: &ConsumerMember, topic: Uuid, partition: i32) -> bool {
        match self.group.owner(topic, partition) {
            None => true,
            Some(owner) => *owner == member.id || Some(owner) == self.replaced,
        }
    }

    fn advance(&self, mut member: ConsumerMember) -> ConsumerMember {
        let mut assigned = EpochAssignment::new();
        let mut revoking = EpochAssignment::new();
        let mut fresh: Vec<(Uuid, i32)> = Vec::new();
        let mut waits = false;
        let nothing = BTreeSet::new();
        let ids: BTreeSet<Uuid> =
            self.target.keys().chain(member.assigned.keys()).copied().collect();
        for id in ids {
            let reads = self.subscribed.contains(&id);
            let target = self.target.get(&id).filter(|_| reads).unwrap_or(&nothing);
            let has = member.assigned.get(&id);
            for (partition, epoch) in has.into_iter().flatten() {
                let list = if target.contains(partition) { &mut assigned } else { &mut revoking };
                list.entry(id).or_default().insert(*partition, *epoch);
            }
            let missing = target.iter().filter(|it| has.is_none_or(|has| !has.contains_key(*it)));
            for partition in missing {
                if self.is_free(&member, id, *partition) {
                    fresh.push((id, *partition));
                } else {
                    waits = true;
                }
            }
        }
        if !revoking.is_empty() && self.still_owns(&revoking) {
            let epoch = member.epoch;
            member.state = MemberState::UnrevokedPartitions;
            member.assigned = assigned;
            member.revoking = revoking;
            member.advance(epoch);
            return member;
        }
        for (id, partition) in fresh {
            assigned.entry(id).or_default().insert(partition, self.target_epoch);
        }
        member.state = if waits { MemberState::UnreleasedPartitions } else { MemberState::Stable };
        member.assigned = assigned;
        member.revoking = EpochAssignment::new();
        member.advance(self.target_epoch);
        member
    }
}
