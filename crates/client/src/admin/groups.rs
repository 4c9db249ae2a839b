//! Consumer groups: listing, describing, deleting, and their committed offsets.

use std::collections::{BTreeMap, BTreeSet};

use millstream_base::{ErrorCode, NodeId, TopicPartition};
use millstream_wire::Str;
use millstream_wire::messages::consumer_group_describe as consumer_group;
use millstream_wire::messages::delete_groups::DeleteGroupsRequest;
use millstream_wire::messages::describe_groups::{
    DescribeGroupsRequest, DescribedGroup, DescribedGroupMember,
};
use millstream_wire::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};
use millstream_wire::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};

use super::Admin;
use crate::cluster::Lane;
use crate::consumer::embedded;
use crate::{ClientError, CommittedOffsets};

/// A group in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub group_id: String,
    /// What its members speak with each other, `consumer` for consumers.
    pub protocol_type: String,
    /// Its state; empty when the broker is too old to say.
    pub state: String,
    /// Its type, such as `classic`; empty when the broker is too old to say.
    pub group_type: String,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// Its id.
    pub member_id: String,
    /// `group.instance.id` of a static member.
    pub instance_id: Option<String>,
    /// `client.id`.
    pub client_id: String,
    /// Where it connects from.
    pub host: String,
    /// `client.rack`, where the group's protocol shows it.
    pub rack: Option<String>,
    /// How far it has followed the group, under the consumer protocol.
    pub epoch: Option<i32>,
    /// The topics that it names; empty when that cannot be told.
    pub topics: BTreeSet<String>,
    /// The expression by which it names more, under the consumer protocol.
    pub topic_regex: Option<String>,
    /// What it reads; empty when that cannot be told.
    pub assignment: BTreeSet<TopicPartition>,
    /// What it shall read; differs from `assignment` while partitions change hands under the consumer protocol.
    pub target: BTreeSet<TopicPartition>,
}

/// A group in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: String,
    /// Its state, such as `Stable` or `Empty`.
    pub state: String,
    /// What its members speak with each other.
    pub protocol_type: String,
    /// `classic`, or `consumer` where the broker assigns (KIP-848).
    pub group_type: String,
    /// The assignor that was chosen.
    pub assignor: String,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
    /// The group's epoch, under the consumer protocol.
    pub epoch: Option<i32>,
    /// Why it was rebalanced last, where the broker tells; Kafka's do not.
    pub rebalance_reason: Option<String>,
    /// Its members, by id.
    pub members: Vec<GroupMember>,
}

impl Admin {
    /// Every group there is, by id. `states` and `types` narrow that down; empty means all.
    pub async fn list_groups(
        &self,
        states: &[String],
        types: &[String],
    ) -> Result<Vec<GroupListing>, ClientError> {
        let metadata = self.cluster.refresh().await?;
        let mut found: BTreeMap<String, GroupListing> = BTreeMap::new();
        for broker in metadata.brokers() {
            let build = |version: i16| ListGroupsRequest {
                states_filter: if version >= 4 { texts(states) } else { Vec::new() },
                types_filter: if version >= 5 { texts(types) } else { Vec::new() },
            };
            let check = |answer: &ListGroupsResponse| {
                ClientError::check(answer.error_code, || "groups".to_owned())
            };
            let response = self.ask_node(broker.id, "groups", build, check).await?;
            for group in response.groups {
                let group_id = group.group_id.to_string();
                let listing = GroupListing {
                    group_id: group_id.clone(),
                    protocol_type: group.protocol_type.to_string(),
                    state: group.group_state.to_string(),
                    group_type: group.group_type.to_string(),
                };
                found.insert(group_id, listing);
            }
        }
        Ok(found.into_values().collect())
    }

