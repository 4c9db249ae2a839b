//! A partition's directory.
//!
//! Key type: [`Home`]: where the directory is now; it may be renamed while readers hold open files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_env::fs::Fs;
use parking_lot::{Mutex, RwLock};

use crate::error::StorageError;
use crate::names;
use crate::open_files::OpenFiles;

/// A partition's directory.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) fs: Arc<dyn Fs>,
    pub(crate) files: Arc<OpenFiles>,
    path: RwLock<Arc<Path>>,
    /// How new the leader epochs in their file are. Held while they are written: an older state never replaces a newer one.
    pub(crate) epochs_written: Mutex<u64>,
}

impl Home {
    pub(crate) fn new(fs: Arc<dyn Fs>, path: &Path, files: Arc<OpenFiles>) -> Arc<Self> {
        Arc::new(Self {
            fs,
            files,
            path: RwLock::new(Arc::from(path)),
            epochs_written: Mutex::default(),
        })
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
