//! AllocateProducerIds (key 67, v0): a broker gets the next block of producer ids.

use millstream_base::{BrokerEpoch, ErrorCode, NodeId};
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::allocate_producer_ids;
use millstream_quorum::Turn;
use millstream_wire::messages::allocate_producer_ids::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse,
};
use tracing::warn;

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: AllocateProducerIdsRequest,
) -> AllocateProducerIdsResponse {
    let refused = |code: ErrorCode| AllocateProducerIdsResponse {
        error_code: code.code(),
        ..AllocateProducerIdsResponse::default()
    };
    if !context.allows(Operation::ClusterAction, Resource::Cluster) {
        return refused(ErrorCode::ClusterAuthorizationFailed);
    }
    let (id, epoch) = (NodeId(request.broker_id), BrokerEpoch(request.broker_epoch));
    let decide = move |image: &ClusterImage, _: &Turn| allocate_producer_ids(image, id, epoch);
    match context.broker.quorum().execute(decide).await {
        Ok(block) => AllocateProducerIdsResponse {
            producer_id_start: block.first.get(),
            producer_id_len: i32::try_from(block.len).unwrap_or(i32::MAX),
            ..AllocateProducerIdsResponse::default()
        },
        Err(error) => {
            if error.code() != ErrorCode::NotController {
                warn!(broker = %id, %error, "a broker got no producer ids");
            }
            refused(error.code())
        }
    }
}
