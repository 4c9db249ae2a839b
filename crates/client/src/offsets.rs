//! Asking brokers for offsets: the first, the last, by time.
//!
//! Key types: [`OffsetSpec`], [`ListedOffset`]. Each partition's leader is asked; what moved meanwhile is asked
//! again until the time is up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, NodeId, Offset, TimestampMs, TopicPartition};
use millstream_wire::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopic,
};

use crate::cluster::Lane;
use crate::{ClientError, Cluster};

/// Which records a reader sees of transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// All of them, also of open and aborted transactions (`read_uncommitted`).
    #[default]
    ReadUncommitted,
    /// Only of committed transactions (`read_committed`).
    ReadCommitted,
}

impl Isolation {
    /// The number on the wire.
    pub(crate) const fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first record that is still there.
    Earliest,
    /// One after the last record (the last stable one when reading committed).
    Latest,
    /// The record with the largest timestamp.
    MaxTimestamp,
    /// The first record on the broker's own disk.
    EarliestLocal,
    /// The last record in tiered storage.
    LatestTiered,
    /// The first record with this timestamp or a later one.
    At(TimestampMs),
}

impl OffsetSpec {
    const fn code(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::EarliestLocal => -4,
            Self::LatestTiered => -5,
            Self::At(timestamp) => timestamp.0,
        }
    }

    /// The first version of ListOffsets that knows the question.
    const fn since(self) -> i16 {
        match self {
            Self::Latest | Self::Earliest | Self::At(_) => 0,
            Self::MaxTimestamp => 7,
            Self::EarliestLocal => 8,
            Self::LatestTiered => 9,
        }
    }
}

/// What a leader answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset.
    pub offset: Offset,
    /// The record's timestamp, for questions about time.
    pub timestamp: Option<TimestampMs>,
    /// The leader epoch of the record; -1 when not known.
    pub leader_epoch: LeaderEpoch,
}

/// Answers by partition; `None` where no record fits (nothing as late as the time asked for).
pub type ListedOffsets = BTreeMap<TopicPartition, Option<ListedOffset>>;

impl Cluster {
    /// The offsets of `wanted`, retried as leaders move, for at most `within`.
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: Isolation,
        within: Duration,
    ) -> Result<ListedOffsets, ClientError> {
        let topics: BTreeSet<_> = wanted.keys().map(|partition| partition.topic.clone()).collect();
        for topic in &topics {
            self.topic(topic, false, within).await?;
        }
        let mut found = ListedOffsets::new();
        let mut retry = self.retry("offsets", within);
        loop {
            let left: BTreeMap<TopicPartition, OffsetSpec> = wanted
                .iter()
                .filter(|(partition, _)| !found.contains_key(*partition))
                .map(|(partition, spec)| (partition.clone(), *spec))
                .collect();
            match self.list_once(&left, isolation, &mut found).await {
                Ok(()) => return Ok(found),
                Err(error) => {
                    retry.again(error).await?;
                    drop(self.refresh().await);
                }
            }
        }
    }

    /// Asks each leader once; the first failure is returned after all were asked.
    async fn list_once(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: Isolation,
        found: &mut ListedOffsets,
    ) -> Result<(), ClientError> {
        let metadata = self.metadata();
        let mut first_error = Ok(());
        let mut by_leader: BTreeMap<NodeId, Vec<(&TopicPartition, OffsetSpec)>> = BTreeMap::new();
        for (partition, spec) in wanted {
            let info = metadata.partition(&partition.topic, partition.partition.0);
            match info.map(|info| info.leader) {
                Some(Some(leader)) => by_leader.entry(leader).or_default().push((partition, *spec)),
                Some(None) => keep_first(&mut first_error, no_leader(partition)),
                None => return Err(no_such_partition(partition)),
            }
        }
        for (leader, asked) in by_leader {
            let answer = self.ask_leader(leader, &asked, isolation).await;
            let taken = answer.and_then(|answer| take_answers(&answer, &asked, found));
            if let Err(error) = taken {
                keep_first(&mut first_error, error);
            }
        }
        first_error
    }

    async fn ask_leader(
        &self,
        leader: NodeId,
        asked: &[(&TopicPartition, OffsetSpec)],
        isolation: Isolation,
    ) -> Result<ListOffsetsResponse, ClientError> {
        let connection = self.connection(leader, Lane::General).await?;
        let version = connection.version_of::<ListOffsetsRequest>(None)?;
        if asked.iter().any(|(_, spec)| spec.since() > version) {
            return Err(ClientError::Broker {
                code: ErrorCode::UnsupportedVersion,
                what: "offsets".to_owned(),
                message: Some("the broker is too old for this question".to_owned()),
            });
        }
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for (partition, spec) in asked {
            let entry = ListOffsetsPartition {
                partition_index: partition.partition.0,
                current_leader_epoch: -1,
                timestamp: spec.code(),
            };
            match topics.iter_mut().find(|topic| *topic.name == *partition.topic) {
                Some(topic) => topic.partitions.push(entry),
                None => topics.push(ListOffsetsTopic {
                    name: (&partition.topic).into(),
                    partitions: vec![entry],
                }),
            }
        }
        let request = ListOffsetsRequest {
            replica_id: -1,
            isolation_level: if version >= 2 { isolation.code() } else { 0 },
            topics,
            timeout_ms: 30_000,
        };
        Ok(connection.call(&request, version, None).await?)
    }
}

fn take_answers(
    response: &ListOffsetsResponse,
    asked: &[(&TopicPartition, OffsetSpec)],
    found: &mut ListedOffsets,
) -> Result<(), ClientError> {
    let mut first_error = Ok(());
    for (partition, _) in asked {
        let answer = response
            .topics
            .iter()
            .filter(|topic| *topic.name == *partition.topic)
            .flat_map(|topic| &topic.partitions)
            .find(|answer| answer.partition_index == partition.partition.0);
        let listed = match answer {
            Some(answer) => read_answer(partition, answer),
            None => Err(ClientError::Missing(partition.to_string())),
        };
        match listed {
            Ok(listed) => {
                found.insert((*partition).clone(), listed);
            }
            Err(error) => keep_first(&mut first_error, error),
        }
    }
    first_error
}

fn read_answer(
    partition: &TopicPartition,
    answer: &ListOffsetsPartitionResponse,
) -> Result<Option<ListedOffset>, ClientError> {
    ClientError::check(answer.error_code, || partition.to_string())?;
    Ok((answer.offset >= 0).then_some(ListedOffset {
        offset: Offset(answer.offset),
        timestamp: (answer.timestamp >= 0).then_some(TimestampMs(answer.timestamp)),
        leader_epoch: LeaderEpoch(answer.leader_epoch),
    }))
}

fn keep_first(first: &mut Result<(), ClientError>, error: ClientError) {
    // What cannot be mended by waiting is the error to tell.
    if first.is_ok() || !error.is_retriable() {
        *first = Err(error);
    }
}

fn no_leader(partition: &TopicPartition) -> ClientError {
    ClientError::Broker {
        code: ErrorCode::LeaderNotAvailable,
        what: partition.to_string(),
        message: None,
    }
}

fn no_such_partition(partition: &TopicPartition) -> ClientError {
    ClientError::Invalid(format!(
        "topic `{}` has no partition {}",
        partition.topic, partition.partition
    ))
}
