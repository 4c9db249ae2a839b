//! Fetch requests: which partitions of a broker are asked for, and what to make of the answer.
//!
//! Key types: [`FetchPlan`], [`PartitionAnswer`]. Pure: no waiting here.

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::{ErrorCode, NodeId, Offset, TopicPartition, Uuid};
use millstream_wire::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};

use super::ConsumerConfig;
use super::decode::Aborted;
use crate::cluster::NewLeader;
use crate::{Broker, ClientError, ClusterMetadata, Isolation};

/// A partition in a fetch.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) partition: TopicPartition,
    pub(super) version: u64,
    pub(super) offset: Offset,
}

/// A fetch to send to one broker.
#[derive(Debug)]
pub(super) struct FetchPlan {
    pub(super) asked: Vec<Asked>,
    ids: Vec<(Arc<str>, Uuid)>,
    request: FetchRequest,
}

impl FetchPlan {
    pub(super) fn new(
        config: &ConsumerConfig,
        metadata: &ClusterMetadata,
        asked: Vec<Asked>,
    ) -> Self {
        let mut topics: Vec<FetchTopic> = Vec::new();
        let mut ids = Vec::new();
        for entry in &asked {
            let (topic, index) = (&entry.partition.topic, entry.partition.partition.0);
            let info = metadata.partition(topic, index);
            let wanted = FetchPartition {
                partition: index,
                current_leader_epoch: info.map_or(-1, |info| info.leader_epoch.0),
                fetch_offset: entry.offset.0,
                partition_max_bytes: config.max_partition_fetch_bytes,
                ..FetchPartition::default()
            };
            if let Some(known) = topics.iter_mut().find(|known| *known.topic == **topic) {
                known.partitions.push(wanted);
                continue;
            }
            let topic_id = metadata.topic(topic).map(|info| info.id).unwrap_or_default();
            ids.push((topic.clone(), topic_id));
            let partitions = vec![wanted];
            topics.push(FetchTopic { topic: topic.into(), topic_id, partitions });
        }
        let request = FetchRequest {
            max_wait_ms: i32::try_from(config.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: config.fetch_min_bytes,
            max_bytes: config.fetch_max_bytes,
            isolation_level: config.isolation.code(),
            topics,
            ..FetchRequest::default()
        };
        Self { asked, ids, request }
    }

    /// The highest version that fits: from 13 on topics go by id alone.
    pub(super) fn max_version(&self) -> Option<i16> {
        self.ids.iter().any(|(_, id)| id.is_zero()).then_some(12)
    }

    pub(super) const fn request(&self) -> &FetchRequest {
        &self.request
    }

    /// The part of the answer about `asked`.
    pub(super) fn find<'a>(
        &self,
        response: &'a FetchResponse,
        asked: &Asked,
    ) -> Option<&'a PartitionData> {
        let name = &asked.partition.topic;
        let id = self.ids.iter().find(|(topic, _)| topic == name).map(|(_, id)| *id)?;
        response
            .responses
            .iter()
            .filter(|topic| *topic.topic == **name || !id.is_zero() && topic.topic_id == id)
            .flat_map(|topic| &topic.partitions)
            .find(|partition| partition.partition_index == asked.partition.partition.0)
    }
}

impl FetchPlan {
    /// The leaders that the answer names for partitions that moved (KIP-951).
    pub(super) fn new_leaders(&self, response: &FetchResponse) -> Vec<NewLeader> {
        let endpoints = || {
            response.node_endpoints.iter().filter_map(|node| {
                Some(Broker {
                    id: NodeId(node.node_id),
                    host: node.host.to_string(),
                    port: u16::try_from(node.port).ok()?,
                    rack: node.rack.as_ref().map(ToString::to_string),
                })
            })
        };
        let told = self.asked.iter().filter_map(|asked| {
            let leader = &self.find(response, asked)?.current_leader;
            NewLeader::of(&asked.partition, (leader.leader_id, leader.leader_epoch), endpoints())
        });
        told.collect()
    }
}

/// What a broker said about one partition.
#[derive(Debug)]
pub(super) enum PartitionAnswer {
    /// Batches, perhaps none, and where the partition ends for this reader.
    Records { bytes: Bytes, aborted: Option<Vec<Aborted>>, end: Offset },
    /// The offset is not there.
    OutOfRange,
    /// Ask again later, perhaps another broker.
    Again { error: ClientError, refresh: bool },
    /// It cannot be read.
    Failed(ClientError),
}

impl PartitionAnswer {
    pub(super) fn of(asked: &Asked, data: &PartitionData, isolation: Isolation) -> Self {
        let Err(error) = ClientError::check(data.error_code, || asked.partition.to_string()) else {
            return Self::records(data, isolation);
        };
        match error.code() {
            Some(ErrorCode::OffsetOutOfRange) => Self::OutOfRange,
            Some(
                ErrorCode::NotLeaderOrFollower
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::UnknownLeaderEpoch
                | ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::InconsistentTopicId
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::ReplicaNotAvailable
                | ErrorCode::KafkaStorageError,
            ) => Self::Again { error, refresh: true },
            Some(code) if code.is_retriable() && code != ErrorCode::CorruptMessage => {
                Self::Again { error, refresh: false }
            }
            _ => Self::Failed(error),
        }
    }

    fn records(data: &PartitionData, isolation: Isolation) -> Self {
        let bytes = data.records.as_ref().and_then(|records| records.as_bytes()).cloned();
        let (end, aborted) = match isolation {
            Isolation::ReadUncommitted => (data.high_watermark, None),
            Isolation::ReadCommitted => {
                let aborted = data.aborted_transactions.iter().flatten().map(|txn| Aborted {
                    producer_id: txn.producer_id,
                    first_offset: txn.first_offset,
                });
                (data.last_stable_offset, Some(aborted.collect()))
            }
        };
        Self::Records { bytes: bytes.unwrap_or_default(), aborted, end: Offset(end) }
    }
}
