//! Producer ids for this broker's clients, out of blocks that no other broker draws from.
//!
//! Key type: [`ProducerIds`]. A block is fetched when the one before it is used up; what is left of a block at a
//! stop is never used.

use millstream_base::{ErrorCode, ProducerId};
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::{ProducerIdBlock, allocate_producer_ids};
use tokio::sync::Mutex;
use tracing::warn;

use crate::broker::Broker;

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
    let me = broker.node_id();
    let decide = move |image: &ClusterImage, _: &millstream_quorum::Turn| {
        let epoch = image.broker(me).map(|broker| broker.epoch).unwrap_or_default();
        allocate_producer_ids(image, me, epoch)
    };
    broker.quorum().execute(decide).await.map_err(|error| {
        warn!(%error, "no block of producer ids could be had");
        ErrorCode::CoordinatorLoadInProgress
    })
}
