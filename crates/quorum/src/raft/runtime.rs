//! The runtime that openraft runs on: ours, without a random source.
//!
//! Key type: [`Runtime`]. openraft would draw random numbers for its election time-outs only; elections begin elsewhere
//! here (see `elections.rs`), from a seed, so that a simulation can be repeated.

use std::future::Future;
use std::time::Duration;

use millstream_env::task;
use openraft::async_runtime::{AsyncOneshotSendExt, AsyncRuntime};
use openraft::{OptionalSend, TokioInstant};
use tokio::sync::oneshot;

/// See the module.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Runtime;

/// openraft makes one setting of how long a vote may take and of how long voters refuse to vote after they heard a leader.
/// The latter is ours (the probe before an election), so the setting is next to nothing, and means this here.
const SHORTEST: Duration = Duration::from_secs(10);

/// The sender's half of a one-shot channel.
pub(crate) struct Sender<T>(oneshot::Sender<T>);

impl<T> std::fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sender")
    }
}

impl<T: OptionalSend> AsyncOneshotSendExt<T> for Sender<T> {
    fn send(self, value: T) -> Result<(), T> {
        self.0.send(value)
    }
}

fn at_least(time: Duration) -> Duration {
    if time <= super::LEASE * 2 { SHORTEST } else { time }
}

impl AsyncRuntime for Runtime {
    type JoinError = task::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = task::JoinHandle<T>;
    type Sleep = task::Sleep;
    type Instant = TokioInstant;
    type TimeoutError = task::Elapsed;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = task::Timeout<T>;
    // Counts; draws nothing. openraft asks for a generator, and nothing here asks it. tidy: allow
    type ThreadLocalRng = rand::rngs::mock::StepRng;
    type OneshotSender<T: OptionalSend> = Sender<T>;
    type OneshotReceiverError = oneshot::error::RecvError;
    type OneshotReceiver<T: OptionalSend> = oneshot::Receiver<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        task::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        task::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        task::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        task::timeout(at_least(duration), future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        task::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        join_error.is_panic()
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        Self::ThreadLocalRng::new(0, 1)
    }

    fn oneshot<T>() -> (Self::OneshotSender<T>, Self::OneshotReceiver<T>)
    where
        T: OptionalSend,
    {
        let (sender, receiver) = oneshot::channel();
        (Sender(sender), receiver)
    }
}
