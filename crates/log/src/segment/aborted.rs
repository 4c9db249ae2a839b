//! The aborted transactions whose markers lie in a segment.

use std::io;

use super::Segment;
use crate::error::StorageError;
use crate::names;
use crate::txn_index::AbortedTxn;

impl Segment {
    /// Adds an aborted transaction to the index.
    pub(crate) fn add_aborted(&self, txn: AbortedTxn) -> Result<(), StorageError> {
        let path = self.path(names::TXN_INDEX);
        self.with_aborted(|list| {
            let file = self.open_index(&path)?;
            let position = (list.len() * crate::txn_index::ENTRY) as u64;
            file.write_all_at(&txn.encode(), position)
                .map_err(|e| StorageError::io("write to", &path, e))?;
            list.push(txn);
            Ok(())
        })?
    }

    /// The aborted transactions whose markers lie in this segment, ordered by marker.
    pub(crate) fn aborted(&self) -> Result<Vec<AbortedTxn>, StorageError> {
        self.with_aborted(|list| list.clone())
    }

    /// Looks at the aborted transactions whose markers lie in this segment, ordered by marker, without copying them.
    pub(crate) fn with_aborted<R>(
        &self,
        look: impl FnOnce(&mut Vec<AbortedTxn>) -> R,
    ) -> Result<R, StorageError> {
        let mut inner = self.inner.lock();
        if let Some(list) = &mut inner.aborted {
            return Ok(look(list));
        }
        let list = self.read_aborted()?;
        Ok(look(inner.aborted.insert(list)))
    }

    /// Readers ask without the log's lock, so the segment may lose its name or its files meanwhile. Then a missing file says
    /// nothing, and one that is there may be another segment's: only what was read under the name that still holds counts.
    fn read_aborted(&self) -> Result<Vec<AbortedTxn>, StorageError> {
        let mut path = self.path(names::TXN_INDEX);
        loop {
            let read = self.home.fs.read(&path, 256 << 20);
            // The log is renamed and removed first: while it is there, so was what lies beside it.
            let log = self.path(names::LOG);
            let entry =
                self.home.fs.entry(&log).map_err(|e| StorageError::io("look at", &log, e))?;
            let name = self.path(names::TXN_INDEX);
            if name != path {
                path = name;
                continue;
            }
            return match read {
                Ok(bytes) => AbortedTxn::decode_all(&bytes)
                    .ok_or_else(|| StorageError::invalid(&path, "not a transaction index")),
                Err(e) if e.kind() == io::ErrorKind::NotFound && entry.is_some() => Ok(Vec::new()),
                Err(e) => Err(StorageError::io("read", &path, e)),
            };
        }
    }

    /// Replaces the transaction index.
    pub(crate) fn set_aborted(&self, list: Vec<AbortedTxn>) -> Result<(), StorageError> {
        let path = self.path(names::TXN_INDEX);
        if list.is_empty() {
            self.home.remove(&path)?;
        } else {
            let bytes: Vec<u8> = list.iter().flat_map(AbortedTxn::encode).collect();
            let file = self.open_index(&path)?;
            file.truncate(0).map_err(|e| StorageError::io("truncate", &path, e))?;
            file.write_all_at(&bytes, 0).map_err(|e| StorageError::io("write to", &path, e))?;
        }
        self.inner.lock().aborted = Some(list);
        Ok(())
    }
}
