//! The machine's file system.
//!
//! Key type: [`OsFs`]. Plain system calls through std and rustix; no memory maps, so a failing disk is an
//! error and never a signal.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use rustix::fs::{Advice, FlockOperation};
use rustix::io::{Errno, ReadWriteFlags};

use super::{DirEntry, File, FileLock, Fs, OpenMode, Residency};

/// Places this far apart are probed by [`File::cached`]: the kernel reads ahead in steps of about this size.
const PROBE_STEP: u64 = 256 * 1024;

/// Ranges with more steps than this are not probed place by place.
const MAX_PROBES: u64 = 64;

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsFs;

impl OsFs {
    /// The file system, shared.
    pub fn shared() -> Arc<dyn Fs> {
        Arc::new(Self)
    }
}

#[derive(Debug)]
struct OsFile(fs::File);

impl File for OsFile {
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        if super::may_wait() {
            return self.0.read_at(buf, position);
        }
        let mut bufs = [io::IoSliceMut::new(buf)];
        match rustix::io::preadv2(&self.0, &mut bufs, position, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read),
            Err(Errno::AGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            // The file system cannot tell: better to wait than never to read.
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => self.0.read_at(buf, position),
            Err(other) => Err(other.into()),
        }
    }

    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize> {
        self.0.write_at(buf, position)
    }

    fn write_vectored_at(&self, bufs: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, bufs, position)?)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn truncate(&self, size: u64) -> io::Result<()> {
        self.0.set_len(size)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn cached(&self, position: u64, len: u64) -> Residency {
        if len == 0 {
            return Residency::Cached;
        }
        let last = position.saturating_add(len - 1);
        let step = PROBE_STEP.max(len / MAX_PROBES);
        let mut at = position;
        loop {
            match probe(&self.0, at) {
                Residency::Cached => {}
                other => return other,
            }
            if at >= last {
                return Residency::Cached;
            }
            at = at.saturating_add(step).min(last);
        }
    }

    fn prefetch(&self, position: u64, len: u64) {
        let Some(len) = std::num::NonZeroU64::new(len) else { return };
        // A hint that the system may ignore; so may we its answer.
        let _ = rustix::fs::fadvise(&self.0, position, Some(len), Advice::WillNeed);
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

/// Reads one byte only if that needs no waiting.
fn probe(file: &fs::File, position: u64) -> Residency {
    let mut byte = [0_u8; 1];
    let mut bufs = [io::IoSliceMut::new(&mut byte)];
    match rustix::io::preadv2(file, &mut bufs, position, ReadWriteFlags::NOWAIT) {
        Ok(_) => Residency::Cached,
        Err(Errno::AGAIN) => Residency::NotCached,
        Err(_) => Residency::Unknown,
    }
}

#[derive(Debug)]
struct OsLock(
    #[allow(dead_code, reason = "held for its lock, which ends when the file closes")] fs::File,
);

impl FileLock for OsLock {}

impl Fs for OsFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::Create => options.write(true).create(true).truncate(false),
            OpenMode::CreateNew => options.write(true).create_new(true),
        };
        Ok(Arc::new(OsFile(options.open(path)?)))
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn sync_all(&self, path: &Path) -> io::Result<()> {
        Ok(rustix::fs::syncfs(fs::File::open(path)?)?)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            match found(name, fs::metadata(entry.path())) {
                Ok(Some(entry)) => entries.push(entry),
                // Removed between the listing and the look at it, or a dangling link.
                Ok(None) => {}
                Err(e) => return Err(e),
            }
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>> {
        let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        found(name, fs::metadata(path))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>> {
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(OsLock(file)))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn total_bytes(&self, path: &Path) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
    }
}

fn found(name: String, metadata: io::Result<fs::Metadata>) -> io::Result<Option<DirEntry>> {
    match metadata {
        Ok(m) => {
            let since = m.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let modified_ms = since.and_then(|since| i64::try_from(since.as_millis()).ok());
            let modified_ms = modified_ms.unwrap_or(i64::MAX);
            Ok(Some(DirEntry { name, is_dir: m.is_dir(), size: m.len(), modified_ms }))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
