//! Who waits until the log of every live replica begins at an offset: DeleteRecords.
//!
//! Key types: [`Starts`] (one a partition), [`AllStarted`] (what a waiter holds).

use millstream_base::Offset;
use tokio::sync::oneshot;

/// Completes with the start that every live replica has reached; ends without one when this broker stops leading.
pub(crate) type AllStarted = oneshot::Receiver<Offset>;

/// The waiters.
#[derive(Debug, Default)]
pub(super) struct Starts {
    waiting: Vec<(Offset, oneshot::Sender<Offset>)>,
}

impl Starts {
    /// Waits until all begin at `offset`.
    pub(super) fn until(&mut self, offset: Offset) -> AllStarted {
        let (tell, told) = oneshot::channel();
        self.waiting.push((offset, tell));
        told
    }

    /// Whether nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All begin at `low` now, or behind it.
    pub(super) fn reached(&mut self, low: Offset) {
        for (_, tell) in self.waiting.extract_if(.., |(offset, _)| *offset <= low) {
            // A client that hung up does not care.
            let _ = tell.send(low);
        }
    }

    /// This broker will not learn more.
    pub(super) fn clear(&mut self) {
        self.waiting = Vec::new();
    }
}
