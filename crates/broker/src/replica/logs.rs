//! The log directories of this broker: opening what lies in them, making, deleting and closing logs, checkpoints.
//!
//! Key type: [`Logs`]. All calls wait for the disk and belong on a thread where that does no harm. A directory whose disk
//! fails goes offline for good, by itself: the others go on. What lies in a directory and belongs to no topic is
//! never opened and never changed, but for its name where a new topic needs that.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use millstream_base::{NodeId, Offset, TimestampMs, TopicPartition, Uuid};
use millstream_env::clock::Clock;
use millstream_env::fs::OpenMode;
use millstream_env::random::Random;
use millstream_env::task;
use millstream_log::{
    CheckpointKind, FoundPartition, Log, LogConfig, LogDir, LogDirError, OffsetCheckpoint,
    OpenOptions, RecoveryReport, StorageError,
};
use millstream_metadata::ClusterImage;
use tracing::{debug, error, info, warn};

use super::partition::Partition;

/// The file that is written to see whether there is room, and its size.
const ROOM_PROBE: &str = "room.probe";
const ROOM_PROBE_BYTES: usize = 256 << 10;
/// How much must be free after a disk was full, where it is not a small one.
const ROOM: u64 = 16 << 20;

/// One log directory.
#[derive(Debug)]
pub(crate) struct Dir {
    dir: LogDir,
    /// How many partitions lie in it.
    held: AtomicUsize,
    /// Why it is out of service.
    offline: OnceLock<StorageError>,
}

impl Dir {
    fn new(dir: LogDir) -> Self {
        Self { dir, held: AtomicUsize::new(0), offline: OnceLock::new() }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Its id in metadata.
    pub(crate) fn id(&self) -> Uuid {
        self.dir.id()
    }

    /// Bytes that may still be written, and bytes in all.
    pub(crate) fn space(&self) -> Result<(u64, u64), StorageError> {
        match self.offline.get() {
            Some(error) => Err(error.clone()),
            None => self.dir.space(),
        }
    }

    /// Whether bytes can be written again after the disk was full: some, and more than a few.
    pub(crate) fn has_room(&self) -> bool {
        let Ok((free, total)) = self.space() else { return false };
        let path = self.path().join(ROOM_PROBE);
        let fs = self.dir.fs();
        let write = || -> std::io::Result<()> {
            let file = fs.open(&path, OpenMode::Create)?;
            file.write_all_at(&vec![0; ROOM_PROBE_BYTES], 0)?;
            file.sync_data()
        };
        let written = free >= ROOM.min(total / 20) && write().is_ok();
        // Where nothing was written there may be nothing to remove.
        drop(fs.remove_file(&path));
        written
    }

    /// Whether it is in service.
    pub(crate) fn is_online(&self) -> bool {
        self.offline.get().is_none()
    }
}

/// The log directories.
#[derive(Debug)]
pub(crate) struct Logs {
    dirs: Vec<Dir>,
    /// Directories that could not be used when the broker started.
    absent: Vec<PathBuf>,
    /// Partitions whose logs could not be opened: what the checkpoints say of them is kept for the next start.
    damaged: OnceLock<HashSet<TopicPartition>>,
    /// The broker's epoch; -1 while it has none.
    broker_epoch: AtomicI64,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// Every file of offsets by partition name.
const CHECKPOINTS: [CheckpointKind; 4] = [
    CheckpointKind::RecoveryPoint,
    CheckpointKind::LogStart,
    CheckpointKind::HighWatermark,
    CheckpointKind::Cleaner,
];

/// What a log's checkpoints say of it.
#[derive(Debug, Clone)]
pub(crate) struct LogState {
    /// Where it lies.
    pub path: Arc<Path>,
    /// Which partition.
    pub partition: TopicPartition,
    /// Everything below is on disk.
    pub recovery_point: Offset,
    /// Its start.
    pub log_start: Offset,
    /// What readers may see.
    pub high_watermark: Offset,
}

/// What was found at the start.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// The logs.
    pub logs: HashMap<TopicPartition, Log>,
    /// Partitions whose logs are there and cannot be opened.
    pub failed: HashSet<TopicPartition>,
    /// Whether a broker that used the directories before was killed or lost its power.
    pub unclean: bool,
}

/// For a new log: where metadata wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Home {
    /// In the directory of that id.
    In(Uuid),
    /// Where the fewest are.
    Anywhere,
}

