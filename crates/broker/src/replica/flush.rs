//! Group commit: one fsync serves every append that waited for it.
//!
//! While an fsync runs, further appends go to the page cache and gather; the next fsync takes all of them.

use std::sync::Arc;

use millstream_env::task;
use millstream_log::{FlushTicket, StorageError};
use tracing::error;

use super::partition::{Inner, Partition};

/// Sees to it that an fsync of everything appended so far is under way. `inner` is `partition`'s, locked.
pub(super) fn start(partition: &Arc<Partition>, inner: &mut Inner) {
    if inner.flushing {
        // The running one looks again before it ends.
        return;
    }
    inner.flushing = true;
    let partition = Arc::clone(partition);
    task::spawn_blocking(move || run(&partition));
}

/// Flushes until nobody waits any more.
fn run(partition: &Arc<Partition>) {
    loop {
        let mut inner = partition.lock();
        if !inner.wants_flush() {
            inner.flushing = false;
            partition.catch_up(&mut inner);
            return;
        }
        let prepared = inner.log.prepare_flush();
        drop(inner);
        if let Err(failure) = prepared.and_then(|ticket| sync(partition, ticket)) {
            error!(partition = %partition.name, error = %failure, "syncing failed; producers that wait for it are told so");
            let mut inner = partition.lock();
            inner.flush_failed(&failure);
            partition.resign(&inner);
            inner.flushing = false;
            return;
        }
    }
}

/// Syncs outside the lock and tells those who waited.
fn sync(partition: &Partition, ticket: Option<FlushTicket>) -> Result<(), StorageError> {
    let Some(ticket) = ticket else {
        // All that waited then is on disk already. Not so what came since: the end may have moved.
        let mut inner = partition.lock();
        let synced = inner.log.recovery_point();
        partition.flushed(&mut inner, synced);
        return Ok(());
    };
    let outcome = ticket.run();
    let mut inner = partition.lock();
    let flushed = inner.log.complete_flush(&ticket, outcome)?;
    partition.flushed(&mut inner, flushed);
    Ok(())
}
