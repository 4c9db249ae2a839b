//! What all partitions of a broker share.
//!
//! Key types: [`Shared`], [`Proposals`] (changes of ISRs on their way to the controller), [`Resigning`] (partitions that
//! others should lead, since the disk fails here).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use millstream_base::{BrokerEpoch, NodeId, PartitionIndex, Uuid};
use millstream_config::BrokerConfig;
use millstream_env::clock::Clock;
use millstream_metadata::ClusterImage;
use millstream_partition::IsrProposal;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::partition::Partition;

/// What partitions need of their broker.
#[derive(Debug)]
pub(crate) struct Shared {
    /// This broker.
    pub me: NodeId,
    /// Its clocks.
    pub clock: Arc<dyn Clock>,
    /// Its settings.
    pub config: Arc<ArcSwap<BrokerConfig>>,
    /// The newest metadata that the replicas were told of.
    pub image: ArcSwap<ClusterImage>,
    /// Changes of ISRs that the controller is to be asked for.
    pub proposals: Proposals,
    /// Partitions that others should lead.
    pub resigning: Resigning,
    /// Partitions whose disk took no more, until it does.
    pub without_room: Mutex<HashMap<(Uuid, PartitionIndex), Arc<Partition>>>,
    /// A log was cut below what its checkpoint may say is on the disk.
    pub cut_below_checkpoint: AtomicBool,
}

impl Shared {
    /// Nothing is known of the cluster yet.
    pub(crate) fn new(
        me: NodeId,
        clock: Arc<dyn Clock>,
        config: Arc<ArcSwap<BrokerConfig>>,
    ) -> Arc<Self> {
        let (proposals, resigning) = (Proposals::default(), Resigning::default());
        let (image, cut_below_checkpoint) = (ArcSwap::default(), AtomicBool::new(false));
        let without_room = Mutex::default();
        Arc::new(Self {
            me,
            clock,
            config,
            image,
            proposals,
            resigning,
            without_room,
            cut_below_checkpoint,
        })
    }

    /// Monotonic time.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// `replica.lag.time.max.ms`.
    pub(crate) fn lag_time_max(&self) -> Duration {
        let ms = self.config.load().replication.replica_lag_time_max_ms;
        Duration::from_millis(u64::try_from(ms).unwrap_or_default())
    }

    /// The epoch at which a broker that may join an ISR is registered.
    pub(crate) fn active_epoch(&self, id: NodeId) -> Option<BrokerEpoch> {
        let image = self.image.load();
        let broker = image.broker(id)?;
        broker.is_active().then_some(broker.epoch)
    }
}

/// Changes of ISRs that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Proposals {
    waiting: Mutex<Vec<(Arc<Partition>, IsrProposal)>>,
    come: Notify,
}

impl Proposals {
    /// Hands one in.
    pub(crate) fn submit(&self, partition: Arc<Partition>, proposal: IsrProposal) {
        self.waiting.lock().push((partition, proposal));
        self.come.notify_one();
    }

    #[cfg(test)]
    pub(super) fn lock_for_test(
        &self,
    ) -> parking_lot::MutexGuard<'_, Vec<(Arc<Partition>, IsrProposal)>> {
        self.waiting.lock()
    }

    /// Waits for some and takes them all.
    pub(crate) async fn take(&self) -> Vec<(Arc<Partition>, IsrProposal)> {
        loop {
            let all = std::mem::take(&mut *self.waiting.lock());
            if !all.is_empty() {
                return all;
            }
            self.come.notified().await;
        }
    }
}

/// Partitions whose leader here cannot write, each once.
#[derive(Debug, Default)]
pub(crate) struct Resigning {
    waiting: Mutex<HashMap<(Uuid, PartitionIndex), Arc<Partition>>>,
    come: Notify,
}

impl Resigning {
    /// Names one.
    pub(crate) fn submit(&self, partition: Arc<Partition>) {
        let key = (partition.topic_id, partition.index());
        self.waiting.lock().insert(key, partition);
        self.come.notify_one();
    }

    /// Waits for some and takes them all.
    pub(crate) async fn take(&self) -> Vec<Arc<Partition>> {
        loop {
            let all = std::mem::take(&mut *self.waiting.lock());
            if !all.is_empty() {
                return all.into_values().collect();
            }
            self.come.notified().await;
        }
    }
}
