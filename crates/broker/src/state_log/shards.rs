//! Which partitions of a coordinator's topic this broker coordinates.
//!
//! Key type: [`Shards`]. It follows the cluster image: a partition that this broker comes to lead, in an epoch, gets a
//! fresh shard; a shard whose epoch is over is closed before anybody can find its successor. A request finds its shard by
//! hash, without a lock. Loading is off the async threads, a few at a time, so that a broker which takes over many
//! partitions at once needs neither the memory nor the disk for all of them together.

use std::sync::Arc;

use arc_swap::ArcSwap;
use millstream_base::{ErrorCode, LeaderEpoch, NodeId, PartitionIndex};
use millstream_env::task;
use millstream_metadata::ClusterImage;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::coordinator::partition_of;
use crate::replica::Partition;

/// How many logs are read at a time.
const LOADS: usize = 4;

/// A shard in service.
pub(crate) trait Hosted: Send + Sync + 'static {
    /// Its partition.
    fn partition(&self) -> &Arc<Partition>;

    /// The epoch in which this broker leads it.
    fn epoch(&self) -> LeaderEpoch;

    /// Whether it waits for its log to be read.
    fn is_loading(&self) -> bool;

    /// This broker does not lead the partition any more, or not in this epoch. Says how many requests were waiting.
    fn close(&self) -> usize;
}

/// By partition; `None` where another broker leads. Empty while the topic does not exist.
type Slots<S> = Vec<Option<Arc<S>>>;

/// The shards of one coordinator.
#[derive(Debug)]
pub(crate) struct Shards<S> {
    topic: &'static str,
    me: NodeId,
    slots: ArcSwap<Slots<S>>,
    /// One change at a time.
    changing: Mutex<()>,
    loading: Arc<Semaphore>,
}

impl<S: Hosted> Shards<S> {
    /// None yet, of a topic.
    pub(crate) fn new(topic: &'static str, me: NodeId) -> Self {
        let loading = Arc::new(Semaphore::new(LOADS));
        Self { topic, me, slots: ArcSwap::default(), changing: Mutex::new(()), loading }
    }

    /// Follows the cluster image. Call it when the replicas have followed it. What is returned is to be loaded.
    pub(crate) fn refresh(
        &self,
        image: &ClusterImage,
        replica: impl Fn(PartitionIndex) -> Option<Arc<Partition>>,
        make: impl Fn(Arc<Partition>, LeaderEpoch) -> Arc<S>,
    ) -> Vec<Arc<S>> {
        let _one = self.changing.lock();
        let old = self.slots.load_full();
        let (mut slots, mut fresh) = (Slots::new(), Vec::new());
        let topic = image.topics.get(self.topic);
        for (index, partition) in topic.map(|topic| topic.partitions.iter()).into_iter().flatten() {
            let at = usize::try_from(index.get()).unwrap_or_default();
            slots.resize(slots.len().max(at + 1), None);
            let epoch = partition.leader_epoch;
            let is_mine = partition.leader == Some(self.me);
            let Some(replica) = is_mine.then(|| replica(*index)).flatten() else { continue };
            let is_same = |known: &&Arc<S>| {
                Arc::ptr_eq(known.partition(), &replica) && known.epoch() == epoch
            };
            let known = old.get(at).and_then(Option::as_ref).filter(is_same);
            let shard = known.cloned().unwrap_or_else(|| {
                let shard = make(replica, epoch);
                fresh.push(Arc::clone(&shard));
                shard
            });
            if let Some(place) = slots.get_mut(at) {
                *place = Some(shard);
            }
        }
        let slots = Arc::new(slots);
        let is_kept = |at: usize, shard: &Arc<S>| {
            slots.get(at).and_then(Option::as_ref).is_some_and(|kept| Arc::ptr_eq(kept, shard))
        };
        for (at, shard) in old.iter().enumerate() {
            if let Some(shard) = shard.as_ref().filter(|shard| !is_kept(at, shard)) {
                shard.close();
            }
        }
        self.slots.store(slots);
        fresh
    }

    /// Runs `load` for a fresh shard off the async threads, unless it is closed before its turn comes.
    pub(crate) fn load(&self, shard: Arc<S>, load: impl FnOnce(Arc<S>) + Send + 'static) {
        let loading = Arc::clone(&self.loading);
        task::spawn(async move {
            let Ok(_turn) = loading.acquire().await else { return };
            if shard.is_loading() {
                // Why it panicked has been said.
                drop(task::spawn_blocking(move || load(shard)).await);
            }
        });
    }

    /// Gives up all shards: the broker stops. Says how many requests were waiting.
    pub(crate) fn close_all(&self) -> usize {
        let _one = self.changing.lock();
        self.slots.swap(Arc::default()).iter().flatten().map(|shard| shard.close()).sum()
    }

    /// The shard of a group or transactional id, or why this broker has none.
    pub(crate) fn of(&self, key: &str) -> Result<Arc<S>, ErrorCode> {
        let slots = self.slots.load();
        if slots.is_empty() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let slot = slots.get(partition_of(key, slots.len())).and_then(Option::as_ref);
        slot.cloned().ok_or(ErrorCode::NotCoordinator)
    }

    /// The shard of a partition.
    pub(crate) fn at(&self, partition: PartitionIndex) -> Option<Arc<S>> {
        let at = usize::try_from(partition.get()).ok()?;
        self.slots.load().get(at)?.clone()
    }

    /// All of this broker.
    pub(crate) fn all(&self) -> Vec<Arc<S>> {
        self.slots.load().iter().flatten().cloned().collect()
    }
}
