//! Seeing a decided end through: markers into every partition, then the record that says so.
//!
//! Key entry: [`TransactionCoordinator::finish`]. Runs in a task of its own, so that no client that hangs up can stop it. Partitions
//! of other brokers are written to through them. What cannot be written now is tried again, by whoever leads then, until it
//! can, or until nobody needs it: the topic is deleted, or another broker coordinates.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use millstream_base::{ErrorCode, NodeId, PartitionIndex, ProducerEpoch, ProducerId};
use millstream_env::task;
use millstream_txns::{Markers, TxnPartition};
use tracing::{info, warn};

use super::host::TransactionCoordinator;
use super::markers::write_marker;
use super::remote::SendMarkers;
use super::shard::HostedTxns;
use crate::replica::TxnMarker;
use crate::state_log::Commit;

/// Between the first two tries; it doubles.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
/// Between two tries at most.
const LONGEST_BACKOFF: Duration = Duration::from_millis(200);
/// Every so many tries it is said that an end is still not complete.
const TELL_EVERY: u32 = 100;

/// An end on its way into its partitions.
struct Ending {
    markers: Arc<Markers>,
    left: Vec<TxnPartition>,
    /// Why some are left.
    why: ErrorCode,
    /// Another coordinator has taken over.
    fenced: bool,
}

impl TransactionCoordinator {
    /// Sees the end through in the background, once the decision is committed. The handle completes when it is done.
    pub(super) fn finish(
        self: &Arc<Self>,
        hosted: &Arc<HostedTxns>,
        markers: Markers,
        decided: Commit,
    ) -> task::JoinHandle<()> {
        let coordinator = Arc::downgrade(self);
        let hosted = Arc::clone(hosted);
        task::spawn(async move {
            if decided.done_at_last().await.is_err() {
                // Whoever loads the log next finds the decision there or not.
                return;
            }
            see_through(coordinator, hosted, Arc::new(markers)).await;
        })
    }
}

async fn see_through(
    coordinator: Weak<TransactionCoordinator>,
    hosted: Arc<HostedTxns>,
    markers: Arc<Markers>,
) {
    let id = Arc::clone(&markers.transactional_id);
    let left = markers.partitions.clone();
    let mut ending = Ending { markers, left, why: ErrorCode::None, fenced: false };
    let mut backoff = FIRST_BACKOFF;
    for attempt in 1u32.. {
        let Some(alive) = coordinator.upgrade().filter(|_| hosted.is_alive()) else { return };
        ending.write_all(&alive, &hosted).await;
        if ending.fenced {
            info!(transactional_id = %id, "another coordinator has this transaction now");
            return;
        }
        if ending.left.is_empty() && complete(&alive, &hosted, &ending.markers).await {
            return;
        }
        if attempt % TELL_EVERY == 0 {
            warn!(transactional_id = %id, partitions = ending.left.len(), reason = %ending.why,
                "the end of a transaction is decided but not written everywhere; still trying");
        }
        // While it sleeps, the task does not keep the coordinator alive.
        drop(alive);
        task::sleep(backoff).await;
        backoff = backoff.saturating_mul(2).min(LONGEST_BACKOFF);
    }
}

impl Ending {
    /// Writes the markers that are left, each where its partition is led now.
    async fn write_all(&mut self, coordinator: &TransactionCoordinator, hosted: &HostedTxns) {
        let mut here = Vec::new();
        let mut elsewhere: BTreeMap<NodeId, Vec<TxnPartition>> = BTreeMap::new();
        let image = coordinator.image();
        for to in std::mem::take(&mut self.left) {
            // A topic that is gone needs no marker.
            let Some(partition) = image.topics.partition(&to.0, PartitionIndex(to.1)) else {
                continue;
            };
            match partition.leader {
                Some(leader) if leader == coordinator.me => here.push(to),
                Some(leader) => elsewhere.entry(leader).or_default().push(to),
                None => self.note(to, ErrorCode::LeaderNotAvailable),
            }
        }
        // Others are asked before this broker writes its own, and all before the first is waited for.
        let asked = elsewhere.into_iter().map(|(leader, partitions)| {
            let markers = Arc::clone(&self.markers);
            let coordinator_epoch = hosted.epoch.get();
            let post = SendMarkers { markers, coordinator_epoch, partitions: partitions.clone() };
            (partitions, coordinator.marker_outbox.post(leader, post))
        });
        let asked: Vec<_> = asked.collect();
        let written = here.into_iter().map(|to| (self.write_one(coordinator, hosted, &to), to));
        let written: Vec<_> = written.collect();
        for (marked, to) in written {
            let outcome = match marked {
                Ok(marked) => marked.durable().await,
                Err(code) => Err(code),
            };
            self.note(to, outcome.err().unwrap_or(ErrorCode::None));
        }
        for (partitions, answer) in asked {
            let codes = answer.await.unwrap_or_default();
            let codes = codes.into_iter().chain(std::iter::repeat(ErrorCode::NetworkException));
            partitions.into_iter().zip(codes).for_each(|(to, code)| self.note(to, code));
        }
    }

    fn write_one(
        &self,
        coordinator: &TransactionCoordinator,
        hosted: &HostedTxns,
        to: &TxnPartition,
    ) -> Result<super::Marked, ErrorCode> {
        let markers = &self.markers;
        let marker = TxnMarker {
            producer_id: ProducerId(markers.producer.id),
            epoch: ProducerEpoch(markers.producer.epoch),
            coordinator_epoch: hosted.epoch.get(),
            commit: markers.commit,
            version: markers.version,
        };
        let now = coordinator.clock.now_ms();
        let (topic, index) = (&*to.0, PartitionIndex(to.1));
        write_marker(&coordinator.replicas, &coordinator.groups, topic, index, &marker, now)
    }

    /// What became of one partition's marker.
    fn note(&mut self, to: TxnPartition, code: ErrorCode) {
        match code {
            // In the second case the producer has gone on there: nobody needs it.
            ErrorCode::None | ErrorCode::InvalidProducerEpoch => {}
            ErrorCode::TransactionCoordinatorFenced => self.fenced = true,
            again => {
                self.why = again;
                self.left.push(to);
            }
        }
    }
}

/// Writes that the transaction is complete. False: try again.
async fn complete(
    coordinator: &TransactionCoordinator,
    hosted: &Arc<HostedTxns>,
    markers: &Markers,
) -> bool {
    let now = coordinator.clock.now_ms();
    match hosted.decide(now, |shard| shard.complete(now.get(), markers)) {
        Ok(written) => written.commit.done_at_last().await.is_ok(),
        Err(_) => false,
    }
}
