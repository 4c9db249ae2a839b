//! Producer ids for this broker's clients, out of blocks that no other broker draws from.
//!
//! Key type: [`ProducerIds`]. A block is fetched when the one before it is used up; what is left of a block at a
//! stop is never used.

use std::time::Duration;

use millstream_base::{BrokerEpoch, ErrorCode, ProducerId};
use millstream_metadata::decide::ProducerIdBlock;
use millstream_wire::messages::allocate_producer_ids::AllocateProducerIdsRequest;
use tokio::sync::Mutex;
use tracing::warn;

use crate::broker::Broker;

/// How long a producer waits for a controller; it asks again by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ids at hand.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    /// The lock is held while a block is fetched, so that many new producers at once fetch one block.
    block: Mutex<Option<ProducerIdBlock>>,
}

impl ProducerIds {
    /// An id that nobody has.
    ///
    /// # Errors
    /// `COORDINATOR_LOAD_IN_PROGRESS`, which clients retry, when no block can be had at present.
    pub(crate) async fn next(&self, broker: &Broker) -> Result<ProducerId, ErrorCode> {
        let mut block = self.block.lock().await;
        let available = match block.filter(|block| block.len > 0) {
            Some(available) => available,
            None => fetch(broker).await?,
        };
        let ProducerIdBlock { first, len } = available;
        *block = Some(ProducerIdBlock { first: ProducerId(first.get() + 1), len: len - 1 });
        Ok(first)
    }
}

async fn fetch(broker: &Broker) -> Result<ProducerIdBlock, ErrorCode> {
    let epoch = broker.image().broker(broker.node_id()).map(|registered| registered.epoch);
    let request = AllocateProducerIdsRequest {
        broker_id: broker.node_id().get(),
        broker_epoch: epoch.map_or(-1, BrokerEpoch::get),
    };
    let answer = broker.controller().call_within(request, PATIENCE).await.map_err(|error| {
        warn!(%error, "no block of producer ids could be had");
        ErrorCode::CoordinatorLoadInProgress
    })?;
    if answer.error_code != 0 {
        let code = ErrorCode::from_code(answer.error_code).map_or("an error", ErrorCode::name);
        warn!(code, "the controller gives no block of producer ids");
        return Err(ErrorCode::CoordinatorLoadInProgress);
    }
    let first = ProducerId(answer.producer_id_start);
    Ok(ProducerIdBlock { first, len: answer.producer_id_len.into() })
}
