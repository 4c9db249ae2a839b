//! Seeing a decided end through: markers into every partition, then the record that says so.
//!
//! Key entry: [`TransactionCoordinator::finish`]. Runs in a task of its own, so that no client that hangs up can stop it. What
//! cannot be written now is tried again until it can, or until nobody needs it: the topic is deleted, or another broker
//! coordinates.

use std::sync::{Arc, Weak};
use std::time::Duration;

use millstream_base::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId};
use millstream_env::task;
use millstream_txns::{Markers, TxnPartition};
use tracing::{info, warn};

use super::host::TransactionCoordinator;
use super::markers::{Marked, write_marker};
use super::shard::{Commit, HostedTxns};
use crate::replica::TxnMarker;

/// Between two tries.
const BACKOFF: Duration = Duration::from_millis(50);
/// Every so many tries it is said that an end is still not complete.
const TELL_EVERY: u32 = 200;

/// What became of one marker.
enum Outcome {
    Written(Marked),
    /// Nobody needs it.
    NotNeeded,
    /// Another coordinator has taken over.
    Fenced,
    Again(ErrorCode),
}

impl TransactionCoordinator {
    /// Sees the end through in the background, once the decision is committed. The handle completes when it is done.
    pub(super) fn finish(
        self: &Arc<Self>,
        hosted: &Arc<HostedTxns>,
        markers: Markers,
        decided: Option<Commit>,
    ) -> task::JoinHandle<()> {
        let coordinator = Arc::downgrade(self);
        let hosted = Arc::clone(hosted);
        task::spawn(async move {
            if let Some(mut decided) = decided
                && decided.done().await.is_err()
            {
                // Whoever loads the log next finds the decision there or not.
                return;
            }
            see_through(coordinator, hosted, markers).await;
        })
    }

    fn write_one(&self, hosted: &HostedTxns, markers: &Markers, to: &TxnPartition) -> Outcome {
        let (topic, index) = (&*to.0, PartitionIndex(to.1));
        let marker = TxnMarker {
            producer_id: ProducerId(markers.producer.id),
            epoch: ProducerEpoch(markers.producer.epoch),
            coordinator_epoch: hosted.epoch.get(),
            commit: markers.commit,
            version: markers.version,
        };
        if self.image().topics.partition(topic, index).is_none() {
            return Outcome::NotNeeded;
        }
        let now = self.clock.now_ms();
        match write_marker(&self.replicas, &self.groups, topic, index, &marker, now) {
            Ok(marked) => Outcome::Written(marked),
            Err(ErrorCode::InvalidProducerEpoch) => Outcome::NotNeeded,
            Err(ErrorCode::TransactionCoordinatorFenced) => Outcome::Fenced,
            Err(code) => Outcome::Again(code),
        }
    }
}

async fn see_through(
    coordinator: Weak<TransactionCoordinator>,
    hosted: Arc<HostedTxns>,
    markers: Markers,
) {
    let id = Arc::clone(&markers.transactional_id);
    let mut left = markers.partitions.clone();
    for attempt in 1u32.. {
        let Some(alive) = coordinator.upgrade().filter(|_| hosted.is_alive()) else { return };
        let Some((again, why)) = write_all(&alive, &hosted, &markers, left).await else {
            info!(transactional_id = %id, "another coordinator has this transaction now");
            return;
        };
        left = again;
        if left.is_empty() && complete(&alive, &hosted, &markers).await {
            return;
        }
        if attempt % TELL_EVERY == 0 {
            warn!(transactional_id = %id, partitions = left.len(), reason = %why,
                "the end of a transaction is decided but not written everywhere; still trying");
        }
        // While it sleeps, the task does not keep the coordinator alive.
        drop(alive);
        task::sleep(BACKOFF).await;
    }
}

/// Writes the markers of `left`; gives the partitions to be tried again, and why. `None` when another coordinator took over.
async fn write_all(
    coordinator: &TransactionCoordinator,
    hosted: &HostedTxns,
    markers: &Markers,
    left: Vec<TxnPartition>,
) -> Option<(Vec<TxnPartition>, ErrorCode)> {
    let mut again = Vec::new();
    let mut why = ErrorCode::None;
    let mut written = Vec::new();
    for partition in left {
        match coordinator.write_one(hosted, markers, &partition) {
            Outcome::Written(marked) => written.push((partition, marked)),
            Outcome::NotNeeded => {}
            Outcome::Fenced => return None,
            Outcome::Again(code) => {
                why = code;
                again.push(partition);
            }
        }
    }
    for (partition, marked) in written {
        if let Err(code) = marked.durable().await {
            why = code;
            again.push(partition);
        }
    }
    Some((again, why))
}

/// Writes that the transaction is complete. False: try again.
async fn complete(
    coordinator: &TransactionCoordinator,
    hosted: &Arc<HostedTxns>,
    markers: &Markers,
) -> bool {
    let now = coordinator.clock.now_ms();
    match hosted.decide(now, |shard| shard.complete(now.get(), markers)) {
        Ok(mut written) => written.commit.done().await.is_ok(),
        Err(_) => false,
    }
}
