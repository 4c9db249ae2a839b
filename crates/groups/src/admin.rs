//! The shard's calls for administrators: list, describe, delete.
//!
//! Key types: [`ListedGroup`], [`DescribedGroup`]. Answers are in order of group and member id.

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::ErrorCode;

use crate::classic::{ClassicGroup, Member, State};
use crate::consumer::{Assignment, ConsumerGroup, ConsumerMember, plain};
use crate::effect::Decided;
use crate::expire::Tombstones;
use crate::offsets::CommittedOffset;
use crate::record::Record;
use crate::shard::{Group, Shard};

/// Which protocol a group speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKind {
    /// Clients assign (or the group holds offsets alone).
    Classic,
    /// The broker assigns (KIP-848).
    Consumer,
}

impl GroupKind {
    /// Kafka's name of the type.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// One line of ListGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Which group.
    pub group_id: Arc<str>,
    /// Empty for a group that never had a member.
    pub protocol_type: Arc<str>,
    /// Kafka's name of the state.
    pub state: &'static str,
    /// Which protocol it speaks.
    pub kind: GroupKind,
}

/// A classic group as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedGroup {
    /// Kafka's name of the state.
    pub state: &'static str,
    /// Empty for a group that never had a member.
    pub protocol_type: Arc<str>,
    /// The protocol voted for, while the group is stable.
    pub protocol: Option<Arc<str>>,
    /// Grows with every rebalance.
    pub generation: i32,
    /// Why the last rebalance began, since this broker coordinates the group.
    pub rebalance_reason: Option<Arc<str>>,
    /// In order of member id.
    pub members: Vec<DescribedMember>,
}

/// One member of a [`DescribedGroup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Its address.
    pub client_host: Arc<str>,
    /// For the chosen protocol; empty unless the group is stable.
    pub metadata: Bytes,
    /// Empty unless the group is stable.
    pub assignment: Bytes,
}

/// A consumer-protocol group as ConsumerGroupDescribe shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumerGroup {
    /// Kafka's name of the state.
    pub state: &'static str,
    /// Grows whenever a new assignment is needed.
    pub epoch: i32,
    /// The epoch that the target assignment was made for.
    pub assignment_epoch: i32,
    /// The assignor in use.
    pub assignor: Arc<str>,
    /// Why the last rebalance began, since this broker coordinates the group.
    pub rebalance_reason: Option<Arc<str>>,
    /// In order of member id.
    pub members: Vec<DescribedConsumer>,
}

/// One member of a [`DescribedConsumerGroup`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConsumer {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its `group.instance.id`.
    pub instance_id: Option<Arc<str>>,
    /// Its rack.
    pub rack: Option<Arc<str>>,
    /// Its epoch.
    pub epoch: i32,
    /// Its client id.
    pub client_id: Arc<str>,
    /// Its address.
    pub client_host: Arc<str>,
    /// The topics that it names.
    pub topics: Vec<Arc<str>>,
    /// The expression by which it names more.
    pub regex: Option<Arc<str>>,
    /// What it has.
    pub assigned: Assignment,
    /// What it shall have.
    pub target: Assignment,
    /// Whether it still speaks the classic protocol.
    pub is_classic: bool,
}

impl Group {
    pub(crate) const fn kind(&self) -> GroupKind {
        match self {
            Self::Classic(_) => GroupKind::Classic,
            Self::Consumer(_) => GroupKind::Consumer,
        }
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self {
            Self::Classic(group) => group.state.name(),
            Self::Consumer(group) => group.state_name(),
        }
    }

    /// The records that delete the group, without its offsets. It has no members.
    pub(crate) fn tombstones(&self) -> Vec<Record> {
        match self {
            Self::Classic(group) => {
                vec![Record::Classic { group_id: Arc::clone(&group.id), value: None }]
            }
            Self::Consumer(group) => group.tombstones(),
        }
    }

    fn protocol_type(&self) -> Arc<str> {
        match self {
            Self::Classic(group) => group.protocol_type.clone().unwrap_or_else(|| "".into()),
            Self::Consumer(_) => crate::classic::CONSUMER.into(),
        }
    }
}

