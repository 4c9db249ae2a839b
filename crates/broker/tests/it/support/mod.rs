//! What every test here needs: a broker of its own, a client that speaks raw frames, batches, and the broker's log lines.

pub mod batch;
pub mod broker;
pub mod child;
pub mod client;
pub mod logs;

use std::time::{Duration, Instant, SystemTime};

/// Longer than anything here takes on a busy machine: what has not come by then does not come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `ready` gives something.
pub fn eventually<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The wall clock in milliseconds.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// A seed for a test's random choices, printed so that a failure can be had again.
pub fn seed(test: &str) -> u64 {
    let given = std::env::var("MILLSTREAM_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| now_ms().unsigned_abs());
    println!("{test}: MILLSTREAM_TEST_SEED={seed}");
    seed
}