impl Logs {
    /// Logs in `dirs`, which are open and locked; `absent` are those that cannot be used. At most `open_files` of their
    /// files stay open.
    pub(crate) fn new(
        dirs: Vec<LogDir>,
        absent: Vec<PathBuf>,
        open_files: usize,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let each = open_files / dirs.len().max(1);
        dirs.iter().for_each(|dir| dir.open_files().set_limit(each));
        let dirs = dirs.into_iter().map(Dir::new).collect();
        let broker_epoch = AtomicI64::new(-1);
        Self { dirs, absent, damaged: OnceLock::new(), broker_epoch, clock, random }
    }

    /// The directories, those that went out of service since the start included.
    pub(crate) fn dirs(&self) -> &[Dir] {
        &self.dirs
    }

    /// The wall clock and the monotonic one.
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Directories that could not be used when the broker started.
    pub(crate) fn absent(&self) -> &[PathBuf] {
        &self.absent
    }

    /// Notes in every directory which cluster the node has joined.
    pub(crate) fn join(&self, cluster_id: &str) -> Result<(), LogDirError> {
        self.dirs.iter().try_for_each(|dir| dir.dir.join(cluster_id))
    }

    /// Names the broker's epoch, for the marker of a clean stop.
    pub(crate) fn set_broker_epoch(&self, epoch: i64) {
        self.broker_epoch.store(epoch, Ordering::Relaxed);
    }

    /// The epoch at which this run of the broker is registered; `None` while it is not, or the node is alone.
    pub(crate) fn broker_epoch(&self) -> Option<i64> {
        Some(self.broker_epoch.load(Ordering::Relaxed)).filter(|epoch| *epoch >= 0)
    }

    /// The ids of the directories in service.
    pub(crate) fn online_ids(&self) -> Vec<Uuid> {
        self.dirs.iter().filter(|dir| dir.is_online()).map(Dir::id).collect()
    }

    /// The ids of the directories that went out of service since the start.
    pub(crate) fn offline_ids(&self) -> Vec<Uuid> {
        self.dirs.iter().filter(|dir| !dir.is_online()).map(Dir::id).collect()
    }

    /// Whether a directory that was configured is out of service.
    pub(crate) fn misses_some(&self) -> bool {
        !self.absent.is_empty() || self.dirs.iter().any(|dir| !dir.is_online())
    }

