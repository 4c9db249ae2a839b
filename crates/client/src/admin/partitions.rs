//! Where partitions lie and who leads them: reassignments and elections.

use std::collections::{BTreeMap, BTreeSet};

use millstream_base::{ErrorCode, NodeId, TopicPartition};
use millstream_wire::Str;
use millstream_wire::messages::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignableTopic,
};
use millstream_wire::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, TopicPartitions,
};
use millstream_wire::messages::list_partition_reassignments::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};

use super::{Admin, Outcomes};
use crate::ClientError;

/// A partition on its way to other replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// All replicas of now: those that stay, come and go.
    pub replicas: Vec<NodeId>,
    /// Those that come.
    pub adding: Vec<NodeId>,
    /// Those that go once the others are in sync.
    pub removing: Vec<NodeId>,
}

/// Which replica becomes leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first of the replicas, if it is in sync.
    Preferred,
    /// Any replica that is alive, also one that lacks records, where none in sync is left.
    Unclean,
}

impl Admin {
    /// Gives partitions other replicas, the preferred leader first; `None` cancels what is under way.
    ///
    /// Returns as soon as the cluster has begun: see [`Admin::list_reassignments`] for how far it is.
    ///
    /// # Errors
    /// When the request as a whole failed; each partition has its own outcome.
    pub async fn alter_reassignments(
        &self,
        targets: &BTreeMap<TopicPartition, Option<Vec<NodeId>>>,
    ) -> Result<Outcomes<TopicPartition, ()>, ClientError> {
        let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
        for (partition, replicas) in targets {
            let ids = replicas.as_ref().map(|nodes| nodes.iter().map(|node| node.0).collect());
            topics.entry(&partition.topic).or_default().push(ReassignablePartition {
                partition_index: partition.partition.0,
                replicas: ids,
            });
        }
        let topic = |(name, partitions): (&str, Vec<ReassignablePartition>)| ReassignableTopic {
            name: name.into(),
            partitions,
        };
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: self.timeout_ms(),
            allow_replication_factor_change: true,
            topics: topics.into_iter().map(topic).collect(),
        };
        let check = |answer: &AlterPartitionReassignmentsResponse| {
            let message = answer.error_message.as_ref().map(Str::as_str);
            ClientError::check_with(answer.error_code, message, || "reassignment".to_owned())
        };
        let answer = self.repeat("reassignment", |_| request.clone(), check).await?;
        let mut outcomes = Outcomes::new();
        for topic in &answer.responses {
            for partition in &topic.partitions {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                let message = partition.error_message.as_ref().map(Str::as_str);
                let outcome =
                    ClientError::check_with(partition.error_code, message, || at.to_string());
                outcomes.insert(at, outcome);
            }
        }
        Ok(outcomes)
    }

    /// The reassignments under way, of all partitions or only of some.
    pub async fn list_reassignments(
        &self,
        only: Option<&BTreeSet<TopicPartition>>,
    ) -> Result<BTreeMap<TopicPartition, Reassignment>, ClientError> {
        let topics = only.map(|partitions| {
            let topic = |(name, partition_indexes): (&str, Vec<i32>)| {
                ListPartitionReassignmentsTopics { name: name.into(), partition_indexes }
            };
            by_topic(partitions).into_iter().map(topic).collect()
        });
        let request = ListPartitionReassignmentsRequest { timeout_ms: self.timeout_ms(), topics };
        let check = |code, message: Option<&Str>| {
            let message = message.map(Str::as_str);
            ClientError::check_with(code, message, || "reassignments".to_owned())
        };
        let answer = self
            .repeat(
                "reassignments",
                |_| request.clone(),
                |answer| check(answer.error_code, answer.error_message.as_ref()),
            )
            .await?;
        let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect();
        let mut found = BTreeMap::new();
        for topic in &answer.topics {
            for partition in &topic.partitions {
                let at = TopicPartition::new(topic.name.as_str(), partition.partition_index);
                let moving = Reassignment {
                    replicas: nodes(&partition.replicas),
                    adding: nodes(&partition.adding_replicas),
                    removing: nodes(&partition.removing_replicas),
                };
                found.insert(at, moving);
            }
        }
        Ok(found)
    }

    /// Elects leaders of some partitions, or of all that have another leader than `election` would give.
    ///
    /// Partitions whose leader is the right one already are left out of the outcome.
    ///
    /// # Errors
    /// When the request as a whole failed; each partition has its own outcome.
    pub async fn elect_leaders(
        &self,
        election: Election,
        only: Option<&BTreeSet<TopicPartition>>,
    ) -> Result<Outcomes<TopicPartition, ()>, ClientError> {
        let topic_partitions = only.map(|partitions| {
            let topic = |(topic, partitions): (&str, Vec<i32>)| TopicPartitions {
                topic: topic.into(),
                partitions,
            };
            by_topic(partitions).into_iter().map(topic).collect()
        });
        let request = ElectLeadersRequest {
            election_type: match election {
                Election::Preferred => 0,
                Election::Unclean => 1,
            },
            topic_partitions,
            timeout_ms: self.timeout_ms(),
        };
        let check = |answer: &ElectLeadersResponse| {
            ClientError::check(answer.error_code, || "election of leaders".to_owned())
        };
        let answer = self.repeat("election of leaders", |_| request.clone(), check).await?;
        let mut outcomes = Outcomes::new();
        for topic in &answer.replica_election_results {
            for partition in &topic.partition_result {
                let at = TopicPartition::new(topic.topic.as_str(), partition.partition_id);
                let message = partition.error_message.as_ref().map(Str::as_str);
                let outcome =
                    ClientError::check_with(partition.error_code, message, || at.to_string());
                let is_needless =
                    |error: &ClientError| error.code() == Some(ErrorCode::ElectionNotNeeded);
                if !outcome.as_ref().is_err_and(is_needless) {
                    outcomes.insert(at, outcome);
                }
            }
        }
        Ok(outcomes)
    }
}

fn by_topic(partitions: &BTreeSet<TopicPartition>) -> BTreeMap<&str, Vec<i32>> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for partition in partitions {
        topics.entry(&partition.topic).or_default().push(partition.partition.0);
    }
    topics
}
