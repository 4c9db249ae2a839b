//! Replication between brokers: following what others lead, and telling the controller who is in sync.
//!
//! Key types: [`Fetchers`] (who is fetched from whom), [`Leaders`] and [`Nearest`] (what answers tell clients of other brokers).
//! [`start`] sets all of it going. What an answer does to a log is the [`crate::replica::Partition`]'s; when the high
//! watermark moves is the `partition` crate's.

mod fetcher;
mod fetchers;
mod isr;
mod leaders;
mod nearest;
mod request;
mod resign;
mod slots;

use std::sync::Arc;
use std::time::Duration;

use millstream_env::task::{self, JoinHandle};
use tokio::sync::watch;

use crate::broker::Broker;

pub(crate) use fetchers::Fetchers;
pub(crate) use leaders::{Endpoint, Leaders};
pub(crate) use nearest::Nearest;

/// Starts everything that replication does beside requests; each task ends when `stop` turns true.
pub(crate) fn start(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    broker.replicas().fetchers().start(broker, stop);
    vec![
        isr::send_proposals(broker, stop),
        isr::check_lag(broker, stop),
        isr::check_joining(broker, stop),
        resign::send_resignations(broker, stop),
        resign::await_room(broker, stop),
        keep_high_watermarks(broker, stop),
    ]
}

/// Writes down every `replica.high.watermark.checkpoint.interval.ms` what is committed, where that changed.
fn keep_high_watermarks(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let ms = broker.config().replication.high_watermark_checkpoint_interval_ms;
    let interval = Duration::from_millis(u64::try_from(ms).unwrap_or(1).max(100));
    let (broker, mut stop) = (Arc::clone(broker), stop.clone());
    task::spawn(async move {
        let mut written = 0;
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = task::sleep(interval) => {}
            }
            let replicas = Arc::clone(broker.replicas());
            let write = move || replicas.checkpoint_high_watermarks(written);
            written = task::spawn_blocking(write).await.unwrap_or_default();
        }
    })
}