    /// Opens every log in the directories that `image` gives to broker `me`, `threads` at a time in each directory.
    pub(crate) fn open_all(
        &self,
        me: NodeId,
        image: &ClusterImage,
        threads: usize,
        config_of: &(dyn Fn(&TopicPartition) -> Arc<LogConfig> + Sync),
    ) -> Opened {
        let now = self.clock.now_ms();
        let open = |dir| open_dir(dir, me, image, threads, now, config_of);
        let each: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> =
                self.dirs.iter().map(|dir| scope.spawn(move || open(dir))).collect();
            running.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
        });
        let mut all = Opened::default();
        for (dir, opened) in self.dirs.iter().zip(each) {
            match opened {
                Ok(Ok(opened)) => all.take(dir, image, me, opened),
                Ok(Err(failure)) => dir.fail(failure),
                Err(_) => dir.fail(StorageError::Invalid {
                    path: dir.path().to_owned(),
                    problem: "opening its logs ended in a panic".to_owned(),
                }),
            }
        }
        all
    }

    /// Makes an empty log; tells in which directory.
    pub(crate) fn create(
        &self,
        partition: &TopicPartition,
        topic_id: Uuid,
        home: Home,
        config: Arc<LogConfig>,
    ) -> Result<(Log, Uuid), StorageError> {
        let dir = self.place(partition, home)?;
        let options = OpenOptions {
            topic_id: Some(topic_id),
            now: self.clock.now_ms(),
            files: Some(Arc::clone(dir.dir.open_files())),
            ..OpenOptions::default()
        };
        self.set_stray_aside(dir, partition, topic_id)?;
        let fs = Arc::clone(dir.dir.fs());
        let (log, _) = Log::open(fs, dir.path(), partition.clone(), config, &options)?;
        dir.held.fetch_add(1, Ordering::Relaxed);
        Ok((log, dir.id()))
    }

    fn place(&self, partition: &TopicPartition, home: Home) -> Result<&Dir, StorageError> {
        let mut online = self.dirs.iter().filter(|dir| dir.is_online());
        let found = match home {
            Home::In(id) => online.find(|dir| dir.id() == id),
            Home::Anywhere => online.min_by_key(|dir| dir.held.load(Ordering::Relaxed)),
        };
        found.ok_or_else(|| {
            let problem = match home {
                Home::In(id) => {
                    format!("its log lies in the log directory {id}, which is not in service")
                }
                Home::Anywhere => "no log directory is in service".to_owned(),
            };
            StorageError::Invalid { path: partition.to_string().into(), problem }
        })
    }

    /// An earlier topic of this name may have left its directory, when the broker was killed before it removed it.
    fn set_stray_aside(
        &self,
        dir: &Dir,
        partition: &TopicPartition,
        topic_id: Uuid,
    ) -> Result<(), StorageError> {
        let path = dir.path().join(partition.to_string());
        let Some(found) = LogDir::topic_id_in(&**dir.dir.fs(), &path) else { return Ok(()) };
        if found == topic_id {
            return Ok(());
        }
        let hex: String = self.random.bytes16().iter().map(|byte| format!("{byte:02x}")).collect();
        let mut name = partition.to_string();
        name.truncate(200);
        let aside = dir.path().join(format!("{name}.{hex}-stray"));
        warn!(%partition, topic_id = %found, to = %aside.display(),
            "a directory of an earlier topic of this name is set aside; remove it if it is not wanted");
        let renamed = dir.dir.fs().rename(&path, &aside);
        renamed.map_err(|source| StorageError::Io {
            what: "rename",
            path,
            source: Arc::new(source),
        })
    }

    /// Takes a log out of service and has its files removed after `file.delete.delay.ms`.
    pub(crate) fn delete(self: &Arc<Self>, log: &mut Log) -> Result<(), StorageError> {
        let delay = u64::try_from(log.config().file_delete_delay_ms).unwrap_or_default();
        let Some(at) = self.place_of(&log.path()) else { return Ok(()) };
        let path = log.rename_for_delete(Uuid::from_random(self.random.bytes16()))?;
        if let Some(dir) = self.dirs.get(at) {
            dir.held.fetch_sub(1, Ordering::Relaxed);
        }
        let logs = Arc::clone(self);
        task::spawn(async move {
            task::sleep(Duration::from_millis(delay)).await;
            let remove = move || {
                let dir = logs.dirs.get(at);
                if let Some(Err(failure)) = dir.map(|dir| dir.dir.remove_deleted(&path)) {
                    warn!(error = %failure, "the files of a deleted partition are left behind");
                }
            };
            // Nothing hangs on the outcome: what is left is removed at the next start.
            drop(task::spawn_blocking(remove).await);
        });
        Ok(())
    }

    /// The place in [`Logs::dirs`] of the directory that a log lies in.
    pub(crate) fn place_of(&self, log: &Path) -> Option<usize> {
        let parent = log.parent();
        self.dirs.iter().position(|dir| parent == Some(dir.path()))
    }

    /// The directory that a log lies in.
    pub(crate) fn dir_of(&self, log: &Path) -> Option<&Dir> {
        self.place_of(log).and_then(|at| self.dirs.get(at))
    }

    /// Looks whether the directories are still there; those that just went are returned.
    pub(crate) fn probe(&self) -> Vec<&Dir> {
        let online = self.dirs.iter().filter(|dir| dir.is_online());
        let failed = |dir: &&Dir| {
            let failure = dir.dir.probe().err();
            failure.map(|failure| dir.fail(failure)).is_some()
        };
        online.filter(failed).collect()
    }

    /// Writes the checkpoints of all directories in service. One that cannot be written goes out of service.
    pub(crate) fn checkpoint(&self, states: &[LogState]) -> Vec<&Dir> {
        let mut by_dir: Vec<Vec<&LogState>> = self.dirs.iter().map(|_| Vec::new()).collect();
        for state in states {
            if let Some(here) = self.place_of(&state.path).and_then(|at| by_dir.get_mut(at)) {
                here.push(state);
            }
        }
        let mut failed = Vec::new();
        for (dir, here) in self.dirs.iter().zip(by_dir).filter(|(dir, _)| dir.is_online()) {
            if let Err(failure) = dir.checkpoint(&here, self.damaged()) {
                warn!(error = %failure, "checkpoints could not be written; a crash now means a longer start");
                if let Err(gone) = dir.dir.probe() {
                    dir.fail(gone);
                    failed.push(dir);
                }
            }
        }
        failed
    }

    /// Notes which logs could not be opened.
    pub(crate) fn note_damaged(&self, damaged: HashSet<TopicPartition>) {
        // Only the start opens what lies in the directories.
        let _ = self.damaged.set(damaged);
    }

    fn damaged(&self) -> Option<&HashSet<TopicPartition>> {
        self.damaged.get().filter(|damaged| !damaged.is_empty())
    }

    /// Takes every line that `is_known` does not want out of the checkpoints: they are kept by name, and a topic made anew
    /// under a name must inherit neither a log start nor a recovery point nor what was compacted.
    pub(crate) fn forget(&self, is_known: &dyn Fn(&TopicPartition) -> bool) {
        for dir in self.dirs.iter().filter(|dir| dir.is_online()) {
            for kind in CHECKPOINTS {
                let forgotten = dir.dir.read_checkpoint(kind).and_then(|mut offsets| {
                    let lines = offsets.len();
                    offsets.retain(|partition, _| is_known(partition));
                    if offsets.len() == lines {
                        return Ok(());
                    }
                    dir.dir.write_checkpoint(kind, &offsets)
                });
                if let Err(failure) = forgotten {
                    warn!(error = %failure, "a deleted partition stays in a checkpoint until that is written again");
                }
            }
        }
    }

    /// Reads a checkpoint of every directory in service.
    pub(crate) fn read_checkpoints(&self, kind: CheckpointKind) -> OffsetCheckpoint {
        let mut all = OffsetCheckpoint::new();
        for dir in self.dirs.iter().filter(|dir| dir.is_online()) {
            match dir.dir.read_checkpoint(kind) {
                Ok(offsets) => all.extend(offsets),
                Err(failure) => warn!(error = %failure, "a checkpoint is not used"),
            }
        }
        all
    }

    /// Writes one kind of checkpoint, to each directory the offsets of the logs that lie in it.
    pub(crate) fn write_checkpoints(
        &self,
        kind: CheckpointKind,
        offsets: impl Iterator<Item = (Arc<Path>, TopicPartition, Offset)>,
    ) -> Result<(), StorageError> {
        let mut by_dir: Vec<OffsetCheckpoint> =
            self.dirs.iter().map(|_| Default::default()).collect();
        for (path, partition, offset) in offsets {
            if let Some(here) = self.place_of(&path).and_then(|at| by_dir.get_mut(at)) {
                here.insert(partition, offset);
            }
        }
        let online = self.dirs.iter().zip(by_dir).filter(|(dir, _)| dir.is_online());
        for (dir, offsets) in online {
            dir.write(kind, offsets, self.damaged())?;
        }
        Ok(())
    }

    /// Closes the logs of retired partitions: many share one sync. The directories of which some could not be closed
    /// are returned.
    pub(crate) fn close(&self, partitions: &[Arc<Partition>]) -> HashSet<Uuid> {
        let mut by_dir: Vec<Vec<&Arc<Partition>>> = self.dirs.iter().map(|_| Vec::new()).collect();
        for partition in partitions {
            let path = partition.with_log(|log| log.path());
            if let Some(here) = self.place_of(&path).and_then(|at| by_dir.get_mut(at)) {
                here.push(partition);
            }
        }
        let dirs = self.dirs.iter().zip(by_dir);
        dirs.filter_map(|(dir, here)| (!dir.close(&here)).then_some(dir.id())).collect()
    }

    /// Leaves the marker of a clean stop in a directory: every log in it is closed and every checkpoint written.
    pub(crate) fn mark_clean(&self, is_clean: impl Fn(&Dir) -> bool) {
        if self.damaged().is_some() {
            warn!(
                "some logs could not be opened: the stop is not marked as clean, so that the next start checks them"
            );
            return;
        }
        for dir in self.dirs.iter().filter(|dir| dir.is_online() && is_clean(dir)) {
            if let Err(failure) = dir.dir.mark_clean(self.broker_epoch.load(Ordering::Relaxed)) {
                warn!(error = %failure, "the stop is not marked as clean; the next start will check the logs");
            }
        }
    }
}

