//! Topics: creating, deleting, growing, describing; deleting records.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_base::{ErrorCode, NodeId, Offset, TopicPartition, Uuid};
use millstream_wire::Str;
use millstream_wire::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use millstream_wire::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use millstream_wire::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use millstream_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};

use super::{Admin, Outcomes};
use crate::{ClientError, TopicInfo};

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` takes the cluster's default.
    pub partitions: Option<i32>,
    /// How many replicas each; `None` takes the cluster's default.
    pub replication_factor: Option<i16>,
    /// The brokers of each partition, instead of the two counts.
    pub assignments: Vec<Vec<NodeId>>,
    /// Its settings.
    pub configs: Vec<(String, Option<String>)>,
}

/// What creating a topic gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id; zero when the broker does not say.
    pub id: Uuid,
    /// How many partitions it has; -1 when the broker does not say.
    pub partitions: i32,
    /// How many replicas each; -1 when the broker does not say.
    pub replication_factor: i16,
}

/// A topic as the cluster's metadata shows it.
pub type TopicDescription = TopicInfo;

impl Admin {
    /// Creates topics; with `validate_only` only says whether that would work.
    pub async fn create_topics(
        &self,
        topics: &[NewTopic],
        validate_only: bool,
    ) -> Result<Outcomes<String, CreatedTopic>, ClientError> {
        let request = CreateTopicsRequest {
            topics: topics.iter().map(creatable).collect(),
            timeout_ms: self.timeout_ms(),
            validate_only,
        };
        let response = self.cluster.call_controller(|_| request.clone()).await?;
        let outcome = |topic: &millstream_wire::messages::create_topics::CreatableTopicResult| {
            let message = topic.error_message.as_ref().map(Str::as_str);
            let what = || format!("topic `{}`", topic.name);
            let created = CreatedTopic {
                id: topic.topic_id,
                partitions: topic.num_partitions,
                replication_factor: topic.replication_factor,
            };
            ClientError::check_with(topic.error_code, message, what).map(|()| created)
        };
        Ok(response.topics.iter().map(|topic| (topic.name.to_string(), outcome(topic))).collect())
    }

    /// Deletes topics by name.
    pub async fn delete_topics(
        &self,
        names: &[String],
    ) -> Result<Outcomes<String, ()>, ClientError> {
        let build = |version: i16| {
            let timeout_ms = self.timeout_ms();
            if version < 6 {
                let topic_names = names.iter().map(Into::into).collect();
                return DeleteTopicsRequest { topic_names, timeout_ms, ..Default::default() };
            }
            let state = |name: &String| DeleteTopicState {
                name: Some(name.into()),
                ..DeleteTopicState::default()
            };
            DeleteTopicsRequest {
                topics: names.iter().map(state).collect(),
                timeout_ms,
                ..DeleteTopicsRequest::default()
            }
        };
        let response = self.cluster.call_controller(build).await?;
        let mut outcomes = Outcomes::new();
        for topic in &response.responses {
            let Some(name) = topic.name.as_ref().map(ToString::to_string) else { continue };
            let message = topic.error_message.as_ref().map(Str::as_str);
            let what = || format!("topic `{name}`");
            let outcome = ClientError::check_with(topic.error_code, message, what);
            self.cluster.forget_topic(&name);
            outcomes.insert(name, outcome);
        }
        Ok(outcomes)
    }

    /// Grows a topic to `count` partitions; `assignments` names the brokers of the new ones, or leaves it to the
    /// cluster when empty.
    pub async fn create_partitions(
        &self,
        topic: &str,
        count: i32,
        assignments: &[Vec<NodeId>],
    ) -> Result<(), ClientError> {
        let placed = |nodes: &Vec<NodeId>| CreatePartitionsAssignment {
            broker_ids: nodes.iter().map(|node| node.0).collect(),
        };
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: topic.into(),
                count,
                assignments: (!assignments.is_empty())
                    .then(|| assignments.iter().map(placed).collect()),
            }],
            timeout_ms: self.timeout_ms(),
            validate_only: false,
        };
        let response = self.cluster.call_controller(|_| request.clone()).await?;
        let what = || format!("topic `{topic}`");
        let result = response.results.first().ok_or_else(|| ClientError::Missing(what()))?;
        let message = result.error_message.as_ref().map(Str::as_str);
        ClientError::check_with(result.error_code, message, what)
    }

    /// Every topic there is, by name.
    pub async fn list_topics(&self) -> Result<Vec<Arc<TopicDescription>>, ClientError> {
        let mut retry = self.cluster.retry("topics", self.within);
        loop {
            match self.cluster.refresh_all().await {
                Ok(metadata) => return Ok(metadata.topics().cloned().collect()),
                Err(error) => retry.again(error).await?,
            }
        }
    }

    /// Topics by name.
    pub async fn describe_topics(
        &self,
        names: &[String],
    ) -> Result<Outcomes<String, Arc<TopicDescription>>, ClientError> {
        let mut outcomes = Outcomes::new();
        for name in names {
            let name_shared = Arc::from(name.as_str());
            let described = self.cluster.fresh_topic(&name_shared, false, self.within).await;
            match described {
                Err(error) if error.code().is_none() => return Err(error),
                outcome => outcomes.insert(name.clone(), outcome),
            };
        }
        Ok(outcomes)
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let placed = !topic.assignments.is_empty();
    CreatableTopic {
        name: topic.name.as_str().into(),
        num_partitions: if placed { -1 } else { topic.partitions.unwrap_or(-1) },
        replication_factor: if placed { -1 } else { topic.replication_factor.unwrap_or(-1) },
        assignments: (0..)
            .zip(&topic.assignments)
            .map(|(partition_index, nodes)| CreatableReplicaAssignment {
                partition_index,
                broker_ids: nodes.iter().map(|node| node.0).collect(),
            })
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: name.into(),
                value: value.as_ref().map(Into::into),
            })
            .collect(),
    }
}

/// Asks each leader to delete; retried, as deleting twice deletes no more.
pub(super) async fn delete_records(
    admin: &Admin,
    before: &BTreeMap<TopicPartition, Offset>,
) -> Result<BTreeMap<TopicPartition, Offset>, ClientError> {
    let cluster = &admin.cluster;
    let mut done = BTreeMap::new();
    let mut retry = cluster.retry("deleting records", admin.within);
    for partition in before.keys() {
        cluster.topic(&partition.topic, false, admin.within).await?;
    }
    loop {
        let mut failed = None;
        for (partition, offset) in before {
            if done.contains_key(partition) {
                continue;
            }
            match delete_in_one(admin, partition, *offset).await {
                Ok(low) => drop(done.insert(partition.clone(), low)),
                Err(error) => failed = Some(error),
            }
        }
        let Some(error) = failed else { return Ok(done) };
        retry.again(error).await?;
        drop(cluster.refresh().await);
    }
}

async fn delete_in_one(
    admin: &Admin,
    partition: &TopicPartition,
    offset: Offset,
) -> Result<Offset, ClientError> {
    let info = admin.cluster.metadata();
    let known = info.partition(&partition.topic, partition.partition.0);
    let what = || partition.to_string();
    let Some(leader) = known.and_then(|info| info.leader) else {
        let code = ErrorCode::LeaderNotAvailable;
        return Err(ClientError::Broker { code, what: what(), message: None });
    };
    let request = DeleteRecordsRequest {
        topics: vec![DeleteRecordsTopic {
            name: (&partition.topic).into(),
            partitions: vec![DeleteRecordsPartition {
                partition_index: partition.partition.0,
                offset: offset.0,
            }],
        }],
        timeout_ms: admin.timeout_ms(),
    };
    let response = admin.cluster.call_node(leader, |_| request.clone()).await?;
    let result = response.topics.iter().flat_map(|topic| &topic.partitions).next();
    let result = result.ok_or_else(|| ClientError::Missing(what()))?;
    ClientError::check(result.error_code, what)?;
    Ok(Offset(result.low_watermark))
}
