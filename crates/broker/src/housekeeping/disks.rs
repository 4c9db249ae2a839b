//! Looking after the log directories: one whose disk is gone is taken out of service, and the cluster is told; the
//! cluster is told as well where replicas lie.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, PartitionIndex, Uuid};
use millstream_env::task::{self, JoinHandle};
use millstream_wire::messages::assign_replicas_to_dirs::{
    AssignReplicasToDirsRequest, RequestDirectoryData, RequestPartitionData, RequestTopicData,
};
use millstream_wire::messages::broker_heartbeat::BrokerHeartbeatRequest;
use tokio::sync::watch;
use tracing::warn;

use crate::broker::Broker;

/// The pause before the cluster is told again.
const PAUSE: Duration = Duration::from_secs(1);

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
    let broker = Arc::clone(broker);
    task::spawn(async move {
        let request = BrokerHeartbeatRequest {
            broker_id: broker.node_id().get(),
            broker_epoch: epoch_of(&broker),
            current_metadata_offset: broker.quorum().applied().get() - 1,
            offline_log_dirs: broker.replicas().logs().offline_ids(),
            ..Default::default()
        };
        // Later heartbeats say it again.
        if let Err(error) = broker.controller().call(request).await {
            warn!(%error, "the cluster could not be told of the failed log directory yet");
        }
    });
}

fn epoch_of(broker: &Broker) -> i64 {
    broker.image().broker(broker.node_id()).map_or(-1, |registered| registered.epoch.get())
}

/// Tells the cluster in which directory each new replica was put, for as long as the broker runs.
pub(super) fn tell_places(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let (broker, mut stop) = (Arc::clone(broker), stop.clone());
    task::spawn(async move {
        let mut images = broker.quorum().watch();
        loop {
            if broker.replicas().has_unassigned() {
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    () = tell_unassigned(&broker) => {}
                }
            }
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                changed = images.changed() => if changed.is_err() { return },
            }
        }
    })
}

/// Tells where replicas lie, again and again until a controller has noted it.
async fn tell_unassigned(broker: &Broker) {
    let places = broker.replicas().take_unassigned();
    loop {
        let request = AssignReplicasToDirsRequest {
            broker_id: broker.node_id().get(),
            broker_epoch: epoch_of(broker),
            directories: by_directory(&places),
        };
        let reason = match broker.controller().call(request).await {
            Ok(answer) if answer.error_code == 0 => return,
            Ok(answer) => ErrorCode::from_code(answer.error_code)
                .map_or("an error", ErrorCode::name)
                .to_owned(),
            Err(error) => error.to_string(),
        };
        warn!(reason, "the cluster could not be told where replicas lie; trying again");
        task::sleep(PAUSE).await;
    }
}

/// Topic, partition and directory, as the request nests them.
fn by_directory(places: &[(Uuid, PartitionIndex, Uuid)]) -> Vec<RequestDirectoryData> {
    let mut nested: BTreeMap<Uuid, BTreeMap<Uuid, Vec<i32>>> = BTreeMap::new();
    for (topic, partition, directory) in places {
        nested.entry(*directory).or_default().entry(*topic).or_default().push(partition.get());
    }
    let partition = |partition_index| RequestPartitionData { partition_index };
    let topic = |(topic_id, partitions): (Uuid, Vec<i32>)| RequestTopicData {
        topic_id,
        partitions: partitions.into_iter().map(partition).collect(),
    };
    let directory = |(id, topics): (Uuid, BTreeMap<Uuid, Vec<i32>>)| RequestDirectoryData {
        id,
        topics: topics.into_iter().map(topic).collect(),
    };
    nested.into_iter().map(directory).collect()
}
