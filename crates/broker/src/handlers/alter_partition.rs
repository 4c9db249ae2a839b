//! AlterPartition (key 56, v2-3): a leader changes the ISR of what it leads (KIP-497, KIP-903). The active controller
//! answers.

use std::sync::Arc;

use millstream_base::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, PartitionIndex, Uuid};
use millstream_metadata::decide::{AlterPartition, AlteredPartition, AlteredState};
use millstream_metadata::{ClusterImage, LeaderRecoveryState, Partition};
use millstream_quorum::Turn;
use millstream_wire::messages::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, RequestPartitionData, ResponsePartitionData,
    ResponseTopicData,
};
use tracing::{debug, warn};

use crate::authorizer::{Operation, Resource};
use crate::cluster_view::numbers;
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: AlterPartitionRequest,
) -> AlterPartitionResponse {
    let refused = |code: ErrorCode| AlterPartitionResponse {
        error_code: code.code(),
        ..AlterPartitionResponse::default()
    };
    if !context.allows(Operation::ClusterAction, Resource::Cluster) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let mut partitions = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            match wanted(topic.topic_id, partition) {
                Some(wanted) => partitions.push(wanted),
                None => return refused(ErrorCode::InvalidRequest),
            }
        }
    }
    let named: Vec<(Uuid, PartitionIndex)> =
        partitions.iter().map(|wanted| (wanted.topic_id, wanted.index)).collect();
    let command = AlterPartition {
        broker: NodeId(request.broker_id),
        epoch: BrokerEpoch(request.broker_epoch),
        partitions,
        defaults: context.broker.active_controller().defaults(),
    };
    let decide = move |image: &ClusterImage, _: &Turn| command.decide(image);
    match context.broker.quorum().execute(decide).await {
        Ok(states) => response(&named, states),
        Err(error) => {
            if error.code() != ErrorCode::NotController {
                warn!(broker = request.broker_id, %error, "a leader's change of its ISR is refused");
            }
            refused(error.code())
        }
    }
}

fn wanted(topic_id: Uuid, partition: &RequestPartitionData) -> Option<AlteredPartition> {
    let without = partition.new_isr.iter().map(|id| (NodeId(*id), BrokerEpoch(-1)));
    let with = partition.new_isr_with_epochs.iter();
    let with = with.map(|member| (NodeId(member.broker_id), BrokerEpoch(member.broker_epoch)));
    Some(AlteredPartition {
        topic_id,
        index: PartitionIndex(partition.partition_index),
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        partition_epoch: partition.partition_epoch,
        isr: without.chain(with).collect(),
        recovery: LeaderRecoveryState::from_code(partition.leader_recovery_state)?,
    })
}

/// The answers in the order of the request, topic by topic.
fn response(named: &[(Uuid, PartitionIndex)], states: Vec<AlteredState>) -> AlterPartitionResponse {
    let mut topics: Vec<ResponseTopicData> = Vec::new();
    for ((topic_id, index), state) in named.iter().zip(states) {
        let answer = answer(*index, state);
        match topics.last_mut().filter(|topic| topic.topic_id == *topic_id) {
            Some(topic) => topic.partitions.push(answer),
            None => {
                topics.push(ResponseTopicData { topic_id: *topic_id, partitions: vec![answer] });
            }
        }
    }
    AlterPartitionResponse { topics, ..AlterPartitionResponse::default() }
}

fn answer(index: PartitionIndex, state: AlteredState) -> ResponsePartitionData {
    let partition_index = index.get();
    let state: Arc<Partition> = match state {
        Ok(state) => state,
        Err(refusal) => {
            debug!("an ISR is not changed: {refusal}");
            let error_code = refusal.code.code();
            return ResponsePartitionData { partition_index, error_code, ..Default::default() };
        }
    };
    ResponsePartitionData {
        partition_index,
        error_code: ErrorCode::None.code(),
        leader_id: state.leader.map_or(-1, NodeId::get),
        leader_epoch: state.leader_epoch.get(),
        isr: numbers(&state.isr),
        leader_recovery_state: state.leader_recovery_state.code(),
        partition_epoch: state.partition_epoch,
    }
}
