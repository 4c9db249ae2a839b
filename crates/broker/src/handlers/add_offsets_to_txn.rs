//! AddOffsetsToTxn (key 25, v0-4): the offsets of a group become part of a transaction. What joins it is the partition of
//! `__consumer_offsets` that holds the group.

use millstream_base::ErrorCode;
use millstream_txns::{AddPartitions, Producer};
use millstream_wire::messages::add_offsets_to_txn::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::{code_of, own};
use crate::coordinator::{ensure_offsets_topic, offsets_partition};

/// Clients before this know a fenced producer by another code (KIP-588).
const FIRST_WITH_FENCED: i16 = 2;

pub(crate) async fn handle(
    context: RequestContext,
    request: AddOffsetsToTxnRequest,
) -> AddOffsetsToTxnResponse {
    let outcome = add(&context, &request).await.map_err(|code| match code {
        ErrorCode::ProducerFenced if context.version < FIRST_WITH_FENCED => {
            ErrorCode::InvalidProducerEpoch
        }
        code => code,
    });
    AddOffsetsToTxnResponse { error_code: code_of(outcome), ..Default::default() }
}

async fn add(context: &RequestContext, request: &AddOffsetsToTxnRequest) -> Result<(), ErrorCode> {
    if !context.allows(Operation::Write, Resource::TransactionalId(&request.transactional_id)) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    if !context.allows(Operation::Read, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    ensure_offsets_topic(&context.broker).await?;
    let partition = offsets_partition(&context.broker.image(), &request.group_id);
    let asked = AddPartitions {
        transactional_id: own(&request.transactional_id),
        producer: Producer { id: request.producer_id, epoch: request.producer_epoch },
        partitions: vec![partition.ok_or(ErrorCode::CoordinatorNotAvailable)?],
        client_version: 0,
    };
    let transactions = context.broker.transactions();
    let written = transactions
        .decide(&asked.transactional_id, |shard, now| shard.add_partitions(now, &asked))?;
    written.commit.done().await?;
    written.reply
}
