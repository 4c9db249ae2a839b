//! EndTxn (key 26, v0-5): commit or abort. From version 5 on the answer says with which epoch to go on (KIP-890).

use millstream_base::ErrorCode;
use millstream_txns::{EndTxn, Producer};
use millstream_wire::messages::end_txn::{EndTxnRequest, EndTxnResponse};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::own;

/// Clients before this know a fenced producer by another code (KIP-588).
const FIRST_WITH_FENCED: i16 = 2;
/// From here on the epoch grows with each end.
const FIRST_BUMPING: i16 = 5;

pub(crate) async fn handle(context: RequestContext, request: EndTxnRequest) -> EndTxnResponse {
    match end(&context, request).await {
        Ok(producer) => EndTxnResponse {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            ..Default::default()
        },
        Err(code) => {
            let code = match code {
                ErrorCode::ProducerFenced if context.version < FIRST_WITH_FENCED => {
                    ErrorCode::InvalidProducerEpoch
                }
                code => code,
            };
            EndTxnResponse { error_code: code.code(), ..Default::default() }
        }
    }
}

async fn end(context: &RequestContext, request: EndTxnRequest) -> Result<Producer, ErrorCode> {
    if !context.allows(Operation::Write, Resource::TransactionalId(&request.transactional_id)) {
        return Err(ErrorCode::TransactionalIdAuthorizationFailed);
    }
    let asked = EndTxn {
        transactional_id: own(&request.transactional_id),
        producer: Producer { id: request.producer_id, epoch: request.producer_epoch },
        commit: request.committed,
        client_version: if context.version >= FIRST_BUMPING { 2 } else { 0 },
        fresh_id: None,
    };
    context.broker.transactions().end_txn(&context.broker, asked).await
}
