//! What the active controller does by itself: it fences who is silent, gives partitions back to their preferred leaders,
//! and looks for partitions that are not as they should be.

use std::sync::Arc;
use std::time::Duration;

use millstream_env::task::{self, JoinHandle};
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::{
    Decision, Refusal, Settled, agree_on_min_insync, balance_leaders,
};
use millstream_quorum::{CommitError, Leadership, Turn};
use tokio::sync::watch;
use tracing::{info, warn};

use super::ActiveController;

/// The share of its partitions, in percent, that a broker may lack as leader before it gets them back.
const IMBALANCE_PERCENT: usize = 10;
/// The most leaders that are moved at once for the balance.
const MOVES_AT_ONCE: usize = 1000;
/// How often sessions are looked at, at the most and at the least.
const LOOKS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));
/// A look that comes this much later than it should means that this very process stood still.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// When the next of each kind of work is due.
struct Due {
    balance: Duration,
    unclean: Duration,
}

impl ActiveController {
    /// Watches for as long as the node runs.
    pub(crate) fn start(self: &Arc<Self>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
        let (controller, mut stop) = (Arc::clone(self), stop.clone());
        task::spawn(async move {
            let mut leadership = controller.quorum.leadership();
            loop {
                let is_me = |leadership: &Leadership| leadership.is_me;
                let epoch = tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    led = leadership.wait_for(is_me) => match led {
                        Ok(led) => led.epoch,
                        Err(_) => return,
                    },
                };
                tokio::select! {
                    _ = stop.wait_for(|stop| *stop) => return,
                    _ = leadership.wait_for(|led| !led.is_me || led.epoch != epoch) => {}
                    () = controller.lead(epoch) => {}
                }
                controller.heartbeats.lock().end();
            }
        })
    }

    /// What is done from the moment on which this node became the active controller.
    async fn lead(&self, epoch: i32) {
        let image = self.quorum.image();
        self.heartbeats.lock().begin(&image, self.now());
        info!(epoch, brokers = image.brokers.len(), "this node is the active controller");
        self.look_for_unsettled().await;
        let mut due = Due {
            balance: self.now() + self.balance_every(),
            unclean: self.now() + self.unclean_every(),
        };
        let (mut images, mut last) = (self.quorum.watch(), image);
        let mut looked = self.now();
        loop {
            let pause = self.look_every();
            tokio::select! {
                () = task::sleep(pause) => {}
                () = self.wake.notified() => self.look_for_unsettled().await,
                changed = images.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let image = Arc::clone(&images.borrow_and_update());
                    // A setting may allow now that somebody leads who could not before.
                    if image.configs != last.configs {
                        self.look_for_unsettled().await;
                    }
                    last = image;
                }
            }
            let now = self.now();
            if now.saturating_sub(looked) > pause + STOOD_STILL {
                warn!("this node stood still for a while: brokers get time to be heard from again");
                self.heartbeats.lock().begin(&self.quorum.image(), now);
            }
            looked = now;
            self.fence_silent(now).await;
            self.do_what_is_due(&mut due).await;
        }
    }

    async fn fence_silent(&self, now: Duration) {
        let silent = self.heartbeats.lock().stale(&self.quorum.image(), now);
        for (id, epoch) in silent.into_iter().filter(|(id, _)| *id != self.me) {
            self.fence(id, epoch, "it was not heard from for broker.session.timeout.ms").await;
        }
    }

    async fn do_what_is_due(&self, due: &mut Due) {
        if self.now() >= due.unclean {
            self.look_for_unsettled().await;
            due.unclean = self.now() + self.unclean_every();
        }
        if self.now() < due.balance {
            return;
        }
        due.balance = self.now() + self.balance_every();
        if !self.config.load().cluster.auto_leader_rebalance_enable {
            return;
        }
        match self.balance().await {
            // The next ones soon, but clients find the first ones before.
            Ok(settled) if settled.more => due.balance = self.now(),
            Ok(_) => {}
            Err(error) => warn!(%error, "leaders could not be balanced"),
        }
    }

    async fn balance(&self) -> Result<Settled, CommitError> {
        let defaults = self.defaults();
        let decide = move |image: &ClusterImage, _: &Turn| {
            let decision = balance_leaders(image, defaults, IMBALANCE_PERCENT, MOVES_AT_ONCE);
            Ok::<Decision<Settled>, Refusal>(decision)
        };
        let settled = self.quorum.execute(decide).await?;
        if settled.changed > 0 {
            info!(partitions = settled.changed, "partitions went back to their preferred leaders");
        }
        Ok(settled)
    }

    /// Partitions that a former controller left half done, and those that may be led uncleanly by now.
    async fn look_for_unsettled(&self) {
        let defaults = self.defaults();
        let agree = move |image: &ClusterImage, _: &Turn| {
            Ok::<Decision<()>, Refusal>(agree_on_min_insync(image, defaults))
        };
        if let Err(error) = self.quorum.execute(agree).await {
            warn!(%error, "min.insync.replicas could not be stored for all brokers");
        }
        match self.settle_all().await {
            Ok(Settled { changed: 0, .. }) => {}
            Ok(settled) => info!(partitions = settled.changed, "partitions were brought in line"),
            Err(error) => warn!(%error, "partitions could not be brought in line"),
        }
    }

    fn look_every(&self) -> Duration {
        let session = super::millis(self.config.load().cluster.broker_session_timeout_ms);
        (session / 8).clamp(LOOKS.0, LOOKS.1)
    }

    fn balance_every(&self) -> Duration {
        let seconds = self.config.load().cluster.leader_imbalance_check_interval_seconds;
        Duration::from_secs(u64::try_from(seconds).unwrap_or(300).max(1))
    }

    fn unclean_every(&self) -> Duration {
        let ms = self.config.load().cluster.unclean_leader_election_interval_ms;
        Duration::from_millis(u64::try_from(ms).unwrap_or(300_000).max(1))
    }
}
