//! InitProducerId (key 22, v0-5): an id for an idempotent producer, or the next epoch of a transactional one.
//!
//! An idempotent producer that asks again, with the id it has, gets a new one: it has given its old one up. A transactional
//! id keeps its producer id; asking for it fences whoever had it before (KIP-98), and aborts what was left open.

use millstream_base::ErrorCode;
use millstream_txns::{InitProducerId, Producer};
use millstream_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    match next(&context, &request).await {
        Ok(producer) => InitProducerIdResponse {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            ..Default::default()
        },
        Err(error) => InitProducerIdResponse {
            error_code: in_version(context.version, error).code(),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    }
}

async fn next(
    context: &RequestContext,
    request: &InitProducerIdRequest,
) -> Result<Producer, ErrorCode> {
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    if let Some(transactional_id) = request.transactional_id.as_deref() {
        if !context.allows(Operation::Write, Resource::TransactionalId(transactional_id)) {
            return Err(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        return init_transactional(context, request, transactional_id).await;
    }
    if !may_write(context) {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    let id = context.broker.producer_ids().next(&context.broker).await?;
    Ok(Producer { id: id.get(), epoch: 0 })
}

async fn init_transactional(
    context: &RequestContext,
    request: &InitProducerIdRequest,
    transactional_id: &str,
) -> Result<Producer, ErrorCode> {
    let expected = Producer { id: request.producer_id, epoch: request.producer_epoch };
    let asked = InitProducerId {
        transactional_id: transactional_id.into(),
        timeout_ms: request.transaction_timeout_ms,
        expected: Some(expected).filter(|expected| expected.id != -1),
        fresh_id: None,
    };
    context.broker.transactions().init_producer_id(&context.broker, asked).await
}

/// Clients before version 4 know a fenced producer by another code (KIP-588).
fn in_version(version: i16, code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::ProducerFenced if version < 4 => ErrorCode::InvalidProducerEpoch,
        code => code,
    }
}

/// Who may write to any topic may also write without duplicates (KIP-679).
fn may_write(context: &RequestContext) -> bool {
    context.allows(Operation::IdempotentWrite, Resource::Cluster)
        || context
            .broker
            .image()
            .topics
            .iter()
            .any(|topic| context.allows(Operation::Write, Resource::Topic(&topic.name)))
}
