//! InitProducerId (key 22, v0-5): an id for an idempotent producer.
//!
//! An idempotent producer that asks again, with the id it has, gets a new one: it has given its old one up.

use millstream_base::{ErrorCode, ProducerId};
use millstream_wire::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: InitProducerIdRequest,
) -> InitProducerIdResponse {
    match next(&context, &request).await {
        Ok(id) => InitProducerIdResponse {
            producer_id: id.get(),
            producer_epoch: 0,
            ..Default::default()
        },
        Err(error) => InitProducerIdResponse {
            error_code: error.code(),
            producer_id: -1,
            producer_epoch: -1,
            ..Default::default()
        },
    }
}

async fn next(
    context: &RequestContext,
    request: &InitProducerIdRequest,
) -> Result<ProducerId, ErrorCode> {
    if let Some(transactional_id) = request.transactional_id.as_deref() {
        if !context.allows(Operation::Write, Resource::TransactionalId(transactional_id)) {
            return Err(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        // There is no transaction coordinator, as FindCoordinator says already.
        return Err(ErrorCode::InvalidRequest);
    }
    if !may_write(context) {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    context.broker.producer_ids().next(&context.broker).await
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
