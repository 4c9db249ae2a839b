//! The one task that drives the deadlines of all shards of a coordinator.
//!
//! Key entry: [`keep_time`]. It ends with its coordinator.

use std::sync::{Arc, Weak};
use std::time::Duration;

use millstream_env::task;
use tokio::sync::Notify;

/// How long the task sleeps at most, so that it notices that its coordinator is gone.
const LONGEST: Duration = Duration::from_secs(60);

/// A coordinator with deadlines.
pub(crate) trait TimeKeeper: Send + Sync + 'static {
    /// Handles what is due and says in how long to come back.
    fn fire_due(self: &Arc<Self>) -> Duration;
}

/// Drives the deadlines of `of`. A deadline that comes before the task would wake by itself is announced by `wake`.
pub(crate) async fn keep_time<T: TimeKeeper>(of: Weak<T>, wake: Arc<Notify>) {
    loop {
        let Some(alive) = of.upgrade() else { return };
        let wait = alive.fire_due().clamp(Duration::from_millis(1), LONGEST);
        // While it sleeps, the task does not keep the coordinator alive.
        drop(alive);
        let _ = task::timeout(wait, wake.notified()).await;
    }
}