    /// One group of either protocol with its members.
    ///
    /// # Errors
    /// [`ErrorCode::GroupIdNotFound`] when there is none of that id.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let mut retry = self.cluster.retry(format!("group `{group}`"), self.within);
        loop {
            match self.describe_group_once(group).await {
                Ok(described) => return Ok(described),
                Err(error) => {
                    self.cluster.note_coordinator_error(group, &error);
                    retry.again(error).await?;
                }
            }
        }
    }

    async fn describe_group_once(&self, group: &str) -> Result<GroupDescription, ClientError> {
        let missing = || ClientError::Missing(format!("group `{group}`"));
        let coordinator = self.cluster.coordinator(group).await?;
        let request = DescribeGroupsRequest {
            groups: vec![group.into()],
            include_authorized_operations: false,
        };
        let response =
            self.cluster.call_coordinator(group, Lane::General, None, |_| request.clone()).await?;
        let described = response.groups.into_iter().next().ok_or_else(missing)?;
        let classic = read_group(&described, coordinator);
        let Err(error) = &classic else { return classic };
        if error.code() != Some(ErrorCode::GroupIdNotFound) {
            return classic;
        }
        // It may speak the other protocol, if the broker knows that one.
        let request = consumer_group::ConsumerGroupDescribeRequest {
            group_ids: vec![group.into()],
            include_authorized_operations: false,
        };
        let called =
            self.cluster.call_coordinator(group, Lane::General, None, |_| request.clone()).await;
        let Ok(response) = called else { return classic };
        let described = response.groups.into_iter().next().ok_or_else(missing)?;
        if described.error_code == ErrorCode::GroupIdNotFound.code() {
            return classic;
        }
        read_consumer_group(&described, coordinator)
    }

    /// Deletes a group with its committed offsets. It must have no members.
    pub async fn delete_group(&self, group: &str) -> Result<(), ClientError> {
        let request = DeleteGroupsRequest { groups_names: vec![group.into()] };
        let what = || format!("group `{group}`");
        let mut retry = self.cluster.retry(what(), self.within);
        loop {
            let called = self
                .cluster
                .call_coordinator(group, Lane::General, None, |_| request.clone())
                .await;
            let checked = called.and_then(|response| {
                let result = response.results.first();
                let result = result.ok_or_else(|| ClientError::Missing(what()))?;
                let message = result.error_message.as_ref().map(Str::as_str);
                ClientError::check_with(result.error_code, message, what)
            });
            match checked {
                Ok(()) => return Ok(()),
                Err(error) => {
                    self.cluster.note_coordinator_error(group, &error);
                    retry.again(error).await?;
                }
            }
        }
    }

    /// Everything that a group has committed.
    pub async fn committed_offsets(&self, group: &str) -> Result<CommittedOffsets, ClientError> {
        self.cluster.fetch_committed(group, None, self.within).await
    }

    /// Sets committed offsets of a group without members.
    pub async fn set_committed_offsets(
        &self,
        group: &str,
        offsets: &CommittedOffsets,
    ) -> Result<(), ClientError> {
        self.cluster.commit_offsets(group, None, None, offsets, self.within).await
    }

    /// Deletes committed offsets of a group.
    pub async fn delete_committed_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<(), ClientError> {
        let mut topics: Vec<OffsetDeleteRequestTopic> = Vec::new();
        for partition in partitions {
            let entry = OffsetDeleteRequestPartition { partition_index: partition.partition.0 };
            match topics.iter_mut().find(|topic| *topic.name == *partition.topic) {
                Some(topic) => topic.partitions.push(entry),
                None => topics.push(OffsetDeleteRequestTopic {
                    name: (&partition.topic).into(),
                    partitions: vec![entry],
                }),
            }
        }
        let request = OffsetDeleteRequest { group_id: group.into(), topics };
        let response =
            self.cluster.call_coordinator(group, Lane::General, None, |_| request.clone()).await?;
        ClientError::check(response.error_code, || format!("group `{group}`"))?;
        for topic in &response.topics {
            for partition in &topic.partitions {
                ClientError::check(partition.error_code, || {
                    format!("committed offset of {}-{}", topic.name, partition.partition_index)
                })?;
            }
        }
        Ok(())
    }
}

