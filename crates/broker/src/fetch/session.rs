//! Incremental fetch sessions (KIP-227): a client names its partitions once and then only what changes.
//!
//! Key types: [`Session`] (what one client fetches, in order) and [`SessionCache`] (all of them, bounded by
//! `max.incremental.fetch.session.cache.slots`). The epoch rules are those of Fetch v7+: -1 is no session or its end,
//! 0 asks for a new one, above 0 continues.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, Offset, PartitionIndex, Uuid};
use parking_lot::Mutex;

use crate::replica::Partition;

/// The most partitions that all sessions together may name, some 200 bytes each: bounds what hostile sessions hold. A fetch
/// beyond it is answered without a session.
const MAX_PARTITIONS: usize = 500_000;
/// A session that was used within this time is not given up for a new one.
const KEEP_AT_LEAST: Duration = Duration::from_secs(120);

/// How a request names a topic: by id since v13, by name before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum TopicKey {
    /// Its id.
    Id(Uuid),
    /// Its name.
    Name(Arc<str>),
}

/// What a client asked of one partition.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    /// The first offset that it wants.
    pub offset: Offset,
    /// The most bytes from this partition.
    pub max_bytes: u32,
    /// The leader epoch that the client knows; `NONE` when it does not say.
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record that it holds; `NONE` when it does not say.
    pub last_fetched_epoch: LeaderEpoch,
    /// Where a follower's log begins; -1 from consumers.
    pub log_start: Offset,
}

/// One partition of a session.
#[derive(Debug)]
pub(crate) struct SessionPartition {
    /// Its topic.
    pub topic: TopicKey,
    /// Its number.
    pub partition: PartitionIndex,
    /// What is asked of it.
    pub wanted: Wanted,
    /// Where it is served, once found; spares a look-up a fetch.
    pub handle: Option<Arc<Partition>>,
    /// What the client was told last: high watermark and log start. -1 when it must be told in any case.
    pub told: (Offset, Offset),
    /// The end of what could be seen when the partition was looked at last.
    pub seen: Offset,
}

/// What one client fetches.
#[derive(Debug, Default)]
pub(crate) struct Session {
    partitions: Vec<SessionPartition>,
    /// Made when the session is first changed: most fetches name their partitions once and never again.
    places: Option<HashMap<(TopicKey, PartitionIndex), usize>>,
    /// The partition that is served first; moves on so that a busy one does not starve the others.
    first: usize,
}

impl Session {
    /// Adds a partition that the session does not name yet.
    pub(crate) fn add(&mut self, topic: TopicKey, partition: PartitionIndex, wanted: Wanted) {
        let (told, seen) = ((Offset::NONE, Offset::NONE), Offset::NONE);
        self.partitions.push(SessionPartition {
            topic,
            partition,
            wanted,
            handle: None,
            told,
            seen,
        });
    }

    /// Adds a partition, or changes what is asked of it.
    pub(crate) fn set(&mut self, topic: TopicKey, partition: PartitionIndex, wanted: Wanted) {
        let next = self.partitions.len();
        let place = *self.places().entry((topic.clone(), partition)).or_insert(next);
        match self.partitions.get_mut(place) {
            Some(known) => known.wanted = wanted,
            None => self.add(topic, partition, wanted),
        }
    }

    fn places(&mut self) -> &mut HashMap<(TopicKey, PartitionIndex), usize> {
        let partitions = &self.partitions;
        self.places.get_or_insert_with(|| {
            let places = partitions.iter().enumerate();
            places.map(|(place, p)| ((p.topic.clone(), p.partition), place)).collect()
        })
    }

    /// Takes partitions out.
    pub(crate) fn forget(&mut self, gone: &[(TopicKey, PartitionIndex)]) {
        if gone.is_empty() {
            return;
        }
        for key in gone {
            self.places().remove(key);
        }
        let places = self.places.take().unwrap_or_default();
        self.partitions.retain(|p| places.contains_key(&(p.topic.clone(), p.partition)));
        self.first = 0;
    }

