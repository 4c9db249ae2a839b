//! The shard's calls for administrators: ListTransactions and DescribeTransactions (KIP-664, KIP-994, KIP-1152).
//!
//! Key types: [`ListFilter`], [`ListedTxn`], [`DescribedTxn`]. Answers are in the order of the ids.

use std::sync::Arc;

use crate::request::{Producer, TxnPartition};
use crate::shard::Shard;
use crate::state::TxnState;
use crate::transaction::Transaction;

/// What ListTransactions asks for; empty lists let all pass.
#[derive(Default)]
pub struct ListFilter<'a> {
    /// Only these states.
    pub states: &'a [TxnState],
    /// Only these producer ids.
    pub producer_ids: &'a [i64],
    /// Only transactions that run for longer; negative for any.
    pub running_longer_than_ms: i64,
    /// Only ids that this accepts.
    pub transactional_id: Option<&'a dyn Fn(&str) -> bool>,
}

/// One line of ListTransactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTxn {
    /// Whose.
    pub transactional_id: Arc<str>,
    /// The producer id in use.
    pub producer_id: i64,
    /// Where it stands.
    pub state: TxnState,
}

/// What DescribeTransactions tells of one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedTxn {
    /// Where it stands.
    pub state: TxnState,
    /// How long a transaction may stay open.
    pub timeout_ms: i32,
    /// When the transaction began; -1 when none did.
    pub start_ms: i64,
    /// Who uses it.
    pub producer: Producer,
    /// The partitions of the transaction, in order.
    pub partitions: Vec<TxnPartition>,
}

impl Shard {
    /// ListTransactions.
    pub fn list(&self, now_ms: i64, filter: &ListFilter<'_>) -> Vec<ListedTxn> {
        let passing = self.txns.iter().filter(|(id, txn)| filter.passes(now_ms, id, txn));
        let listed = |(id, txn): (&Arc<str>, &Transaction)| ListedTxn {
            transactional_id: Arc::clone(id),
            producer_id: txn.producer_id,
            state: txn.state,
        };
        passing.map(listed).collect()
    }

    /// DescribeTransactions of one id; `None` when it is not known.
    pub fn describe(&self, transactional_id: &str) -> Option<DescribedTxn> {
        self.txns.get(transactional_id).map(|txn| DescribedTxn {
            state: txn.state,
            timeout_ms: txn.timeout_ms,
            start_ms: txn.start_ms,
            producer: txn.producer(),
            partitions: txn.partitions.iter().cloned().collect(),
        })
    }
}

impl ListFilter<'_> {
    fn passes(&self, now_ms: i64, id: &str, txn: &Transaction) -> bool {
        let longer_than = self.running_longer_than_ms;
        let runs = !txn.state.is_idle() && now_ms.saturating_sub(txn.start_ms) > longer_than;
        (self.states.is_empty() || self.states.contains(&txn.state))
            && (self.producer_ids.is_empty() || self.producer_ids.contains(&txn.producer_id))
            && (longer_than < 0 || runs)
            && self.transactional_id.is_none_or(|accepts| accepts(id))
    }
}
