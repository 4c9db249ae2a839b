//! Telling the operator that a partition's disk fails, without a line for every producer's retry.
//!
//! Key type: [`Complaint`], one a partition.

use millstream_base::{TimestampMs, TopicPartition};
use millstream_log::{AppendError, Appended, StorageError};
use tracing::error;

/// A failure that lasts is said again after this time.
const AGAIN_AFTER_MS: i64 = 30_000;

/// When it was last said that the disk fails.
#[derive(Debug, Default)]
pub(super) struct Complaint {
    said_at: Option<TimestampMs>,
}

impl Complaint {
    /// Says so if `outcome` is that of a failing disk and it was not said of late.
    pub(super) fn note(
        &mut self,
        name: &TopicPartition,
        outcome: &Result<Appended, AppendError>,
        now: TimestampMs,
    ) {
        if let Err(AppendError::Storage(failure)) = outcome {
            self.say(name, failure, now, "records cannot be stored; their producers are told so");
        }
    }

    /// Says `what` failed, if nothing was said of late.
    pub(super) fn say(
        &mut self,
        name: &TopicPartition,
        failure: &StorageError,
        now: TimestampMs,
        what: &str,
    ) {
        if self.is_due(now) {
            error!(partition = %name, error = %failure, "{what}");
        }
    }

    fn is_due(&mut self, now: TimestampMs) -> bool {
        let due = self.said_at.is_none_or(|said| now.get() - said.get() >= AGAIN_AFTER_MS);
        if due {
            self.said_at = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_failure_is_said_now_and_then() {
        let mut complaint = Complaint::default();
        let mut due = |ms| complaint.is_due(TimestampMs(ms));
        assert!(due(1_000));
        assert!(!due(1_001));
        assert!(!due(30_999));
        assert!(due(31_000));
        assert!(!due(31_001));
    }
}
