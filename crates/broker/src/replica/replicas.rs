//! All partitions that this broker hosts, found by topic name or id, kept in step with the cluster image.
//!
//! Key type: [`Replicas`]. It is told of every metadata commit before anyone else learns of it, so a topic that a client is told of
//! can be written already. Invariant: a partition is in the map exactly while its log is open.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::ArcSwap;
use millstream_base::{ErrorCode, NodeId, Offset, PartitionIndex, TopicPartition, Uuid};
use millstream_config::{BrokerConfig, TopicConfig, TopicThrottles};
use millstream_log::{CheckpointKind, Log, LogConfig, StorageError};
use millstream_metadata::decide::is_reserved_directory;
use millstream_metadata::{
    ClusterImage, ConfigResource, ConfigResourceType, ImageDelta, Partition as PartitionImage,
    Topic,
};
use millstream_quorum::ImageListener;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tracing::{error, info, warn};

use super::logs::{Dir, Home, LogState, Logs, Opened, in_parallel};
use super::partition::{Partition, Settings};
use super::role::Duty;
use super::shared::Shared;
use crate::fetch::{FollowerSession, SessionCache, Throttle};
use crate::replication::Fetchers;
use crate::topic_rules;

/// Sessions of followers: one for each broker and fetcher, and those that were left behind.
const MAX_FOLLOWER_SESSIONS: usize = 1000;

/// What looking for a partition leads to.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// It is hosted here.
    Here(Arc<Partition>),
    /// It is not, and this is why.
    Refused(ErrorCode),
}

/// A topic of which this broker hosts partitions.
#[derive(Debug)]
struct Hosted {
    name: Arc<str>,
    partitions: RwLock<Vec<Slot>>,
}

/// A partition's place in its topic.
#[derive(Debug, Clone)]
enum Slot {
    Here(Arc<Partition>),
    /// Another broker has it.
    Elsewhere,
    /// Its log cannot be opened.
    Failed,
}

/// A topic's settings as its partitions and their logs want them.
#[derive(Clone)]
struct Configs {
    topic: Settings,
    log: Arc<LogConfig>,
}

/// What lies on disk of a partition that is to be hosted.
enum Found {
    /// Its log, and up to where it was known to be committed.
    Log(Box<Log>, Offset),
    /// Its log, which cannot be opened.
    Damaged,
    /// Nothing, although it is not new.
    Nothing,
    /// Nothing, as it should be.
    New,
}

#[derive(Debug, Default)]
struct Topics {
    by_name: HashMap<Arc<str>, Arc<Hosted>>,
    by_id: HashMap<Uuid, Arc<Hosted>>,
}

/// The partitions hosted here.
#[derive(Debug)]
pub(crate) struct Replicas {
    shared: Arc<Shared>,
    topics: RwLock<Topics>,
    logs: Arc<Logs>,
    fetchers: Arc<Fetchers>,
    /// What followers fetch from here.
    sessions: SessionCache<FollowerSession>,
    /// How much followers that are being moved may fetch.
    throttle: Throttle,
    /// Where replicas lie that metadata does not know, to be told: topic, partition, directory.
    unassigned: Mutex<Vec<(Uuid, PartitionIndex, Uuid)>>,
    /// Held from looking at the partitions until their checkpoints are written, so that older ones never replace newer.
    checkpointing: Mutex<()>,
}

impl Replicas {
    /// No partition yet; logs come from `logs`.
    pub(crate) fn new(
        me: NodeId,
        logs: Arc<Logs>,
        config: Arc<ArcSwap<BrokerConfig>>,
    ) -> Arc<Self> {
        let (topics, unassigned) = (RwLock::default(), Mutex::default());
        let checkpointing = Mutex::default();
        let fetchers = Fetchers::new(Arc::clone(&config));
        let shared = Shared::new(me, Arc::clone(logs.clock()), config);
        let (sessions, throttle) = (SessionCache::new(MAX_FOLLOWER_SESSIONS), Throttle::default());
        Arc::new(Self {
            shared,
            topics,
            logs,
            fetchers,
            sessions,
            throttle,
            unassigned,
            checkpointing,
        })
    }

