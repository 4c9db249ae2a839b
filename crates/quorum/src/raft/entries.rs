//! The entries that are in memory.
//!
//! Key type: [`Entries`]: what no snapshot holds yet, or not for long. Values only.

use std::collections::VecDeque;

use bytes::Bytes;
use millstream_base::{LeaderEpoch, Offset};

use super::types::{LogId, log_id, term_of};
use crate::store::Place;

/// One entry.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub id: LogId,
    pub batch: Bytes,
    /// The offset after its last record.
    pub end: Offset,
    pub place: Place,
}

/// The entries that no snapshot holds, or not for long.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    /// The last entry before them.
    pub purged: Option<LogId>,
    /// The offset after that.
    pub purged_end: Offset,
    pub entries: VecDeque<Stored>,
}

impl Entries {
    pub(crate) fn first_index(&self) -> u64 {
        self.purged.map_or(0, |id| id.index + 1)
    }

    pub(crate) fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.id).or(self.purged)
    }

    pub(crate) fn end(&self) -> Offset {
        self.entries.back().map_or(self.purged_end, |entry| entry.end)
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Stored> {
        let at = index.checked_sub(self.first_index())?;
        self.entries.get(usize::try_from(at).ok()?)
    }

    /// The offset after the entry of that index, as far as it is known.
    pub(crate) fn end_of(&self, index: u64) -> Option<Offset> {
        if self.purged.is_some_and(|id| id.index == index) {
            return Some(self.purged_end);
        }
        self.get(index).map(|entry| entry.end)
    }

    /// Entries from `start` up to (not including) `end`, as many as `bytes` allow but at least one.
    pub(crate) fn range(&self, start: u64, end: u64, bytes: usize) -> Vec<Stored> {
        let mut left = bytes;
        let mut found = Vec::new();
        for index in start.max(self.first_index())..end {
            let Some(entry) = self.get(index) else { break };
            if !found.is_empty() && entry.batch.len() > left {
                break;
            }
            left = left.saturating_sub(entry.batch.len());
            found.push(entry.clone());
        }
        found
    }
}

/// The entries of a log that was read, given what its newest snapshot covers. `None` when the log does not continue the
/// snapshot, so that all of it is in there or overruled by it.
pub(crate) fn entries_after(
    read: Vec<Read>,
    purged: Option<LogId>,
    purged_end: Offset,
) -> Option<Entries> {
    let mut entries = Entries { purged, purged_end, entries: VecDeque::new() };
    let (term, continues) = (
        purged.map_or(0, |id| id.leader_id.term),
        read.first().is_none_or(|first| first.base == purged_end),
    );
    let boundary =
        read.iter().position(|batch| batch.end == purged_end && term_of(batch.epoch) == term);
    if !continues && boundary.is_none() {
        return None;
    }
    let skip = if continues { 0 } else { boundary.map_or(0, |at| at + 1) };
    for (index, batch) in (entries.first_index()..).zip(read.into_iter().skip(skip)) {
        let id = log_id(term_of(batch.epoch), index);
        entries.entries.push_back(Stored {
            id,
            batch: batch.bytes,
            end: batch.end,
            place: batch.place,
        });
    }
    Some(entries)
}

/// One batch as it was found on disk.
#[derive(Debug)]
pub(crate) struct Read {
    pub base: Offset,
    pub end: Offset,
    pub epoch: LeaderEpoch,
    pub place: Place,
    pub bytes: Bytes,
}
