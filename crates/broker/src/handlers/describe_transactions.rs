//! DescribeTransactions (key 65, v0): where transactional ids stand (KIP-664).

use millstream_base::ErrorCode;
use millstream_txns::DescribedTxn;
use millstream_wire::Str;
use millstream_wire::messages::describe_transactions::{
    DescribeTransactionsRequest, DescribeTransactionsResponse, TopicData, TransactionState,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeTransactionsRequest,
) -> DescribeTransactionsResponse {
    let mut states = Vec::with_capacity(request.transactional_ids.len());
    for id in request.transactional_ids {
        states.push(match find(&context, &id).await {
            Ok(described) => answer(&context, id, described),
            Err(code) => TransactionState {
                error_code: code.code(),
                transactional_id: id,
                ..Default::default()
            },
        });
    }
    DescribeTransactionsResponse { transaction_states: states, ..Default::default() }
}

async fn find(context: &RequestContext, id: &str) -> Result<DescribedTxn, ErrorCode> {
    if !context.allows(Operation::Describe, Resource::TransactionalId(id)) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let hosted = match context.broker.transactions().shard(id) {
        Ok(hosted) => hosted,
        // No topic yet: nobody ever had a transactional id.
        Err(ErrorCode::CoordinatorNotAvailable) => return Err(ErrorCode::TransactionalIdNotFound),
        Err(code) => return Err(code),
    };
    let (described, commit) = hosted.read(|shard| shard.describe(id))?;
    commit.done().await?;
    described.ok_or(ErrorCode::TransactionalIdNotFound)
}

fn answer(context: &RequestContext, id: Str, described: DescribedTxn) -> TransactionState {
    let mut topics: Vec<TopicData> = Vec::new();
    for (topic, partition) in described.partitions {
        if !context.allows(Operation::Describe, Resource::Topic(&topic)) {
            continue;
        }
        match topics.last_mut().filter(|last| *last.topic == *topic) {
            Some(last) => last.partitions.push(partition),
            None => {
                topics.push(TopicData { topic: (&topic).into(), partitions: vec![partition] });
            }
        }
    }
    TransactionState {
        error_code: 0,
        transactional_id: id,
        transaction_state: described.state.name().into(),
        transaction_timeout_ms: described.timeout_ms,
        transaction_start_time_ms: described.start_ms,
        producer_id: described.producer.id,
        producer_epoch: described.producer.epoch,
        topics,
    }
}
