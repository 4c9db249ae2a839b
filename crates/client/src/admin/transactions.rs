//! Transactions: listing, describing, ending what nobody ends.
//!
//! Every broker answers for the transactional ids that it coordinates, so questions go to all of them.

use std::collections::{BTreeMap, BTreeSet};

use millstream_base::{ErrorCode, NodeId, TopicPartition};
use millstream_wire::messages::describe_producers::{DescribeProducersRequest, TopicRequest};
use millstream_wire::messages::describe_transactions::DescribeTransactionsRequest;
use millstream_wire::messages::init_producer_id::InitProducerIdRequest;
use millstream_wire::messages::list_transactions::ListTransactionsRequest;
use millstream_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};

use super::Admin;
use crate::ClientError;

/// Which transactions to list; empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransactionFilter {
    /// Kafka's names of states, such as `Ongoing`.
    pub states: Vec<String>,
    /// Producer ids.
    pub producer_ids: Vec<i64>,
    /// Only transactions that run for longer.
    pub longer_than_ms: Option<i64>,
    /// An expression that the whole transactional id has to match.
    pub pattern: Option<String>,
}

/// A transactional id in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionListing {
    /// The id.
    pub transactional_id: String,
    /// The producer id in use.
    pub producer_id: i64,
    /// Kafka's name of its state.
    pub state: String,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
}

/// A transactional id in full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionDescription {
    /// The id.
    pub transactional_id: String,
    /// Kafka's name of its state.
    pub state: String,
    /// The broker that coordinates it.
    pub coordinator: NodeId,
    /// The producer id in use.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// How long a transaction may stay open.
    pub timeout_ms: i32,
    /// When the transaction began; -1 when none did.
    pub start_ms: i64,
    /// The partitions of the transaction.
    pub partitions: BTreeSet<TopicPartition>,
}

/// What a partition remembers of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The sequence of its last record; -1 for none.
    pub last_sequence: i32,
    /// When it wrote last.
    pub last_timestamp_ms: i64,
    /// The epoch of the coordinator that ended its last transaction here; -1 for none.
    pub coordinator_epoch: i32,
    /// Where its open transaction begins, if one is open.
    pub open_from: Option<i64>,
}

impl Admin {
    /// Transactional ids, in order.
    pub async fn list_transactions(
        &self,
        filter: &TransactionFilter,
    ) -> Result<Vec<TransactionListing>, ClientError> {
        let mut found = BTreeMap::new();
        for node in self.nodes().await? {
            let build = |version: i16| ListTransactionsRequest {
                state_filters: filter.states.iter().map(Into::into).collect(),
                producer_id_filters: filter.producer_ids.clone(),
                duration_filter: filter.longer_than_ms.filter(|_| version >= 1).unwrap_or(-1),
                transactional_id_pattern: filter
                    .pattern
                    .as_ref()
                    .filter(|_| version >= 2)
                    .map(Into::into),
            };
            let check = |code| ClientError::check(code, || "transactions".to_owned());
            let answer = self
                .ask_node(node, "transactions", build, |answer| check(answer.error_code))
                .await?;
            if let Some(unknown) = answer.unknown_state_filters.first() {
                return Err(ClientError::Missing(format!("the transaction state `{unknown}`")));
            }
            for txn in answer.transaction_states {
                let transactional_id = txn.transactional_id.to_string();
                let listing = TransactionListing {
                    transactional_id: transactional_id.clone(),
                    producer_id: txn.producer_id,
                    state: txn.transaction_state.to_string(),
                    coordinator: node,
                };
                found.insert(transactional_id, listing);
            }
        }
        Ok(found.into_values().collect())
    }

    /// One transactional id with its transaction.
    ///
    /// # Errors
    /// [`ErrorCode::TransactionalIdNotFound`] when no broker knows it.
    pub async fn describe_transaction(
        &self,
        transactional_id: &str,
    ) -> Result<TransactionDescription, ClientError> {
        let mut last = ClientError::Missing(format!("transactional id `{transactional_id}`"));
        for node in self.nodes().await? {
            let request =
                DescribeTransactionsRequest { transactional_ids: vec![transactional_id.into()] };
            let answer = self.cluster.call_node(node, |_| request.clone()).await?;
            let Some(txn) = answer.transaction_states.into_iter().next() else { continue };
            let what = || format!("transactional id `{transactional_id}`");
            if let Err(error) = ClientError::check(txn.error_code, what) {
                last = error;
                continue;
            }
            let partitions = txn.topics.iter().flat_map(|topic| {
                let of = |index: &i32| TopicPartition::new(topic.topic.as_str(), *index);
                topic.partitions.iter().map(of)
            });
            return Ok(TransactionDescription {
                transactional_id: txn.transactional_id.to_string(),
                state: txn.transaction_state.to_string(),
                coordinator: node,
                producer_id: txn.producer_id,
                producer_epoch: txn.producer_epoch,
                timeout_ms: txn.transaction_timeout_ms,
                start_ms: txn.transaction_start_time_ms,
                partitions: partitions.collect(),
            });
        }
        Err(last)
    }

