//! Syncing to disk, apart from the log's lock.
//!
//! Key type: [`FlushTicket`]. Take a ticket under the lock, [`FlushTicket::run`] it anywhere, hand the result to
//! [`Log::complete_flush`] under the lock. One ticket covers every append before it, so that appends which wait
//! while one runs share the next (group commit).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use millstream_base::{Offset, TimestampMs};
use millstream_env::fs::OpenMode;

use super::Log;
use crate::error::StorageError;
use crate::home::Home;
use crate::names;
use crate::segment::Segment;

/// Something that may not be on disk: names in the directory, leader epochs. It stays so until a ticket that saw the last of them is complete: a
/// second ticket, made before the first has run, must not acknowledge what only the first will sync.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    made: u64,
    synced: u64,
}

impl Unsynced {
    /// A file was made, renamed or removed, or the epochs changed.
    pub(super) const fn mark(&mut self) {
        self.made += 1;
    }

    /// [`Self::mark`] if anything changed.
    pub(super) const fn mark_if(&mut self, changed: bool) {
        self.made += changed as u64;
    }

    /// Up to where a ticket has to sync; `None` when everything is on disk.
    const fn pending(&self) -> Option<u64> {
        if self.made > self.synced { Some(self.made) } else { None }
    }

    /// A ticket that had `pending` is complete.
    fn synced(&mut self, pending: Option<u64>) {
        self.synced = self.synced.max(pending.unwrap_or(0));
    }
}

/// What must be synced so that everything below [`FlushTicket::upto`] is on disk.
#[derive(Debug)]
pub struct FlushTicket {
    home: Arc<Home>,
    segments: Vec<(Arc<Segment>, bool)>,
    /// The epochs' file, and how new it is.
    epochs: Option<(u64, String)>,
    names: Option<u64>,
    upto: i64,
    /// The records were synced, and what is written beside them could not be: no room, most likely.
    unwritten: AtomicBool,
}

impl FlushTicket {
    /// Appends below this offset are covered.
    pub const fn upto(&self) -> Offset {
        Offset(self.upto)
    }

    /// Syncs. Waits for the disk: not for an async thread, and not under the log's lock.
    pub fn run(&self) -> Result<(), StorageError> {
        for (segment, sealed) in &self.segments {
            if segment.size() == 0 {
                continue;
            }
            sync_file(&self.home, &segment.path(names::LOG), Some(segment))?;
            if *sealed {
                for suffix in [names::INDEX, names::TIME_INDEX, names::TXN_INDEX] {
                    sync_file(&self.home, &segment.path(suffix), None)?;
                }
            }
        }
        if let Some((made, text)) = &self.epochs {
            self.write_epochs(*made, text)?;
        }
        if self.names.is_some() {
            self.sync_names()?;
        }
        Ok(())
    }

    /// Writes what [`FlushTicket::run`] would write, for [`crate::LogDir::finish`], which syncs all at once.
    pub(crate) fn write_unsynced(&self) -> Result<(), StorageError> {
        let Some((_, text)) = &self.epochs else { return Ok(()) };
        let path = self.home.file(names::EPOCHS);
        let write = || {
            let file = self.home.fs.open(&path, OpenMode::Create)?;
            file.write_all_at(text.as_bytes(), 0)?;
            file.truncate(text.len() as u64)
        };
        write().map_err(|e| StorageError::io("write", &path, e))
    }

    fn write_epochs(&self, made: u64, text: &str) -> Result<(), StorageError> {
        let mut newest = self.home.epochs_written.lock();
        if made < *newest {
            // A ticket that was made later was faster.
            return Ok(());
        }
        let path = self.home.file(names::EPOCHS);
        self.home.fs.write_atomically(&path, text.as_bytes()).map_err(|e| {
            self.unwritten.store(true, Ordering::Release);
            StorageError::io("write", &path, e)
        })?;
        *newest = made;
        Ok(())
    }

    fn sync_names(&self) -> Result<(), StorageError> {
        sync_file(&self.home, &self.home.file(names::PARTITION_METADATA), None)?;
        let path = self.home.path();
        let above = path.parent().map(PathBuf::from);
        for dir in [Some(path.to_path_buf()), above].into_iter().flatten() {
            self.home.fs.sync_dir(&dir).map_err(|e| StorageError::io("sync", &dir, e))?;
        }
        Ok(())
    }
}

