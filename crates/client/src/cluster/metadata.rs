//! What a client knows of the cluster: brokers, topics, leaders.
//!
//! Key type: [`ClusterMetadata`], an immutable snapshot. A newer answer makes a newer snapshot; a leader of an
//! older epoch never replaces one of a newer (KIP-320).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millstream_base::{ErrorCode, LeaderEpoch, NodeId, TopicPartition, Uuid};
use millstream_wire::messages::metadata::{
    MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};

/// A broker of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// `node.id`.
    pub id: NodeId,
    /// The host that it wants to be dialled at.
    pub host: String,
    /// The port.
    pub port: u16,
    /// `broker.rack`.
    pub rack: Option<String>,
}

impl Broker {
    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            return format!("[{}]:{}", self.host, self.port);
        }
        format!("{}:{}", self.host, self.port)
    }
}

/// A partition as the metadata shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// Its number.
    pub index: i32,
    /// The leader, if there is one.
    pub leader: Option<NodeId>,
    /// The leader's epoch; -1 when the broker does not say.
    pub leader_epoch: LeaderEpoch,
    /// All replicas, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The in-sync replicas.
    pub isr: Vec<NodeId>,
    /// Replicas on brokers or disks that are down.
    pub offline: Vec<NodeId>,
}

/// A topic as the metadata shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; zero when the broker does not say.
    pub id: Uuid,
    /// Whether it is one of the cluster's own.
    pub is_internal: bool,
    /// Its partitions, by number.
    pub partitions: Vec<PartitionInfo>,
}

/// What a broker says about a leader in the answer to another question (KIP-951).
#[derive(Clone, Debug)]
pub(crate) struct NewLeader {
    pub(crate) partition: TopicPartition,
    pub(crate) leader: NodeId,
    pub(crate) epoch: LeaderEpoch,
    /// Where it is dialled, if the answer says so.
    pub(crate) broker: Option<Broker>,
}

impl NewLeader {
    /// From the fields of an answer; `None` when it names no leader.
    pub(crate) fn of(
        partition: &TopicPartition,
        (leader_id, epoch): (i32, i32),
        endpoints: impl IntoIterator<Item = Broker>,
    ) -> Option<Self> {
        if leader_id < 0 || epoch < 0 {
            return None;
        }
        let broker = endpoints.into_iter().find(|broker| broker.id.0 == leader_id);
        let (partition, leader) = (partition.clone(), NodeId(leader_id));
        Some(Self { partition, leader, epoch: LeaderEpoch(epoch), broker })
    }
}

/// Everything known at one instant.
#[derive(Clone, Debug, Default)]
pub struct ClusterMetadata {
    /// `cluster.id`.
    pub cluster_id: Option<String>,
    /// The controller, or the broker that stands for it.
    pub controller: Option<NodeId>,
    brokers: BTreeMap<NodeId, Broker>,
    topics: BTreeMap<Arc<str>, Arc<TopicInfo>>,
    names: HashMap<Uuid, Arc<str>>,
    /// Why a topic that was asked for is not among `topics`.
    errors: BTreeMap<Arc<str>, ErrorCode>,
}

impl ClusterMetadata {
    /// All brokers, by id.
    pub fn brokers(&self) -> impl Iterator<Item = &Broker> {
        self.brokers.values()
    }

    /// The broker of an id.
    pub fn broker(&self, id: NodeId) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// All topics known, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicInfo>> {
        self.topics.values()
    }

    /// The topic of a name.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicInfo>> {
        self.topics.get(name)
    }

    /// The name of a topic id.
    pub fn name_of(&self, id: Uuid) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    /// The partition, if the topic has it.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionInfo> {
        let index = usize::try_from(partition).ok()?;
        self.topics.get(topic)?.partitions.get(index)
    }

    /// Why the topic is not known, if a broker said so.
    pub fn error_of(&self, topic: &str) -> Option<ErrorCode> {
        self.errors.get(topic).copied()
    }

    /// This snapshot with what `response` says about brokers and topics. With `all`, the response speaks of
    /// every topic there is, so the others are gone.
    #[must_use]
    pub(super) fn updated(&self, response: &MetadataResponse, all: bool) -> Self {
        let mut next = if all { Self::default() } else { self.clone() };
        next.cluster_id = response.cluster_id.as_ref().map(ToString::to_string);
        next.controller = (response.controller_id >= 0).then_some(NodeId(response.controller_id));
        next.brokers = response
            .brokers
            .iter()
            .filter_map(|broker| {
                let port = u16::try_from(broker.port).ok()?;
                let id = NodeId(broker.node_id);
                let host = broker.host.to_string();
                let rack = broker.rack.as_ref().map(ToString::to_string);
                Some((id, Broker { id, host, port, rack }))
            })
            .collect();
        for topic in &response.topics {
            next.put_topic(self, topic);
        }
        next
    }

    /// This snapshot with `leaders`, if any of them is of a newer epoch than what is known, and can be dialled.
    pub(super) fn with_leaders(&self, leaders: &[NewLeader]) -> Option<Self> {
        let is_news = |new: &&NewLeader| {
            let known = self.partition(&new.partition.topic, new.partition.partition.0);
            let can_dial = new.broker.is_some() || self.brokers.contains_key(&new.leader);
            can_dial && known.is_some_and(|info| info.leader_epoch < new.epoch)
        };
        let mut news = leaders.iter().filter(is_news).peekable();
        news.peek()?;
        let mut next = self.clone();
        for new in news {
            let index = usize::try_from(new.partition.partition.0).unwrap_or(usize::MAX);
            let Some(topic) = next.topics.get_mut(&new.partition.topic) else { continue };
            if let Some(info) = Arc::make_mut(topic).partitions.get_mut(index) {
                info.leader = Some(new.leader);
                info.leader_epoch = new.epoch;
            }
            if let Some(broker) = &new.broker {
                next.brokers.insert(broker.id, broker.clone());
            }
        }
        Some(next)
    }

    fn put_topic(&mut self, before: &Self, topic: &MetadataResponseTopic) {
        let Some(name) = topic.name.as_ref().map(Arc::<str>::from) else { return };
        if let Some(old) = self.topics.remove(&name) {
            self.names.remove(&old.id);
        }
        self.errors.remove(&name);
        let code = ErrorCode::from_code(topic.error_code).unwrap_or(ErrorCode::UnknownServerError);
        if code.is_error() {
            self.errors.insert(name, code);
            return;
        }
        let known = before.topics.get(&name).filter(|old| old.id == topic.topic_id);
        let mut partitions: Vec<PartitionInfo> =
            topic.partitions.iter().map(partition_info).collect();
        partitions.sort_by_key(|partition| partition.index);
        for partition in &mut partitions {
            let index = usize::try_from(partition.index).unwrap_or(usize::MAX);
            let old = known.and_then(|topic| topic.partitions.get(index));
            if let Some(old) = old.filter(|old| old.leader_epoch > partition.leader_epoch) {
                partition.clone_from(old);
            }
        }
        // Partitions are numbered from 0 without holes; anything else is no use to anybody.
        let dense = (0..).zip(&partitions).all(|(place, partition)| partition.index == place);
        if !dense {
            self.errors.insert(name, ErrorCode::LeaderNotAvailable);
            return;
        }
        if !topic.topic_id.is_zero() {
            self.names.insert(topic.topic_id, name.clone());
        }
        let info = TopicInfo {
            name: name.clone(),
            id: topic.topic_id,
            is_internal: topic.is_internal,
            partitions,
        };
        self.topics.insert(name, Arc::new(info));
    }
}

