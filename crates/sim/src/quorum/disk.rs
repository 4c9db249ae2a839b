//! A file system in memory that loses power.
//!
//! Key types: [`Disk`] (what a machine keeps) and [`DiskFs`] (how one process sees it). A name is safe once its directory
//! was synced, bytes once their file was. A power loss leaves what is safe, and of the rest a part.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_env::fs::{DirEntry, File, FileLock, Fs, OpenMode, Residency};
use parking_lot::Mutex;

use crate::rng::Rng;

#[derive(Debug, Default, Clone)]
struct Contents {
    data: Vec<u8>,
    safe: Vec<u8>,
}

/// The file in which a voter keeps what it promised.
pub(crate) const VOTE: &str = "quorum-state";

type Inode = Arc<Mutex<Contents>>;

#[derive(Debug, Clone)]
enum Node {
    File(Inode),
    Directory,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<PathBuf, Node>,
    safe_names: BTreeMap<PathBuf, Node>,
    /// Processes of earlier lives touch nothing any more.
    life: u64,
}

/// What a machine keeps.
#[derive(Debug, Default, Clone)]
pub(crate) struct Disk {
    state: Arc<Mutex<State>>,
    /// The mistake of not syncing files of this name.
    never_synced: Option<&'static str>,
}

impl Disk {
    /// An empty disk. `never_synced` makes a mistake on purpose.
    pub(crate) fn new(never_synced: Option<&'static str>) -> Self {
        Self { never_synced, ..Self::default() }
    }

    /// How the process that starts now sees it.
    pub(crate) fn mount(&self) -> Arc<dyn Fs> {
        let life = self.state.lock().life;
        Arc::new(DiskFs { disk: self.clone(), life })
    }

    /// The process is gone; with `power_loss` so is what was not safe, or a part of it. Tells whether what the process
    /// promised is still there.
    pub(crate) fn crash(&self, power_loss: bool, rng: &mut Rng) -> bool {
        let mut state = self.state.lock();
        state.life += 1;
        if !power_loss {
            return true;
        }
        let state = &mut *state;
        let promised = bytes_of(&state.names, VOTE);
        if self.never_synced.is_some() || rng.percent(50) {
            state.names.clone_from(&state.safe_names);
        }
        for node in state.names.values() {
            let Node::File(inode) = node else { continue };
            let Contents { data, safe } = &mut *inode.lock();
            let grown = data.len() > safe.len() && data.starts_with(safe);
            match rng.below(3) {
                0 if grown => {
                    let keep = rng.between(safe.len() as u64, data.len() as u64);
                    data.truncate(usize::try_from(keep).unwrap_or(0));
                }
                1 if self.never_synced.is_none() => {}
                _ => data.clone_from(safe),
            }
            safe.clone_from(data);
        }
        state.safe_names.clone_from(&state.names);
        promised == bytes_of(&state.names, VOTE)
    }
}

fn bytes_of(names: &BTreeMap<PathBuf, Node>, name: &str) -> Option<Vec<u8>> {
    let named = |path: &Path| path.file_name().is_some_and(|own| own == name);
    let mut files = names.iter().filter(|(path, _)| named(path));
    files.find_map(|(_, node)| match node {
        Node::File(inode) => Some(inode.lock().data.clone()),
        Node::Directory => None,
    })
}

#[derive(Debug)]
struct DiskFs {
    disk: Disk,
    life: u64,
}

#[derive(Debug)]
struct DiskFile {
    disk: Disk,
    life: u64,
    inode: Inode,
    syncs: bool,
}

#[derive(Debug)]
struct NoLock;

impl FileLock for NoLock {}