/// Syncs a file; one that is gone (deleted or never made) needs none.
fn sync_file(
    home: &Home,
    path: &std::path::Path,
    segment: Option<&Segment>,
) -> Result<(), StorageError> {
    let file = match segment {
        Some(segment) => segment.log_file(),
        None => home.fs.open(path, OpenMode::Read).map_err(|e| StorageError::io("open", path, e)),
    };
    match file {
        Ok(file) => file.sync_data().map_err(|e| StorageError::io("sync", path, e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    }
}

impl Log {
    /// How many records are not known to be on disk.
    pub const fn unflushed_records(&self) -> i64 {
        self.end - self.recovery_point
    }

    /// Whether `flush.ms` asks for a sync now. Ask now and then.
    pub fn flush_due(&self, now: TimestampMs) -> bool {
        let waited = self.unflushed_since_ms.map(|since| now.get().saturating_sub(since));
        self.unflushed_records() > 0 && waited.is_some_and(|ms| ms >= self.config.flush_ms)
    }

    /// A ticket for everything appended so far; `None` when all of it is on disk.
    ///
    /// # Errors
    /// [`StorageError::Offline`].
    pub fn prepare_flush(&mut self) -> Result<Option<FlushTicket>, StorageError> {
        self.ticket_upto(self.end, false)
    }

    /// A ticket for the sealed segments alone: what a roll leaves behind. The active segment goes on unsynced, as
    /// Kafka does it.
    pub fn prepare_flush_sealed(&mut self) -> Result<Option<FlushTicket>, StorageError> {
        self.ticket_upto(self.active().base, false)
    }

    pub(super) fn ticket_upto(
        &mut self,
        upto: i64,
        settled: bool,
    ) -> Result<Option<FlushTicket>, StorageError> {
        self.check_online()?;
        if upto <= self.recovery_point && !(settled && self.epochs_unsynced.pending().is_some()) {
            return Ok(None);
        }
        let first = self.segment_index(self.recovery_point);
        let last = self.segments.len() - 1;
        let segments = self.segments.iter().enumerate().skip(first);
        let segments = segments
            .filter(|(_, s)| s.base < upto)
            .map(|(at, s)| (Arc::clone(s), settled || at < last))
            .collect();
        let epochs = self.epochs_unsynced.pending().map(|made| (made, self.epochs.to_text()));
        let names = self.names.pending();
        let home = Arc::clone(&self.home);
        let unwritten = AtomicBool::new(false);
        Ok(Some(FlushTicket { home, segments, epochs, names, upto, unwritten }))
    }

    /// Takes the outcome of a ticket. After a failed sync nothing is known of the pages that were not written, so
    /// the log goes offline, as it must: a second sync would report success. What could not be written beside the
    /// records is tried again with the next ticket.
    pub fn complete_flush(
        &mut self,
        ticket: &FlushTicket,
        outcome: Result<(), StorageError>,
    ) -> Result<Offset, StorageError> {
        if let Err(error) = outcome {
            if ticket.unwritten.load(Ordering::Acquire) {
                return Err(error);
            }
            self.go_offline(&format!("a sync failed: {error}"));
            return Err(error);
        }
        self.names.synced(ticket.names);
        self.epochs_unsynced.synced(ticket.epochs.as_ref().map(|(made, _)| *made));
        self.recovery_point = self.recovery_point.max(ticket.upto.min(self.end));
        if self.recovery_point >= self.end {
            self.unflushed_since_ms = None;
        }
        Ok(Offset(self.recovery_point))
    }

    /// Syncs everything, waiting for it under the caller's lock.
    pub fn flush(&mut self) -> Result<Offset, StorageError> {
        match self.prepare_flush()? {
            None => Ok(Offset(self.recovery_point)),
            Some(ticket) => {
                let outcome = ticket.run();
                self.complete_flush(&ticket, outcome)
            }
        }
    }

    /// Makes the log ready for a start without recovery: indexes, producer snapshot and epochs are written, and the
    /// ticket, if there is one, syncs them. Complete it with [`Log::complete_flush`].
    pub fn prepare_close(&mut self) -> Result<Option<FlushTicket>, StorageError> {
        self.check_online()?;
        self.active().settle_indexes()?;
        if self.end > self.start || !self.producers.is_empty() {
            self.write_snapshot(self.end)?;
        }
        self.ticket_upto(self.end, true)
    }

    /// [`Log::prepare_close`], synced under the caller's lock. Returns the recovery point, for the checkpoint.
    pub fn close(&mut self) -> Result<Offset, StorageError> {
        if let Some(ticket) = self.prepare_close()? {
            let outcome = ticket.run();
            self.complete_flush(&ticket, outcome)?;
        }
        Ok(Offset(self.recovery_point))
    }
}

#[cfg(test)]
mod tests {
    use super::Unsynced;

    #[test]
    fn names_are_pending_for_every_ticket_until_one_is_complete() {
        let mut names = Unsynced::default();
        assert_eq!(names.pending(), None);
        names.mark();
        let (first, second) = (names.pending(), names.pending());
        assert!(first.is_some() && first == second, "the second ticket syncs them too");
        names.mark();
        names.synced(second);
        assert!(names.pending().is_some(), "what was made since is not on disk");
        names.synced(names.pending());
        assert_eq!(names.pending(), None);
    }
}
