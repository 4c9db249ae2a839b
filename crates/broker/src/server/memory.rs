//! A bound on the bytes of all requests that are on their way in (`queued.max.request.bytes`).
//!
//! Key type: [`RequestMemory`]. A connection takes a share before it reads a request that is larger than one read, and gives it
//! back when the request is handled; while there is none left it does not read on, and TCP holds its client back.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Shares are of this many bytes, so that a large bound fits the counter.
const UNIT: usize = 1024;

/// The memory that the requests of all connections share.
#[derive(Debug, Clone)]
pub(crate) struct RequestMemory {
    units: Arc<Semaphore>,
    total: u32,
}

/// A request's share; given back when dropped.
pub(crate) type Share = OwnedSemaphorePermit;

impl RequestMemory {
    /// Room for `bytes` in all.
    pub(crate) fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX >> 3).min(u32::MAX >> 3);
        Self { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits for room for a request of `bytes`. One that is larger than everything gets everything.
    pub(crate) async fn share(&self, bytes: usize) -> Option<Share> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(self.total).min(self.total);
        Arc::clone(&self.units).acquire_many_owned(units).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn who_finds_no_room_waits_until_there_is() {
        let memory = RequestMemory::new(10 * 1024);
        let first = memory.share(8 * 1024).await;
        let soon = Duration::from_millis(5);
        assert!(tokio::time::timeout(soon, memory.share(3 * 1024)).await.is_err());
        drop(first);
        let all = memory.share(1 << 30).await;
        assert!(all.is_some());
        assert!(tokio::time::timeout(soon, memory.share(1)).await.is_err());
    }
}
