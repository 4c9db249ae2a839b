//! Opening what lies on disk: directories claimed, metadata replayed, logs recovered, replicas hosted.
//!
//! Key functions: [`open`], and [`host`] once the metadata is new enough. They wait for the disk. Nothing is changed in a directory before all of them are known to be
//! this broker's; a directory whose disk fails is named and left out.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use millstream_base::{NodeId, Uuid};
use millstream_config::{BrokerConfig, TopicConfig, Value};
use millstream_env::clock::Clock;
use millstream_env::fs::Fs;
use millstream_env::random::Random;
use millstream_log::{ClaimOptions, Claimed, LogDir, LogDirError, claim, claim_to_join};
use millstream_metadata::ClusterImage;
use millstream_quorum::{Executor, METADATA_DIR, Quorum, QuorumOptions, Timing, Voter};
use tracing::error;

use crate::replica::{Logs, Replicas};
use crate::settings::Settings;
use crate::start::StartError;
use crate::{features, topic_rules};

/// A new snapshot of the metadata is taken when its log has grown by this much.
const SNAPSHOT_AFTER: &str = "metadata.log.max.record.bytes.between.snapshots";

/// Who this broker is, as its data directories say.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// The cluster; not set while a node that joins has not learned it.
    pub cluster_id: Arc<OnceLock<String>>,
    /// The directories that could be used at the start, in the order they were named, each with its id.
    pub directories: Vec<(PathBuf, Uuid)>,
    /// How many of them were formatted just now.
    pub formatted: usize,
    /// The broker epoch of the run before, if that stopped cleanly.
    pub previous_epoch: Option<i64>,
    /// Held for its lock: `metadata.log.dir` where it is none of the log directories.
    metadata_only: Option<Arc<LogDir>>,
}

/// What lies on disk, opened, but for the logs of partitions.
pub(crate) struct Storage {
    /// Whose it is.
    pub identity: Identity,
    /// The metadata.
    pub quorum: Quorum,
    /// The partitions: none is hosted yet.
    pub replicas: Arc<Replicas>,
    /// The settings, those that the metadata holds included.
    pub settings: Arc<Settings>,
}

/// What a node must know of its cluster before it opens its metadata log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Membership {
    /// Whether the cluster's id comes from the other nodes.
    pub joins: bool,
    /// Who votes. Empty for a node alone.
    pub voters: Vec<Voter>,
    /// Where the other nodes reach this one.
    pub address: Option<(String, u16)>,
}

