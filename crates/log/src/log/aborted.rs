//! The aborted transactions that a `read_committed` reader must know.
//!
//! A reader asks its [`ReadPlan`], without the log's lock: the plan was made when the last stable offset was known, so all
//! markers that matter lie in its segments.

use std::sync::Arc;

use millstream_base::Offset;

use super::{FileRange, Log, ReadPlan};
use crate::error::{ReadError, StorageError};
use crate::segment::Segment;
use crate::txn_index::AbortedTxn;

impl Log {
    /// The aborted transactions that a `read_committed` reader of `from..upper` must know, ordered by marker. May wait for
    /// the disk.
    pub fn aborted_transactions(
        &self,
        from: Offset,
        upper: Offset,
    ) -> Result<Vec<AbortedTxn>, StorageError> {
        self.check_online()?;
        listed(from_offset(&self.segments, from), from, upper)
    }
}

impl ReadPlan {
    /// The aborted transactions that a `read_committed` reader of `range`, which this plan found, must know from `from` on.
    /// May wait for the disk.
    pub fn aborted(&self, from: Offset, range: &FileRange) -> Result<Vec<AbortedTxn>, ReadError> {
        let from = from.min(range.base_offset);
        let segments = from_offset(&self.segments, from);
        if !any(segments, from)? {
            return Ok(Vec::new());
        }
        Ok(listed(segments, from, self.bound_of(range)?)?)
    }
}

/// The segments that may hold `from` and what follows.
fn from_offset(segments: &[Arc<Segment>], from: Offset) -> &[Arc<Segment>] {
    let first = segments.partition_point(|s| s.base <= from.get()).saturating_sub(1);
    segments.get(first..).unwrap_or_default()
}

/// Whether a transaction that was aborted has its marker at or after `from`.
fn any(segments: &[Arc<Segment>], from: Offset) -> Result<bool, StorageError> {
    for segment in segments.iter().rev() {
        let last = segment.with_aborted(|list| list.last().map(|txn| txn.last_offset))?;
        if let Some(last) = last {
            return Ok(last >= from);
        }
    }
    Ok(false)
}

fn listed(
    segments: &[Arc<Segment>],
    from: Offset,
    upper: Offset,
) -> Result<Vec<AbortedTxn>, StorageError> {
    let mut found = Vec::new();
    for segment in segments {
        let is_last = segment.with_aborted(|list| {
            let first = list.partition_point(|txn| txn.last_offset < from);
            for txn in list.get(first..).unwrap_or_default() {
                if txn.first_offset < upper {
                    found.push(*txn);
                }
                // Whatever aborts later began at or after this stable offset.
                if txn.last_stable_offset >= upper {
                    return true;
                }
            }
            false
        })?;
        if is_last {
            break;
        }
    }
    Ok(found)
}
