//! Fetches of followers: sessions that look only at partitions that have news.
//!
//! Key types: [`FollowerSession`], [`FollowerFetch`]. A follower names its partitions once and then only those whose position
//! changed; the partitions ring a [`Bell`] when they have something for it. So a fetch costs what it carries, however many
//! partitions are idle beside it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, Offset, PartitionIndex};
use millstream_env::task;
use parking_lot::Mutex;

use super::plan::{Found, PartitionFound};
use super::session::{Kept, TopicKey, Wanted};
use super::throttle::Throttle;
use crate::replica::{Bell, Follower, Lookup, Partition, Replicas, Shared};

/// One partition of a session.
#[derive(Debug)]
struct Entry {
    topic: TopicKey,
    partition: PartitionIndex,
    wanted: Wanted,
    handle: Option<Arc<Partition>>,
    told: (Offset, Offset),
}

/// What one follower fetches. A partition keeps its place for as long as the session knows it.
#[derive(Debug, Default)]
pub(crate) struct FollowerSession {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    places: HashMap<(TopicKey, PartitionIndex), u32>,
    bell: Arc<Bell>,
    /// Places to be looked at with the next fetch.
    due: BTreeSet<u32>,
    /// The place that is served first.
    first: u32,
}

impl Kept for FollowerSession {
    fn names_by_id(&self) -> Option<bool> {
        self.places.keys().next().map(|(topic, _)| matches!(topic, TopicKey::Id(_)))
    }
}

impl Drop for FollowerSession {
    fn drop(&mut self) {
        for entry in self.entries.iter().flatten() {
            if let Some(partition) = &entry.handle {
                partition.stop_watching(&self.bell);
            }
        }
    }
}

impl FollowerSession {
    /// Adds a partition, or changes what is asked of it.
    pub(crate) fn set(&mut self, topic: TopicKey, partition: PartitionIndex, wanted: Wanted) {
        let key = (topic, partition);
        let place = match self.places.get(&key) {
            Some(place) => *place,
            None => self.add(key, &wanted),
        };
        if let Some(Some(entry)) = self.entries.get_mut(place as usize) {
            entry.wanted = wanted;
        }
        self.due.insert(place);
    }

    fn add(&mut self, key: (TopicKey, PartitionIndex), wanted: &Wanted) -> u32 {
        let (topic, partition) = key.clone();
        let told = (Offset::NONE, Offset::NONE);
        let entry = Entry { topic, partition, wanted: wanted.clone(), handle: None, told };
        let place = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(slot) = self.entries.get_mut(place as usize) {
            *slot = Some(entry);
        }
        self.places.insert(key, place);
        place
    }

    /// Takes partitions out.
    pub(crate) fn forget(&mut self, gone: impl Iterator<Item = (TopicKey, PartitionIndex)>) {
        for key in gone {
            let Some(place) = self.places.remove(&key) else { continue };
            let entry = self.entries.get_mut(place as usize).and_then(Option::take);
            if let Some(partition) = entry.and_then(|entry| entry.handle) {
                partition.stop_watching(&self.bell);
            }
            self.due.remove(&place);
            self.free.push(place);
        }
    }

    /// How many partitions there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Notes what the follower is told of the partition at `place`.
    pub(crate) fn tell(&mut self, place: usize, high_watermark: Offset, log_start: Offset) {
        if let Some(Some(entry)) = self.entries.get_mut(place) {
            entry.told = (high_watermark, log_start);
        }
    }

    /// The places to look at now, in turn.
    fn take_due(&mut self) -> Vec<u32> {
        let mut news = Vec::new();
        self.bell.take(&mut news);
        self.due.extend(news);
        let due = std::mem::take(&mut self.due);
        let (before, from): (Vec<u32>, Vec<u32>) =
            due.into_iter().partition(|place| *place < self.first);
        from.into_iter().chain(before).collect()
    }
}

/// What a follower's fetch asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FollowerFetch {
    /// Who fetches.
    pub follower: Follower,
    /// Answer once this many bytes are there.
    pub min_bytes: i64,
    /// At most this many bytes, but for the first batch.
    pub max_bytes: u32,
    /// Whether only what changed is to be answered.
    pub incremental: bool,
    /// How long it waits.
    pub max_wait: Duration,
}

impl FollowerFetch {
    /// Waits until there is enough, after a first look that `found` too little. `hurry` ends the wait: the follower has more to
    /// ask.
    pub(crate) async fn wait(
        &self,
        session: &Mutex<FollowerSession>,
        replicas: &Replicas,
        throttle: &Throttle,
        mut found: Found,
        hurry: impl Future<Output = ()>,
    ) -> Found {
        let bell = Arc::clone(&session.lock().bell);
        let wait = task::sleep(self.max_wait);
        tokio::pin!(wait, hurry);
        loop {
            let last = tokio::select! {
                () = bell.rung() => false,
                () = &mut wait => true,
                () = &mut hurry => true,
            };
            // What was found before is looked at again: it may have more by now.
            let places = found.partitions.iter();
            let places = places.filter_map(|(place, _)| u32::try_from(*place).ok());
            session.lock().due.extend(places);
            found = self.look(session, replicas, throttle);
            if last || self.is_enough(&found) {
                return found;
            }
        }
    }

