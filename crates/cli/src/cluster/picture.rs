//! The cluster in one look: nodes, what they hold and lead, and what is wrong.
//!
//! Key type: [`Picture`]. What an older or single broker cannot tell (the quorum, reassignments) is left out, not an error.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::{ErrorCode, NodeId, TopicPartition};
use millstream_client::{
    Admin, ClientError, ClusterDescription, ConnectionError, QuorumDescription, Reassignment,
    TopicInfo,
};
use serde::Serialize;

use super::plan::Placement;

/// All that is known of the cluster at one instant.
pub(crate) struct Picture {
    pub(crate) cluster: ClusterDescription,
    pub(crate) quorum: Option<QuorumDescription>,
    pub(crate) topics: Vec<Arc<TopicInfo>>,
    pub(crate) moving: BTreeMap<TopicPartition, Reassignment>,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Node {
    pub(crate) node: i32,
    pub(crate) address: Option<String>,
    pub(crate) rack: Option<String>,
    pub(crate) roles: Vec<&'static str>,
    pub(crate) state: &'static str,
    pub(crate) leaders: usize,
    pub(crate) preferred: usize,
    pub(crate) replicas: usize,
    pub(crate) behind: usize,
}

/// What is not as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Trouble {
    /// Partitions that nobody leads.
    pub(crate) leaderless: Vec<String>,
    /// Partitions with replicas that are not in sync.
    pub(crate) behind: Vec<String>,
    /// Brokers that are registered and not alive.
    pub(crate) fenced: Vec<i32>,
    /// Whether the quorum has no leader.
    pub(crate) no_controller: bool,
}

impl Trouble {
    pub(crate) fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Picture {
    pub(crate) async fn take(admin: &Admin) -> Result<Self, ClientError> {
        let cluster = admin.describe_cluster().await?;
        let quorum = if_known(admin.describe_quorum().await)?;
        let topics = admin.list_topics().await?;
        let moving = if_known(admin.list_reassignments(None).await)?.unwrap_or_default();
        Ok(Self { cluster, quorum, topics, moving })
    }

    /// Every node, by id.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        let mut nodes: BTreeMap<i32, Node> = BTreeMap::new();
        for described in &self.cluster.brokers {
            let id = described.broker.id.0;
            nodes.insert(
                id,
                Node {
                    node: id,
                    address: Some(described.broker.address()),
                    rack: described.broker.rack.clone(),
                    roles: vec!["broker"],
                    state: if described.is_fenced { "fenced" } else { "alive" },
                    ..Node::default()
                },
            );
        }
        for voter in self.quorum.iter().flat_map(|quorum| &quorum.voters) {
            let node = nodes.entry(voter.id.0).or_insert_with(|| Node {
                node: voter.id.0,
                state: "-",
                ..Node::default()
            });
            node.roles.push("controller");
            if node.address.is_none() {
                node.address = self.controller_address(voter.id);
            }
        }
        for topic in &self.topics {
            for partition in &topic.partitions {
                count(&mut nodes, partition);
            }
        }
        nodes.into_values().collect()
    }

    fn controller_address(&self, id: NodeId) -> Option<String> {
        let listener = self.quorum.as_ref()?.listeners.get(&id)?.first()?;
        Some(format!("{}:{}", listener.host, listener.port))
    }

    /// The active controller.
    pub(crate) fn controller(&self) -> Option<NodeId> {
        match &self.quorum {
            Some(quorum) => quorum.leader,
            None => self.cluster.controller,
        }
    }

    pub(crate) fn partitions(&self) -> usize {
        self.topics.iter().map(|topic| topic.partitions.len()).sum()
    }

    /// The replicas of every partition.
    pub(crate) fn placement(&self) -> Placement {
        let of = |topic: &Arc<TopicInfo>| {
            let name = topic.name.clone();
            let place = move |info: &millstream_client::PartitionInfo| {
                (TopicPartition::new(name.clone(), info.index), info.replicas.clone())
            };
            topic.partitions.iter().map(place).collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(of).collect()
    }

    /// The brokers that are alive, with their racks.
    pub(crate) fn alive(&self) -> BTreeMap<NodeId, Option<String>> {
        let alive = self.cluster.brokers.iter().filter(|described| !described.is_fenced);
        alive.map(|described| (described.broker.id, described.broker.rack.clone())).collect()
    }

    /// The brokers that are registered and not alive.
    pub(crate) fn dead(&self) -> BTreeSet<NodeId> {
        let dead = self.cluster.brokers.iter().filter(|described| described.is_fenced);
        dead.map(|described| described.broker.id).collect()
    }

    pub(crate) fn trouble(&self) -> Trouble {
        let mut trouble = Trouble {
            no_controller: self.quorum.as_ref().is_some_and(|quorum| quorum.leader.is_none()),
            ..Trouble::default()
        };
        let fenced = self.cluster.brokers.iter().filter(|described| described.is_fenced);
        trouble.fenced = fenced.map(|described| described.broker.id.0).collect();
        for topic in &self.topics {
            for partition in &topic.partitions {
                let name = || format!("{}-{}", topic.name, partition.index);
                if partition.leader.is_none() {
                    trouble.leaderless.push(name());
                }
                let in_sync: BTreeSet<_> = partition.isr.iter().collect();
                if partition.replicas.iter().any(|node| !in_sync.contains(node)) {
                    trouble.behind.push(name());
                }
            }
        }
        trouble
    }
}

fn count(nodes: &mut BTreeMap<i32, Node>, partition: &millstream_client::PartitionInfo) {
    if let Some(node) = partition.leader.and_then(|leader| nodes.get_mut(&leader.0)) {
        node.leaders += 1;
    }
    for (place, replica) in partition.replicas.iter().enumerate() {
        let Some(node) = nodes.get_mut(&replica.0) else { continue };
        node.replicas += 1;
        node.preferred += usize::from(place == 0);
        node.behind += usize::from(!partition.isr.contains(replica));
    }
}

/// `None` for what the broker does not know of.
fn if_known<T>(answer: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(ClientError::Connection(ConnectionError::Unsupported { .. })) => Ok(None),
        Err(error) if error.code() == Some(ErrorCode::UnsupportedVersion) => Ok(None),
        Err(error) => Err(error),
    }
}
