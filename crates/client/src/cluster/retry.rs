//! Trying again until it works, cannot work, or the time is up.

use std::time::Duration;

use millstream_env::task::{Instant, sleep};

use crate::ClientError;
use crate::backoff::Backoff;

/// The retries of one call.
#[derive(Debug)]
pub(crate) struct Retry {
    what: String,
    within: Duration,
    deadline: Instant,
    backoff: Backoff,
    random: u64,
}

impl Retry {
    pub(super) fn new(what: String, within: Duration, backoff: Backoff, random: u64) -> Self {
        Self { what, within, deadline: Instant::now() + within, backoff, random }
    }

    /// Waits before the next attempt; gives `error` back when there is none.
    pub(crate) async fn again(&mut self, error: ClientError) -> Result<(), ClientError> {
        if !error.is_retriable() {
            return Err(error);
        }
        self.random = self.random.rotate_left(7).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let wait = self.backoff.next(self.random >> 8);
        if Instant::now() + wait >= self.deadline {
            return Err(ClientError::Timeout {
                what: self.what.clone(),
                after: self.within,
                source: Box::new(error),
            });
        }
        tracing::debug!(what = self.what, %error, ?wait, "trying again");
        sleep(wait).await;
        Ok(())
    }
}
