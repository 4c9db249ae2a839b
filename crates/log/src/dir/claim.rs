//! Whose the data directories are: `meta.properties`, read, judged and written in one place.
//!
//! Key function: [`claim`]. Every directory is looked at before anything is changed, then locked, then looked at
//! again; only when all that can be read are good is an empty one formatted. A directory whose disk fails is named
//! and left out, the others go on; one that belongs to someone else, or that something newer wrote, refuses the
//! whole start with the reason and what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_base::{NodeId, Uuid};
use millstream_env::fs::{FileLock, Fs};
use millstream_env::random::Random;

use super::{CLEAN_SHUTDOWN, DEFAULT_OPEN_FILES, LOCK, LogDir};
use crate::error::StorageError;
use crate::metadata_file::{MetaProblem, MetaProperties};
use crate::open_files::OpenFiles;

const META_PROPERTIES: &str = "meta.properties";
/// More than any real file has; a larger one is not read into memory.
const MAX_META: u64 = 64 * 1024;

/// What the directories should be.
#[derive(Debug, Clone)]
pub struct ClaimOptions {
    /// `log.dirs`.
    pub directories: Vec<PathBuf>,
    /// `metadata.log.dir`, where it is set; it may be one of `directories`. Without it the first of them has the
    /// metadata log.
    pub metadata_dir: Option<PathBuf>,
    /// `node.id`.
    pub node_id: NodeId,
    /// The cluster that they must belong to; `None` takes the one they belong to, or a new one.
    pub cluster_id: Option<String>,
}

/// The directories of one node, locked.
#[derive(Debug)]
pub struct Claimed {
    /// The cluster that they belong to; `None` while no cluster was joined ([`claim_to_join`]).
    pub cluster_id: Option<String>,
    /// The node.
    pub node_id: NodeId,
    /// `log.dirs` but for the failed ones, in their order.
    pub dirs: Vec<LogDir>,
    /// `metadata.log.dir` where it is none of `log.dirs`: held for its lock.
    pub metadata_only: Option<LogDir>,
    /// Directories that cannot be used now, and why.
    pub failed: Vec<(PathBuf, LogDirError)>,
    /// How many were formatted just now.
    pub formatted: usize,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogDirError {
    /// No directory was named.
    #[error("no data directory is configured: set log.dirs")]
    NoDirectory,
    /// Another process has it.
    #[error("{} is used by another broker; stop that one, or name another directory", path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// It holds data, and nothing says whose.
    #[error(
        "{} has no meta.properties, but it is not empty (it holds `{found}`). Name an empty directory, or the one that holds your data",
        path.display()
    )]
    NotFormatted {
        /// The directory.
        path: PathBuf,
        /// A name found in it.
        found: String,
    },
    /// Its `meta.properties` makes no sense, or is not of a version that is known.
    #[error("{} {problem}", path.display())]
    Meta {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        problem: MetaProblem,
    },
    /// It belongs to another cluster.
    #[error(
        "{} belongs to cluster {found}, not to cluster {expected}: name another directory, or empty it if its data may go",
        path.display()
    )]
    OtherCluster {
        /// The directory.
        path: PathBuf,
        /// Its cluster.
        found: String,
        /// Ours.
        expected: String,
    },
    /// It belongs to another node.
    #[error(
        "{} belongs to node {found}, and this is node {expected}: set node.id={found}, or name another directory",
        path.display()
    )]
    OtherNode {
        /// The directory.
        path: PathBuf,
        /// Its node.
        found: NodeId,
        /// Ours.
        expected: NodeId,
    },
    /// The same directory is named twice.
    #[error("{} is named twice in log.dirs", path.display())]
    Twice {
        /// The directory.
        path: PathBuf,
    },
    /// The disk.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A directory on its way to be ours.
struct Candidate {
    path: PathBuf,
    is_log_dir: bool,
    is_metadata_dir: bool,
    lock: Option<Box<dyn FileLock>>,
    meta: Option<MetaProperties>,
    failed: Option<StorageError>,
}

/// Takes the directories of one node: makes and formats those that are missing or empty, locks all.
///
/// # Errors
/// One that is in use or belongs to someone else; nothing was written then. A failing disk is no error while it is
/// not that of the metadata log.
pub fn claim(
    fs: &Arc<dyn Fs>,
    random: &dyn Random,
    options: &ClaimOptions,
) -> Result<Claimed, LogDirError> {
    let new_cluster = || Some(random_id(random).to_string());
    claim_for(fs, random, options, new_cluster)
}

/// The same for a node that joins a cluster whose id it will learn from the others: new directories are formatted without
/// one, and get it by [`LogDir::join`].
///
/// # Errors
/// As [`claim`].
pub fn claim_to_join(
    fs: &Arc<dyn Fs>,
    random: &dyn Random,
    options: &ClaimOptions,
) -> Result<Claimed, LogDirError> {
    claim_for(fs, random, options, || None)
}

