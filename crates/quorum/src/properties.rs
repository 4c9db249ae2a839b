//! `meta.properties`: to which cluster and node a data directory belongs.
//!
//! Key function: [`prepare_directories`]. An empty directory is formatted by itself; one that belongs to someone
//! else, or that something newer wrote, is refused with the reason and what to do. The file is Kafka's, version 1.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use millstream_base::{NodeId, Uuid};
use millstream_env::fs::Fs;
use millstream_env::random::Random;

use crate::error::PrepareError;

const FILE: &str = "meta.properties";

/// More than any real file has; a larger one is not read into memory.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// What the directories should be.
#[derive(Debug, Clone)]
pub struct PrepareOptions {
    /// `log.dirs`, the one with the metadata log first.
    pub directories: Vec<PathBuf>,
    /// `node.id`.
    pub node_id: NodeId,
    /// The cluster that they must belong to; `None` takes the one they belong to, or a new one.
    pub cluster_id: Option<String>,
}

/// Whose the directories are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: String,
    /// The node.
    pub node_id: NodeId,
    /// The directories in the order they were named, each with its id.
    pub directories: Vec<(PathBuf, Uuid)>,
    /// How many of them were formatted just now.
    pub formatted: usize,
}

/// What one file says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MetaProperties {
    cluster_id: String,
    node_id: NodeId,
    /// Absent in files of Kafka before 3.7.
    directory_id: Option<Uuid>,
}

/// Reads what every directory says about itself, formats those that are empty, and refuses those that do not
/// belong together or to this node. Nothing is written unless all are good.
pub fn prepare_directories(
    fs: &dyn Fs,
    random: &dyn Random,
    options: &PrepareOptions,
) -> Result<Identity, PrepareError> {
    let mut found = Vec::with_capacity(options.directories.len());
    for path in &options.directories {
        found.push((path, inspect(fs, path)?));
    }
    if found.is_empty() {
        return Err(PrepareError::NoDirectory);
    }
    let known = found.iter().find_map(|(_, meta)| meta.as_ref().map(|m| m.cluster_id.clone()));
    let cluster_id = options.cluster_id.clone().or(known);
    let cluster_id = cluster_id.unwrap_or_else(|| random_id(random).to_string());
    for (path, meta) in &found {
        if let Some(meta) = meta {
            check(path, meta, &cluster_id, options.node_id)?;
        }
    }
    let mut directories = Vec::with_capacity(found.len());
    let mut formatted = 0;
    for (path, meta) in found {
        formatted += usize::from(meta.is_none());
        let id = match meta.and_then(|meta| meta.directory_id) {
            Some(id) => id,
            None => {
                let id = random_id(random);
                write(fs, path, &cluster_id, options.node_id, id)?;
                id
            }
        };
        directories.push((path.clone(), id));
    }
    Ok(Identity { cluster_id, node_id: options.node_id, directories, formatted })
}

/// What the directory says; `None` when it is empty or not there.
fn inspect(fs: &dyn Fs, directory: &Path) -> Result<Option<MetaProperties>, PrepareError> {
    let path = directory.join(FILE);
    match fs.read(&path, MAX_FILE_BYTES) {
        Ok(bytes) => return parse(&path, &bytes).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(cause) => return Err(PrepareError::Io { action: "read", path, cause }),
    }
    let entries = match fs.list(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => {
            return Err(PrepareError::Io { action: "list", path: directory.to_owned(), cause });
        }
    };
    // The root of a volume has `lost+found`; a lock or an interrupted format leaves a file of its own.
    let foreign = |name: &str| {
        !name.starts_with('.') && name != "lost+found" && name != "meta.properties.tmp"
    };
    match entries.into_iter().find(|entry| foreign(&entry.name)) {
        Some(entry) => {
            Err(PrepareError::NotEmpty { path: directory.to_owned(), found: entry.name })
        }
        None => Ok(None),
    }
}

fn check(
    path: &Path,
    meta: &MetaProperties,
    cluster_id: &str,
    node_id: NodeId,
) -> Result<(), PrepareError> {
    if meta.cluster_id != cluster_id {
        return Err(PrepareError::OtherCluster {
            path: path.to_owned(),
            found: meta.cluster_id.clone(),
            wanted: cluster_id.to_owned(),
        });
    }
    if meta.node_id != node_id {
        let (found, wanted) = (meta.node_id, node_id);
        return Err(PrepareError::OtherNode { path: path.to_owned(), found, wanted });
    }
    Ok(())
}

/// Reads the file's text: `key=value` lines, `#` comments.
fn parse(path: &Path, bytes: &[u8]) -> Result<MetaProperties, PrepareError> {
    let damaged = |reason: String| PrepareError::Damaged { path: path.to_owned(), reason };
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text".to_owned()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let entries: BTreeMap<&str, &str> = lines
        .filter(|line| !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once(['=', ':']))
        .map(|(key, value)| (key.trim(), value.trim()))
        .collect();
    let number = |key: &str| -> Result<i64, PrepareError> {
        let value = entries.get(key).ok_or_else(|| damaged(format!("it has no {key}")))?;
        value.parse().map_err(|_| damaged(format!("{key}={value} is not a number")))
    };
    match if entries.contains_key("version") { number("version")? } else { 0 } {
        1 => {}
        0 => return Err(PrepareError::ZooKeeper { path: path.to_owned() }),
        version => return Err(PrepareError::Newer { path: path.to_owned(), version }),
    }
    let cluster_id = entries.get("cluster.id").filter(|id| !id.is_empty());
    let cluster_id = cluster_id.ok_or_else(|| damaged("it has no cluster.id".to_owned()))?;
    let node_id = i32::try_from(number("node.id")?);
    let node_id = node_id.map_err(|_| damaged("node.id is too large".to_owned()))?;
    let directory_id = entries.get("directory.id").map(|id| id.parse());
    let directory_id =
        directory_id.transpose().map_err(|e| damaged(format!("directory.id: {e}")))?;
    Ok(MetaProperties {
        cluster_id: (*cluster_id).to_owned(),
        node_id: NodeId(node_id),
        directory_id,
    })
}

fn write(
    fs: &dyn Fs,
    directory: &Path,
    cluster_id: &str,
    node_id: NodeId,
    directory_id: Uuid,
) -> Result<(), PrepareError> {
    let path = directory.join(FILE);
    let failed =
        |action, path: &Path, cause| PrepareError::Io { action, path: path.to_owned(), cause };
    fs.create_dir_all(directory).map_err(|e| failed("create", directory, e))?;
    let text = format!(
        "version=1\ncluster.id={cluster_id}\nnode.id={node_id}\ndirectory.id={directory_id}\n"
    );
    fs.write_atomically(&path, text.as_bytes()).map_err(|e| failed("write", &path, e))
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
