//! Which partition is fetched from which leader, and by which of the fetchers.
//!
//! Key type: [`Fetchers`]. Metadata assigns; each fetcher is a task that is told what changed for it. A partition always goes to the
//! same fetcher of a leader, so its fetches keep their order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use millstream_base::{LeaderEpoch, NodeId, PartitionIndex, Uuid};
use millstream_config::BrokerConfig;
use millstream_env::task;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::fetcher::Fetcher;
use crate::broker::Broker;
use crate::fetch::Throttle;
use crate::replica::{Duty, Partition};

/// A partition's name for fetchers.
pub(super) type Key = (Uuid, PartitionIndex);

/// One of a leader's fetchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FetcherId {
    /// Whom it fetches from.
    pub leader: NodeId,
    /// Its number among those of that leader.
    pub number: u16,
}

/// What a fetcher has to do differently.
#[derive(Debug)]
pub(super) enum Change {
    /// Fetch that partition, in that epoch of its leader.
    Fetch(Arc<Partition>, LeaderEpoch),
    /// Leave it.
    Leave(Key),
}

/// A fetcher's post box.
#[derive(Debug, Default)]
pub(super) struct PostBox {
    changes: Mutex<Vec<Change>>,
    come: Notify,
}

impl PostBox {
    /// Takes what came.
    pub(super) fn take(&self) -> Vec<Change> {
        std::mem::take(&mut *self.changes.lock())
    }

    /// Waits until something has come.
    pub(super) async fn come(&self) {
        self.come.notified().await;
    }
}

#[derive(Debug, Default)]
struct Table {
    running: HashMap<FetcherId, Arc<PostBox>>,
    assigned: HashMap<Key, (FetcherId, LeaderEpoch, Arc<Partition>)>,
    host: Option<(Weak<Broker>, watch::Receiver<bool>)>,
}

/// All fetchers of this broker.
#[derive(Debug)]
pub(crate) struct Fetchers {
    config: Arc<ArcSwap<BrokerConfig>>,
    table: Mutex<Table>,
    /// How much may be fetched into replicas that are being moved.
    throttle: Throttle,
}

impl Fetchers {
    /// Nothing is fetched yet; nothing will be before [`Fetchers::start`].
    pub(crate) fn new(config: Arc<ArcSwap<BrokerConfig>>) -> Arc<Self> {
        let (table, throttle) = (Mutex::default(), Throttle::default());
        Arc::new(Self { config, table, throttle })
    }

    /// Lets the fetchers of `broker` run until `stop` turns true.
    pub(super) fn start(&self, broker: &Arc<Broker>, stop: &watch::Receiver<bool>) {
        let mut table = self.table.lock();
        let host = (Arc::downgrade(broker), stop.clone());
        for (id, post) in &table.running {
            spawn(*id, post, &host);
        }
        table.host = Some(host);
    }

    /// What limits replicas that are being moved.
    pub(super) fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// Takes over what this broker has to do about each of some partitions.
    pub(crate) fn assign(&self, duties: impl IntoIterator<Item = (Arc<Partition>, Duty)>) {
        let each = self.fetchers_each();
        let mut changes: HashMap<FetcherId, Vec<Change>> = HashMap::new();
        let mut table = self.table.lock();
        for (partition, duty) in duties {
            let key = (partition.topic_id, partition.index());
            let wanted = match duty {
                Duty::Rest => None,
                Duty::Follow(leader, epoch) => {
                    Some((FetcherId { leader, number: number_of(key, each) }, epoch, partition))
                }
            };
            let known = table.assigned.get(&key).map(|(id, epoch, of)| (*id, *epoch, of));
            let as_before = match (&known, &wanted) {
                (Some((id, epoch, of)), Some((new, new_epoch, partition))) => {
                    id == new && epoch == new_epoch && Arc::ptr_eq(of, partition)
                }
                (None, None) => true,
                _ => false,
            };
            if as_before {
                continue;
            }
            let moved_to = wanted.as_ref().map(|(id, ..)| *id);
            if let Some((id, ..)) = known.filter(|(id, ..)| Some(*id) != moved_to) {
                changes.entry(id).or_default().push(Change::Leave(key));
            }
            match wanted {
                None => drop(table.assigned.remove(&key)),
                Some((id, epoch, partition)) => {
                    let change = Change::Fetch(Arc::clone(&partition), epoch);
                    changes.entry(id).or_default().push(change);
                    table.assigned.insert(key, (id, epoch, partition));
                }
            }
        }
        for (id, changes) in changes {
            table.post(id, changes);
        }
    }

    /// Has a partition fetched that its fetcher gave up, as it is assigned now.
    pub(super) fn resume(&self, partition: &Partition) {
        let mut table = self.table.lock();
        let assigned = table.assigned.get(&(partition.topic_id, partition.index())).cloned();
        if let Some((id, epoch, partition)) = assigned {
            table.post(id, vec![Change::Fetch(partition, epoch)]);
        }
    }

    /// `num.replica.fetchers` may have changed.
    pub(crate) fn resize(&self) {
        let all: Vec<_> = self.table.lock().assigned.values().cloned().collect();
        let duty = |(id, epoch, partition): (FetcherId, LeaderEpoch, Arc<Partition>)| {
            (partition, Duty::Follow(id.leader, epoch))
        };
        self.assign(all.into_iter().map(duty));
    }

    fn fetchers_each(&self) -> u16 {
        let fetchers = self.config.load().replication.num_replica_fetchers;
        u16::try_from(fetchers).unwrap_or(u16::MAX).max(1)
    }
}

impl Table {
    fn post(&mut self, id: FetcherId, changes: Vec<Change>) {
        let post = match self.running.entry(id) {
            Entry::Occupied(running) => Arc::clone(running.get()),
            Entry::Vacant(vacant) => {
                let post = Arc::<PostBox>::default();
                if let Some(host) = &self.host {
                    spawn(id, &post, host);
                }
                Arc::clone(vacant.insert(post))
            }
        };
        post.changes.lock().extend(changes);
        post.come.notify_one();
    }
}

fn spawn(id: FetcherId, post: &Arc<PostBox>, host: &(Weak<Broker>, watch::Receiver<bool>)) {
    let (broker, mut stop) = (Weak::clone(&host.0), host.1.clone());
    let fetcher = Fetcher::new(id, Arc::clone(post), broker);
    task::spawn(async move {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = fetcher.run() => {}
        }
    });
}

/// Which fetcher a partition goes to.
fn number_of((topic, partition): Key, each: u16) -> u16 {
    let topic = topic
        .as_bytes()
        .iter()
        .fold(0u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte)));
    let mixed = topic.wrapping_add(partition.get().unsigned_abs());
    u16::try_from(mixed % u32::from(each.max(1))).unwrap_or(0)
}
