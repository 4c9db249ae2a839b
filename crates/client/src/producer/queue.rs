//! What waits for one partition, and in which order it may be sent.
//!
//! Key type: [`PartitionQueue`]. Pure: batches and `now` in, batches to send out. Invariants:
//! 1. Batches of a partition reach the broker in the order in which they were filled, whatever is retried.
//! 2. A batch keeps its sequence number until the broker has refused that number for certain; only then is it
//!    numbered anew under a higher epoch. So no retry can append a record twice.
//! 3. While something is retried, one batch is in flight at most. So a broker that remembers the last five
//!    batches recognizes every repetition: no more than four others can have passed it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use millstream_base::{ProducerEpoch, ProducerId};
use millstream_env::task::Instant;

/// Under which name a producer writes to one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) producer_id: ProducerId,
    pub(super) epoch: ProducerEpoch,
}

/// What the queue needs to know of a batch.
pub(super) trait Queued {
    /// How many records it has.
    fn record_count(&self) -> i32;
    /// Whether it takes no more records.
    fn is_full(&self) -> bool;
    /// When its first record came.
    fn created(&self) -> Instant;
}

/// The number of a batch: `order` is ours and never wraps; `sequence` is the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) order: u64,
    pub(super) identity: Option<Identity>,
    pub(super) sequence: i32,
}

/// Whether a queue has something to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Readiness {
    /// Now.
    Now,
    /// At this instant, if nothing else happens.
    At(Instant),
    /// Not before an answer or a record comes.
    Idle,
}

/// The limits that all queues of a producer share.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueLimits {
    /// `max.in.flight.requests.per.connection`.
    pub(super) max_in_flight: usize,
    /// `linger.ms`.
    pub(super) linger: Duration,
}

/// The batches of one partition.
#[derive(Debug)]
pub(super) struct PartitionQueue<B> {
    /// Never sent, oldest first; the last may still be filling.
    waiting: VecDeque<B>,
    /// Sent before and to be sent again, by order.
    retries: BTreeMap<u64, (Numbered, B)>,
    in_flight: BTreeSet<u64>,
    /// The batch in flight was sent before.
    resending: bool,
    next_order: u64,
    identity: Option<Identity>,
    next_sequence: i32,
    /// A batch of this identity was given up: the broker will miss its number.
    gap: bool,
    /// The broker refused a number for certain: everything left is numbered anew.
    renumber: bool,
    not_before: Option<Instant>,
}

impl<B: Queued> PartitionQueue<B> {
    /// An empty queue. `identity` is `None` for producers that are not idempotent.
    pub(super) const fn new(identity: Option<Identity>) -> Self {
        Self {
            waiting: VecDeque::new(),
            retries: BTreeMap::new(),
            in_flight: BTreeSet::new(),
            resending: false,
            next_order: 0,
            identity,
            next_sequence: 0,
            gap: false,
            renumber: false,
            not_before: None,
        }
    }

