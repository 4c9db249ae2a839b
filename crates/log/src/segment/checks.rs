//! CRCs of bytes that an earlier process wrote: checked once, when they are first read.

use std::sync::atomic::Ordering;

use super::Segment;
use crate::error::ReadError;
use crate::names;
use crate::scan::{ScanError, Scanner};

/// Bytes that a check reads at once.
const CHECK_BLOCK: usize = 256 * 1024;

impl Segment {
    /// Notes that every byte was held against its CRC.
    pub(crate) fn set_all_checked(&self) {
        self.all_checked.store(true, Ordering::Release);
    }

    /// Holds the batches of a range against their CRCs, unless this process wrote or checked them before.
    /// Returns where the sound ones end: `to`, or less when a batch behind the first is damaged.
    pub(crate) fn check_range(&self, from: u64, to: u64) -> Result<u64, ReadError> {
        if self.all_checked.load(Ordering::Acquire) || self.inner.lock().checked.covers(from, to) {
            return Ok(to);
        }
        let file = self.log_file()?;
        let mut scanner = Scanner::new(&*file, from, self.size(), CHECK_BLOCK);
        let mut sound = from;
        while sound < to {
            let checked = match scanner.next() {
                Ok(None) => break,
                Ok(Some((position, header))) => scanner.check_crc(position, &header),
                Err(e) => Err(e),
            };
            match checked {
                Ok(()) => sound = scanner.position(),
                Err(ScanError::Batch { position, error }) => {
                    let path = self.path(names::LOG);
                    tracing::error!(path = %path.display(), position, %error, "damaged batch is not served");
                    if sound == from {
                        return Err(ReadError::Corrupt { path, position, source: error });
                    }
                    break;
                }
                Err(e) => return Err(self.scan_error(e)),
            }
        }
        self.inner.lock().checked.add(from, sound);
        Ok(sound.min(to))
    }
}