    /// Finds a partition by its topic's name.
    pub(crate) fn by_name(&self, topic: &str, index: PartitionIndex) -> Lookup {
        match self.topics.read().by_name.get(topic) {
            Some(hosted) => hosted.slot(index),
            None => Lookup::Refused(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// Finds a partition by its topic's id.
    pub(crate) fn by_id(&self, topic: Uuid, index: PartitionIndex) -> Lookup {
        match self.topics.read().by_id.get(&topic) {
            Some(hosted) => hosted.slot(index),
            None => Lookup::Refused(ErrorCode::UnknownTopicId),
        }
    }

    /// Every hosted partition.
    pub(crate) fn all(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.read();
        topics.by_id.values().flat_map(|hosted| hosted.here()).collect()
    }

    /// What the partitions share.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Those who fetch what others lead.
    pub(crate) fn fetchers(&self) -> &Arc<Fetchers> {
        &self.fetchers
    }

    /// What followers fetch from here.
    pub(crate) fn follower_sessions(&self) -> &SessionCache<FollowerSession> {
        &self.sessions
    }

    /// What limits followers that are being moved.
    pub(crate) fn throttle(&self) -> &Throttle {
        &self.throttle
    }

    /// The logs' keeper.
    pub(crate) fn logs(&self) -> &Arc<Logs> {
        &self.logs
    }

    /// Hosts everything that `image` gives to this broker, out of the `opened` logs or new ones.
    pub(crate) fn host_all(&self, image: &Arc<ClusterImage>, mut opened: Opened) {
        self.shared.image.store(Arc::clone(image));
        let committed = self.logs.read_checkpoints(CheckpointKind::HighWatermark);
        let committed = |name: &TopicPartition| committed.get(name).copied().unwrap_or_default();
        for topic in image.topics.iter() {
            let config = self.topic_config(image, &topic.name);
            for (index, partition) in topic.partitions.iter() {
                let name = TopicPartition::new(Arc::clone(&topic.name), *index);
                let found = match opened.logs.remove(&name) {
                    Some(log) => Found::Log(Box::new(log), committed(&name)),
                    None if opened.failed.contains(&name) => Found::Damaged,
                    None => Found::Nothing,
                };
                self.host(topic, *index, partition, found, &config);
            }
        }
        // What a kill left of partitions that metadata does not know any more.
        let is_known =
            |name: &TopicPartition| image.topics.partition(&name.topic, name.partition).is_some();
        self.logs.forget(&is_known);
        self.logs.note_damaged(opened.failed);
        self.fetchers.assign(self.all().into_iter().map(|partition| {
            let duty = partition.duty();
            (partition, duty)
        }));
    }

    fn host(
        &self,
        topic: &Topic,
        index: PartitionIndex,
        partition: &PartitionImage,
        found: Found,
        config: &Configs,
    ) {
        let slot = match found {
            _ if !partition.has_replica(self.shared.me) => Slot::Elsewhere,
            Found::Damaged => Slot::Failed,
            found => match self.open(topic, index, partition, found, config) {
                Ok(partition) => Slot::Here(partition),
                Err(failure) => {
                    error!(topic = %topic.name, partition = %index, error = %failure,
                        "the partition's log cannot be opened; it is offline");
                    Slot::Failed
                }
            },
        };
        self.place(topic, index, slot);
    }

    fn open(
        &self,
        topic: &Topic,
        index: PartitionIndex,
        partition: &PartitionImage,
        found: Found,
        config: &Configs,
    ) -> Result<Arc<Partition>, StorageError> {
        let name = TopicPartition::new(Arc::clone(&topic.name), index);
        let log_config = Arc::clone(&config.log);
        let assigned = partition.directory_of(self.shared.me).unwrap_or(Uuid::ZERO);
        let is_new = matches!(found, Found::New);
        let (log, directory, committed) = match found {
            Found::Log(mut log, committed) => {
                log.set_config(log_config);
                let dir = self.logs.dir_of(&log.path()).map_or(assigned, Dir::id);
                (*log, dir, committed)
            }
            _ => {
                let home = self.home(&name, assigned, is_new)?;
                let (log, dir) = self.logs.create(&name, topic.id, home, log_config)?;
                (log, dir, Offset::ZERO)
            }
        };
        if directory != assigned {
            self.unassigned.lock().push((topic.id, index, directory));
        }
        let (shared, settings) = (Arc::clone(&self.shared), config.topic.clone());
        Ok(Partition::new(name, topic.id, shared, log, partition, committed, settings))
    }

    /// Where a log is to be made that was not found. A log that may lie on a disk which is not there is not made
    /// anew: its records would be gone for good.
    fn home(
        &self,
        name: &TopicPartition,
        assigned: Uuid,
        is_new: bool,
    ) -> Result<Home, StorageError> {
        if !is_reserved_directory(assigned) {
            return Ok(Home::In(assigned));
        }
        if !is_new && self.logs.misses_some() {
            let problem = "was not found, and may lie in a log directory that is not in service";
            let path = name.to_string().into();
            return Err(StorageError::Invalid { path, problem: problem.to_owned() });
        }
        Ok(Home::Anywhere)
    }

    /// What metadata is to be told of: topic, partition, directory. Each is told once.
    pub(crate) fn take_unassigned(&self) -> Vec<(Uuid, PartitionIndex, Uuid)> {
        std::mem::take(&mut *self.unassigned.lock())
    }

    /// Whether [`Replicas::take_unassigned`] has something to tell.
    pub(crate) fn has_unassigned(&self) -> bool {
        !self.unassigned.lock().is_empty()
    }

    /// Takes all partitions in `dir`, which went out of service, offline.
    pub(crate) fn fail_dir(&self, dir: &Dir) {
        let hosted: Vec<_> = self.topics.read().by_id.values().cloned().collect();
        for hosted in hosted {
            for partition in hosted.here() {
                let lies_there = |log: &mut Log| log.path().parent() == Some(dir.path());
                if !partition.with_log(lies_there) {
                    continue;
                }
                partition.with_log(|log| log.go_offline("its log directory is out of service"));
                self.fetchers.assign([(Arc::clone(&partition), Duty::Rest)]);
                hosted.fail(&partition);
                partition.retire();
            }
        }
    }

    fn place(&self, topic: &Topic, index: PartitionIndex, slot: Slot) {
        let hosted = {
            let mut topics = self.topics.write();
            let fresh = || {
                let name = Arc::clone(&topic.name);
                Arc::new(Hosted { name, partitions: RwLock::default() })
            };
            let hosted = topics.by_id.entry(topic.id).or_insert_with(fresh).clone();
            topics.by_name.insert(Arc::clone(&topic.name), Arc::clone(&hosted));
            hosted
        };
        let Ok(at) = usize::try_from(index.get()) else { return };
        let mut slots = hosted.partitions.write();
        if slots.len() <= at {
            slots.resize(at + 1, Slot::Elsewhere);
        }
        if let Some(place) = slots.get_mut(at) {
            *place = slot;
        }
    }

    /// The settings of a topic, with those of the broker beneath. Stored settings that cannot be used are named once here.
    fn topic_config(&self, image: &ClusterImage, topic: &str) -> Configs {
        let overrides = image.configs.of_topic(topic);
        let broker = self.shared.config.load();
        let (config, unusable) = TopicConfig::resolve_lenient(&overrides, &broker);
        for problem in unusable {
            warn!(topic, "a stored setting is left out: {problem}");
        }
        let expiration_ms = broker.transactions.producer_id_expiration_ms;
        let log = topic_rules::log_config(&config, i64::from(expiration_ms));
        let throttles = Arc::new(TopicThrottles::of(&overrides));
        Configs { topic: Settings { topic: config, throttles }, log: Arc::new(log) }
    }

    fn remove(&self, topic: &Topic) {
        let hosted = {
            let mut topics = self.topics.write();
            let Some(hosted) = topics.by_id.remove(&topic.id) else { return };
            // The name may belong to a topic that was created since.
            if topics.by_name.get(&topic.name).is_some_and(|named| Arc::ptr_eq(named, &hosted)) {
                topics.by_name.remove(&topic.name);
            }
            hosted
        };
        for partition in hosted.here() {
            self.drop_log(&partition);
        }
        info!(topic = %topic.name, "deleted");
    }

    /// Ends a partition's service here, and has its files removed.
    fn drop_log(&self, partition: &Arc<Partition>) {
        self.fetchers.assign([(Arc::clone(partition), Duty::Rest)]);
        partition.retire();
        if let Err(failure) = partition.with_log(|log| self.logs.delete(log)) {
            error!(partition = %partition.name, error = %failure, "the log cannot be deleted");
        }
    }

    /// Makes a partition what metadata says it is here.
    fn change(&self, topic: &Topic, index: PartitionIndex, config: &Configs) -> Changed {
        let Some(partition) = topic.partition(index) else { return Changed::Nothing };
        let here = match self.by_id(topic.id, index) {
            Lookup::Here(hosted) if !partition.has_replica(self.shared.me) => {
                self.place(topic, index, Slot::Elsewhere);
                return Changed::Gone(hosted);
            }
            Lookup::Here(hosted) => hosted,
            // A log that failed stays so until the broker starts again.
            Lookup::Refused(ErrorCode::KafkaStorageError) => return Changed::Nothing,
            Lookup::Refused(_) => {
                self.host(topic, index, partition, Found::New, config);
                match self.by_id(topic.id, index) {
                    Lookup::Here(hosted) => hosted,
                    Lookup::Refused(_) => return Changed::Nothing,
                }
            }
        };
        let duty = here.follow_metadata(partition);
        Changed::Duty(here, duty)
    }

    /// What the changes of one commit leave to do.
    fn finish(&self, changed: Vec<Changed>) {
        let mut duties = Vec::with_capacity(changed.len());
        let mut gone = HashSet::new();
        for change in changed {
            match change {
                Changed::Nothing => {}
                Changed::Duty(partition, duty) => duties.push((partition, duty)),
                Changed::Gone(partition) => {
                    info!(partition = %partition.name, "moved to other brokers; the log here is deleted");
                    self.drop_log(&partition);
                    gone.insert(partition.name.clone());
                }
            }
        }
        self.fetchers.assign(duties);
        if !gone.is_empty() {
            let _turn = self.checkpoint_turn();
            self.logs.forget(&|partition| !gone.contains(partition));
        }
    }

    fn reconfigure(&self, image: &ClusterImage, delta: &ImageDelta) {
        let brokers =
            |resource: &ConfigResource| resource.resource_type == ConfigResourceType::Broker;
        let all = delta.configs.iter().any(brokers);
        let changed = self
            .topics
            .read()
            .by_name
            .values()
            .filter(|hosted| {
                all || delta.configs.contains(&ConfigResource::topic(Arc::clone(&hosted.name)))
            })
            .cloned()
            .collect::<Vec<_>>();
        for hosted in changed {
            let config = self.topic_config(image, &hosted.name);
            for partition in hosted.here() {
                partition.reconfigure(config.topic.clone(), Arc::clone(&config.log));
            }
        }
        if all {
            self.fetchers.resize();
        }
    }

    /// Writes the checkpoints of all directories in service. Those that cannot be written to are returned.
    pub(crate) fn checkpoint(&self) -> Vec<&Dir> {
        let _turn = self.checkpointing.lock();
        self.logs.checkpoint(&self.states())
    }

    /// Writes the checkpoints if a log was cut below what they may say: what is appended next must be checked after a crash.
    pub(crate) fn checkpoint_if_cut(&self) {
        if self.shared.cut_below_checkpoint.swap(false, Ordering::AcqRel) {
            // A directory that cannot be written to is found by those who look after disks.
            drop(self.checkpoint());
        }
    }

    /// Whoever writes checkpoints holds this from looking at the partitions until they are written.
    pub(crate) fn checkpoint_turn(&self) -> MutexGuard<'_, ()> {
        self.checkpointing.lock()
    }

    /// Writes where the logs start: what was deleted on request stays deleted after a kill.
    pub(crate) fn checkpoint_starts(&self) -> Result<(), StorageError> {
        let _turn = self.checkpointing.lock();
        let states = self.states().into_iter().filter(|state| state.log_start > Offset::ZERO);
        let starts = states.map(|state| (state.path, state.partition, state.log_start));
        self.logs.write_checkpoints(CheckpointKind::LogStart, starts)
    }

    /// Writes up to where partitions with several replicas are committed, unless it is what was `written` before; gives what to
    /// compare with next time.
    pub(crate) fn checkpoint_high_watermarks(&self, written: u64) -> u64 {
        let _turn = self.checkpointing.lock();
        let states = self.states();
        let image = self.shared.image.load();
        let is_alone = |state: &LogState| {
            let name = &state.partition;
            let partition = image.topics.partition(&name.topic, name.partition);
            partition.is_none_or(|partition| partition.replicas.len() < 2)
        };
        let mut hash = DefaultHasher::new();
        for state in states.iter().filter(|state| !is_alone(state)) {
            (&state.partition, state.high_watermark).hash(&mut hash);
        }
        let now = hash.finish();
        let replicated = states.iter().any(|state| !is_alone(state));
        if now == written || !replicated {
            return now;
        }
        let offsets = states.into_iter().map(|s| (s.path, s.partition, s.high_watermark));
        match self.logs.write_checkpoints(CheckpointKind::HighWatermark, offsets) {
            Ok(()) => now,
            Err(failure) => {
                warn!(error = %failure, "what is committed could not be noted");
                written
            }
        }
    }

    /// What the checkpoints are to say.
    fn states(&self) -> Vec<LogState> {
        self.all().iter().map(|partition| partition.state()).collect()
    }

    /// Stops serving and closes every log, so that the next start needs no recovery.
    pub(crate) fn close(&self) {
        let all = self.all();
        all.iter().for_each(|partition| partition.retire());
        let unclean = self.logs.close(&all);
        drop(self.logs.checkpoint(&self.states()));
        self.logs.mark_clean(|dir| !unclean.contains(&dir.id()));
    }
}

impl Hosted {
    fn slot(&self, index: PartitionIndex) -> Lookup {
        let at = usize::try_from(index.get()).ok();
        match at.and_then(|at| self.partitions.read().get(at).cloned()) {
            Some(Slot::Here(partition)) => Lookup::Here(partition),
            Some(Slot::Elsewhere) => Lookup::Refused(ErrorCode::NotLeaderOrFollower),
            Some(Slot::Failed) => Lookup::Refused(ErrorCode::KafkaStorageError),
            None => Lookup::Refused(ErrorCode::UnknownTopicOrPartition),
        }
    }

    fn fail(&self, partition: &Arc<Partition>) {
        let Ok(at) = usize::try_from(partition.index().get()) else { return };
        if let Some(slot) = self.partitions.write().get_mut(at) {
            *slot = Slot::Failed;
        }
    }

    fn here(&self) -> Vec<Arc<Partition>> {
        let slots = self.partitions.read();
        let here = slots.iter().filter_map(|slot| match slot {
            Slot::Here(partition) => Some(Arc::clone(partition)),
            Slot::Elsewhere | Slot::Failed => None,
        });
        here.collect()
    }
}

/// What a change of metadata did to a partition here.
enum Changed {
    Nothing,
    /// It is hosted; the fetchers have to know.
    Duty(Arc<Partition>, Duty),
    /// This broker holds no replica any more.
    Gone(Arc<Partition>),
}

impl ImageListener for Replicas {
    fn committed(&self, image: &Arc<ClusterImage>, delta: &ImageDelta) {
        self.shared.image.store(Arc::clone(image));
        for topic in delta.topics_deleted.values() {
            self.remove(topic);
        }
        if !delta.topics_deleted.is_empty() {
            let gone: HashSet<_> =
                delta.topics_deleted.values().map(|topic| &*topic.name).collect();
            let _turn = self.checkpoint_turn();
            self.logs.forget(&|partition| !gone.contains(&*partition.topic));
        }
        let mut known: Option<(Uuid, Configs)> = None;
        let mut changes = Vec::with_capacity(delta.partitions.len());
        for (id, index) in &delta.partitions {
            let Some(topic) = image.topics.get_by_id(*id) else { continue };
            // The partitions of a topic follow one another.
            if known.as_ref().is_none_or(|(of, _)| of != id) {
                known = Some((*id, self.topic_config(image, &topic.name)));
            }
            let Some((_, config)) = &known else { continue };
            changes.push((topic, *index, config.clone()));
        }
        let change = |change: &(&Arc<Topic>, PartitionIndex, Configs)| {
            let (topic, index, config) = change;
            self.change(topic, *index, config)
        };
        self.finish(in_parallel(&changes, &change));
        if !delta.configs.is_empty() {
            self.reconfigure(image, delta);
        }
    }
}