impl Dir {
    /// Has the log of a partition that moved to other brokers removed, as it is when that happens while the broker runs. Whether
    /// that could be begun; the directory is removed with those of deleted partitions.
    fn remove_moved(&self, found: &FoundPartition) -> bool {
        let id = found.topic_id.unwrap_or(Uuid::ZERO);
        match self.dir.rename_for_delete(found, id) {
            Ok(()) => {
                info!(partition = %found.partition, "moved to other brokers while this one was down; the log here is deleted");
                true
            }
            Err(error) => {
                warn!(partition = %found.partition, %error, "the log of a partition that moved away cannot be removed");
                false
            }
        }
    }

    fn fail(&self, failure: StorageError) {
        error!(path = %self.path().display(), error = %failure,
            "the log directory is out of service, with all partitions in it; the others go on");
        // A second failure says nothing new.
        let _ = self.offline.set(failure);
    }

    /// Whether all could be closed.
    fn close(&self, partitions: &[&Arc<Partition>]) -> bool {
        let failed = |partition: &Partition, failure: StorageError| {
            warn!(partition = %partition.name, error = %failure,
                "the log could not be closed; the next start will check it");
        };
        let (mut tickets, mut waiting, mut clean) = (Vec::new(), Vec::new(), true);
        let prepared = in_parallel(partitions, &|partition| partition.with_log(Log::prepare_close));
        for (partition, prepared) in partitions.iter().zip(prepared) {
            match prepared {
                Ok(None) => {}
                Ok(Some(ticket)) => {
                    tickets.push(ticket);
                    waiting.push(partition);
                }
                Err(failure) => {
                    failed(partition, failure);
                    clean = false;
                }
            }
        }
        let outcomes = self.dir.finish(&tickets);
        for ((partition, ticket), outcome) in waiting.iter().zip(&tickets).zip(outcomes) {
            if let Err(failure) = partition.with_log(|log| log.complete_flush(ticket, outcome)) {
                failed(partition, failure);
                clean = false;
            }
        }
        clean
    }

