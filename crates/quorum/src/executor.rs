//! Where work is done that may wait for the disk.
//!
//! Key type: [`Executor`].

use std::sync::Arc;

use tokio::sync::oneshot;

/// Something to be done that may wait for the disk.
pub type Work = Box<dyn FnOnce() + Send>;

/// Where commands are worked off: given a piece of work, it sees that it is done.
#[derive(Clone)]
pub struct Executor(Arc<dyn Fn(Work) + Send + Sync>);

impl Executor {
    /// Has work done by `run`.
    pub fn new(run: impl Fn(Work) + Send + Sync + 'static) -> Self {
        Self(Arc::new(run))
    }

    /// Does work at once, on the thread that proposes: for tests, tools and simulations.
    pub fn inline() -> Self {
        Self::new(|work| work())
    }

    /// Does work on the runtime's threads for what may block.
    pub fn blocking() -> Self {
        Self::new(|work| drop(millstream_env::task::spawn_blocking(work)))
    }

    /// Has work done whose end nobody waits for.
    pub(crate) fn submit(&self, work: Work) {
        (self.0)(work);
    }

    /// Has work done and brings back what comes of it; `None` when it was dropped or panicked.
    pub(crate) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Option<R> {
        let (done, result) = oneshot::channel();
        (self.0)(Box::new(move || drop(done.send(work()))));
        result.await.ok()
    }
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Executor")
    }
}
