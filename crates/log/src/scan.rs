//! Batch headers of a segment file, one after the other.
//!
//! Key type: [`Scanner`]. It reads in blocks, skips records that nobody asked for, and never allocates more than
//! its block, whatever lengths the bytes claim.

use std::io;

use millstream_env::fs::File;
use millstream_records::{BatchError, BatchHeader, HEADER_LEN};

/// Why a scan cannot go on at its position.
#[derive(Debug)]
pub(crate) enum ScanError {
    Io(io::Error),
    /// No whole batch starts at `position`.
    Batch {
        position: u64,
        error: BatchError,
    },
}

/// What the CRC leaves out: base offset, length, leader epoch, magic and the CRC itself.
const CRC_FROM: u64 = 21;

/// Reads batches from a position up to an end.
pub(crate) struct Scanner<'a> {
    file: &'a dyn File,
    next: u64,
    end: u64,
    block: usize,
    buf: Vec<u8>,
    buf_at: u64,
}

impl<'a> Scanner<'a> {
    /// From `position` (where a batch starts) up to `end`, in blocks of `block` bytes.
    pub(crate) fn new(file: &'a dyn File, position: u64, end: u64, block: usize) -> Self {
        Self { file, next: position, end, block: block.max(HEADER_LEN), buf: Vec::new(), buf_at: 0 }
    }

    /// Where the next batch starts.
    pub(crate) const fn position(&self) -> u64 {
        self.next
    }

    /// The next batch's position and header; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, BatchHeader)>, ScanError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let position = self.next;
        let have = usize::try_from(self.end - position).unwrap_or(usize::MAX);
        let bad = |error| ScanError::Batch { position, error };
        let bytes = self.bytes(position, HEADER_LEN.min(have)).map_err(ScanError::Io)?;
        let header = BatchHeader::parse(bytes).map_err(bad)?;
        let needed = header.size_bytes();
        if needed > have {
            return Err(bad(BatchError::Torn { needed, have }));
        }
        if header.last_offset_delta < 0 {
            return Err(bad(BatchError::Length(header.last_offset_delta)));
        }
        self.next = position + needed as u64;
        Ok(Some((position, header)))
    }

    /// Holds the bytes of a batch against its CRC.
    pub(crate) fn check_crc(
        &mut self,
        position: u64,
        header: &BatchHeader,
    ) -> Result<(), ScanError> {
        let end = position + header.size_bytes() as u64;
        let mut at = position + CRC_FROM;
        let mut computed = 0;
        while at < end {
            let step = usize::try_from(end - at).unwrap_or(usize::MAX).min(self.block);
            let bytes = self.bytes(at, step).map_err(ScanError::Io)?;
            computed = crc32c::crc32c_append(computed, bytes);
            at += bytes.len() as u64;
        }
        if computed == header.crc {
            return Ok(());
        }
        let error = BatchError::Crc { stored: header.crc, computed };
        Err(ScanError::Batch { position, error })
    }

    /// Up to `max` bytes from `position`, all of them if the file has them and a block holds them.
    pub(crate) fn bytes(&mut self, position: u64, max: usize) -> io::Result<&[u8]> {
        let max = max.min(self.block);
        let inside = position
            .checked_sub(self.buf_at)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|skip| skip.saturating_add(max) <= self.buf.len());
        let skip = match inside {
            Some(skip) => skip,
            None => {
                self.fill(position)?;
                0
            }
        };
        let to = (skip + max).min(self.buf.len());
        let bytes = self.buf.get(skip..to).unwrap_or_default();
        if bytes.is_empty() && max > 0 {
            Err(io::ErrorKind::UnexpectedEof.into())
        } else {
            Ok(bytes)
        }
    }

    fn fill(&mut self, position: u64) -> io::Result<()> {
        let rest = usize::try_from(self.end.saturating_sub(position)).unwrap_or(usize::MAX);
        self.buf.resize(self.block.min(rest), 0);
        let read = self.file.read_up_to(&mut self.buf, position)?;
        self.buf.truncate(read);
        self.buf_at = position;
        Ok(())
    }
}