    /// Nothing waits, and nothing is in flight.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.retries.is_empty() && self.in_flight.is_empty()
    }

    /// The batch that may take another record.
    pub(super) fn filling(&mut self) -> Option<&mut B> {
        self.waiting.back_mut().filter(|batch| !batch.is_full())
    }

    /// Adds a new batch behind all others.
    pub(super) fn push(&mut self, batch: B) {
        self.waiting.push_back(batch);
    }

    /// Whether [`Self::take`] would give a batch; `hurry` ignores lingering (flush, full memory, close).
    pub(super) fn readiness(&self, now: Instant, limits: QueueLimits, hurry: bool) -> Readiness {
        let nothing = self.retries.is_empty() && self.waiting.is_empty();
        if nothing || self.renumber || self.resending {
            return Readiness::Idle;
        }
        if !self.retries.is_empty() || self.gap {
            if !self.in_flight.is_empty() || self.gap && self.retries.is_empty() {
                return Readiness::Idle;
            }
            return self.after_backoff(now);
        }
        if self.in_flight.len() >= limits.max_in_flight {
            return Readiness::Idle;
        }
        let Some(first) = self.waiting.front() else { return Readiness::Idle };
        let lingered = first.created() + limits.linger;
        if hurry || first.is_full() || self.waiting.len() > 1 || lingered <= now {
            return self.after_backoff(now);
        }
        Readiness::At(self.not_before.map_or(lingered, |at| at.max(lingered)))
    }

    fn after_backoff(&self, now: Instant) -> Readiness {
        match self.not_before {
            Some(at) if at > now => Readiness::At(at),
            _ => Readiness::Now,
        }
    }

    /// The next batch to send, if one is ready. It counts as in flight until one of the answers below.
    pub(super) fn take(
        &mut self,
        now: Instant,
        limits: QueueLimits,
        hurry: bool,
    ) -> Option<(Numbered, B)> {
        if self.readiness(now, limits, hurry) != Readiness::Now {
            return None;
        }
        self.not_before = None;
        if let Some((order, again)) = self.retries.pop_first() {
            self.in_flight.insert(order);
            self.resending = true;
            return Some(again);
        }
        let batch = self.waiting.pop_front()?;
        let numbered = self.number(batch.record_count());
        self.in_flight.insert(numbered.order);
        Some((numbered, batch))
    }

    fn number(&mut self, records: i32) -> Numbered {
        let numbered = Numbered {
            order: self.next_order,
            identity: self.identity,
            sequence: self.next_sequence,
        };
        // Orders leave room for the parts of a split batch.
        self.next_order += u64::from(records.unsigned_abs().max(1));
        self.next_sequence = next_sequence(self.next_sequence, records);
        numbered
    }

    /// The batch is not in flight any more.
    fn back(&mut self, order: u64) {
        self.in_flight.remove(&order);
        self.resending = false;
    }

    /// The batch was appended, or is known to have been.
    pub(super) fn landed(&mut self, order: u64) {
        self.back(order);
        self.settle();
    }

    /// The batch was given up by refusal or timeout.
    pub(super) fn gave_up(&mut self, order: u64) {
        self.back(order);
        self.gap = self.identity.is_some();
        self.settle();
    }

    /// The batch is to be sent again, not before `not_before`.
    pub(super) fn retry(&mut self, numbered: Numbered, batch: B, not_before: Instant) {
        self.back(numbered.order);
        self.retries.insert(numbered.order, (numbered, batch));
        self.not_before = Some(self.not_before.map_or(not_before, |at| at.max(not_before)));
        self.settle();
    }

    /// Whether a batch waits to be sent again.
    pub(super) fn is_retrying(&self) -> bool {
        !self.retries.is_empty()
    }

    /// The partition has another leader than the one that failed: nothing is gained by waiting.
    pub(super) fn retry_now(&mut self) {
        self.not_before = None;
    }

    /// The broker refused the batch's sequence number, so it was not appended.
    ///
    /// Returns the batch when that cannot be mended: no earlier batch of ours is missing, so the broker has
    /// lost what it had acknowledged, and the caller must hear of it.
    pub(super) fn out_of_sequence(
        &mut self,
        numbered: Numbered,
        batch: B,
        not_before: Instant,
    ) -> Option<B> {
        self.back(numbered.order);
        let first =
            self.in_flight.first().copied().into_iter().chain(self.retries.keys().next().copied());
        let follows_another = first.min().is_some_and(|order| order < numbered.order);
        if follows_another {
            self.retry(numbered, batch, not_before);
            return None;
        }
        let explained = self.gap;
        self.renumber = self.identity.is_some();
        if explained {
            self.retry(numbered, batch, not_before);
            return None;
        }
        self.gap = true;
        self.settle();
        Some(batch)
    }

    /// Replaces a batch that was too large by its parts, which share its sequence numbers.
    pub(super) fn split(&mut self, numbered: Numbered, parts: Vec<B>) {
        self.back(numbered.order);
        let mut next = numbered;
        for part in parts {
            let records = part.record_count();
            self.retries.insert(next.order, (next, part));
            next.order += u64::from(records.unsigned_abs().max(1));
            next.sequence = next_sequence(next.sequence, records);
        }
        self.settle();
    }

    /// Takes out, oldest first, everything for which `expired` says so and which is not in flight.
    pub(super) fn expire(&mut self, mut expired: impl FnMut(&B) -> bool) -> Vec<B> {
        let mut gone = Vec::new();
        let orders: Vec<u64> = self
            .retries
            .iter()
            .filter(|(_, (_, batch))| expired(batch))
            .map(|(&order, _)| order)
            .collect();
        for order in orders {
            if let Some((_, batch)) = self.retries.remove(&order) {
                self.gap = self.identity.is_some();
                gone.push(batch);
            }
        }
        // The waiting ones have no number yet, so nobody will miss them.
        while self.waiting.front().is_some_and(&mut expired) {
            gone.extend(self.waiting.pop_front());
        }
        self.settle();
        gone
    }

    /// Shows every batch that is not in flight.
    pub(super) fn for_each_waiting(&mut self, mut see: impl FnMut(&mut B)) {
        self.retries.values_mut().for_each(|(_, batch)| see(batch));
        self.waiting.iter_mut().for_each(see);
    }

    /// Once nothing is in flight, what was refused for certain goes on under a new epoch.
    fn settle(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        // With nothing left under the old numbers, the gap can be closed without asking the broker.
        let nothing_left = self.gap && self.retries.is_empty();
        if !self.renumber && !nothing_left {
            return;
        }
        let Some(identity) = self.identity.as_mut() else { return };
        if identity.epoch.0 == i16::MAX {
            // A new producer id is needed first: see `needs_identity`.
            self.renumber = true;
            return;
        }
        identity.epoch.0 += 1;
        self.start_over();
    }

    /// Whether the epochs of the producer id are used up.
    pub(super) fn needs_identity(&self) -> bool {
        self.renumber
            && self.in_flight.is_empty()
            && self.identity.is_some_and(|identity| identity.epoch.0 == i16::MAX)
    }

    /// Goes on under another producer id.
    pub(super) fn set_identity(&mut self, identity: Identity) {
        self.identity = Some(identity);
        self.start_over();
    }

    fn start_over(&mut self) {
        self.renumber = false;
        self.gap = false;
        self.next_sequence = 0;
        let retries = std::mem::take(&mut self.retries);
        for (_, (_, batch)) in retries {
            let numbered = self.number(batch.record_count());
            self.retries.insert(numbered.order, (numbered, batch));
        }
    }
}

/// The number after `records` more; wraps from the largest int to 0 as the protocol says.
fn next_sequence(sequence: i32, records: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(records);
    i32::try_from(sum % (1 << 31)).unwrap_or(0)
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
