//! The metadata quorum: who votes, who follows, how far each is; adding and removing voters.

use std::collections::BTreeMap;

use millstream_base::{NodeId, Uuid};
use millstream_wire::Str;
use millstream_wire::messages::add_raft_voter::{self, AddRaftVoterRequest};
use millstream_wire::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, ReplicaState, RequestPartitionData,
    RequestTopicData,
};
use millstream_wire::messages::remove_raft_voter::RemoveRaftVoterRequest;

use super::Admin;
use crate::ClientError;

/// The topic under which the metadata log is asked for.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// The quorum as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumDescription {
    /// The active controller.
    pub leader: Option<NodeId>,
    /// The epoch of its leadership.
    pub epoch: i32,
    /// Up to where the metadata log is committed.
    pub high_watermark: i64,
    /// Who votes.
    pub voters: Vec<QuorumReplica>,
    /// Who follows without a vote.
    pub observers: Vec<QuorumReplica>,
    /// Where the controllers are reached, as far as the cluster says: name, host and port of each listener.
    pub listeners: BTreeMap<NodeId, Vec<RaftListener>>,
}

/// A node of the quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumReplica {
    /// `node.id`.
    pub id: NodeId,
    /// The id of the directory with its metadata log; zero when not said.
    pub directory_id: Uuid,
    /// Where its log ends; -1 when not known.
    pub log_end_offset: i64,
    /// When the leader heard of it last, by the leader's clock; -1 when not known.
    pub last_fetch_ms: i64,
    /// When it had last all that the leader had; -1 when not known.
    pub last_caught_up_ms: i64,
}

/// Where a controller is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftListener {
    /// The listener's name.
    pub name: String,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl Admin {
    /// The quorum of the metadata.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, ClientError> {
        let request = DescribeQuorumRequest {
            topics: vec![RequestTopicData {
                topic_name: METADATA_TOPIC.into(),
                partitions: vec![RequestPartitionData { partition_index: 0 }],
            }],
        };
        let read = |response: &DescribeQuorumResponse| read_quorum(response).map(drop);
        let response = self.repeat("metadata quorum", |_| request.clone(), read).await?;
        read_quorum(&response)
    }

    /// Makes a controller that follows the quorum a voter.
    ///
    /// # Errors
    /// What the controller says against it: it is a voter already, it does not follow, another change is under way.
    pub async fn add_raft_voter(
        &self,
        id: NodeId,
        directory_id: Uuid,
        listeners: &[RaftListener],
    ) -> Result<(), ClientError> {
        let listener = |listener: &RaftListener| add_raft_voter::Listener {
            name: listener.name.as_str().into(),
            host: listener.host.as_str().into(),
            port: listener.port,
        };
        let request = AddRaftVoterRequest {
            // Whichever this is; an empty name would be another one's.
            cluster_id: None,
            timeout_ms: self.timeout_ms(),
            voter_id: id.0,
            voter_directory_id: directory_id,
            listeners: listeners.iter().map(listener).collect(),
            ..AddRaftVoterRequest::default()
        };
        let answer = self.cluster.call_controller(|_| request.clone()).await?;
        let message = answer.error_message.as_ref().map(Str::as_str);
        ClientError::check_with(answer.error_code, message, || format!("voter {id}"))
    }

    /// Takes the vote from a controller.
    ///
    /// # Errors
    /// What the controller says against it: it is no voter, or it is the last one.
    pub async fn remove_raft_voter(
        &self,
        id: NodeId,
        directory_id: Uuid,
    ) -> Result<(), ClientError> {
        let request = RemoveRaftVoterRequest {
            cluster_id: None,
            voter_id: id.0,
            voter_directory_id: directory_id,
        };
        let answer = self.cluster.call_controller(|_| request.clone()).await?;
        let message = answer.error_message.as_ref().map(Str::as_str);
        ClientError::check_with(answer.error_code, message, || format!("voter {id}"))
    }
}

fn read_quorum(response: &DescribeQuorumResponse) -> Result<QuorumDescription, ClientError> {
    let what = || "metadata quorum".to_owned();
    let message = response.error_message.as_ref().map(Str::as_str);
    ClientError::check_with(response.error_code, message, what)?;
    let partition = response.topics.iter().flat_map(|topic| &topic.partitions).next();
    let partition = partition.ok_or_else(|| ClientError::Missing(what()))?;
    let message = partition.error_message.as_ref().map(Str::as_str);
    ClientError::check_with(partition.error_code, message, what)?;
    let listeners = response.nodes.iter().map(|node| {
        let listener = |listener: &millstream_wire::messages::describe_quorum::Listener| {
            let (name, host) = (listener.name.to_string(), listener.host.to_string());
            RaftListener { name, host, port: listener.port }
        };
        (NodeId(node.node_id), node.listeners.iter().map(listener).collect())
    });
    Ok(QuorumDescription {
        leader: (partition.leader_id >= 0).then_some(NodeId(partition.leader_id)),
        epoch: partition.leader_epoch,
        high_watermark: partition.high_watermark,
        voters: partition.current_voters.iter().map(replica).collect(),
        observers: partition.observers.iter().map(replica).collect(),
        listeners: listeners.collect(),
    })
}

fn replica(state: &ReplicaState) -> QuorumReplica {
    QuorumReplica {
        id: NodeId(state.replica_id),
        directory_id: state.replica_directory_id,
        log_end_offset: state.log_end_offset,
        last_fetch_ms: state.last_fetch_timestamp,
        last_caught_up_ms: state.last_caught_up_timestamp,
    }
}
