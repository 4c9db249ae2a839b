//! One round of joining a group: JoinGroup, the leader's sharing out, SyncGroup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, TopicPartition};
use millstream_wire::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use millstream_wire::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

use super::assignor::{Assignor, Members, PartitionCounts, Subscription};
use super::embedded;
use super::member_task::{Joined, MemberTask};
use crate::ClientError;

/// The protocol type of consumers.
const PROTOCOL_TYPE: &str = "consumer";

/// What a coordinator may take longer than a rebalance takes.
const GRACE: Duration = Duration::from_secs(5);

impl MemberTask {
    /// Joins the group and learns what it gives this member.
    pub(super) async fn join(&self) -> Result<Joined, ClientError> {
        let response = self.join_group().await?;
        let name = response.protocol_name.as_deref().unwrap_or_default();
        let assignor = Assignor::from_name(name).ok_or_else(|| {
            ClientError::Invalid(format!("the group chose `{name}`, which this client lacks"))
        })?;
        let leads = response.leader == response.member_id;
        let (assignments, counts) = if leads && !response.skip_assignment {
            let (members, counts) = self.members_and_topics(&response).await?;
            let assignments = assignor.assign(&members, &counts);
            (assignments, Some(counts))
        } else {
            (BTreeMap::new(), None)
        };
        let assigned = self.sync_group(&response, assignor, &assignments).await?;
        Ok(Joined { assigned, cooperative: assignor.is_cooperative(), counts })
    }

    async fn join_group(&self) -> Result<JoinGroupResponse, ClientError> {
        let identity = self.shared.identity.lock().clone();
        let rebalance_timeout = self.config.max_poll_interval;
        let subscription = Subscription {
            topics: self.shared.topics.lock().clone(),
            owned: self.owned.clone(),
            generation: identity.generation,
            instance_id: None,
        };
        let metadata = embedded::write_subscription(&subscription)
            .map_err(|error| ClientError::Invalid(format!("the subscription: {error}")))?;
        let protocols: Vec<JoinGroupRequestProtocol> = self
            .config
            .assignors
            .iter()
            .map(|assignor| JoinGroupRequestProtocol {
                name: assignor.name().into(),
                metadata: metadata.clone(),
            })
            .collect();
        let request = JoinGroupRequest {
            group_id: self.group.as_str().into(),
            session_timeout_ms: millis(self.config.session_timeout),
            rebalance_timeout_ms: millis(rebalance_timeout),
            member_id: identity.member_id.into(),
            group_instance_id: self.instance_id(),
            protocol_type: PROTOCOL_TYPE.into(),
            protocols,
            reason: None,
        };
        let build = |_| request.clone();
        // The coordinator answers when the others have joined too.
        let within = Some(rebalance_timeout.max(self.cluster.config().request_timeout) + GRACE);
        let response = self.cluster.call_coordinator(&self.group, self.lane, within, build).await?;
        let checked = ClientError::check(response.error_code, || self.name());
        let code = checked.as_ref().err().and_then(ClientError::code);
        let mut identity = self.shared.identity.lock();
        if code.is_none() || code == Some(ErrorCode::MemberIdRequired) {
            identity.member_id = response.member_id.to_string();
        }
        checked?;
        identity.generation = response.generation_id;
        Ok(response)
    }

    /// As the leader: who wants what, and how many partitions there are.
    async fn members_and_topics(
        &self,
        response: &JoinGroupResponse,
    ) -> Result<(Members, PartitionCounts), ClientError> {
        let mut members = Members::new();
        for member in &response.members {
            let instance_id = member.group_instance_id.as_ref().map(ToString::to_string);
            let read = embedded::read_subscription(member.metadata.clone(), instance_id);
            let subscription = read.map_err(|error| {
                ClientError::Invalid(format!(
                    "group `{}`: the subscription of member {} cannot be read: {error}",
                    self.group, member.member_id
                ))
            })?;
            members.insert(member.member_id.to_string(), subscription);
        }
        let topics: BTreeSet<Arc<str>> =
            members.values().flat_map(|member| member.topics.iter().cloned()).collect();
        let mut counts = PartitionCounts::new();
        for topic in topics {
            let create = self.config.allow_auto_create_topics;
            match self.cluster.topic(&topic, create, GRACE).await {
                Ok(info) => {
                    let count = i32::try_from(info.partitions.len()).unwrap_or(i32::MAX);
                    counts.insert(topic, count);
                }
                // A topic that does not exist yet has nothing to share out.
                Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                    tracing::warn!(group = self.group, %topic, "the group wants a missing topic");
                    self.cluster.watch_topic(&topic);
                    counts.insert(topic, 0);
                }
                Err(error) => return Err(error),
            }
        }
        Ok((members, counts))
    }

    async fn sync_group(
        &self,
        joined: &JoinGroupResponse,
        assignor: Assignor,
        assignments: &BTreeMap<String, BTreeSet<TopicPartition>>,
    ) -> Result<BTreeSet<TopicPartition>, ClientError> {
        let mut entries = Vec::with_capacity(assignments.len());
        for (member, partitions) in assignments {
            let assignment = embedded::write_assignment(partitions)
                .map_err(|error| ClientError::Invalid(format!("the assignment: {error}")))?;
            let member_id = member.as_str().into();
            entries.push(SyncGroupRequestAssignment { member_id, assignment });
        }
        let request = SyncGroupRequest {
            group_id: self.group.as_str().into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            group_instance_id: self.instance_id(),
            protocol_type: Some(PROTOCOL_TYPE.into()),
            protocol_name: Some(assignor.name().into()),
            assignments: entries,
        };
        let build = |_| request.clone();
        let within = Some(self.config.max_poll_interval + GRACE);
        let response = self.cluster.call_coordinator(&self.group, self.lane, within, build).await?;
        ClientError::check(response.error_code, || self.name())?;
        embedded::read_assignment(response.assignment)
            .map_err(|error| ClientError::Invalid(format!("{}: {error}", self.name())))
    }

    fn name(&self) -> String {
        format!("group `{}`", self.group)
    }
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