    /// The partitions, beginning with the one whose turn it is.
    pub(crate) fn in_turn(&mut self) -> impl Iterator<Item = (usize, &mut SessionPartition)> {
        let (before, from) = self.partitions.split_at_mut(self.first);
        let base = before.len();
        let tail = from.iter_mut().enumerate().map(move |(at, p)| (base + at, p));
        tail.chain(before.iter_mut().enumerate())
    }

    /// Notes what the client is told of the partition at `place`.
    pub(crate) fn tell(&mut self, place: usize, high_watermark: Offset, log_start: Offset) {
        if let Some(partition) = self.partitions.get_mut(place) {
            partition.told = (high_watermark, log_start);
        }
    }

    /// The partitions in the order in which they were named.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = &SessionPartition> {
        self.partitions.iter()
    }

    /// Lets the partition behind `last_served` be the first one next time.
    pub(crate) fn move_on(&mut self, last_served: usize) {
        self.first = if last_served + 1 < self.partitions.len() { last_served + 1 } else { 0 };
    }

    /// How many partitions there are.
    pub(crate) fn len(&self) -> usize {
        self.partitions.len()
    }
}

/// What one reader fetches, as the cache must know it.
pub(crate) trait Kept: Default {
    /// Whether its partitions are named by id; `None` when there are none.
    fn names_by_id(&self) -> Option<bool>;
}

impl Kept for Session {
    fn names_by_id(&self) -> Option<bool> {
        self.partitions.first().map(|p| matches!(p.topic, TopicKey::Id(_)))
    }
}

/// A session and what the cache knows about it.
#[derive(Debug)]
struct Slot<S> {
    session: Arc<Mutex<S>>,
    next_epoch: i32,
    used_at: Duration,
    /// How many partitions the session named when it was used last.
    partitions: usize,
}

/// All sessions of a broker.
#[derive(Debug)]
pub(crate) struct SessionCache<S = Session> {
    slots: Mutex<HashMap<i32, Slot<S>>>,
    max_slots: usize,
}

/// What a request's session id and epoch lead to.
#[derive(Debug)]
pub(crate) struct Opened<S = Session> {
    /// The session to serve.
    pub session: Arc<Mutex<S>>,
    /// The id to answer with; 0 without a session.
    pub id: i32,
    /// Whether only what changed is to be answered.
    pub incremental: bool,
}

impl<S: Kept> SessionCache<S> {
    /// A cache of at most `max_slots` sessions.
    pub(crate) fn new(max_slots: usize) -> Self {
        Self { slots: Mutex::default(), max_slots }
    }

    /// Finds or makes the session of a request. `by_id`: whether the request names topics by id; `random`: a
    /// number for a new session's id.
    pub(crate) fn open(
        &self,
        id: i32,
        epoch: i32,
        by_id: bool,
        now: Duration,
        random: impl Fn() -> u64,
    ) -> Result<Opened<S>, ErrorCode> {
        let mut slots = self.slots.lock();
        if epoch <= 0 {
            slots.remove(&id);
            let session = Arc::<Mutex<S>>::default();
            let id = if epoch == 0 { self.admit(&mut slots, &session, now, random) } else { 0 };
            return Ok(Opened { session, id, incremental: false });
        }
        let slot = slots.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if slot.next_epoch != epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if slot.session.lock().names_by_id().is_some_and(|ids| ids != by_id) {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        slot.next_epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        slot.used_at = now;
        Ok(Opened { session: Arc::clone(&slot.session), id, incremental: true })
    }

    /// Notes how many partitions a session names now. False when all together are too many: the session is gone then.
    pub(crate) fn keep(&self, id: i32, partitions: usize) -> bool {
        let mut slots = self.slots.lock();
        let Some(slot) = slots.get_mut(&id) else { return true };
        let grown = partitions > slot.partitions;
        slot.partitions = partitions;
        if grown && slots.values().map(|slot| slot.partitions).sum::<usize>() > MAX_PARTITIONS {
            slots.remove(&id);
            return false;
        }
        true
    }

    /// Gives a new session a place and an id, or 0 when all places are taken by sessions in use.
    fn admit(
        &self,
        slots: &mut HashMap<i32, Slot<S>>,
        session: &Arc<Mutex<S>>,
        now: Duration,
        random: impl Fn() -> u64,
    ) -> i32 {
        if slots.len() >= self.max_slots {
            let oldest = slots.iter().min_by_key(|(_, slot)| slot.used_at);
            match oldest.map(|(id, slot)| (*id, slot.used_at)) {
                Some((id, used_at)) if now.saturating_sub(used_at) >= KEEP_AT_LEAST => {
                    slots.remove(&id);
                }
                _ => return 0,
            }
        }
        let id = loop {
            let id = (random() & 0x7fff_ffff) as i32;
            if id != 0 && !slots.contains_key(&id) {
                break id;
            }
        };
        slots.insert(
            id,
            Slot { session: Arc::clone(session), next_epoch: 1, used_at: now, partitions: 0 },
        );
        id
    }

    /// How many sessions there are.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.slots.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn wanted(offset: i64) -> Wanted {
        Wanted {
            offset: Offset(offset),
            max_bytes: 1,
            current_leader_epoch: LeaderEpoch::NONE,
            last_fetched_epoch: LeaderEpoch::NONE,
            log_start: Offset::NONE,
        }
    }

