//! A partition's directory and its files, opened when they are needed.
//!
//! Key types: [`Home`] (where the directory is now) and [`LazyFile`] (one file in it). The directory may be
//! renamed while readers hold open files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_env::fs::{File, Fs, OpenMode};
use parking_lot::{Mutex, RwLock};

use crate::error::StorageError;
use crate::names;

/// A partition's directory.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) fs: Arc<dyn Fs>,
    path: RwLock<Arc<Path>>,
}

impl Home {
    pub(crate) fn new(fs: Arc<dyn Fs>, path: &Path) -> Arc<Self> {
        Arc::new(Self { fs, path: RwLock::new(Arc::from(path)) })
    }

    pub(crate) fn path(&self) -> Arc<Path> {
        Arc::clone(&self.path.read())
    }

    pub(crate) fn set_path(&self, path: &Path) {
        *self.path.write() = Arc::from(path);
    }

    /// The path of a file that starts with an offset.
    pub(crate) fn offset_file(&self, offset: i64, suffix: &str) -> PathBuf {
        self.path().join(names::offset_file(offset, suffix))
    }

    /// The path of another file.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Removes a file; fine when there is none.
    pub(crate) fn remove(&self, path: &Path) -> Result<(), StorageError> {
        match self.fs.remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::io("remove", path, e))
            }
            _ => Ok(()),
        }
    }
}

/// A file that is opened at its first use and can be closed at any time; who holds it keeps it open.
#[derive(Debug, Default)]
pub(crate) struct LazyFile {
    slot: Mutex<Option<Arc<dyn File>>>,
}

impl LazyFile {
    /// The file, opened if it is not.
    pub(crate) fn get(
        &self,
        home: &Home,
        path: &Path,
        mode: OpenMode,
    ) -> Result<Arc<dyn File>, StorageError> {
        let mut slot = self.slot.lock();
        if let Some(file) = &*slot {
            return Ok(Arc::clone(file));
        }
        let file = home.fs.open(path, mode).map_err(|e| StorageError::io("open", path, e))?;
        *slot = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Lets go of the file; tells whether it was open.
    pub(crate) fn close(&self) -> bool {
        self.slot.lock().take().is_some()
    }
}
