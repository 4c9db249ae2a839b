//! EndTxn: the decision to commit or abort (KIP-98; with version 2, KIP-890 part 2).
//!
//! With version 2 the epoch grows with each end, so the epoch that a request carries tells a repeated request (one below the
//! current epoch) from the next one. Before that only the state can tell.

use millstream_base::ErrorCode;

use crate::effect::Decided;
use crate::partitions::check_producer;
use crate::request::{EndTxn, InitRefused, Producer};
use crate::shard::{Shard, ended};
use crate::state::TxnState;
use crate::transaction::{BUMPS_AT_END, NO_ID, Transaction};

/// What to do about an EndTxn.
enum Verdict {
    /// Write the decision.
    Decide,
    /// It was decided that way before: say so again.
    Repeated,
    Refuse(ErrorCode),
}

impl Shard {
    /// Ends a transaction. The reply is who the producer is from now on (version 5 and up tell it).
    pub fn end_txn(&self, now_ms: i64, request: &EndTxn) -> Decided<Result<Producer, InitRefused>> {
        let txn = match self.known(&request.transactional_id) {
            Ok(txn) => txn,
            Err(code) => return Decided::reply(Err(code.into())),
        };
        let bumps = request.client_version >= BUMPS_AT_END;
        let verdict = if bumps { judge_bumping(txn, request) } else { judge_plain(txn, request) };
        match verdict {
            Verdict::Refuse(code) => return Decided::reply(Err(code.into())),
            Verdict::Repeated => return Decided::reply(Ok(txn.producer())),
            Verdict::Decide => {}
        }
        let needs_id = bumps && Transaction::is_exhausted(txn.epoch);
        let next_id = match request.fresh_id {
            Some(fresh) if needs_id => fresh,
            None if needs_id => return Decided::reply(Err(InitRefused::NeedsProducerId)),
            _ => NO_ID,
        };
        let next = txn.prepared(request.commit, request.client_version, next_id, now_ms);
        let successor = next.successor();
        ended(&request.transactional_id, next, Ok(successor))
    }
}

/// Version 0 and 1: the epoch is strict, the state decides.
fn judge_plain(txn: &Transaction, request: &EndTxn) -> Verdict {
    if let Err(code) = check_producer(txn, request.producer) {
        return Verdict::Refuse(code);
    }
    match (txn.state, request.commit) {
        (TxnState::Ongoing, _) => Verdict::Decide,
        (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) => Verdict::Repeated,
        (TxnState::PrepareCommit | TxnState::PrepareAbort, _) => {
            Verdict::Refuse(ErrorCode::ConcurrentTransactions)
        }
        _ => Verdict::Refuse(ErrorCode::InvalidTxnState),
    }
}

/// Version 2.
fn judge_bumping(txn: &Transaction, request: &EndTxn) -> Verdict {
    let Producer { id, epoch } = request.producer;
    // The repeated end was the last of its producer id: the id has changed since.
    let repeats_rotation =
        txn.previous_producer_id == id && epoch == i16::MAX - 1 && txn.epoch == 0;
    let repeats = txn.producer_id == id && txn.epoch == epoch.saturating_add(1);
    if txn.producer_id != id && !repeats_rotation {
        return Verdict::Refuse(ErrorCode::InvalidProducerIdMapping);
    }
    let is_current = txn.producer_id == id && txn.epoch == epoch;
    let is_repeated = repeats || repeats_rotation;
    let is_valid = match txn.state {
        TxnState::Ongoing | TxnState::Empty => is_current,
        TxnState::PrepareCommit | TxnState::PrepareAbort => repeats,
        _ => is_current || is_repeated,
    };
    if !is_valid {
        return Verdict::Refuse(ErrorCode::ProducerFenced);
    }
    match (txn.state, request.commit) {
        (TxnState::Ongoing, _) => Verdict::Decide,
        (TxnState::PrepareCommit | TxnState::PrepareAbort, _) => {
            Verdict::Refuse(ErrorCode::ConcurrentTransactions)
        }
        (TxnState::CompleteCommit, true) | (TxnState::CompleteAbort, false) if is_repeated => {
            Verdict::Repeated
        }
        // Abort where nothing began is fine: the client cannot know whether its first record arrived.
        (TxnState::Empty | TxnState::CompleteCommit | TxnState::CompleteAbort, false)
            if !is_repeated =>
        {
            Verdict::Decide
        }
        _ => Verdict::Refuse(ErrorCode::InvalidTxnState),
    }
}
