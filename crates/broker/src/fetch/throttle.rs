//! Replication at a limited rate (KIP-73): what may be sent to, or fetched by, replicas that are being moved.
//!
//! Key type: [`Throttle`], a bucket that fills at the rate and may hold some seconds of it. What was used beyond it is paid back by
//! waiting. Records of replicas that are in sync are never held back.

use std::time::Duration;

use parking_lot::Mutex;

/// A bucket holds this many seconds of its rate.
const BURST_SECONDS: f64 = 1.0;

/// One direction of a broker's throttled replication.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that may be used now; below zero when too many were.
    left: f64,
    filled_at: Duration,
}

impl Throttle {
    /// Whether something may move now, at `rate` bytes a second; else how long until then.
    pub(crate) fn check(&self, rate: i64, now: Duration) -> Result<(), Duration> {
        if rate == i64::MAX {
            return Ok(());
        }
        let rate = (rate as f64).max(1.0);
        let mut state = self.state.lock();
        state.fill(rate, now);
        if state.left > 0.0 {
            return Ok(());
        }
        let wait = (1.0 - state.left) / rate;
        Err(Duration::from_secs_f64(wait.clamp(0.001, 3600.0)))
    }

    /// `bytes` moved.
    pub(crate) fn used(&self, bytes: u64) {
        self.state.lock().left -= bytes as f64;
    }
}

impl State {
    fn fill(&mut self, rate: f64, now: Duration) {
        let since = now.saturating_sub(self.filled_at).as_secs_f64();
        self.filled_at = now;
        self.left = (self.left + since * rate).min(rate * BURST_SECONDS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moved_too_fast_is_paid_back_by_waiting() {
        let throttle = Throttle::default();
        let at = |ms| Duration::from_millis(ms);
        assert_eq!(throttle.check(1000, at(10_000)), Ok(()));
        throttle.used(3000);
        let wait = throttle.check(1000, at(10_000)).unwrap_err();
        assert!(wait >= at(2000) && wait < at(2010), "{wait:?}");
        assert!(throttle.check(1000, at(11_900)).is_err());
        assert_eq!(throttle.check(1000, at(12_010)), Ok(()));
        assert_eq!(throttle.check(i64::MAX, at(12_010)), Ok(()));
    }
}
