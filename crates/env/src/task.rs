//! Tasks, timers and the threads for what may block.

use std::future::Future;
use std::time::Duration;

pub use tokio::task::{JoinError, JoinHandle};
pub use tokio::time::error::Elapsed;
pub use tokio::time::{Instant, Sleep, Timeout, sleep, sleep_until, timeout, timeout_at};

/// Runs `future` beside the caller on the async threads.
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    tokio::spawn(future)
}

/// Runs `work`, which may wait for a disk, on a thread where waiting does no harm.
pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    tokio::task::spawn_blocking(work)
}

/// Runs `work`, which may wait for a disk, here and now: other tasks go on elsewhere meanwhile. It costs a change of
/// threads, so it is for the rare case, where the answer is needed before the task can go on.
pub fn block_here<R>(work: impl FnOnce() -> R) -> R {
    use tokio::runtime::{Handle, RuntimeFlavor};
    let flavor = Handle::try_current().map(|handle| handle.runtime_flavor());
    match flavor {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// Lets this thread, which must be one where waiting does no harm, sleep.
pub fn sleep_here(time: Duration) {
    std::thread::sleep(time);
}

/// The multi-thread runtime that one process has. `worker_threads` of `None` takes one a core.
pub fn runtime(worker_threads: Option<usize>) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = worker_threads {
        builder.worker_threads(threads);
    }
    builder
        .enable_all()
        .thread_name("millstream")
        .thread_keep_alive(Duration::from_secs(10))
        .build()
}
