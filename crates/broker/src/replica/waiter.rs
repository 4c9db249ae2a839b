//! A fetch that waits for records, and the partitions that wake it.
//!
//! Key type: [`FetchWaiter`]. A waiting fetch is registered with exactly the partitions that it named; each adds
//! what becomes readable, and the one that completes the fetch's `min.bytes` wakes it. Nobody polls.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

/// Counts down the bytes that a fetch still wants.
#[derive(Debug)]
pub(crate) struct FetchWaiter {
    missing_bytes: AtomicI64,
    woken: Notify,
}

impl FetchWaiter {
    /// A fetch that wants `missing_bytes` more.
    pub(crate) fn new(missing_bytes: i64) -> Arc<Self> {
        Arc::new(Self { missing_bytes: AtomicI64::new(missing_bytes), woken: Notify::new() })
    }

    /// `bytes` more can be read.
    pub(crate) fn add(&self, bytes: i64) {
        if self.missing_bytes.fetch_sub(bytes, Ordering::AcqRel) <= bytes {
            self.woken.notify_one();
        }
    }

    /// Something happened that a reader must see at once: an error, a moved start, a new leader.
    pub(crate) fn wake(&self) {
        self.add(i64::from(i32::MAX));
    }

    /// Waits until enough has come.
    pub(crate) async fn enough(&self) {
        self.woken.notified().await;
    }
}

/// The fetches that wait on one partition.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    waiting: Vec<Arc<FetchWaiter>>,
}

impl Waiters {
    /// Adds a fetch.
    pub(crate) fn add(&mut self, waiter: &Arc<FetchWaiter>) {
        self.waiting.push(Arc::clone(waiter));
    }

    /// Takes a fetch out again.
    pub(crate) fn remove(&mut self, waiter: &Arc<FetchWaiter>) {
        if let Some(at) = self.waiting.iter().position(|other| Arc::ptr_eq(other, waiter)) {
            self.waiting.swap_remove(at);
        }
        if self.waiting.is_empty() {
            // An idle partition keeps no memory for waiters.
            self.waiting = Vec::new();
        }
    }

    /// Tells all that `bytes` more can be read.
    pub(crate) fn readable(&self, bytes: i64) {
        for waiter in &self.waiting {
            waiter.add(bytes);
        }
    }

    /// Wakes all.
    pub(crate) fn wake_all(&self) {
        for waiter in &self.waiting {
            waiter.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn wakes_only_when_enough_bytes_have_come() {
        let waiter = FetchWaiter::new(10);
        let mut waiters = Waiters::default();
        waiters.add(&waiter);
        waiters.readable(9);
        let soon = Duration::from_millis(5);
        assert!(tokio::time::timeout(soon, waiter.enough()).await.is_err());
        waiters.readable(1);
        waiter.enough().await;
        waiters.remove(&waiter);
        waiters.wake_all();
        assert!(tokio::time::timeout(soon, waiter.enough()).await.is_err());
    }
}
