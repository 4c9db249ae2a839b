//! What changes while a segment grows, and what its indexes hold.

use std::collections::VecDeque;

use millstream_records::BatchHeader;

use crate::checked::Checked;
use crate::index::{Index, OffsetEntry, TimeEntry};
use crate::txn_index::AbortedTxn;

/// Batches whose places stay in memory, for readers near the end.
const RECENT: usize = 32;

/// Where a batch lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) base_offset: i64,
    pub(crate) last_offset: i64,
    pub(crate) position: u64,
    pub(crate) size: u32,
}

impl Place {
    pub(super) fn new(position: u64, header: &BatchHeader) -> Self {
        Self {
            base_offset: header.base_offset.get(),
            last_offset: header.last_offset().get(),
            position,
            size: u32::try_from(header.size_bytes()).unwrap_or(u32::MAX),
        }
    }
}

/// What changes while a segment grows.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) offsets: Index<OffsetEntry>,
    pub(crate) times: Index<TimeEntry>,
    /// The largest timestamp and the last offset of the batch that brought it; -1 for none.
    pub(crate) max_timestamp: i64,
    pub(crate) max_timestamp_offset: i64,
    pub(super) last_time_entry: i64,
    /// The first batch's largest timestamp: where the segment's age is counted from; `None` until known.
    pub(crate) first_timestamp: Option<i64>,
    since_index: u64,
    pub(super) recent: VecDeque<Place>,
    /// Whether the index files were looked at; a new or recovered segment has nothing to look at.
    pub(super) loaded: bool,
    pub(super) checked: Checked,
    pub(super) aborted: Option<Vec<AbortedTxn>>,
}

impl Inner {
    /// Of a segment without bytes, or (not `loaded`) of one whose index files are still to be looked at.
    pub(super) fn new(loaded: bool) -> Self {
        Self {
            offsets: Index::new(),
            times: Index::new(),
            max_timestamp: -1,
            max_timestamp_offset: -1,
            last_time_entry: -1,
            first_timestamp: None,
            since_index: 0,
            recent: VecDeque::new(),
            loaded,
            checked: Checked::default(),
            aborted: if loaded { Some(Vec::new()) } else { None },
        }
    }

    /// Starts over, as if the segment had no bytes.
    pub(crate) fn reset(&mut self) {
        self.offsets = Index::new();
        self.times = Index::new();
        (self.max_timestamp, self.max_timestamp_offset) = (-1, -1);
        (self.last_time_entry, self.first_timestamp, self.since_index) = (-1, None, 0);
        self.recent.clear();
    }

    /// Takes one batch into the indexes.
    pub(crate) fn note(&mut self, base: i64, position: u64, header: &BatchHeader, interval: u32) {
        let last = header.last_offset().get();
        let timestamp = header.max_timestamp.get();
        if timestamp > self.max_timestamp {
            (self.max_timestamp, self.max_timestamp_offset) = (timestamp, last);
        }
        self.first_timestamp.get_or_insert(timestamp);
        if self.since_index > u64::from(interval)
            && let Some(entry) = offset_entry(base, last, position)
        {
            self.offsets.push(entry);
            self.time_entry(base);
            self.since_index = 0;
        }
        self.since_index += header.size_bytes() as u64;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(Place::new(position, header));
    }

    /// An entry for the largest timestamp so far, unless the last entry says so.
    pub(super) fn time_entry(&mut self, base: i64) {
        if self.max_timestamp <= self.last_time_entry {
            return;
        }
        if let Ok(relative) = u32::try_from(self.max_timestamp_offset - base) {
            self.times.push(TimeEntry { timestamp: self.max_timestamp, relative });
            self.last_time_entry = self.max_timestamp;
        }
    }

    /// The place of the first batch that ends at or after `offset`, if it is among the newest ones.
    pub(super) fn recent_place(&self, offset: i64) -> Option<Place> {
        // Below the oldest remembered batch nothing is known.
        self.recent.front().filter(|oldest| oldest.base_offset <= offset)?;
        let at = self.recent.partition_point(|p| p.last_offset < offset);
        self.recent.get(at).copied()
    }
}

fn offset_entry(base: i64, last: i64, position: u64) -> Option<OffsetEntry> {
    let relative = u32::try_from(last - base).ok()?;
    Some(OffsetEntry { relative, position: u32::try_from(position).ok()? })
}
