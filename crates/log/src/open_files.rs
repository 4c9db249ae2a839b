//! Files that are opened at their first use, and a bound on how many stay open.
//!
//! Key types: [`LazyFile`] (one file) and [`OpenFiles`] (the bound). When too many are open, one that was not used for
//! a while is let go; who holds a file keeps it open, and the next use opens it again.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use millstream_env::fs::{File, OpenMode};
use parking_lot::Mutex;

use crate::error::StorageError;
use crate::home::Home;

/// `EMFILE` and `ENFILE`: this process, or the machine, has no descriptor left.
const OUT_OF_DESCRIPTORS: [i32; 2] = [24, 23];

/// A bound on open files, shared by many logs.
#[derive(Debug)]
pub struct OpenFiles {
    limit: AtomicUsize,
    /// Files that may be open, oldest first; each slot stands here once at most.
    queue: Mutex<VecDeque<Weak<Slot>>>,
}

impl OpenFiles {
    /// At most `limit` files stay open.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit: AtomicUsize::new(limit.max(1)), queue: Mutex::default() })
    }

    /// Another bound, from the next opening on.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit.max(1), Ordering::Relaxed);
    }

    /// How many files are open, or were until their log went away.
    pub fn count(&self) -> usize {
        self.queue.lock().len()
    }

    fn register(&self, slot: &Arc<Slot>) {
        if slot.queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut queue = self.queue.lock();
        queue.push_back(Arc::downgrade(slot));
        let limit = self.limit.load(Ordering::Relaxed);
        if queue.len() > limit {
            shrink(&mut queue, limit);
        }
    }

    /// Lets a quarter of the files go, used or not.
    fn relieve(&self) {
        let mut queue = self.queue.lock();
        for slot in queue.iter().filter_map(Weak::upgrade) {
            slot.used.store(false, Ordering::Relaxed);
        }
        let keep = queue.len() - queue.len() / 4;
        shrink(&mut queue, keep);
    }
}

/// Lets go of files until `keep` are left; used ones get one more round.
fn shrink(queue: &mut VecDeque<Weak<Slot>>, keep: usize) {
    for _ in 0..2 * queue.len() {
        if queue.len() <= keep {
            return;
        }
        let Some(entry) = queue.pop_front() else { return };
        let Some(slot) = entry.upgrade() else { continue };
        if slot.used.swap(false, Ordering::Relaxed) {
            queue.push_back(entry);
            continue;
        }
        // One that is locked is being opened or taken right now.
        match slot.held.try_lock() {
            Some(mut held) => {
                *held = None;
                slot.queued.store(false, Ordering::Release);
            }
            None => queue.push_back(entry),
        }
    }
}

#[derive(Debug, Default)]
struct Slot {
    held: Mutex<Option<Held>>,
    used: AtomicBool,
    queued: AtomicBool,
}

#[derive(Debug)]
struct Held {
    file: Arc<dyn File>,
    writable: bool,
}

/// A file that is opened at its first use and can be closed at any time; who holds it keeps it open.
#[derive(Debug, Default)]
pub(crate) struct LazyFile {
    slot: Arc<Slot>,
}

impl LazyFile {
    /// The file, opened if it is not, or not for what is asked. `path` is asked for when it must be opened.
    pub(crate) fn get(
        &self,
        home: &Home,
        path: impl Fn() -> PathBuf,
        mode: OpenMode,
    ) -> Result<Arc<dyn File>, StorageError> {
        let mut held = self.slot.held.lock();
        let writable = mode != OpenMode::Read;
        if let Some(there) = held.as_ref().filter(|there| there.writable || !writable) {
            self.slot.used.store(true, Ordering::Relaxed);
            return Ok(Arc::clone(&there.file));
        }
        let mut at = path();
        let file = loop {
            match open(home, &at, mode) {
                Ok(file) => break file,
                Err(e) => {
                    // The file may have been renamed since its name was made.
                    let now = path();
                    if e.kind() != io::ErrorKind::NotFound || now == at {
                        return Err(StorageError::io("open", &at, e));
                    }
                    at = now;
                }
            }
        };
        *held = Some(Held { file: Arc::clone(&file), writable });
        drop(held);
        home.files.register(&self.slot);
        Ok(file)
    }

    /// Closes the file.
    pub(crate) fn close(&self) {
        *self.slot.held.lock() = None;
    }
}

fn open(home: &Home, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
    match home.fs.open(path, mode) {
        Err(e) if e.raw_os_error().is_some_and(|code| OUT_OF_DESCRIPTORS.contains(&code)) => {
            home.files.relieve();
            home.fs.open(path, mode)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_env::fs::OsFs;

    #[test]
    fn no_more_files_than_the_limit_stay_open_and_all_can_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let files = OpenFiles::new(5);
        let home = Home::new(OsFs::shared(), dir.path(), Arc::clone(&files));
        let lazy: Vec<LazyFile> = (0..20).map(|_| LazyFile::default()).collect();
        for round in 0..3_u8 {
            for (n, file) in lazy.iter().enumerate() {
                let path = || dir.path().join(n.to_string());
                let writer = file.get(&home, path, OpenMode::Create).unwrap();
                writer.write_all_at(&[round], u64::from(round)).unwrap();
                let reader = file.get(&home, path, OpenMode::Read).unwrap();
                assert_eq!(reader.size().unwrap(), u64::from(round) + 1);
                assert!(files.count() <= 5);
            }
        }
        let open = lazy.iter().filter(|file| file.slot.held.lock().is_some()).count();
        assert!(open <= 5, "{open}");
        // One that is open for reading is opened again for writing.
        let path = || dir.path().join("0");
        lazy[0].close();
        lazy[0].get(&home, path, OpenMode::Read).unwrap();
        let file = lazy[0].get(&home, path, OpenMode::Write).unwrap();
        file.write_all_at(&[9], 0).unwrap();
        files.relieve();
        drop(lazy);
        files.set_limit(1);
        let last = LazyFile::default();
        last.get(&home, path, OpenMode::Read).unwrap();
        assert_eq!(files.count(), 1);
    }
}