fn partition_info(partition: &MetadataResponsePartition) -> PartitionInfo {
    let nodes = |ids: &[i32]| ids.iter().copied().map(NodeId).collect();
    PartitionInfo {
        index: partition.partition_index,
        leader: (partition.leader_id >= 0).then_some(NodeId(partition.leader_id)),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        replicas: nodes(&partition.replica_nodes),
        isr: nodes(&partition.isr_nodes),
        offline: nodes(&partition.offline_replicas),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, leaders: &[(i32, i32)]) -> MetadataResponseTopic {
        let partition =
            |(index, &(leader_id, leader_epoch)): (usize, &(i32, i32))| MetadataResponsePartition {
                partition_index: i32::try_from(index).unwrap(),
                leader_id,
                leader_epoch,
                ..Default::default()
            };
        MetadataResponseTopic {
            name: Some(name.into()),
            topic_id: Uuid([9; 16]),
            partitions: leaders.iter().enumerate().map(partition).collect(),
            ..Default::default()
        }
    }

    fn answer(topics: Vec<MetadataResponseTopic>) -> MetadataResponse {
        MetadataResponse { topics, ..Default::default() }
    }

    #[test]
    fn an_older_leader_epoch_does_not_replace_a_newer_one() {
        let first = ClusterMetadata::default().updated(&answer(vec![topic("t", &[(1, 5)])]), false);
        let stale = first.updated(&answer(vec![topic("t", &[(2, 4)])]), false);
        assert_eq!(stale.partition("t", 0).unwrap().leader, Some(NodeId(1)));
        let newer = first.updated(&answer(vec![topic("t", &[(2, 6)])]), false);
        assert_eq!(newer.partition("t", 0).unwrap().leader, Some(NodeId(2)));
        // The same name under another id is another topic: its epochs start anew.
        let mut again = topic("t", &[(3, 0)]);
        again.topic_id = Uuid([8; 16]);
        let recreated = first.updated(&answer(vec![again]), false);
        assert_eq!(recreated.partition("t", 0).unwrap().leader, Some(NodeId(3)));
        assert_eq!(recreated.name_of(Uuid([9; 16])), None);
    }

    #[test]
    fn a_leader_told_on_the_side_counts_when_it_is_newer_and_can_be_dialled() {
        let first = ClusterMetadata::default().updated(&answer(vec![topic("t", &[(1, 5)])]), false);
        let at = TopicPartition::new("t", 0);
        let told = |leader, epoch, broker| NewLeader::of(&at, (leader, epoch), broker).unwrap();
        let two = Broker { id: NodeId(2), host: "h".to_owned(), port: 1, rack: None };
        assert!(first.with_leaders(&[told(2, 5, Some(two.clone()))]).is_none(), "not newer");
        assert!(first.with_leaders(&[told(2, 6, None)]).is_none(), "nobody knows where it is");
        let after = first.with_leaders(&[told(2, 6, Some(two.clone()))]).unwrap();
        assert_eq!(after.partition("t", 0).unwrap().leader, Some(NodeId(2)));
        assert_eq!(after.broker(NodeId(2)), Some(&two));
        assert!(NewLeader::of(&at, (-1, 7), None).is_none());
    }

    #[test]
    fn a_full_answer_forgets_what_it_does_not_name() {
        let first = ClusterMetadata::default().updated(&answer(vec![topic("t", &[(1, 5)])]), false);
        assert!(first.updated(&answer(Vec::new()), false).topic("t").is_some());
        assert!(first.updated(&answer(Vec::new()), true).topic("t").is_none());
        let mut gone = topic("t", &[]);
        gone.error_code = ErrorCode::UnknownTopicOrPartition.code();
        let after = first.updated(&answer(vec![gone]), false);
        assert!(after.topic("t").is_none());
        assert_eq!(after.error_of("t"), Some(ErrorCode::UnknownTopicOrPartition));
    }
}
