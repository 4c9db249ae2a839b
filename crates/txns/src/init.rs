//! InitProducerId: who may use a transactional id from now on (KIP-98, KIP-360).

use std::sync::Arc;

use millstream_base::ErrorCode;

use crate::effect::Decided;
use crate::request::{InitProducerId, InitRefused, Producer};
use crate::shard::{Shard, ended, stepped};
use crate::state::TxnState;
use crate::transaction::{NO_EPOCH, Transaction};

type Outcome = Result<Producer, InitRefused>;

impl Shard {
    /// Gives the id to whoever asks, with a new epoch; who had it before is fenced. An open transaction is aborted first,
    /// and the client told to come again (CONCURRENT_TRANSACTIONS).
    pub fn init_producer_id(&self, now_ms: i64, request: &InitProducerId) -> Decided<Outcome> {
        let refused = |code: ErrorCode| Decided::reply(Err(InitRefused::Code(code)));
        let id = &request.transactional_id;
        if id.is_empty() {
            return refused(ErrorCode::InvalidRequest);
        }
        if !(1..=self.config.max_timeout_ms).contains(&request.timeout_ms) {
            return refused(ErrorCode::InvalidTransactionTimeout);
        }
        let Some(txn) = self.txns.get(id) else {
            let Some(fresh) = request.fresh_id else {
                return Decided::reply(Err(InitRefused::NeedsProducerId));
            };
            let txn = Transaction::new(fresh, request.timeout_ms, now_ms);
            let producer = txn.producer();
            return stepped(id, txn, Ok(producer));
        };
        if txn.state.is_prepared() {
            return refused(ErrorCode::ConcurrentTransactions);
        }
        if request.expected.is_some_and(|expected| !may_expect(txn, expected)) {
            return refused(ErrorCode::ProducerFenced);
        }
        if txn.state == TxnState::Ongoing {
            return abort_first(id, txn, request, now_ms);
        }
        match renewed(txn, request, now_ms) {
            Ok(next) => {
                let producer = next.producer();
                stepped(id, next, Ok(producer))
            }
            Err(refusal) => Decided::reply(Err(refusal)),
        }
    }
}

/// A producer that says who it is must be who the id belongs to, or the one whose epochs ran out just before.
fn may_expect(txn: &Transaction, expected: Producer) -> bool {
    expected.id == txn.producer_id
        || (expected.id == txn.previous_producer_id && Transaction::is_exhausted(expected.epoch))
}

/// The client never learns of the epoch that fences; it asks again and gets the next.
fn abort_first(
    id: &Arc<str>,
    txn: &Transaction,
    request: &InitProducerId,
    now_ms: i64,
) -> Decided<Outcome> {
    // A fenced producer that repeats itself must not abort the transaction of its successor.
    if request.expected.is_some_and(|expected| expected != txn.producer()) {
        return Decided::reply(Err(ErrorCode::ProducerFenced.into()));
    }
    let again = Err(ErrorCode::ConcurrentTransactions.into());
    ended(id, txn.fenced(now_ms), again)
}

fn renewed(
    txn: &Transaction,
    request: &InitProducerId,
    now_ms: i64,
) -> Result<Transaction, InitRefused> {
    let timeout_ms = request.timeout_ms;
    let expected = request.expected.map(|expected| expected.epoch);
    let is_current = expected.is_none_or(|epoch| epoch == txn.epoch);
    if is_current && Transaction::is_exhausted(txn.epoch) {
        let fresh = request.fresh_id.ok_or(InitRefused::NeedsProducerId)?;
        let last_epoch = expected.map_or(NO_EPOCH, |_| txn.epoch);
        return Ok(txn.rotated(fresh, last_epoch, timeout_ms, now_ms));
    }
    if is_current {
        let last_epoch = expected.map_or(NO_EPOCH, |_| txn.epoch);
        return Ok(txn.initialized(txn.epoch + 1, last_epoch, timeout_ms, now_ms));
    }
    // A repeated request whose answer was lost gets that answer again.
    if expected == Some(txn.last_epoch) {
        return Ok(txn.initialized(txn.epoch, txn.last_epoch, timeout_ms, now_ms));
    }
    Err(ErrorCode::ProducerFenced.into())
}
