//! A file system in memory that can crash, lose what was not synced, tear writes and fill up.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use millstream_env::fs::{DirEntry, File, FileLock, Fs, OpenMode, Residency};

type Inode = Arc<Mutex<Contents>>;

#[derive(Debug, Default, Clone)]
struct Contents {
    data: Vec<u8>,
    /// What a power loss leaves.
    synced: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Node {
    File(Inode),
    Dir,
}

/// What happens at the write that the countdown reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing works any more until [`FaultFs::restart`]; a write is cut after so many bytes.
    Crash { keep: usize },
    /// This call alone fails, a write after so many bytes, with `StorageFull`.
    Full { keep: usize },
    /// This sync alone fails.
    Sync,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeMap<PathBuf, Node>,
    synced_names: BTreeMap<PathBuf, Node>,
    countdown: Option<(u64, Fault)>,
    crashed: bool,
    locks: Vec<PathBuf>,
    /// Writes, truncations, renames, removals and syncs so far.
    changes: u64,
}

#[derive(Default)]
pub struct FaultFs {
    state: Mutex<State>,
    me: Weak<FaultFs>,
}

impl std::fmt::Debug for FaultFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultFs")
    }
}

enum Go {
    On,
    Torn(usize, io::ErrorKind),
}

impl FaultFs {
    pub fn new() -> Arc<Self> {
        Arc::new_cyclic(|me| Self { state: Mutex::default(), me: me.clone() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Lets `fault` happen at the change after `after` more.
    pub fn arm(&self, after: u64, fault: Fault) {
        self.state().countdown = Some((after, fault));
    }

    pub fn disarm(&self) {
        self.state().countdown = None;
    }

    pub fn changes(&self) -> u64 {
        self.state().changes
    }

    pub fn crashed(&self) -> bool {
        self.state().crashed
    }

    /// Power came back, and the disk had got some of what was not synced: of each file all, nothing or a part, of
    /// all names the new or the old.
    pub fn restart_mixed(&self, mut random: impl FnMut() -> usize) {
        self.restart(false);
        let mut state = self.state();
        if random().is_multiple_of(2) {
            state.names = state.synced_names.clone();
        }
        for node in state.names.values() {
            let Node::File(inode) = node else { continue };
            let mut contents = inode.lock().unwrap();
            let Contents { data, synced } = &mut *contents;
            let grown = data.len() > synced.len() && data.starts_with(synced);
            match random() % 3 {
                0 => *data = synced.clone(),
                // A part of an append, the rest zeros: the size reached the disk, the bytes did not.
                1 if grown => {
                    let keep = synced.len() + random() % (data.len() - synced.len());
                    if random().is_multiple_of(2) {
                        data.truncate(keep);
                    } else {
                        data[keep..].fill(0);
                    }
                }
                _ => {}
            }
        }
    }

    /// The machine comes back. With `power_loss` only what was synced is there.
    pub fn restart(&self, power_loss: bool) {
        let mut state = self.state();
        state.crashed = false;
        state.countdown = None;
        state.locks.clear();
        if power_loss {
            state.names = state.synced_names.clone();
            for node in state.names.values() {
                if let Node::File(inode) = node {
                    let mut contents = inode.lock().unwrap();
                    contents.data = contents.synced.clone();
                }
            }
        }
    }

    /// Changes the bytes of a file behind everyone's back.
    pub fn patch(&self, path: &Path, act: impl FnOnce(&mut Vec<u8>)) {
        let state = self.state();
        let Some(Node::File(inode)) = state.names.get(path) else { panic!("no {path:?}") };
        act(&mut inode.lock().unwrap().data);
    }

    /// All files below a directory with their sizes.
    pub fn files(&self, dir: &Path) -> Vec<(String, usize)> {
        let state = self.state();
        let below = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        let files = below.filter_map(|(path, node)| match node {
            Node::File(inode) => {
                let name = path.file_name()?.to_string_lossy().into_owned();
                Some((name, inode.lock().unwrap().data.len()))
            }
            Node::Dir => None,
        });
        files.collect()
    }

    fn change(&self, sync: bool) -> io::Result<Go> {
        let mut state = self.state();
        if state.crashed {
            return Err(io::Error::other("crashed"));
        }
        state.changes += 1;
        let Some((left, fault)) = state.countdown else { return Ok(Go::On) };
        if left > 0 {
            state.countdown = Some((left - 1, fault));
            return Ok(Go::On);
        }
        match fault {
            Fault::Crash { keep } => {
                state.crashed = true;
                Ok(Go::Torn(keep, io::ErrorKind::Other))
            }
            Fault::Full { keep } => {
                state.countdown = None;
                Ok(Go::Torn(keep, io::ErrorKind::StorageFull))
            }
            // Waits for the next sync.
            Fault::Sync if !sync => Ok(Go::On),
            Fault::Sync => {
                state.countdown = None;
                Ok(Go::Torn(0, io::ErrorKind::Other))
            }
        }
    }

    fn simple_change(&self, sync: bool) -> io::Result<()> {
        match self.change(sync)? {
            Go::On => Ok(()),
            Go::Torn(_, kind) => Err(kind.into()),
        }
    }

    fn check(&self) -> io::Result<()> {
        if self.state().crashed { Err(io::Error::other("crashed")) } else { Ok(()) }
    }
}

struct MemFile {
    fs: Arc<FaultFs>,
    inode: Inode,
    writable: bool,
}

impl std::fmt::Debug for MemFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MemFile")
    }
}

impl File for MemFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        self.fs.check()?;
        let contents = self.inode.lock().unwrap();
        let from = usize::try_from(position).unwrap().min(contents.data.len());
        let rest = &contents.data[from..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        assert!(self.writable, "write through a file opened for reading");
        let (keep, result) = match self.fs.change(false)? {
            Go::On => (buf.len(), Ok(buf.len())),
            Go::Torn(keep, kind) => (keep.min(buf.len()), Err(kind.into())),
        };
        let mut contents = self.inode.lock().unwrap();
        let from = usize::try_from(position).unwrap();
        if keep > 0 {
            let len = contents.data.len().max(from + keep);
            contents.data.resize(len, 0);
            contents.data[from..from + keep].copy_from_slice(&buf[..keep]);
        }
        result
    }

