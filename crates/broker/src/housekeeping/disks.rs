//! Looking after the log directories: one whose disk is gone is taken out of service, and the cluster is told; the
//! cluster is told as well where replicas lie.

use std::sync::Arc;

use millstream_env::task::{self, JoinHandle};
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::{ElectionDefaults, assign_directories, fail_directories};
use tokio::sync::watch;
use tracing::warn;

use crate::broker::Broker;

/// Probes every directory; what fails is taken out of service.
pub(super) fn probe(broker: &Arc<Broker>) {
    let replicas = broker.replicas();
    let failed = replicas.logs().probe();
    let any = !failed.is_empty();
    failed.into_iter().for_each(|dir| replicas.fail_dir(dir));
    if any {
        tell_failed(broker);
    }
}

/// Writes the checkpoints; a directory that they cannot be written to, and that is gone, is taken out of service.
pub(super) fn checkpoint(broker: &Arc<Broker>) {
    let replicas = broker.replicas();
    let failed = replicas.checkpoint();
    let any = !failed.is_empty();
    failed.into_iter().for_each(|dir| replicas.fail_dir(dir));
    if any {
        tell_failed(broker);
    }
}

/// Others lead what this broker cannot reach any more, and clients are told.
fn tell_failed(broker: &Arc<Broker>) {
    let (me, online) = (broker.node_id(), broker.replicas().logs().online_ids());
    let defaults = ElectionDefaults::of(&broker.config());
    let decide = move |image: &ClusterImage, _: &millstream_quorum::Turn| {
        Ok(fail_directories(image, defaults, me, &online))
    };
    broker.quorum().submit(decide, |told| {
        if let Err(error) = told {
            warn!(%error, "the cluster could not be told of the failed log directory");
        }
    });
}

/// Tells the cluster in which directory each new replica was put, for as long as the broker runs.
pub(super) fn tell_places(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let (broker, mut stop) = (Arc::clone(broker), stop.clone());
    task::spawn(async move {
        let mut images = broker.quorum().watch();
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                changed = images.changed() => if changed.is_err() { return },
            }
            if !broker.replicas().has_unassigned() {
                continue;
            }
            let (me, places) = (broker.node_id(), broker.replicas().take_unassigned());
            let decide = move |image: &ClusterImage, _: &millstream_quorum::Turn| {
                Ok(assign_directories(image, me, &places))
            };
            if let Err(error) = broker.quorum().execute(decide).await {
                warn!(%error, "the cluster could not be told where replicas lie");
            }
        }
    })
}
