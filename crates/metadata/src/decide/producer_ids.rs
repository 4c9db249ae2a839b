//! AllocateProducerIds (API key 67): blocks of producer ids, each given to one broker once.

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, ProducerId};
use millstream_wire::stored::ProducerIdsRecord;

use super::{Decision, Refusal};
use crate::image::ClusterImage;
use crate::record::MetadataRecord;

/// How many ids a block has.
pub const PRODUCER_ID_BLOCK_LEN: i64 = 1000;

/// Ids that nobody else gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerIdBlock {
    /// The first id.
    pub first: ProducerId,
    /// How many.
    pub len: i64,
}

/// Gives the next block to a broker. A block that a broker loses by stopping is never given out again.
pub fn allocate_producer_ids(
    image: &ClusterImage,
    broker: NodeId,
    epoch: BrokerEpoch,
) -> Result<Decision<ProducerIdBlock>, Refusal> {
    super::brokers::check_epoch(image, broker, epoch)?;
    let first = image.next_producer_id;
    let next_producer_id = first.get().checked_add(PRODUCER_ID_BLOCK_LEN).ok_or_else(|| {
        Refusal::new(ErrorCode::UnknownServerError, "all producer ids have been given out")
    })?;
    let record =
        ProducerIdsRecord { broker_id: broker.get(), broker_epoch: epoch.get(), next_producer_id };
    let reply = ProducerIdBlock { first, len: PRODUCER_ID_BLOCK_LEN };
    Ok(Decision { records: vec![MetadataRecord::ProducerIds(record)], reply })
}