/// Opens the directories and the metadata. The process may have `open_files` files open at a time.
pub(crate) fn open(
    config: &BrokerConfig,
    membership: Membership,
    open_files: u64,
    fs: &Arc<dyn Fs>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<Storage, StartError> {
    let me = NodeId(config.node.node_id);
    let directories: Vec<PathBuf> = config.log_dirs().iter().map(PathBuf::from).collect();
    let metadata_dir = config.node.metadata_log_dir.as_ref().map(PathBuf::from);
    let data_dir = metadata_dir.clone().or(directories.first().cloned()).unwrap_or_default();
    let options = ClaimOptions { directories, metadata_dir, node_id: me, cluster_id: None };
    let claimed = match membership.joins {
        true => claim_to_join(fs, &**random, &options)?,
        false => claim(fs, &**random, &options)?,
    };
    let Claimed { cluster_id, dirs, metadata_only, failed, formatted, .. } = claimed;
    for (path, failure) in &failed {
        error!(path = %path.display(), error = %failure,
            "a log directory cannot be used; its partitions are offline");
    }
    let directory_id = dirs.iter().chain(&metadata_only).find(|dir| dir.path() == data_dir);
    let directory_id = directory_id.map_or(Uuid::ZERO, LogDir::id);
    let quorum = Quorum::open(
        Arc::clone(fs),
        Arc::clone(clock),
        Executor::blocking(),
        &QuorumOptions {
            data_dir,
            node_id: me,
            directory_id,
            address: membership.address,
            voters: membership.voters,
            is_voter: config.roles.controller,
            cluster_id: cluster_id.clone(),
            proposed_cluster_id: Some(Uuid::from_random(random.bytes16()).to_string()),
            features: features::bootstrap(),
            snapshot_after_bytes: snapshot_after(config),
            timing: timing(config),
            seed: random.next_u64(),
        },
    )?;
    let identity = Identity {
        cluster_id: Arc::new(cluster_id.map_or_else(OnceLock::new, OnceLock::from)),
        directories: dirs.iter().map(|dir| (dir.path().to_owned(), dir.id())).collect(),
        formatted,
        previous_epoch: previous_epoch(&dirs),
        metadata_only: metadata_only.map(Arc::new),
    };
    let settings = Settings::new(me, config.clone(), &quorum.image());
    let absent = failed.into_iter().map(|(path, _)| path).collect();
    let files = files_for_logs(open_files);
    let logs = Arc::new(Logs::new(dirs, absent, files, Arc::clone(clock), Arc::clone(random)));
    let replicas = Replicas::new(me, logs, settings.current());
    Ok(Storage { identity, quorum, replicas, settings })
}

/// Whether the data directory has something of a metadata log: the node has been part of a quorum before. One that was
/// refused, or stopped before it heard anything, has an empty log.
pub(crate) fn knows_quorum(config: &BrokerConfig, fs: &dyn Fs) -> bool {
    let first = || config.log_dirs().first().cloned().unwrap_or_default();
    let dir = config.node.metadata_log_dir.clone().unwrap_or_else(first);
    let files = fs.list(&PathBuf::from(dir).join(METADATA_DIR));
    let told = |name: &str| name.ends_with(".log") || name.ends_with(".checkpoint");
    files.is_ok_and(|files| files.iter().any(|file| file.size > 0 && told(&file.name)))
}

/// Opens the logs of partitions and hosts what `image` gives to this broker. Whether the broker was killed when it ran
/// last: its logs may have lost what was not on disk.
pub(crate) fn host(
    replicas: &Replicas,
    me: NodeId,
    config: &BrokerConfig,
    image: &Arc<ClusterImage>,
) -> bool {
    let opened = replicas.logs().open_all(me, image, recovery_threads(config), &|partition| {
        Arc::new(log_config(image, config, &partition.topic))
    });
    let unclean = opened.unclean;
    replicas.host_all(image, opened);
    unclean
}

/// Notes in every directory which cluster the node has joined.
pub(crate) fn join(
    identity: &Identity,
    replicas: &Replicas,
    cluster_id: &str,
) -> Result<(), LogDirError> {
    if let Some(dir) = &identity.metadata_only {
        dir.join(cluster_id)?;
    }
    replicas.logs().join(cluster_id)?;
    // Set already where the directories knew it.
    let _ = identity.cluster_id.set(cluster_id.to_owned());
    Ok(())
}

/// The broker epoch in the markers of a clean stop; none where one directory has no marker, or another epoch.
fn previous_epoch(dirs: &[LogDir]) -> Option<i64> {
    let first = dirs.first()?.clean_epoch()?;
    dirs.iter().all(|dir| dir.clean_epoch() == Some(first)).then_some(first)
}

fn timing(config: &BrokerConfig) -> Timing {
    let millis = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(1).max(1));
    Timing::of_election_timeout(millis(config.quorum.quorum_election_timeout_ms))
}

fn log_config(
    image: &ClusterImage,
    config: &BrokerConfig,
    topic: &str,
) -> millstream_log::LogConfig {
    let (resolved, _) = TopicConfig::resolve_lenient(&image.configs.of_topic(topic), config);
    let expiration_ms = config.transactions.producer_id_expiration_ms;
    topic_rules::log_config(&resolved, i64::from(expiration_ms))
}

/// How many of the files that this process may open are for logs: the others are for connections and for what is open
/// for a moment.
fn files_for_logs(open_files: u64) -> usize {
    const MOST: u64 = 100_000;
    let files = (open_files / 2).clamp(64, MOST);
    usize::try_from(files).unwrap_or(64)
}

fn recovery_threads(config: &BrokerConfig) -> usize {
    usize::try_from(config.log.num_recovery_threads_per_data_dir).unwrap_or(1)
}

fn snapshot_after(config: &BrokerConfig) -> u64 {
    match config.value(SNAPSHOT_AFTER) {
        Some(Value::Number(bytes)) => u64::try_from(bytes).unwrap_or(u64::MAX),
        _ => u64::MAX,
    }
}
