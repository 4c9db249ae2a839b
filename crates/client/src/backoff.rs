//! Waiting between retries: doubling from a first wait to a longest one, a little at random.
//!
//! Key type: [`Backoff`]. Randomness keeps many clients from coming back in the same instant.

use std::time::Duration;

/// How long to wait before each retry of one call.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    attempt: u32,
}

impl Backoff {
    pub(crate) const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, attempt: 0 }
    }

    /// The next wait; `random` moves it by up to a fifth in either direction.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let doubled = self.first.saturating_mul(1u32 << self.attempt.min(16));
        self.attempt = self.attempt.saturating_add(1);
        let base = doubled.min(self.longest);
        // 80 to 120 per cent.
        let percent = 80 + u32::try_from(random % 41).unwrap_or(20);
        base.saturating_mul(percent) / 100
    }

    /// The wait before retry number `attempt`, counted from 0.
    pub(crate) fn before(&self, attempt: u32, random: u64) -> Duration {
        Self { attempt, ..self.clone() }.next(random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_move_by_a_fifth() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let waits: Vec<u128> = (0..6).map(|_| backoff.next(20).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.before(0, 0).as_millis(), 80);
        assert_eq!(backoff.before(1, 40).as_millis(), 240);
    }
}
