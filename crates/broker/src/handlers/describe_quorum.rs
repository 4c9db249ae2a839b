//! DescribeQuorum (key 55, v0-2, KIP-595, KIP-836, KIP-853): who leads the metadata quorum, who votes, who follows, and
//! how far each one is.

use millstream_base::{ErrorCode, NodeId, TimestampMs, Uuid};
use millstream_metadata::names::CLUSTER_METADATA;
use millstream_quorum::{QuorumStatus, ReplicaStatus};
use millstream_wire::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, ReplicaState,
    RequestPartitionData, ResponsePartitionData, ResponseTopicData,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

/// From this version on an answer has the voters' addresses and directories (KIP-853).
const FIRST_WITH_NODES: i16 = 2;

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    let refused = |code: ErrorCode, message: String| DescribeQuorumResponse {
        error_code: code.code(),
        error_message: Some(message.into()),
        ..DescribeQuorumResponse::default()
    };
    if !context.allows(Operation::Describe, Resource::Cluster) {
        let message = "the principal may not describe the cluster".to_owned();
        return refused(ErrorCode::ClusterAuthorizationFailed, message);
    }
    if let Err(error) = context.broker.active_controller().check_active() {
        return refused(error.code(), error.to_string());
    }
    let status = context.broker.quorum().status();
    let has_nodes = context.version >= FIRST_WITH_NODES;
    let topics = request.topics.iter().map(|topic| {
        let is_log = &*topic.topic_name == CLUSTER_METADATA;
        let partition = |partition: &RequestPartitionData| match partition.partition_index {
            0 if is_log => described(&status, has_nodes),
            index => unknown(index),
        };
        let partitions = topic.partitions.iter().map(partition).collect();
        ResponseTopicData { topic_name: topic.topic_name.clone(), partitions }
    });
    DescribeQuorumResponse {
        error_message: None,
        topics: topics.collect(),
        nodes: if has_nodes { nodes(&context, &status) } else { Vec::new() },
        ..DescribeQuorumResponse::default()
    }
}

fn described(status: &QuorumStatus, has_nodes: bool) -> ResponsePartitionData {
    let replica = |of: &ReplicaStatus| replica(of, has_nodes);
    ResponsePartitionData {
        partition_index: 0,
        error_message: None,
        leader_id: status.leader.map_or(-1, NodeId::get),
        leader_epoch: status.epoch,
        high_watermark: status.high_watermark.get(),
        current_voters: status.voters.iter().map(&replica).collect(),
        observers: status.observers.iter().map(&replica).collect(),
        ..ResponsePartitionData::default()
    }
}

fn unknown(partition_index: i32) -> ResponsePartitionData {
    let message = format!("only partition 0 of {CLUSTER_METADATA} belongs to the quorum");
    ResponsePartitionData {
        partition_index,
        error_code: ErrorCode::UnknownTopicOrPartition.code(),
        error_message: Some(message.into()),
        ..ResponsePartitionData::default()
    }
}

fn replica(replica: &ReplicaStatus, has_nodes: bool) -> ReplicaState {
    let time = |time: Option<TimestampMs>| time.map_or(-1, TimestampMs::get);
    ReplicaState {
        replica_id: replica.peer.id.get(),
        replica_directory_id: if has_nodes { replica.directory_id } else { Uuid::ZERO },
        log_end_offset: replica.log_end_offset.get(),
        last_fetch_timestamp: time(replica.last_fetch),
        last_caught_up_timestamp: time(replica.last_caught_up),
    }
}

/// Where the voters are reached, by the name of the controller listener.
fn nodes(context: &RequestContext, status: &QuorumStatus) -> Vec<Node> {
    let config = context.broker.config();
    let name = config.controller_listener_names.first().map_or("CONTROLLER", String::as_str);
    let voters = status.voters.iter().filter(|voter| !voter.peer.host.is_empty());
    let node = |voter: &ReplicaStatus| Node {
        node_id: voter.peer.id.get(),
        listeners: vec![Listener {
            name: name.into(),
            host: (&voter.peer.host).into(),
            port: voter.peer.port,
        }],
    };
    voters.map(node).collect()
}
