//! Files, behind two traits that a test or the simulator can implement.
//!
//! Key types: [`Fs`] (a file system), [`File`] (one open file, shared by readers), [`OsFs`] (the machine's).
//! All calls block. A write is in the page cache when it returns and on disk after [`File::sync_data`]; a
//! name is on disk after [`Fs::sync_dir`]. Error kinds of the system (`StorageFull`, `NotFound`, ...) are
//! kept as they are. Nothing here knows what the bytes mean.

mod os;
mod waiting;

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;

pub use os::OsFs;
pub use waiting::{may_wait, without_waiting};

/// How [`Fs::open`] opens a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// For reading; the file must exist.
    Read,
    /// For reading and writing; the file must exist.
    Write,
    /// For reading and writing; made when it is missing.
    Create,
    /// For reading and writing; `AlreadyExists` when it is there.
    CreateNew,
}

/// Whether a range of a file can be read without waiting for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residency {
    /// Every place that was probed is in memory.
    Cached,
    /// At least one place that was probed is not in memory.
    NotCached,
    /// The system cannot tell. Treat it as not cached where waiting would hurt.
    Unknown,
}

/// One open file. Positions are absolute; there is no cursor, so readers need no lock.
pub trait File: Send + Sync + Debug {
    /// Reads into `buf` from `position`; 0 at the end of the file. May read less than asked. Within
    /// [`without_waiting`] it fails with `WouldBlock` rather than wait for the disk.
    fn read_at(&self, buf: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes a prefix of `buf` at `position` and returns how much.
    fn write_at(&self, buf: &[u8], position: u64) -> io::Result<usize>;

    /// Writes a prefix of the concatenation of `bufs` at `position` and returns how much.
    fn write_vectored_at(&self, bufs: &[io::IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;

    /// Cuts or extends (with zeros) to `size` bytes.
    fn truncate(&self, size: u64) -> io::Result<()>;

    /// Waits until all written bytes are on the disk.
    fn sync_data(&self) -> io::Result<()>;

    /// Whether `len` bytes from `position` lie in memory. Probes places, does not read the bytes.
    fn cached(&self, position: u64, len: u64) -> Residency;

    /// Asks the system to read `len` bytes from `position` ahead of need. A hint: never fails.
    fn prefetch(&self, position: u64, len: u64);

    /// The descriptor, for `sendfile`; `None` where there is none (files in memory).
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;

    /// Reads exactly `buf.len()` bytes; `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, buf: &mut [u8], position: u64) -> io::Result<()> {
        if read_full(self, buf, position)? == buf.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    /// Fills `buf` as far as the file reaches and returns how much.
    fn read_up_to(&self, buf: &mut [u8], position: u64) -> io::Result<usize> {
        read_full(self, buf, position)
    }

    /// Writes all of `buf`. On an error some prefix may have been written.
    fn write_all_at(&self, buf: &[u8], position: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            match self.write_at(&buf[done..], position + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn read_full<F: File + ?Sized>(file: &F, buf: &mut [u8], position: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], position + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name alone. Names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Whether it is a directory (links are followed).
    pub is_dir: bool,
    /// The length of a file in bytes.
    pub size: u64,
    /// When it was written last, in milliseconds since 1970-01-01 UTC; `i64::MAX` when the system does not say.
    pub modified_ms: i64,
}

/// Keeps others out for as long as it lives, see [`Fs::lock`].
pub trait FileLock: Send + Sync + Debug {}

/// A file system.
pub trait Fs: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Makes a directory and those above it. Fine when it exists.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Makes one directory; `AlreadyExists` when it is there.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes one file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Renames a file or directory; a file at `to` is replaced in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Waits until the names in a directory are on the disk.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Waits until everything on the file system of `path` is on the disk: one call where many files would need one
    /// each. `Unsupported` where there is no such call.
    fn sync_all(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What a directory holds, ordered by name, with sizes.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// The size and kind of what is at `path`; `None` when nothing is.
    fn entry(&self, path: &Path) -> io::Result<Option<DirEntry>>;

    /// Takes an exclusive lock on the file at `path` (made when missing); `WouldBlock` when another process
    /// or another holder in this one has it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn FileLock>>;

    /// Bytes that this process may still write below `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Bytes that the file system of `path` has in all.
    fn total_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Reads a whole small file; `InvalidData` when it is larger than `limit` bytes.
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let size = file.size()?;
        if size > limit {
            let text = format!("{} has {size} bytes, more than {limit}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        let read = file.read_up_to(&mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Replaces a small file as a whole: writes `path.tmp`, syncs it, renames it and syncs the directory. After
    /// a crash at any instant the old or the new contents are there.
    fn write_atomically(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let temporary = Path::new(&name);
        let file = self.open(temporary, OpenMode::Create)?;
        file.truncate(0)?;
        file.write_all_at(bytes, 0)?;
        file.sync_data()?;
        drop(file);
        self.rename(temporary, path)?;
        match path.parent() {
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