fn gone() -> io::Error {
    io::Error::other("the machine has stopped")
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

fn place(position: u64) -> io::Result<usize> {
    usize::try_from(position).map_err(io::Error::other)
}

impl DiskFile {
    fn check(&self) -> io::Result<()> {
        if self.disk.state.lock().life == self.life { Ok(()) } else { Err(gone()) }
    }
}

impl File for DiskFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.check()?;
        let contents = self.inode.lock();
        let rest = contents.data.get(place(position)?..).unwrap_or_default();
        let count = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        self.check()?;
        let mut contents = self.inode.lock();
        let from = place(position)?;
        let len = contents.data.len().max(from + buf.len());
        contents.data.resize(len, 0);
        if let Some(to) = contents.data.get_mut(from..from + buf.len()) {
            to.copy_from_slice(buf);
        }
        Ok(buf.len())
    }

    fn write_vectored_at(&self, bufs: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
        let all: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
        self.write_at(&all, position)
    }

    fn size(&self) -> io::Result<u64> {
        self.check()?;
        Ok(self.inode.lock().data.len() as u64)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.check()?;
        self.inode.lock().data.resize(place(size)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        if self.syncs {
            let contents = &mut *self.inode.lock();
            contents.safe.clone_from(&contents.data);
        }
        Ok(())
    }

    fn cached(&self, _: u64, _: u64) -> Residency {
        Residency::Cached
    }

    fn prefetch(&self, _: u64, _: u64) {}

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl DiskFs {
    fn with<R>(&self, act: impl FnOnce(&mut State) -> io::Result<R>) -> io::Result<R> {
        let mut state = self.disk.state.lock();
        if state.life == self.life { act(&mut state) } else { Err(gone()) }
    }

    fn is_never_synced(&self, path: &Path) -> bool {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let part = self.disk.never_synced;
        part.is_some_and(|part| name.is_some_and(|name| name.contains(part)))
    }
}

fn entry_of(path: &Path, node: &Node) -> DirEntry {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let (is_dir, size) = match node {
        Node::Directory => (true, 0),
        Node::File(inode) => (false, inode.lock().data.len() as u64),
    };
    DirEntry { name: name.unwrap_or_default(), is_dir, size, modified_ms: i64::MAX }
}

impl Fs for DiskFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let inode = self.with(|state| match (state.names.get(path), mode) {
            (Some(Node::Directory), _) => Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), OpenMode::CreateNew) => Err(io::ErrorKind::AlreadyExists.into()),
            (Some(Node::File(inode)), _) => Ok(Arc::clone(inode)),
            (None, OpenMode::Read | OpenMode::Write) => Err(missing()),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                let inode = Inode::default();
                state.names.insert(path.to_owned(), Node::File(Arc::clone(&inode)));
                Ok(inode)
            }
        })?;
        let syncs = !self.is_never_synced(path);
        Ok(Arc::new(DiskFile { disk: self.disk.clone(), life: self.life, inode, syncs }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            for directory in path.ancestors() {
                state.names.entry(directory.to_owned()).or_insert(Node::Directory);
            }
            Ok(())
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.with(|state| match state.names.contains_key(path) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => {
                state.names.insert(path.to_owned(), Node::Directory);
                Ok(())
            }
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.with(|state| state.names.remove(path).map(drop).ok_or_else(missing))
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            state.names.retain(|name, _| !name.starts_with(path));
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let syncs = !self.is_never_synced(to);
        self.with(|state| {
            let node = state.names.remove(from).ok_or_else(missing)?;
            if let (Node::File(new), false) = (&node, syncs) {
                // What a file system without the sync may do: the new name, the old bytes.
                let old = state.names.get(to).cloned();
                let old = match &old {
                    Some(Node::File(old)) => old.lock().safe.clone(),
                    _ => Vec::new(),
                };
                new.lock().safe = old;
            }
            state.names.insert(to.to_owned(), node);
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            let State { names, safe_names, .. } = state;
            let inside = |name: &Path| name.parent() == Some(path);
            safe_names.retain(|name, _| !inside(name) || names.contains_key(name));
            for (name, node) in names.iter().filter(|(name, _)| inside(name)) {
                safe_names.insert(name.clone(), node.clone());
            }
            for directory in path.ancestors() {
                safe_names.entry(directory.to_owned()).or_insert(Node::Directory);
            }
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.with(|state| match state.names.get(path) {
            Some(Node::Directory) => {
                let inside = state.names.iter().filter(|(name, _)| name.parent() == Some(path));
                Ok(inside.map(|(name, node)| entry_of(name, node)).collect())
            }
            _ => Err(missing()),
        })
    }

    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        self.with(|state| Ok(state.names.get(path).map(|node| entry_of(path, node))))
    }

    fn lock(&self, _: &Path) -> io::Result<Box<dyn FileLock>> {
        Ok(Box::new(NoLock))
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(1 << 30)
    }

    fn total_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(1 << 31)
    }
}
