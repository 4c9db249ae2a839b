//! The active controller's share in a node: who is heard from, what follows when a broker comes, goes or is silent, and
//! the work that nobody asks for.
//!
//! Key type: [`ActiveController`]. Every node has one; it acts only while this node leads the metadata quorum (elsewhere
//! calls answer `NOT_CONTROLLER`). It decides nothing itself: that is `millstream_metadata::decide`'s; it keeps the memory
//! of heartbeats, which is lost with the node, and sees that large changes are made in several steps.

mod brokers;
mod watch;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use millstream_base::{NodeId, Uuid};
use millstream_config::BrokerConfig;
use millstream_env::clock::Clock;
use millstream_metadata::BrokerHeartbeats;
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::{Decision, ElectionDefaults, Refusal, Settled, settle};
use millstream_quorum::{CommitError, Quorum};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a node does while it is the active controller.
#[derive(Debug)]
pub(crate) struct ActiveController {
    me: NodeId,
    /// The broker's process in this node, where there is one: it is alive as long as the controller is.
    incarnation: OnceLock<Uuid>,
    quorum: Quorum,
    config: Arc<ArcSwap<BrokerConfig>>,
    clock: Arc<dyn Clock>,
    heartbeats: Mutex<BrokerHeartbeats>,
    /// Somebody may have to be fenced, or partitions settled, before the next look.
    wake: Notify,
}

impl ActiveController {
    /// A controller that waits for its turn.
    pub(crate) fn new(
        me: NodeId,
        quorum: Quorum,
        config: Arc<ArcSwap<BrokerConfig>>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        let heartbeats = {
            let cluster = &config.load().cluster;
            BrokerHeartbeats::new(
                millis(cluster.broker_session_timeout_ms),
                millis(cluster.broker_heartbeat_interval_ms),
            )
        };
        let heartbeats = Mutex::new(heartbeats);
        let (incarnation, wake) = (OnceLock::new(), Notify::new());
        Arc::new(Self { me, incarnation, quorum, config, clock, heartbeats, wake })
    }

    /// Names the broker's process in this node, so that no other process can take its id while it runs.
    pub(crate) fn set_incarnation(&self, incarnation: Uuid) {
        // It is set once, at the start.
        let _ = self.incarnation.set(incarnation);
    }

    /// Whether this node is the active controller.
    pub(crate) fn is_active(&self) -> bool {
        self.quorum.leadership().borrow().is_me
    }

    /// Refuses what only the active controller does.
    pub(crate) fn check_active(&self) -> Result<(), CommitError> {
        let leadership = *self.quorum.leadership().borrow();
        if leadership.is_me {
            return Ok(());
        }
        Err(CommitError::NotController { leader: leadership.leader.filter(|id| *id != self.me) })
    }

    /// The controller's own settings, as far as they matter to elections.
    pub(crate) fn defaults(&self) -> ElectionDefaults {
        ElectionDefaults::of(&self.config.load())
    }

    /// Has partitions looked for that are not as they should be.
    pub(crate) fn look_again(&self) {
        self.wake.notify_one();
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Brings all partitions in line with who is there, batch after batch.
    async fn settle_all(&self) -> Result<Settled, CommitError> {
        let mut total = Settled::default();
        loop {
            let defaults = self.defaults();
            let decide = move |image: &ClusterImage, _: &millstream_quorum::Turn| {
                Ok::<Decision<Settled>, Refusal>(settle(image, defaults))
            };
            let settled = self.quorum.execute(decide).await?;
            total.changed += settled.changed;
            if !settled.more {
                return Ok(total);
            }
        }
    }

    /// The rest of a change that did not fit into one batch.
    async fn settle_rest(&self, first: Settled) -> Result<(), CommitError> {
        if first.more {
            self.settle_all().await?;
        }
        Ok(())
    }
}

fn millis(value: i32) -> Duration {
    Duration::from_millis(u64::try_from(value).unwrap_or_default())
}