fn claim_for(
    fs: &Arc<dyn Fs>,
    random: &dyn Random,
    options: &ClaimOptions,
    new_cluster: impl FnOnce() -> Option<String>,
) -> Result<Claimed, LogDirError> {
    let mut candidates = candidates(options)?;
    for candidate in &mut candidates {
        let found = look(&**fs, &candidate.path);
        candidate.take(found)?;
    }
    judge(&candidates, options)?;
    for candidate in &mut candidates {
        let locked = lock(&**fs, &candidate.path)?;
        candidate.take_lock(locked);
        if candidate.failed.is_none() {
            // Another broker may have formatted it since the first look, and be gone again.
            let found = look(&**fs, &candidate.path);
            candidate.take(found)?;
        }
    }
    let cluster_id = judge(&candidates, options)?;
    if let Some(error) =
        candidates.iter().filter(|c| c.is_metadata_dir).find_map(Candidate::failure)
    {
        return Err(error.into());
    }
    let mut claimed = Claimed {
        cluster_id: cluster_id.or_else(new_cluster),
        node_id: options.node_id,
        dirs: Vec::new(),
        metadata_only: None,
        failed: Vec::new(),
        formatted: 0,
    };
    for candidate in candidates {
        claimed.admit(fs, random, candidate)?;
    }
    if claimed.dirs.is_empty() && !claimed.failed.is_empty() {
        return Err(claimed.failed.swap_remove(0).1);
    }
    Ok(claimed)
}

fn candidates(options: &ClaimOptions) -> Result<Vec<Candidate>, LogDirError> {
    let first = options.directories.first().ok_or(LogDirError::NoDirectory)?;
    let metadata_dir = options.metadata_dir.as_ref().unwrap_or(first);
    let mut candidates: Vec<Candidate> = Vec::with_capacity(options.directories.len() + 1);
    for path in &options.directories {
        if candidates.iter().any(|earlier| earlier.path == *path) {
            return Err(LogDirError::Twice { path: path.clone() });
        }
        candidates.push(Candidate::new(path, true, path == metadata_dir));
    }
    if !candidates.iter().any(|candidate| candidate.is_metadata_dir) {
        candidates.push(Candidate::new(metadata_dir, false, true));
    }
    Ok(candidates)
}

impl Candidate {
    fn new(path: &Path, is_log_dir: bool, is_metadata_dir: bool) -> Self {
        let path = path.to_owned();
        Self { path, is_log_dir, is_metadata_dir, lock: None, meta: None, failed: None }
    }

    fn take(
        &mut self,
        found: Result<Option<MetaProperties>, LogDirError>,
    ) -> Result<(), LogDirError> {
        match found {
            Ok(meta) => self.meta = meta,
            Err(LogDirError::Storage(error)) => self.failed = Some(error),
            Err(refused) => return Err(refused),
        }
        Ok(())
    }

    fn take_lock(&mut self, locked: Result<Box<dyn FileLock>, StorageError>) {
        match locked {
            Ok(lock) => self.lock = Some(lock),
            Err(error) => self.failed = Some(error),
        }
    }

    fn failure(&self) -> Option<StorageError> {
        self.failed.clone()
    }
}

/// What the directory says; `None` when it is empty or not there.
fn look(fs: &dyn Fs, directory: &Path) -> Result<Option<MetaProperties>, LogDirError> {
    let path = directory.join(META_PROPERTIES);
    match fs.read(&path, MAX_META) {
        Ok(bytes) => {
            let parsed = MetaProperties::parse(&bytes);
            return parsed.map(Some).map_err(|problem| LogDirError::Meta { path, problem });
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(StorageError::io("read", &path, e).into()),
    }
    let entries = match fs.list(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StorageError::io("list", directory, e).into()),
    };
    // The root of a volume has `lost+found`; a lock or an interrupted format leaves a file of its own.
    let foreign = |name: &str| {
        !name.starts_with('.') && name != "lost+found" && name != "meta.properties.tmp"
    };
    match entries.into_iter().find(|entry| foreign(&entry.name)) {
        Some(entry) => {
            Err(LogDirError::NotFormatted { path: directory.to_owned(), found: entry.name })
        }
        None => Ok(None),
    }
}

/// Whether those that say something belong together and to this node; the cluster that they name.
fn judge(candidates: &[Candidate], options: &ClaimOptions) -> Result<Option<String>, LogDirError> {
    let known = candidates.iter().find_map(|c| c.meta.as_ref()?.cluster_id.clone());
    let cluster_id = options.cluster_id.clone().or(known);
    for candidate in candidates {
        let Some(meta) = &candidate.meta else { continue };
        let path = candidate.path.clone();
        if let (Some(expected), Some(found)) = (&cluster_id, &meta.cluster_id)
            && expected != found
        {
            let (found, expected) = (found.clone(), expected.clone());
            return Err(LogDirError::OtherCluster { path, found, expected });
        }
        if meta.node_id != options.node_id {
            let (found, expected) = (meta.node_id, options.node_id);
            return Err(LogDirError::OtherNode { path, found, expected });
        }
    }
    Ok(cluster_id)
}