    /// Writes a checkpoint; what it said of damaged partitions stays.
    fn write(
        &self,
        kind: CheckpointKind,
        mut offsets: OffsetCheckpoint,
        damaged: Option<&HashSet<TopicPartition>>,
    ) -> Result<(), StorageError> {
        if let Some(damaged) = damaged {
            let mut kept = self.dir.read_checkpoint(kind).unwrap_or_default();
            kept.retain(|partition, _| damaged.contains(partition));
            kept.append(&mut offsets);
            offsets = kept;
        }
        self.dir.write_checkpoint(kind, &offsets)
    }

    fn checkpoint(
        &self,
        here: &[&LogState],
        damaged: Option<&HashSet<TopicPartition>>,
    ) -> Result<(), StorageError> {
        let offsets = |of: fn(&LogState) -> Offset| -> OffsetCheckpoint {
            here.iter().map(|state| (state.partition.clone(), of(state))).collect()
        };
        let mut starts = offsets(|state| state.log_start);
        starts.retain(|_, start| *start > Offset::ZERO);
        let write = |kind, offsets| self.write(kind, offsets, damaged);
        write(CheckpointKind::RecoveryPoint, offsets(|s| s.recovery_point))?;
        write(CheckpointKind::LogStart, starts)?;
        write(CheckpointKind::HighWatermark, offsets(|s| s.high_watermark))
    }
}

/// Does `work` for all of many things, on as many threads as there are cores; the results are in their order. To make
/// files is work for the processor, mostly the system's.
pub(super) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    work: &(dyn Fn(&T) -> R + Sync),
) -> Vec<R> {
    /// Fewer are not worth a thread.
    const FEW: usize = 64;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(items.len() / FEW).max(1);
    if threads == 1 {
        return items.iter().map(work).collect();
    }
    let share = items.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let running: Vec<_> = items
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().map(work).collect::<Vec<R>>()))
            .collect();
        let done = running.into_iter().map(|thread| match thread.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.flatten().collect()
    })
}

/// What opening one directory gave.
#[derive(Default)]
struct DirOpened {
    logs: Vec<(TopicPartition, Log)>,
    failed: Vec<TopicPartition>,
    unclean: bool,
}