fn texts(texts: &[String]) -> Vec<Str> {
    texts.iter().map(Into::into).collect()
}

fn read_group(
    group: &DescribedGroup,
    coordinator: NodeId,
) -> Result<GroupDescription, ClientError> {
    let group_id = group.group_id.to_string();
    let what = || format!("group `{group_id}`");
    let message = group.error_message.as_ref().map(Str::as_str);
    ClientError::check_with(group.error_code, message, what)?;
    // Before version 6 a missing group looks like a dead one.
    if group.group_state == "Dead" && group.members.is_empty() {
        let message = Some("there is no such group".to_owned());
        return Err(ClientError::Broker {
            code: ErrorCode::GroupIdNotFound,
            what: what(),
            message,
        });
    }
    let mut members: Vec<GroupMember> =
        group.members.iter().map(|m| member(m, &group.protocol_type)).collect();
    members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    Ok(GroupDescription {
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        group_type: "classic".to_owned(),
        assignor: group.protocol_data.to_string(),
        coordinator,
        epoch: None,
        rebalance_reason: message.map(str::to_owned),
        members,
        group_id,
    })
}

fn member(member: &DescribedGroupMember, protocol_type: &str) -> GroupMember {
    // Other clients may write what they like: what cannot be read is shown as nothing.
    let is_consumer = protocol_type == "consumer";
    let assignment = is_consumer
        .then(|| embedded::read_assignment(member.member_assignment.clone()).ok())
        .flatten()
        .unwrap_or_default();
    let subscription = (is_consumer && !member.member_metadata.is_empty())
        .then(|| embedded::read_subscription(member.member_metadata.clone(), None).ok())
        .flatten();
    let topics = subscription.map(|read| read.topics).unwrap_or_default();
    GroupMember {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        rack: None,
        epoch: None,
        topics: topics.iter().map(ToString::to_string).collect(),
        topic_regex: None,
        target: assignment.clone(),
        assignment,
    }
}

fn read_consumer_group(
    group: &consumer_group::DescribedGroup,
    coordinator: NodeId,
) -> Result<GroupDescription, ClientError> {
    let message = group.error_message.as_ref().map(Str::as_str);
    ClientError::check_with(group.error_code, message, || format!("group `{}`", group.group_id))?;
    let mut members: Vec<GroupMember> = group.members.iter().map(consumer_member).collect();
    members.sort_by(|a, b| a.member_id.cmp(&b.member_id));
    Ok(GroupDescription {
        group_id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        protocol_type: "consumer".to_owned(),
        group_type: "consumer".to_owned(),
        assignor: group.assignor_name.to_string(),
        coordinator,
        epoch: Some(group.group_epoch),
        rebalance_reason: message.map(str::to_owned),
        members,
    })
}

fn consumer_member(member: &consumer_group::Member) -> GroupMember {
    let text = |text: &Option<Str>| text.as_ref().map(ToString::to_string);
    GroupMember {
        member_id: member.member_id.to_string(),
        instance_id: text(&member.instance_id),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        rack: text(&member.rack_id),
        epoch: Some(member.member_epoch),
        topics: member.subscribed_topic_names.iter().map(ToString::to_string).collect(),
        topic_regex: text(&member.subscribed_topic_regex).filter(|regex| !regex.is_empty()),
        assignment: partitions(&member.assignment),
        target: partitions(&member.target_assignment),
    }
}

fn partitions(assignment: &consumer_group::Assignment) -> BTreeSet<TopicPartition> {
    let each = assignment.topic_partitions.iter().flat_map(|topic| {
        let name = std::sync::Arc::<str>::from(&topic.topic_name);
        topic.partitions.iter().map(move |&index| TopicPartition::new(name.clone(), index))
    });
    each.collect()
}