impl Shard {
    /// ListGroups. Empty filters let all pass; names are compared without case.
    pub fn list_groups(&self, states: &[&str], kinds: &[&str]) -> Vec<ListedGroup> {
        let passes = |filter: &[&str], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let listed = |(group_id, group): (&Arc<str>, &Group)| ListedGroup {
            group_id: Arc::clone(group_id),
            protocol_type: group.protocol_type(),
            state: group.state_name(),
            kind: group.kind(),
        };
        self.groups
            .iter()
            .map(listed)
            .filter(|group| passes(states, group.state) && passes(kinds, group.kind.name()))
            .collect()
    }

    /// DescribeGroups of one group; `None` when there is no such classic group.
    pub fn describe_group(&self, group_id: &str) -> Option<DescribedGroup> {
        match self.groups.get(group_id)? {
            Group::Classic(group) => Some(describe(group)),
            Group::Consumer(_) => None,
        }
    }

    /// ConsumerGroupDescribe of one group; `None` when there is no such consumer-protocol group.
    pub fn describe_consumer_group(&self, group_id: &str) -> Option<DescribedConsumerGroup> {
        let Group::Consumer(group) = self.groups.get(group_id)? else { return None };
        let default = self.config.default_assignor();
        let member = |member: &ConsumerMember| DescribedConsumer {
            member_id: Arc::clone(&member.id),
            instance_id: member.instance_id.clone(),
            rack: member.rack.clone(),
            epoch: member.epoch,
            client_id: Arc::clone(&member.client.id),
            client_host: Arc::clone(&member.client.host),
            topics: member.topics.iter().cloned().collect(),
            regex: member.regex.clone(),
            assigned: plain(&member.assigned),
            target: group.target.get(&member.id).cloned().unwrap_or_default(),
            is_classic: member.classic.is_some(),
        };
        Some(DescribedConsumerGroup {
            state: group.state_name(),
            epoch: group.epoch,
            assignment_epoch: group.target_epoch,
            assignor: ConsumerGroup::assignor(group.members.values(), default).into(),
            rebalance_reason: group.soft.rebalance_reason.clone(),
            members: group.members.values().map(member).collect(),
        })
    }

    /// DeleteGroups of one group, with all its offsets. The reply is `None` while there are more of them: then call
    /// again, before anybody else does.
    pub fn delete_group(&mut self, group_id: &Arc<str>) -> Decided<Option<ErrorCode>> {
        let group = match self.groups.get(group_id) {
            None => return Decided::reply(Some(ErrorCode::GroupIdNotFound)),
            Some(group) if !group.is_empty() => {
                return Decided::reply(Some(ErrorCode::NonEmptyGroup));
            }
            Some(group) => group,
        };
        let committed =
            self.offsets.of_group(group_id).map(|(topic, partition, _)| (topic, partition));
        let open = self.offsets.open_of_group(group_id);
        let mut tombstones = Tombstones::default();
        for (topic, partition) in committed.chain(open) {
            if tombstones.is_full() {
                return tombstones.decided(None);
            }
            tombstones.push(group_id, topic, partition);
        }
        tombstones.push_group(group);
        tombstones.decided(Some(ErrorCode::None))
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// All committed offsets of a group, in order of topic and partition.
    pub fn committed_offsets<'a>(
        &'a self,
        group_id: &str,
    ) -> impl Iterator<Item = (&'a Arc<str>, i32, &'a CommittedOffset)> + use<'a> {
        self.offsets.of_group(group_id)
    }
}

fn describe(group: &ClassicGroup) -> DescribedGroup {
    let protocol = group.protocol.clone().filter(|_| group.state == State::Stable);
    let member = |member: &Member| DescribedMember {
        member_id: Arc::clone(&member.id),
        instance_id: member.instance_id.clone(),
        client_id: Arc::clone(&member.client.id),
        client_host: Arc::clone(&member.client.host),
        metadata: protocol.as_deref().map(|name| member.metadata(name)).unwrap_or_default(),
        assignment: match group.state {
            State::Stable => member.assignment.clone(),
            _ => Bytes::new(),
        },
    };
    DescribedGroup {
        state: group.state.name(),
        protocol_type: group.protocol_type.clone().unwrap_or_else(|| "".into()),
        generation: group.generation,
        rebalance_reason: group.rebalance_reason.clone(),
        members: group.members.values().map(member).collect(),
        protocol,
    }
}
