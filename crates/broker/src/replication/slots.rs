//! The partitions of one fetcher: where each stands, which must be named in the next request, which pause.
//!
//! Key type: [`Slots`]. What is idle costs nothing: a round touches only what changed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::LeaderEpoch;
use millstream_env::task::Instant;
use millstream_partition::FetchPosition;

use super::fetchers::{Change, Key};
use crate::replica::Partition;

/// The first pause after a failure; it doubles up to `replica.fetch.backoff.ms`.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// One partition.
#[derive(Debug)]
pub(super) struct Slot {
    /// The replica.
    pub partition: Arc<Partition>,
    /// The epoch of the leader.
    pub epoch: LeaderEpoch,
    /// What the next fetch says of it.
    pub position: FetchPosition,
    /// Whether the session at the leader knows it.
    pub in_session: bool,
    /// The number of the request that named it first as it is now; an earlier one asked in another epoch or place.
    named_in: Option<u64>,
    paused_until: Option<Instant>,
    failures: u32,
}

/// The partitions of one fetcher.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: HashMap<Key, Slot>,
    /// To be named in the next request.
    dirty: HashSet<Key>,
    /// To be taken out of the session.
    forgotten: Vec<Key>,
    pauses: BTreeSet<(Instant, Key)>,
    /// How many requests were sent, and how many of them are over.
    sent: u64,
    over: u64,
}

impl Slots {
    /// Takes over changes of metadata.
    pub(super) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Leave(key) => self.remove(key),
                Change::Fetch(partition, epoch) => self.add(partition, epoch),
            }
        }
    }

    fn add(&mut self, partition: Arc<Partition>, epoch: LeaderEpoch) {
        let key = (partition.topic_id, partition.index());
        let Some(position) = partition.next_fetch(epoch) else {
            return self.remove(key);
        };
        let before = self.slots.remove(&key);
        if let Some(until) = before.as_ref().and_then(|slot| slot.paused_until) {
            self.pauses.remove(&(until, key));
        }
        let in_session = before.is_some_and(|slot| slot.in_session);
        self.forgotten.retain(|gone| *gone != key);
        let slot = Slot {
            partition,
            epoch,
            position,
            in_session,
            named_in: None,
            paused_until: None,
            failures: 0,
        };
        self.slots.insert(key, slot);
        self.dirty.insert(key);
    }

    fn remove(&mut self, key: Key) {
        self.dirty.remove(&key);
        let Some(slot) = self.slots.remove(&key) else { return };
        if let Some(until) = slot.paused_until {
            self.pauses.remove(&(until, key));
        }
        if slot.in_session {
            self.forgotten.push(key);
        }
    }

    /// The oldest request is answered.
    pub(super) fn answered(&mut self) {
        self.over += 1;
    }

    /// No answer is waited for any more.
    pub(super) fn nothing_under_way(&mut self) {
        self.over = self.sent;
    }

    /// Whether what the last answered request says of a partition is about its epoch of now: one that was under way when
    /// the partition came, or came back, is not.
    pub(super) fn is_meant(&self, key: Key) -> bool {
        let named_in = self.get(key).and_then(|slot| slot.named_in);
        named_in.is_some_and(|number| number <= self.over)
    }

    /// One partition, unless it pauses.
    pub(super) fn get(&self, key: Key) -> Option<&Slot> {
        self.slots.get(&key).filter(|slot| slot.paused_until.is_none())
    }

    /// The partition goes on from `position`.
    pub(super) fn go_on(&mut self, key: Key, position: FetchPosition) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        slot.failures = 0;
        if slot.position != position {
            slot.position = position;
            self.dirty.insert(key);
        }
    }

    /// Leaves a partition out for a while, longer each time, at most `longest`.
    pub(super) fn pause(&mut self, key: Key, longest: Duration) {
        let Some(slot) = self.slots.get(&key) else { return };
        let pause = FIRST_PAUSE.saturating_mul(1 << slot.failures.min(12)).min(longest);
        self.pause_for(key, pause);
    }

    /// Leaves a partition out for that long.
    pub(super) fn pause_for(&mut self, key: Key, pause: Duration) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        slot.failures = slot.failures.saturating_add(1);
        let until = Instant::now() + pause;
        if let Some(before) = slot.paused_until.replace(until) {
            self.pauses.remove(&(before, key));
        }
        self.pauses.insert((until, key));
        self.dirty.remove(&key);
        if std::mem::take(&mut slot.in_session) {
            self.forgotten.push(key);
        }
    }

    /// Ends the pauses that are over by `now`.
    pub(super) fn wake(&mut self, now: Instant) {
        while let Some((until, key)) = self.pauses.first().copied() {
            if until > now {
                return;
            }
            self.pauses.remove(&(until, key));
            let Some(slot) = self.slots.get_mut(&key) else { continue };
            (slot.paused_until, slot.named_in) = (None, None);
            match slot.partition.next_fetch(slot.epoch) {
                Some(position) => {
                    slot.position = position;
                    self.forgotten.retain(|gone| *gone != key);
                    self.dirty.insert(key);
                }
                None => self.remove(key),
            }
        }
    }

    /// When the next pause ends.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.pauses.first().map(|(until, _)| *until)
    }

    /// Whether anything is to be fetched.
    pub(super) fn is_active(&self) -> bool {
        self.slots.len() > self.pauses.len()
    }

    /// Whether there is something that the leader does not know yet.
    pub(super) fn has_news(&self) -> bool {
        !self.dirty.is_empty() || !self.forgotten.is_empty()
    }

    /// The session is gone: the next request names everything.
    pub(super) fn forget_session(&mut self) {
        self.forgotten.clear();
        self.dirty.clear();
        for (key, slot) in &mut self.slots {
            slot.in_session = false;
            if slot.paused_until.is_none() {
                self.dirty.insert(*key);
            }
        }
    }

    /// What the next request names and takes out; from then on the leader is taken to know it.
    pub(super) fn take_news(&mut self) -> (Vec<(Key, FetchPosition)>, Vec<Key>) {
        self.sent += 1;
        let mut named = Vec::with_capacity(self.dirty.len());
        for key in self.dirty.drain() {
            if let Some(slot) = self.slots.get_mut(&key) {
                slot.in_session = true;
                slot.named_in.get_or_insert(self.sent);
                named.push((key, slot.position));
            }
        }
        // Topics together: fewer bytes.
        named.sort_unstable_by_key(|(key, _)| *key);
        let mut gone = std::mem::take(&mut self.forgotten);
        gone.sort_unstable();
        gone.dedup();
        (named, gone)
    }

    /// The partitions that are to be named next.
    pub(super) fn news(&self) -> Vec<Key> {
        self.dirty.iter().copied().collect()
    }
}
