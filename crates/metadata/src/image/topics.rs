//! Topics and their partitions as the cluster knows them.
//!
//! Key types: [`TopicsImage`], [`Topic`], [`Partition`]. A topic is found by name and by id; its partitions are
//! shared between images until one of them changes.
//!
//! Invariants: every name in the index by id is in the index by name, with that id, and the reverse.

use std::ops::Bound;
use std::sync::Arc;

use millstream_base::{LeaderEpoch, NodeId, PartitionIndex, Uuid};

use crate::names::{collision_key, is_internal_topic};
use crate::persistent_map::PersistentMap;

/// All topics of the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TopicsImage {
    by_name: PersistentMap<Arc<str>, Arc<Topic>>,
    by_id: PersistentMap<Uuid, Arc<str>>,
    /// Collision key (see [`collision_key`]) to the name that holds it.
    collisions: PersistentMap<Arc<str>, Arc<str>>,
    partition_count: usize,
}

/// One topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Topic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id; a topic that is deleted and created again has another one.
    pub id: Uuid,
    /// Its partitions by number.
    pub partitions: PersistentMap<PartitionIndex, Arc<Partition>>,
}

impl Topic {
    /// Whether the topic belongs to one of the broker's own coordinators.
    pub fn is_internal(&self) -> bool {
        is_internal_topic(&self.name)
    }

    /// The partition of that number.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.partitions.get(&index)
    }
}

/// Whether a leader was elected from the ISR, or has to make the log whole again after an unclean election.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LeaderRecoveryState {
    /// Nothing to do.
    #[default]
    Recovered,
    /// The leader came from outside the ISR and has not yet finished its recovery.
    Recovering,
}

impl LeaderRecoveryState {
    /// The number in a record.
    pub const fn code(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    /// The state of a number in a record.
    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }
}

/// The replicas, leader and epochs of one partition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Partition {
    /// The brokers that hold a replica, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// Per replica the directory that holds it; [`Uuid::ZERO`] while not assigned.
    pub directories: Vec<Uuid>,
    /// The replicas in sync.
    pub isr: Vec<NodeId>,
    /// Replicas on their way out of a reassignment.
    pub removing: Vec<NodeId>,
    /// Replicas on their way in.
    pub adding: Vec<NodeId>,
    /// Replicas outside the ISR that hold all committed records (KIP-966).
    pub elr: Vec<NodeId>,
    /// The last leader of a partition that has lost ISR and ELR.
    pub last_known_elr: Vec<NodeId>,
    /// The leader, if there is one.
    pub leader: Option<NodeId>,
    /// Whether the leader came from the ISR.
    pub leader_recovery_state: LeaderRecoveryState,
    /// Grows with every change of the leader or loss of an ISR member.
    pub leader_epoch: LeaderEpoch,
    /// Grows with every change of this partition.
    pub partition_epoch: i32,
}

impl Partition {
    /// Whether a reassignment is under way.
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Whether `broker` holds a replica.
    pub fn has_replica(&self, broker: NodeId) -> bool {
        self.replicas.contains(&broker)
    }

    /// The directory in which `broker` keeps its replica.
    pub fn directory_of(&self, broker: NodeId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|id| *id == broker)?;
        self.directories.get(at).copied()
    }
}

impl TopicsImage {
    /// The topic of that name.
    pub fn get(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic of that id.
    pub fn get_by_id(&self, id: Uuid) -> Option<&Arc<Topic>> {
        self.by_name.get(self.by_id.get(&id)?)
    }

    /// The name of the topic of that id.
    pub fn name_of(&self, id: Uuid) -> Option<&Arc<str>> {
        self.by_id.get(&id)
    }

    /// The id of the topic of that name.
    pub fn id_of(&self, name: &str) -> Option<Uuid> {
        self.get(name).map(|topic| topic.id)
    }

    /// One partition by the topic's name.
    pub fn partition(&self, name: &str, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.get(name)?.partition(index)
    }

    /// All topics in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// The topics whose name is `start` or lies after it, in the order of their names.
    pub fn iter_from<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a Arc<Topic>> {
        self.by_name.range_from(Bound::Included(start)).map(|(_, topic)| topic)
    }

    /// How many topics there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there is no topic.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// How many partitions all topics have together.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// An existing topic whose name differs from `name` only in `.` against `_`.
    pub fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        let key = collision_key(name)?;
        self.collisions.get(key.as_ref()).filter(|held| held.as_ref() != name)
    }

    /// Adds a topic without partitions. `false` when its name or id is taken.
    pub(crate) fn add_topic(&mut self, name: Arc<str>, id: Uuid) -> bool {
        if self.by_name.contains_key(name.as_ref()) || self.by_id.contains_key(&id) {
            return false;
        }
        if let Some(key) = collision_key(&name) {
            self.collisions.insert(key.as_ref().into(), Arc::clone(&name));
        }
        self.by_id.insert(id, Arc::clone(&name));
        let topic = Topic { name: Arc::clone(&name), id, partitions: PersistentMap::new() };
        self.by_name.insert(name, Arc::new(topic));
        true
    }

    /// Takes a topic out.
    pub(crate) fn remove_topic(&mut self, id: Uuid) -> Option<Arc<Topic>> {
        let name = self.by_id.remove(&id)?;
        let topic = self.by_name.remove(&name)?;
        if let Some(key) = collision_key(&name)
            && self.collisions.get(key.as_ref()) == Some(&name)
        {
            self.collisions.remove(key.as_ref());
        }
        self.partition_count -= topic.partitions.len();
        Some(topic)
    }

    /// Sets a partition. `false` when there is no topic of that id.
    pub(crate) fn put_partition(
        &mut self,
        id: Uuid,
        index: PartitionIndex,
        partition: Partition,
    ) -> bool {
        let Some(topic) = self.by_id.get(&id).and_then(|name| self.by_name.get_mut(name)) else {
            return false;
        };
        if Arc::make_mut(topic).partitions.insert(index, Arc::new(partition)).is_none() {
            self.partition_count += 1;
        }
        true
    }

    /// A partition, to be changed.
    pub(crate) fn partition_mut(
        &mut self,
        id: Uuid,
        index: PartitionIndex,
    ) -> Option<&mut Partition> {
        let topic = self.by_name.get_mut(self.by_id.get(&id)?)?;
        Arc::make_mut(topic).partitions.get_mut(&index).map(Arc::make_mut)
    }
}
