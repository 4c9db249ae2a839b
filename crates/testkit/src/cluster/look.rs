//! What brokers say of their cluster, read from Metadata answers.

use anyhow::{Context as _, Result};
use millstream_wire::messages::describe_quorum::{
    DescribeQuorumRequest, RequestPartitionData, RequestTopicData,
};
use millstream_wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponsePartition,
};

use crate::RawClient;

const VERSION: i16 = 12;
const QUORUM_VERSION: i16 = 1;

/// Asks one broker.
pub(super) fn metadata(address: &str, topics: &[&str]) -> Result<MetadataResponse> {
    let named = |name: &&str| MetadataRequestTopic {
        name: Some((*name).into()),
        ..MetadataRequestTopic::default()
    };
    let topics = (!topics.is_empty()).then(|| topics.iter().map(named).collect());
    let request =
        MetadataRequest { topics, allow_auto_topic_creation: false, ..MetadataRequest::default() };
    RawClient::connect(address)?.call(&request, VERSION)
}

/// Epoch and id of the quorum's leader, as one broker says.
pub(super) fn controller(address: &str) -> Result<(i32, i32)> {
    let topic = RequestTopicData {
        topic_name: "__cluster_metadata".into(),
        partitions: vec![RequestPartitionData::default()],
    };
    let request = DescribeQuorumRequest { topics: vec![topic] };
    let answer = RawClient::connect(address)?.call(&request, QUORUM_VERSION)?;
    let topic = answer.topics.first().context("no quorum")?;
    let found = topic.partitions.first().context("no quorum")?;
    (found.leader_id >= 0).then_some((found.leader_epoch, found.leader_id)).context("no leader")
}

/// Whether it knows these brokers, all others being fenced, and a controller.
pub(super) fn knows(answer: &MetadataResponse, wanted: &[i32]) -> bool {
    let mut known: Vec<i32> = answer.brokers.iter().map(|broker| broker.node_id).collect();
    known.sort_unstable();
    wanted.iter().all(|id| known.contains(id)) && answer.controller_id >= 0
}

fn partition<'a>(
    answer: &'a MetadataResponse,
    topic: &str,
    index: i32,
) -> Option<&'a MetadataResponsePartition> {
    let mut topics = answer.topics.iter();
    let topic = topics.find(|found| found.name.as_deref() == Some(topic))?;
    topic.partitions.iter().find(|found| found.partition_index == index)
}

/// The leader of the newest epoch that any of them knows.
pub(super) fn newest_leader(
    answers: impl Iterator<Item = MetadataResponse>,
    topic: &str,
    index: i32,
) -> Option<i32> {
    let known = answers.filter_map(|answer| {
        partition(&answer, topic, index).map(|found| (found.leader_epoch, found.leader_id))
    });
    known.max().map(|(_, leader)| leader).filter(|&leader| leader >= 0)
}

/// In-sync replicas of a partition.
pub(super) fn isr(answer: &MetadataResponse, topic: &str, index: i32) -> Result<Vec<i32>> {
    let found = partition(answer, topic, index).context("no such partition")?;
    Ok(found.isr_nodes.clone())
}

/// A partition as one broker knows it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct State {
    index: i32,
    leader: i32,
    leader_epoch: i32,
    replicas: usize,
    in_sync: usize,
}

impl State {
    /// Whether it has a leader and all its replicas in sync.
    pub(super) fn is_whole(&self) -> bool {
        self.leader >= 0 && self.in_sync == self.replicas
    }
}

/// All partitions of a topic.
pub(super) fn states(answer: &MetadataResponse, topic: &str) -> Vec<State> {
    let topics = answer.topics.iter().filter(|found| found.name.as_deref() == Some(topic));
    let state = |each: &MetadataResponsePartition| State {
        index: each.partition_index,
        leader: each.leader_id,
        leader_epoch: each.leader_epoch,
        replicas: each.replica_nodes.len(),
        in_sync: each.isr_nodes.len(),
    };
    let mut states: Vec<State> = topics.flat_map(|topic| &topic.partitions).map(state).collect();
    states.sort();
    states
}