    fn write_vectored_at(&self, bufs: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
        let all: Vec<u8> = bufs.iter().flat_map(|b| b.iter().copied()).collect();
        self.write_at(&all, position)
    }

    fn size(&self) -> io::Result<u64> {
        self.fs.check()?;
        Ok(self.inode.lock().unwrap().data.len() as u64)
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        assert!(self.writable, "truncate through a file opened for reading");
        self.fs.simple_change(false)?;
        self.inode.lock().unwrap().data.resize(usize::try_from(size).unwrap(), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fs.simple_change(true)?;
        let mut contents = self.inode.lock().unwrap();
        contents.synced = contents.data.clone();
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

#[derive(Debug)]
struct MemLock {
    fs: Arc<FaultFs>,
    path: PathBuf,
}

impl FileLock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        self.fs.state().locks.retain(|held| *held != self.path);
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Fs for FaultFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.check()?;
        let there = match self.state().names.get(path) {
            Some(Node::File(inode)) => Some(Arc::clone(inode)),
            Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            None => None,
        };
        let inode = match (there, mode) {
            (Some(_), OpenMode::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => inode,
            (None, OpenMode::Read | OpenMode::Write) => return Err(missing()),
            (None, OpenMode::Create | OpenMode::CreateNew) => {
                self.simple_change(false)?;
                let parent = path.parent().unwrap();
                let mut state = self.state();
                if !matches!(state.names.get(parent), Some(Node::Dir)) {
                    return Err(missing());
                }
                let inode = Inode::default();
                state.names.insert(path.to_owned(), Node::File(Arc::clone(&inode)));
                inode
            }
        };
        let fs = self.me.upgrade().unwrap();
        Ok(Arc::new(MemFile { fs, inode, writable: mode != OpenMode::Read }))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        for dir in path.ancestors().collect::<Vec<_>>().into_iter().rev() {
            match self.create_dir(dir) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        if self.state().names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.simple_change(false)?;
        self.state().names.insert(path.to_owned(), Node::Dir);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        if !self.state().names.contains_key(path) {
            return Err(missing());
        }
        self.simple_change(false)?;
        self.state().names.remove(path);
        Ok(())
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.simple_change(false)?;
        self.state().names.retain(|name, _| !name.starts_with(path));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        if !self.state().names.contains_key(from) {
            return Err(missing());
        }
        self.simple_change(false)?;
        let mut state = self.state();
        let moved: Vec<PathBuf> =
            state.names.keys().filter(|name| name.starts_with(from)).cloned().collect();
        for name in moved {
            let node = state.names.remove(&name).unwrap();
            let rest = name.strip_prefix(from).unwrap();
            let target = if rest == Path::new("") { to.to_owned() } else { to.join(rest) };
            state.names.insert(target, node);
        }
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.simple_change(true)?;
        let mut state = self.state();
        let inside = |name: &Path| name.parent() == Some(path);
        // Subdirectories keep what was synced in them.
        let State { names, synced_names, .. } = &mut *state;
        synced_names.retain(|name, _| !inside(name) || names.contains_key(name));
        for (name, node) in names.iter().filter(|(name, _)| inside(name)) {
            synced_names.insert(name.clone(), node.clone());
        }
        for dir in path.ancestors() {
            synced_names.entry(dir.to_owned()).or_insert(Node::Dir);
        }
        Ok(())
    }

    fn sync_all(&self, _: &Path) -> io::Result<()> {
        self.simple_change(true)?;
        let mut state = self.state();
        state.synced_names = state.names.clone();
        for node in state.names.values() {
            if let Node::File(inode) = node {
                let mut contents = inode.lock().unwrap();
                contents.synced = contents.data.clone();
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.check()?;
        let state = self.state();
        if !matches!(state.names.get(path), Some(Node::Dir)) {
            return Err(missing());
        }
        let below = state.names.iter().filter(|(name, _)| name.parent() == Some(path));
        let entries = below.map(|(name, node)| {
            let name = name.file_name().unwrap().to_string_lossy().into_owned();
            match node {
                Node::Dir => DirEntry { name, is_dir: true, size: 0, modified_ms: i64::MAX },
                Node::File(inode) => {
                    let size = inode.lock().unwrap().data.len() as u64;
                    DirEntry { name, is_dir: false, size, modified_ms: i64::MAX }
                }
            }
        });
        Ok(entries.collect())
    }

    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        self.check()?;
        let Some(parent) = path.parent() else { return Ok(None) };
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match self.list(parent) {
            Ok(entries) => Ok(entries.into_iter().find(|e| e.name == name)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        drop(self.open(path, OpenMode::Create)?);
        let mut state = self.state();
        if state.locks.iter().any(|held| held == path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locks.push(path.to_owned());
        drop(state);
        Ok(Box::new(MemLock { fs: self.me.upgrade().unwrap(), path: path.to_owned() }))
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(1 << 30)
    }

    fn total_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(1 << 31)
    }
}