    fn name(text: &str) -> TopicKey {
        TopicKey::Name(text.into())
    }

    fn order(session: &mut Session) -> Vec<i32> {
        session.in_turn().map(|(_, p)| p.partition.get()).collect()
    }

    #[test]
    fn epochs_follow_the_rules() {
        let cache = SessionCache::<Session>::new(10);
        let opened = cache.open(0, 0, true, NOW, || 77).unwrap();
        assert_eq!((opened.id, opened.incremental), (77, false));
        opened.session.lock().set(TopicKey::Id(Uuid::ZERO), PartitionIndex(0), wanted(0));
        let open =
            |id, epoch, by_id| cache.open(id, epoch, by_id, NOW, || 78).map(|o| o.incremental);
        assert_eq!(open(77, 1, true), Ok(true));
        assert_eq!(open(77, 1, true), Err(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(open(77, 2, false), Err(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(open(9, 1, true), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(open(77, -1, true), Ok(false));
        assert_eq!(open(77, 2, true), Err(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(cache.len(), 0);
    }

    #[test]
    fn a_full_cache_answers_without_a_session_until_one_is_old() {
        let cache = SessionCache::<Session>::new(1);
        assert_eq!(cache.open(0, 0, true, NOW, || 5).unwrap().id, 5);
        assert_eq!(cache.open(0, 0, true, NOW + Duration::from_secs(119), || 6).unwrap().id, 0);
        assert_eq!(cache.open(0, 0, true, NOW + Duration::from_secs(120), || 7).unwrap().id, 7);
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn sessions_that_name_too_much_are_not_kept() {
        let cache = SessionCache::<Session>::new(10);
        cache.open(0, 0, true, NOW, || 1).unwrap();
        cache.open(0, 0, true, NOW, || 2).unwrap();
        assert!(cache.keep(1, MAX_PARTITIONS));
        assert!(!cache.keep(2, 1));
        assert_eq!(cache.len(), 1);
        assert!(cache.keep(1, MAX_PARTITIONS - 1));
        assert!(cache.keep(9, 1), "an unknown session holds nothing");
    }

    #[test]
    fn turns_go_round_and_forgotten_partitions_are_gone() {
        let mut session = Session::default();
        for number in 0..4 {
            session.set(name("t"), PartitionIndex(number), wanted(0));
        }
        session.move_on(1);
        assert_eq!(order(&mut session), [2, 3, 0, 1]);
        session.move_on(3);
        assert_eq!(order(&mut session), [0, 1, 2, 3]);
        session.forget(&[(name("t"), PartitionIndex(1))]);
        session.set(name("t"), PartitionIndex(2), wanted(9));
        assert_eq!(order(&mut session), [0, 2, 3]);
        assert_eq!(session.in_turn().nth(1).unwrap().1.wanted.offset, Offset(9));
    }
}
