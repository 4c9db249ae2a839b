//! The rules of idempotence: which batch may follow (KIP-98, KIP-360).

use millstream_base::{ErrorCode, ProducerEpoch};

use super::{AppendOrigin, ProducerBatch, ProducerState, SequenceError, Verdict};

/// The sequence `by` records after `sequence`; after the largest one comes 0.
pub const fn increment_sequence(sequence: i32, by: i32) -> i32 {
    match sequence.checked_add(by) {
        Some(next) => next,
        None => by - (i32::MAX - sequence) - 1,
    }
}

const fn follows(last: i32, next: i32) -> bool {
    next == increment_sequence(last, 1)
}

/// Where a producer stands: its epoch and the last sequence in it, `None` while it has no epoch.
#[derive(Clone, Copy)]
struct Standing {
    epoch: ProducerEpoch,
    last_sequence: i32,
    in_txn: bool,
}

pub(super) fn check(
    state: Option<&ProducerState>,
    staged: &[ProducerBatch],
    batch: &ProducerBatch,
    origin: AppendOrigin,
) -> Result<Verdict, SequenceError> {
    if origin == AppendOrigin::Replication {
        return Ok(Verdict::New);
    }
    // A coordinator's batches carry no sequence, so that they all look alike.
    let is_client = origin == AppendOrigin::Client;
    if let Some(duplicate) = state.filter(|_| is_client).and_then(|s| s.duplicate_of(batch)) {
        return Ok(Verdict::Duplicate(duplicate));
    }
    let Some(standing) = standing(state, staged, batch) else {
        // Nothing is known of this producer, perhaps because its records are gone: any sequence will do.
        return Ok(Verdict::New);
    };
    if batch.epoch < standing.epoch {
        return Err(SequenceError::InvalidEpoch {
            producer_id: batch.producer_id,
            current: standing.epoch,
            found: batch.epoch,
        });
    }
    if is_client {
        check_sequence(standing, batch)?;
    }
    if standing.in_txn && !batch.transactional {
        return Err(SequenceError::InvalidTxnState { producer_id: batch.producer_id });
    }
    Ok(Verdict::New)
}

/// A new epoch starts at 0; within one, each batch follows the one before.
fn check_sequence(standing: Standing, batch: &ProducerBatch) -> Result<(), SequenceError> {
    let last = if batch.epoch == standing.epoch { standing.last_sequence } else { -1 };
    if follows(last, batch.base_sequence) {
        return Ok(());
    }
    Err(SequenceError::OutOfOrder {
        producer_id: batch.producer_id,
        epoch: batch.epoch,
        last,
        found: batch.base_sequence,
    })
}

fn standing(
    state: Option<&ProducerState>,
    staged: &[ProducerBatch],
    batch: &ProducerBatch,
) -> Option<Standing> {
    let known = state.filter(|s| s.epoch != ProducerEpoch::NONE);
    let in_txn = state.is_some_and(|s| s.txn_first_offset.is_some());
    let before = staged.iter().rev().find(|b| b.producer_id == batch.producer_id);
    match (before, known) {
        (Some(before), _) => Some(Standing {
            epoch: before.epoch,
            last_sequence: before.last_sequence,
            in_txn: in_txn || before.transactional,
        }),
        (None, Some(known)) => {
            Some(Standing { epoch: known.epoch, last_sequence: known.last_sequence(), in_txn })
        }
        (None, None) => None,
    }
}

// The code table must keep the three codes that clients act on.
const _: () = assert!(ErrorCode::OutOfOrderSequenceNumber.code() == 45);
const _: () = assert!(ErrorCode::InvalidProducerEpoch.code() == 47);
const _: () = assert!(ErrorCode::InvalidTxnState.code() == 48);
