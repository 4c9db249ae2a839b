//! Changes of registered brokers: fenced, unfenced, on their way down, gone (BrokerHeartbeat, API key 63, and
//! UnregisterBroker, 64).
//!
//! Each is the broker's own record and what settles the partitions after it: see [`super::settle`].

use millstream_base::{BrokerEpoch, ErrorCode, NodeId};
use millstream_wire::stored::{BrokerRegistrationChangeRecord, UnregisterBrokerRecord};

use super::rules::ElectionDefaults;
use super::settle::{MAX_CHANGES_PER_BATCH, Presence, Settled, settle_with};
use super::{Decision, Refusal};
use crate::image::ClusterImage;
use crate::record::MetadataRecord;

/// What changes about a registered broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerChange {
    /// It may not lead any more.
    Fence,
    /// It may lead.
    Unfence,
    /// It hands its partitions over before it stops.
    ControlledShutdown,
}

/// Fences, unfences or begins the controlled shutdown of a broker. Nothing is written when it is in that state
/// already.
pub fn change_broker(
    image: &ClusterImage,
    defaults: ElectionDefaults,
    id: NodeId,
    epoch: BrokerEpoch,
    change: BrokerChange,
) -> Result<Decision<Settled>, Refusal> {
    check_epoch(image, id, epoch)?;
    let Some(broker) = image.broker(id) else { return Ok(Decision::reply(Settled::default())) };
    let mut record = BrokerRegistrationChangeRecord {
        broker_id: id.get(),
        broker_epoch: epoch.get(),
        ..BrokerRegistrationChangeRecord::default()
    };
    let (is_so_already, is_active) = match change {
        BrokerChange::Fence => {
            record.fenced = 1;
            (broker.fenced, false)
        }
        BrokerChange::Unfence => {
            record.fenced = -1;
            (!broker.fenced, !broker.in_controlled_shutdown)
        }
        BrokerChange::ControlledShutdown => {
            record.in_controlled_shutdown = 1;
            (broker.in_controlled_shutdown, false)
        }
    };
    if is_so_already {
        return Ok(Decision::reply(Settled::default()));
    }
    let presence = Presence::of(image).with(id, is_active);
    let moves = settle_with(image, defaults, &presence, MAX_CHANGES_PER_BATCH - 1);
    Ok(after(MetadataRecord::BrokerRegistrationChange(record), moves))
}

/// Takes a broker out of the cluster. Its replicas stay assigned to it, but what it had does not count any more.
pub fn unregister_broker(
    image: &ClusterImage,
    defaults: ElectionDefaults,
    id: NodeId,
) -> Result<Decision<Settled>, Refusal> {
    let broker = image.broker(id).ok_or_else(|| not_registered(id))?;
    let record = UnregisterBrokerRecord { broker_id: id.get(), broker_epoch: broker.epoch.get() };
    let presence = Presence::of(image).with(id, false).with_lost(id);
    let moves = settle_with(image, defaults, &presence, usize::MAX);
    Ok(after(MetadataRecord::UnregisterBroker(record), moves))
}

/// A broker's own record, then what follows from it.
pub(super) fn after(first: MetadataRecord, mut moves: Decision<Settled>) -> Decision<Settled> {
    moves.records.insert(0, first);
    moves
}

/// Whether the broker is registered at that very epoch.
pub(super) fn check_epoch(
    image: &ClusterImage,
    id: NodeId,
    epoch: BrokerEpoch,
) -> Result<(), Refusal> {
    let broker = image.broker(id).ok_or_else(|| not_registered(id))?;
    if broker.epoch == epoch {
        return Ok(());
    }
    let message = format!(
        "broker {id} is registered at epoch {}, not {epoch}: another process has its id, or it must register anew",
        broker.epoch
    );
    Err(Refusal::new(ErrorCode::StaleBrokerEpoch, message))
}

pub(super) fn not_registered(id: NodeId) -> Refusal {
    let message = format!("broker {id} is not registered; DescribeCluster lists those that are");
    Refusal::new(ErrorCode::BrokerIdNotRegistered, message)
}
