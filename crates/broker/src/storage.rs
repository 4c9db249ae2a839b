//! Opening what lies on disk: directories claimed, metadata replayed, logs recovered, replicas hosted.
//!
//! Key function: [`open`]. It waits for the disk. Nothing is changed in a directory before all of them are known to be
//! this broker's; a directory whose disk fails is named and left out.

use std::path::PathBuf;
use std::sync::Arc;

use millstream_base::{NodeId, Uuid};
use millstream_config::{BrokerConfig, TopicConfig, Value};
use millstream_env::clock::Clock;
use millstream_env::fs::Fs;
use millstream_env::random::Random;
use millstream_log::{ClaimOptions, Claimed, LogDir, claim};
use millstream_metadata::ClusterImage;
use millstream_quorum::{Executor, Options, Quorum};
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
    /// The cluster.
    pub cluster_id: String,
    /// The directories that could be used at the start, in the order they were named, each with its id.
    pub directories: Vec<(PathBuf, Uuid)>,
    /// How many of them were formatted just now.
    pub formatted: usize,
    /// Held for its lock: `metadata.log.dir` where it is none of the log directories.
    _metadata_only: Option<Arc<LogDir>>,
}

/// What lies on disk, opened.
pub(crate) struct Storage {
    /// Whose it is.
    pub identity: Identity,
    /// The metadata.
    pub quorum: Quorum,
    /// The partitions.
    pub replicas: Arc<Replicas>,
    /// The settings, those that the metadata holds included.
    pub settings: Arc<Settings>,
    /// Whether the broker was killed when it ran last: its logs may have lost what was not on disk.
    pub unclean: bool,
}

/// Opens everything. The process may have `open_files` files open at a time.
pub(crate) fn open(
    config: &BrokerConfig,
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
    let Claimed { cluster_id, dirs, metadata_only, failed, formatted, .. } =
        claim(fs, &**random, &options)?;
    for (path, failure) in &failed {
        error!(path = %path.display(), error = %failure,
            "a log directory cannot be used; its partitions are offline");
    }
    let identity = Identity {
        cluster_id: cluster_id.unwrap_or_default(),
        directories: dirs.iter().map(|dir| (dir.path().to_owned(), dir.id())).collect(),
        formatted,
        _metadata_only: metadata_only.map(Arc::new),
    };
    let quorum = Quorum::open(
        Arc::clone(fs),
        Arc::clone(clock),
        Executor::blocking(),
        &Options {
            data_dir,
            node_id: me,
            cluster_id: Some(identity.cluster_id.clone()),
            features: features::bootstrap(),
            snapshot_after_bytes: snapshot_after(config),
            ..Options::default()
        },
    )?;
    let image = quorum.image();
    let settings = Settings::new(me, config.clone(), &image);
    let absent = failed.into_iter().map(|(path, _)| path).collect();
    let files = files_for_logs(open_files);
    let logs = Arc::new(Logs::new(dirs, absent, files, Arc::clone(clock), Arc::clone(random)));
    let opened = logs.open_all(me, &image, recovery_threads(config), &|partition| {
        Arc::new(log_config(&image, &settings.current().load(), &partition.topic))
    });
    let unclean = opened.unclean;
    let replicas = Replicas::new(me, logs, settings.current());
    replicas.host_all(&image, opened);
    Ok(Storage { identity, quorum, replicas, settings, unclean })
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
