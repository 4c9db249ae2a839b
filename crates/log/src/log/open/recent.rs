//! The batches of each producer that a snapshot does not hold.
//!
//! Kafka's snapshot has a producer's last batch alone. A client may have five in flight, and sends them again when a stop took
//! their answers: so those before the last are read back, from the headers at the end of what the snapshot covers.
//! Nothing hangs on it: what cannot be read, or lies further back, is as unknown as it is to Kafka.

use std::sync::Arc;

use millstream_base::TimestampMs;

use crate::error::ReadError;
use crate::log::Log;
use crate::log::append::producer_batch;
use crate::scan::Scanner;
use crate::segment::Segment;

/// How many index entries are gone back: each stands for at least one batch and one index interval of bytes.
const ENTRIES: u32 = 32;
/// Headers lie a batch apart; small batches come several at once.
const BLOCK: usize = 4 * 1024;

impl Log {
    /// Takes the batches just below `upto` into the memory of producers that a snapshot of that offset named.
    pub(super) fn remember_recent(&mut self, upto: i64, now: TimestampMs) {
        if self.producers.is_empty() || upto <= self.start {
            return;
        }
        let at = self.segment_index(upto - 1);
        let Some(segment) = self.segments.get(at).map(Arc::clone) else { return };
        if let Err(problem) = self.remember_from(&segment, upto, now) {
            tracing::debug!(partition = %self.partition, %problem, "only the last batch of each producer is known");
        }
    }

    fn remember_from(
        &mut self,
        segment: &Segment,
        upto: i64,
        now: TimestampMs,
    ) -> Result<(), ReadError> {
        let from = segment.position_near_end(ENTRIES)?;
        let file = segment.log_file()?;
        let mut scanner = Scanner::new(&*file, from, segment.size(), BLOCK);
        let mut batches = Vec::new();
        let mut next = segment.base;
        while let Some((_, header)) = scanner.next().map_err(|e| segment.scan_error(e))? {
            if header.base_offset.get() >= upto || header.base_offset.get() < next {
                break;
            }
            next = header.next_offset().get();
            if header.has_producer_id() && !header.attributes.is_control() {
                batches.push(producer_batch(&header, now));
            }
        }
        for batch in batches.iter().rev() {
            self.producers.remember_earlier(batch);
        }
        Ok(())
    }
}