    /// Whether the fetch can be answered without waiting.
    pub(crate) fn is_enough(&self, found: &Found) -> bool {
        found.urgent || found.bytes >= self.min_bytes
    }

    /// One look at everything that is due.
    pub(crate) fn look(
        &self,
        session: &Mutex<FollowerSession>,
        replicas: &Replicas,
        throttle: &Throttle,
    ) -> Found {
        let mut session = session.lock();
        let session = &mut *session;
        let mut found = Found::default();
        let mut left = self.max_bytes;
        let mut last_served = None;
        for place in session.take_due() {
            let bell = Arc::clone(&session.bell);
            let Some(Some(entry)) = session.entries.get_mut(place as usize) else { continue };
            if left == 0 && found.bytes > 0 {
                // No room for more: its turn comes first next time.
                session.due.insert(place);
                continue;
            }
            let max_bytes = left.min(entry.wanted.max_bytes);
            let ask = Ask { fetch: self, replicas, throttle, max_bytes, first: found.bytes == 0 };
            let (look, held_back) = ask.look_at(entry, place, &bell);
            if held_back {
                session.due.insert(place);
            }
            if let Some(range) = &look.range {
                left = left.saturating_sub(range.len);
                found.bytes += i64::from(range.len);
                last_served = Some(place);
            }
            // A moved log start is waited for by those who deleted records.
            let start_moved = entry.told.1 >= Offset::ZERO && entry.told.1 != look.log_start;
            let news = look.error.is_error() || look.diverging.is_some() || start_moved;
            found.urgent |= news;
            let changed = entry.told != (look.high_watermark, look.log_start);
            if !self.incremental || news || changed || look.range.is_some() {
                found.partitions.push((place as usize, look));
            }
        }
        if let Some(place) = last_served {
            session.first = place + 1;
        }
        found
    }
}

/// One partition's look.
struct Ask<'a> {
    fetch: &'a FollowerFetch,
    replicas: &'a Replicas,
    throttle: &'a Throttle,
    max_bytes: u32,
    first: bool,
}

impl Ask<'_> {
    /// What there is, and whether the partition is to be looked at again without news.
    fn look_at(&self, entry: &mut Entry, place: u32, bell: &Arc<Bell>) -> (PartitionFound, bool) {
        let mut look = PartitionFound::empty(entry.topic.clone(), entry.partition);
        let partition = match self.handle(entry, place, bell) {
            Ok(partition) => partition,
            Err(error) => {
                look.error = error;
                return (look, false);
            }
        };
        let follower = self.fetch.follower;
        let is_throttled =
            partition.throttles().leaders.contains(entry.partition.get(), follower.id.get());
        let mut held_back = false;
        let mut counted = false;
        // One that is not in sync is looked at in every fetch: it may be taken in later than it has caught up, when it is
        // unfenced or another change of the ISR is through.
        let mut outside = false;
        let read = partition.read_for_follower(
            follower,
            &entry.wanted,
            self.max_bytes,
            self.first,
            bell,
            |in_sync| {
                outside = !in_sync;
                counted = is_throttled && !in_sync;
                held_back = counted && !self.may_send(self.replicas.shared());
                !held_back
            },
        );
        // There was no room for its first batch.
        held_back |= read.as_ref().is_ok_and(|read| {
            let is_behind = entry.wanted.offset < read.log_end;
            is_behind && read.range.is_none() && read.diverging.is_none()
        });
        look.fill(read);
        if let Some(range) = look.range.as_ref().filter(|_| counted) {
            self.throttle.used(u64::from(range.len));
        }
        (look, held_back || outside)
    }

    fn may_send(&self, shared: &Shared) -> bool {
        let rate = shared.config.load().replication.leader_throttled_rate;
        self.throttle.check(rate, shared.now()).is_ok()
    }

    /// The partition behind an entry, found once and watched from then on.
    fn handle(
        &self,
        entry: &mut Entry,
        place: u32,
        bell: &Arc<Bell>,
    ) -> Result<Arc<Partition>, ErrorCode> {
        if let Some(known) = entry.handle.as_ref().filter(|known| !known.is_gone()) {
            return Ok(Arc::clone(known));
        }
        entry.handle = None;
        let lookup = match &entry.topic {
            TopicKey::Id(id) => self.replicas.by_id(*id, entry.partition),
            TopicKey::Name(name) => self.replicas.by_name(name, entry.partition),
        };
        match lookup {
            Lookup::Here(partition) => {
                partition.watch(bell, place);
                entry.handle = Some(Arc::clone(&partition));
                Ok(partition)
            }
            Lookup::Refused(code) => Err(code),
        }
    }
}
