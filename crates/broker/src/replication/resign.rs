//! Giving up the lead where the disk fails: a leader that cannot write leaves its ISR to the others (AlterPartition).
//!
//! A full disk is no reason to take a directory out of service: its logs are read as before, and go on when there is room.
//! So the replica stays, as a follower that is not in sync and fetches nothing. When its directory takes bytes again it fetches,
//! comes into the ISR and can lead. What has no other replica in sync stays here and refuses writes.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, Uuid};
use millstream_env::task::{self, JoinHandle};
use millstream_wire::messages::alter_partition as wire;
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::broker::Broker;
use crate::replica::{Partition, Replicas};

/// How long one try may take. While a producer goes on, the next failing write is the next try.
const WITHIN: Duration = Duration::from_secs(5);
/// The pause between two tries: many partitions that fail together go together.
const PAUSE: Duration = Duration::from_millis(20);
/// How often directories that were full are looked at.
const ROOM_LOOK: Duration = Duration::from_secs(1);

/// Brings resignations to the controller.
pub(super) fn send_resignations(
    broker: &Arc<Broker>,
    stop: &watch::Receiver<bool>,
) -> JoinHandle<()> {
    let (broker, mut stop) = (Arc::clone(broker), stop.clone());
    task::spawn(async move {
        let send = async {
            loop {
                let batch = broker.replicas().shared().resigning.take().await;
                send(&broker, &batch).await;
                task::sleep(PAUSE).await;
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = send => {}
        }
    })
}

async fn send(broker: &Broker, batch: &[Arc<Partition>]) {
    let Some(request) = request(broker, batch) else { return };
    let count: usize = request.topics.iter().map(|topic| topic.partitions.len()).sum();
    match broker.controller().call_within(request, WITHIN).await {
        Ok(response) if response.error_code == 0 => {
            let answers = response.topics.iter().flat_map(|topic| &topic.partitions);
            let elected = ErrorCode::NewLeaderElected.code();
            let moved = answers.filter(|answer| answer.error_code == elected).count();
            warn!(moved, of = count, "the disk fails: others lead these partitions from now on");
        }
        Ok(response) => {
            debug!(code = response.error_code, "the controller moves no leaders now");
        }
        Err(error) => debug!(%error, "the controller could not be asked to move leaders"),
    }
}

/// `None` when nobody could lead in place of this broker.
fn request(broker: &Broker, batch: &[Arc<Partition>]) -> Option<wire::AlterPartitionRequest> {
    let mut topics: HashMap<Uuid, Vec<wire::RequestPartitionData>> = HashMap::new();
    for partition in batch {
        let Some((info, others)) = partition.resignation() else { continue };
        let member = |(id, epoch): (NodeId, BrokerEpoch)| wire::BrokerState {
            broker_id: id.get(),
            broker_epoch: epoch.get(),
        };
        topics.entry(partition.topic_id).or_default().push(wire::RequestPartitionData {
            partition_index: partition.index().get(),
            leader_epoch: info.leader_epoch.get(),
            new_isr_with_epochs: others.into_iter().map(member).collect(),
            partition_epoch: info.partition_epoch,
            ..Default::default()
        });
    }
    let topic = |(topic_id, partitions)| wire::RequestTopicData { topic_id, partitions };
    (!topics.is_empty()).then(|| wire::AlterPartitionRequest {
        broker_id: broker.node_id().get(),
        broker_epoch: broker.replicas().logs().broker_epoch().unwrap_or(-1),
        topics: topics.into_iter().map(topic).collect(),
    })
}

/// Looks every second whether directories that were full have room again, and has their replicas fetched again.
pub(super) fn await_room(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let (broker, mut stop) = (Arc::clone(broker), stop.clone());
    task::spawn(async move {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = task::sleep(ROOM_LOOK) => {}
            }
            let replicas = Arc::clone(broker.replicas());
            if !replicas.shared().without_room.lock().is_empty() {
                // A look that fails is made again.
                drop(task::spawn_blocking(move || look_for_room(&replicas)).await);
            }
        }
    })
}

fn look_for_room(replicas: &Replicas) {
    let waiting: Vec<Arc<Partition>> =
        replicas.shared().without_room.lock().values().cloned().collect();
    let mut roomy: HashMap<PathBuf, bool> = HashMap::new();
    let mut back = 0;
    for partition in waiting {
        let log = partition.with_log(|log| log.path());
        let Some(dir) = replicas.logs().dir_of(&log) else { continue };
        let has_room = *roomy.entry(dir.path().to_owned()).or_insert_with(|| dir.has_room());
        if has_room || partition.is_gone() {
            partition.has_room_again();
            replicas.fetchers().resume(&partition);
            back += 1;
        }
    }
    if back > 0 {
        info!(partitions = back, "there is room again: these partitions go on");
    }
}
