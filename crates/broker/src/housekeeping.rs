//! What a broker does beside serving: retention, compaction, checkpoints, `flush.ms`, forgetting idle producers, looking after disks.
//!
//! Each chore is a task that wakes by its setting's interval and works on a thread that may wait for the disk.

mod cleaner;
mod disks;

use std::sync::Arc;
use std::time::Duration;

use millstream_env::task::{self, JoinHandle};
use millstream_log::DeletedSegments;
use tokio::sync::watch;
use tracing::warn;

use crate::broker::Broker;
use crate::replica::Partition;
use crate::replication;

/// How often `flush.ms` and rolled segments are looked at.
const FLUSH_LOOK: Duration = Duration::from_secs(1);

/// How often the log directories are looked at.
const DISK_LOOK: Duration = Duration::from_secs(1);

/// Starts every chore; each ends when `stop` turns true.
pub(crate) fn start(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let config = broker.config();
    let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(1).max(1));
    let (points, starts) = (
        config.log.flush_offset_checkpoint_interval_ms,
        config.log.flush_start_offset_checkpoint_interval_ms,
    );
    // All checkpoints are written together, by whichever interval is shorter.
    let checkpoint = millis(i64::from(points.min(starts)));
    let expiry = millis(i64::from(config.transactions.producer_id_expiration_check_interval_ms));
    let retention = millis(config.log.retention_check_interval_ms);
    let mut chores = replication::start(broker, stop);
    chores.extend([
        every(broker, stop, checkpoint, disks::checkpoint),
        every(broker, stop, DISK_LOOK, disks::probe),
        disks::tell_places(broker, stop),
        cleaner::start(broker, stop),
        every(broker, stop, FLUSH_LOOK, |broker| each(broker, flush)),
        every(broker, stop, expiry, |broker| {
            let now = broker.clock().now_ms();
            for partition in broker.replicas().all() {
                partition.with_log(|log| log.expire_producers(now));
            }
        }),
        every(broker, stop, retention, |broker| each(broker, retain)),
    ]);
    chores
}

fn every(
    broker: &Arc<Broker>,
    stop: &watch::Receiver<bool>,
    interval: Duration,
    chore: fn(&Arc<Broker>),
) -> JoinHandle<()> {
    let (broker, mut stop) = (Arc::clone(broker), stop.clone());
    task::spawn(async move {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = task::sleep(interval) => {}
            }
            let broker = Arc::clone(&broker);
            if task::spawn_blocking(move || chore(&broker)).await.is_err() {
                warn!("a chore failed; it will be tried again");
            }
        }
    })
}

fn each(broker: &Arc<Broker>, chore: fn(&Arc<Broker>, &Arc<Partition>)) {
    for partition in broker.replicas().all() {
        chore(broker, &partition);
    }
}

/// Syncs what `flush.ms` wants on disk, and sealed segments, so that a restart has less to check.
fn flush(broker: &Arc<Broker>, partition: &Arc<Partition>) {
    let now = broker.clock().now_ms();
    let ticket = partition.with_log(|log| match log.flush_due(now) {
        true => log.prepare_flush(),
        false => log.prepare_flush_sealed(),
    });
    let Ok(Some(ticket)) = ticket else { return };
    let outcome = ticket.run();
    if let Err(failure) = partition.with_log(|log| log.complete_flush(&ticket, outcome)) {
        partition.complain(
            &failure,
            now,
            "syncing failed; it is tried again unless the log is offline",
        );
    }
}

/// Rolls and deletes what the topic's settings no longer want.
fn retain(broker: &Arc<Broker>, partition: &Arc<Partition>) {
    let now = broker.clock().now_ms();
    let high_watermark = partition.high_watermark();
    let deleted = partition.with_log(|log| log.enforce_retention(high_watermark, now));
    match deleted {
        Ok(deleted) if deleted.is_empty() => {}
        Ok(deleted) => remove_later(deleted, partition.config().file_delete_delay_ms),
        Err(failure) => {
            warn!(partition = %partition.name, error = %failure, "retention failed");
        }
    }
}

/// Removes the files of segments that nobody can reach any more, once readers are done with them.
fn remove_later(deleted: Vec<DeletedSegments>, delay_ms: i64) {
    let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or_default());
    task::spawn(async move {
        task::sleep(delay).await;
        let remove = move || deleted.iter().try_for_each(DeletedSegments::remove);
        if let Ok(Err(failure)) = task::spawn_blocking(remove).await {
            warn!(error = %failure, "the files of deleted segments are left behind");
        }
    });
}