fn open_dir(
    dir: &Dir,
    me: NodeId,
    image: &ClusterImage,
    threads: usize,
    now: TimestampMs,
    config_of: &(dyn Fn(&TopicPartition) -> Arc<LogConfig> + Sync),
) -> Result<DirOpened, StorageError> {
    let mut found = dir.dir.partitions()?;
    found.retain(|found| !has_moved(image, me, found) || !dir.remove_moved(found));
    found.retain_mut(|found| belongs(image, me, found));
    dir.held.store(found.len(), Ordering::Relaxed);
    let unclean = !dir.dir.was_clean() && !found.is_empty();
    let mut opened = DirOpened { unclean, ..DirOpened::default() };
    let (mut segments, mut bytes) = (0, 0);
    for log in dir.dir.open_logs(&found, threads, now, config_of)? {
        match log.outcome {
            Ok((open, report)) => {
                tell(&log.partition, &report);
                segments += report.checked_segments;
                bytes += report.checked_bytes;
                opened.logs.push((log.partition, open));
            }
            Err(failure) => {
                error!(partition = %log.partition, error = %failure, "a log cannot be opened");
                opened.failed.push(log.partition);
            }
        }
    }
    if opened.unclean {
        info!(path = %dir.path().display(), logs = found.len(), segments, bytes, "checked after an unclean stop");
    }
    for path in dir.dir.deleted_partitions()? {
        if let Err(failure) = dir.dir.remove_deleted(&path) {
            warn!(error = %failure, "the files of a deleted partition are left behind");
        }
    }
    Ok(opened)
}

/// Whether the log's very topic is there, and other brokers have the partition: it moved away while this one was down.
fn has_moved(image: &ClusterImage, me: NodeId, found: &FoundPartition) -> bool {
    let TopicPartition { topic, partition } = &found.partition;
    let known = image.topics.get(topic).filter(|topic| found.topic_id == Some(topic.id));
    let partition = known.and_then(|topic| topic.partition(*partition));
    partition.is_some_and(|partition| !partition.has_replica(me))
}

/// Whether metadata gives this log to broker `me`. Its topic's id is filled in where a crash has lost it.
fn belongs(image: &ClusterImage, me: NodeId, found: &mut FoundPartition) -> bool {
    let TopicPartition { topic, partition } = &found.partition;
    let known = image.topics.get(topic).and_then(|t| Some((t.id, t.partition(*partition)?)));
    let ours = known.filter(|(_, partition)| partition.has_replica(me)).map(|(id, _)| id);
    let belongs = ours.is_some() && found.topic_id.is_none_or(|id| Some(id) == ours);
    if belongs {
        found.topic_id = ours;
    } else {
        warn!(partition = %found.partition, path = %found.path.display(),
            "a log that belongs to no topic is left alone; remove its directory if it is not wanted");
    }
    belongs
}

impl Opened {
    fn take(&mut self, dir: &Dir, image: &ClusterImage, me: NodeId, opened: DirOpened) {
        self.unclean |= opened.unclean;
        for (partition, log) in opened.logs {
            let Some(other) = self.logs.get(&partition) else {
                self.logs.insert(partition, log);
                continue;
            };
            let topic = image.topics.get(&partition.topic);
            let assigned = topic.and_then(|t| t.partition(partition.partition)?.directory_of(me));
            let (mine, others) = (log.path(), other.path());
            let is_mine = assigned == Some(dir.id());
            let (kept, left) = if is_mine { (&mine, &others) } else { (&others, &mine) };
            error!(%partition, kept = %kept.display(), left = %left.display(),
                "the partition lies in two log directories; the one that metadata does not name is left alone");
            if is_mine {
                self.logs.insert(partition, log);
            }
        }
        self.failed.extend(opened.failed);
    }
}

/// What was repaired is said with partition, offsets and bytes.
fn tell(partition: &TopicPartition, report: &RecoveryReport) {
    if let Some(cut) = &report.cut {
        warn!(
            %partition, file = %cut.file.display(), position = cut.position, bytes = cut.bytes,
            end_offset = %cut.end_offset, reason = %cut.reason,
            "cut a torn tail off the log"
        );
    }
    if report.checked_bytes > 0 {
        let (segments, bytes) = (report.checked_segments, report.checked_bytes);
        debug!(%partition, segments, bytes, "checked after an unclean stop");
    }
    for rebuilt in &report.rebuilt {
        warn!(%partition, "rebuilt {rebuilt}");
    }
}