    /// The producers that each partition remembers.
    pub async fn describe_producers(
        &self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Vec<PartitionProducer>>, ClientError> {
        let mut found = BTreeMap::new();
        for (node, partitions) in self.by_leader(partitions).await? {
            let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
            for partition in &partitions {
                topics.entry(&partition.topic).or_default().push(partition.partition.get());
            }
            let topics = topics.into_iter().map(|(name, partition_indexes)| TopicRequest {
                name: name.into(),
                partition_indexes,
            });
            let request = DescribeProducersRequest { topics: topics.collect() };
            let answer = self.cluster.call_node(node, |_| request.clone()).await?;
            for topic in answer.topics {
                for partition in topic.partitions {
                    let index = partition.partition_index;
                    let at = TopicPartition::new(topic.name.as_str(), index);
                    ClientError::check(partition.error_code, || format!("producers of {at}"))?;
                    let producers = partition.active_producers.into_iter();
                    let producers = producers.map(|producer| PartitionProducer {
                        producer_id: producer.producer_id,
                        producer_epoch: i16::try_from(producer.producer_epoch).unwrap_or(-1),
                        last_sequence: producer.last_sequence,
                        last_timestamp_ms: producer.last_timestamp,
                        coordinator_epoch: producer.coordinator_epoch,
                        open_from: Some(producer.current_txn_start_offset).filter(|at| *at >= 0),
                    });
                    found.insert(at, producers.collect());
                }
            }
        }
        Ok(found)
    }

    /// Aborts the transaction of a transactional id, if one is open, and fences its producer.
    pub async fn fence_producer(&self, transactional_id: &str) -> Result<(), ClientError> {
        let described = self.describe_transaction(transactional_id).await?;
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.into()),
            transaction_timeout_ms: described.timeout_ms.max(1),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        };
        let check =
            |code| ClientError::check(code, || format!("transactional id `{transactional_id}`"));
        let build = |_| request.clone();
        self.ask_node(described.coordinator, "transactions", build, |answer| {
            check(answer.error_code)
        })
        .await?;
        Ok(())
    }

    /// Writes an abort marker into one partition, for a transaction that no coordinator knows any more.
    pub async fn abort_in_partition(
        &self,
        partition: &TopicPartition,
        producer: &PartitionProducer,
    ) -> Result<(), ClientError> {
        let one = BTreeSet::from([partition.clone()]);
        let request = WriteTxnMarkersRequest {
            markers: vec![WritableTxnMarker {
                producer_id: producer.producer_id,
                producer_epoch: producer.producer_epoch,
                transaction_result: false,
                topics: vec![WritableTxnMarkerTopic {
                    name: (&partition.topic).into(),
                    partition_indexes: vec![partition.partition.get()],
                }],
                coordinator_epoch: producer.coordinator_epoch.max(0),
                transaction_version: 0,
            }],
        };
        for (node, _) in self.by_leader(&one).await? {
            let answer = self.cluster.call_node(node, |_| request.clone()).await?;
            let topics = answer.markers.iter().flat_map(|marker| &marker.topics);
            for written in topics.flat_map(|topic| &topic.partitions) {
                ClientError::check(written.error_code, || format!("a marker for {partition}"))?;
            }
        }
        Ok(())
    }

    async fn nodes(&self) -> Result<Vec<NodeId>, ClientError> {
        let metadata = self.cluster.refresh().await?;
        Ok(metadata.brokers().map(|broker| broker.id).collect())
    }

    async fn by_leader(
        &self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<NodeId, Vec<TopicPartition>>, ClientError> {
        let mut leaders: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        for partition in partitions {
            self.cluster.topic(&partition.topic, false, self.within).await?;
            let leader = self.cluster.leader(&partition.topic, partition.partition.get());
            let leader = leader.ok_or_else(|| ClientError::Broker {
                code: ErrorCode::UnknownTopicOrPartition,
                what: partition.to_string(),
                message: None,
            })?;
            leaders.entry(leader).or_default().push(partition.clone());
        }
        Ok(leaders)
    }
}