/// The lock of a directory, which is made if it is not there. The outer error refuses, the inner one is the disk's.
fn lock(
    fs: &dyn Fs,
    directory: &Path,
) -> Result<Result<Box<dyn FileLock>, StorageError>, LogDirError> {
    if let Err(e) = fs.create_dir_all(directory) {
        return Ok(Err(StorageError::io("make directory", directory, e)));
    }
    let path = directory.join(LOCK);
    match fs.lock(&path) {
        Ok(lock) => Ok(Ok(lock)),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            Err(LogDirError::Locked { path: directory.to_owned() })
        }
        Err(e) => Ok(Err(StorageError::io("lock", &path, e))),
    }
}

impl Claimed {
    /// Formats a directory where that is needed, and takes it in.
    fn admit(
        &mut self,
        fs: &Arc<dyn Fs>,
        random: &dyn Random,
        candidate: Candidate,
    ) -> Result<(), LogDirError> {
        let Candidate { path, is_log_dir, is_metadata_dir, lock, meta, failed } = candidate;
        let is_new = meta.is_none();
        let opened = match (failed, lock) {
            (Some(error), _) => Err(error),
            (None, None) => Err(StorageError::invalid(&path, "could not be locked")),
            (None, Some(lock)) => self.finish(fs, random, &path, lock, meta),
        };
        match opened {
            Ok(dir) => {
                self.formatted += usize::from(is_new);
                match is_log_dir {
                    true => self.dirs.push(dir),
                    false => self.metadata_only = Some(dir),
                }
            }
            Err(error) if is_metadata_dir => return Err(error.into()),
            Err(error) => self.failed.push((path, error.into())),
        }
        Ok(())
    }

    fn finish(
        &self,
        fs: &Arc<dyn Fs>,
        random: &dyn Random,
        path: &Path,
        lock: Box<dyn FileLock>,
        meta: Option<MetaProperties>,
    ) -> Result<LogDir, StorageError> {
        let is_whole = meta.as_ref().is_some_and(|meta| {
            meta.directory_id.is_some() && (meta.cluster_id.is_some() || self.cluster_id.is_none())
        });
        let directory_id = meta.and_then(|meta| meta.directory_id);
        let id = directory_id.unwrap_or_else(|| random_id(random));
        let meta = MetaProperties {
            cluster_id: self.cluster_id.clone(),
            node_id: self.node_id,
            directory_id: Some(id),
        };
        if !is_whole {
            let file = path.join(META_PROPERTIES);
            fs.write_atomically(&file, meta.to_text().as_bytes())
                .map_err(|e| StorageError::io("write", &file, e))?;
        }
        let marker = path.join(CLEAN_SHUTDOWN);
        let clean = match fs.read(&marker, MAX_META) {
            Ok(text) => Some(marked_epoch(&text)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(StorageError::io("read", &marker, e)),
        };
        let (fs, path) = (Arc::clone(fs), path.to_owned());
        let files = OpenFiles::new(DEFAULT_OPEN_FILES);
        Ok(LogDir { fs, path, id, meta, clean, files, _lock: lock })
    }
}

impl LogDir {
    /// Notes in `meta.properties` which cluster the node has joined.
    ///
    /// # Errors
    /// When the file cannot be written; or it names another cluster.
    pub fn join(&self, cluster_id: &str) -> Result<(), LogDirError> {
        let path = self.path.clone();
        match &self.meta.cluster_id {
            Some(known) if known == cluster_id => return Ok(()),
            Some(known) => {
                let (found, expected) = (known.clone(), cluster_id.to_owned());
                return Err(LogDirError::OtherCluster { path, found, expected });
            }
            None => {}
        }
        let meta = MetaProperties { cluster_id: Some(cluster_id.to_owned()), ..self.meta.clone() };
        let file = path.join(META_PROPERTIES);
        let written = self.fs.write_atomically(&file, meta.to_text().as_bytes());
        Ok(written.map_err(|e| StorageError::io("write", &file, e))?)
    }
}

/// The broker epoch in the marker of a clean stop: a small JSON text; -1 where it names none.
fn marked_epoch(text: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(text);
    let value = text.split_once("\"brokerEpoch\"").and_then(|(_, rest)| rest.split_once(':'));
    let number = value.map(|(_, rest)| rest.trim_start());
    let end = |text: &str| text.find(|c: char| c != '-' && !c.is_ascii_digit());
    let digits = number.map(|text| text.get(..end(text).unwrap_or(text.len())).unwrap_or(text));
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(-1)
}

/// An id whose text does not begin with a dash, which command lines would take for an option.
fn random_id(random: &dyn Random) -> Uuid {
    loop {
        let id = Uuid::from_random(random.bytes16());
        if !id.to_string().starts_with('-') {
            return id;
        }
    }
}

#[cfg(test)]
mod tests;
