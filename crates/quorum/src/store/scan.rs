//! Reading the log's segments from end to end, up to a torn tail.
//!
//! Key type: [`Scan`]. It changes nothing on disk and believes no length before it has looked.

use std::path::Path;

use millstream_base::{LeaderEpoch, Offset};
use millstream_env::fs::File;
use millstream_records::{BatchHeader, BatchView};

use super::{Place, io_error};
use crate::error::OpenError;

/// How much of a segment is read at once, unless one batch is larger.
const READ_BYTES: usize = 1 << 20;
/// The most bytes that one batch may have. Larger ones cannot have been written here.
const MAX_BATCH_BYTES: usize = 256 << 20;

/// Where a reading of the log is.
pub(super) struct Scan {
    /// Where the segment at hand begins.
    segment: Offset,
    pub(super) next_offset: Offset,
    pub(super) last_epoch: LeaderEpoch,
    /// The end of the last good batch in the segment at hand.
    pub(super) position: u64,
    /// Why reading stopped before the end.
    stopped: String,
}

impl Scan {
    pub(super) const fn at(start: Offset) -> Self {
        let stopped = String::new();
        Self {
            segment: start,
            next_offset: start,
            last_epoch: LeaderEpoch::NONE,
            position: 0,
            stopped,
        }
    }

    /// Reads one segment up to its end or the first bytes that are no good batch.
    pub(super) fn segment(
        &mut self,
        path: &Path,
        file: &dyn File,
        each: &mut impl FnMut(&BatchView<'_>, Place) -> Result<(), OpenError>,
    ) -> Result<(), OpenError> {
        (self.position, self.segment) = (0, self.next_offset);
        let mut buffer = Vec::new();
        let mut wanted = READ_BYTES;
        loop {
            buffer.resize(wanted, 0);
            let read = file.read_up_to(&mut buffer, self.position);
            let read = read.map_err(|e| io_error("read", path, e))?;
            buffer.truncate(read);
            let used = self.batches(&buffer, each)?;
            if read < wanted {
                return Ok(());
            }
            // The buffer ends within a batch, or begins with something that is none.
            wanted = match (used, BatchHeader::parse(&buffer)) {
                (0, Ok(header)) if header.size_bytes() > wanted => header.size_bytes(),
                (0, _) => return Ok(()),
                _ => READ_BYTES,
            };
            if wanted > MAX_BATCH_BYTES {
                self.stopped = format!("a batch of {wanted} bytes");
                return Ok(());
            }
        }
    }

    /// Takes the good batches at the front of `bytes` and says how long they are.
    fn batches(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&BatchView<'_>, Place) -> Result<(), OpenError>,
    ) -> Result<usize, OpenError> {
        let mut used = 0;
        while let Some(rest) = bytes.get(used..).filter(|rest| !rest.is_empty()) {
            match good_batch(rest, self.next_offset) {
                Ok(batch) => {
                    let position = self.position + used as u64;
                    each(&batch, Place { segment: self.segment, position })?;
                    used += batch.bytes().len();
                    self.next_offset = batch.header().next_offset();
                    self.last_epoch = batch.header().partition_leader_epoch;
                }
                Err(reason) => {
                    self.stopped = reason;
                    break;
                }
            }
        }
        self.position += used as u64;
        Ok(used)
    }
}

/// The batch at the front of `bytes`, if it is whole, sound and begins at `expected`.
fn good_batch(bytes: &[u8], expected: Offset) -> Result<BatchView<'_>, String> {
    let batch = BatchView::parse(bytes).map_err(|e| e.to_string())?;
    batch.check_crc().map_err(|e| e.to_string())?;
    let (found, next) = (batch.header().base_offset, batch.header().next_offset());
    if found != expected || next <= found {
        return Err(format!("a batch from offset {found} up to {next}, where {expected} is due"));
    }
    Ok(batch)
}

/// A tail may be cut only in the last segment, and only when no good batch of a later offset follows.
pub(super) fn check_torn(
    path: &Path,
    file: &dyn File,
    scan: &Scan,
    size: u64,
    is_last: bool,
) -> Result<(), OpenError> {
    let corrupt = || OpenError::Corrupt {
        path: path.to_owned(),
        position: scan.position,
        reason: scan.stopped.clone(),
    };
    let tail = usize::try_from(size - scan.position).unwrap_or(usize::MAX);
    if !is_last || tail > MAX_BATCH_BYTES {
        return Err(corrupt());
    }
    let mut bytes = vec![0; tail];
    file.read_exact_at(&mut bytes, scan.position).map_err(|e| io_error("read", path, e))?;
    let later = |at: usize| {
        let batch = bytes.get(at..).and_then(|rest| BatchView::parse(rest).ok());
        batch.is_some_and(|b| b.header().base_offset > scan.next_offset && b.check_crc().is_ok())
    };
    if (1..tail).any(later) { Err(corrupt()) } else { Ok(()) }
}
