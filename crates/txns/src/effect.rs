//! What a shard answers: records to append, a reply, and markers to write.
//!
//! Key types: [`Decided`], [`Markers`].

use std::sync::Arc;

use crate::record::Record;
use crate::request::{Producer, TxnPartition};

/// The outcome of one request. Handle it before the next call: append `records` as one batch, then
/// [`crate::Shard::apply`] them, or drop the whole. The reply may be sent, and the markers written, when the records and
/// everything before them are committed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "records must be appended, markers written and the reply sent"]
pub struct Decided<R> {
    /// To be appended in one batch; often empty.
    pub records: Vec<Record>,
    /// The answer.
    pub reply: R,
    /// A transaction whose end this decides.
    pub markers: Option<Markers>,
}

impl<R> Decided<R> {
    /// An answer that changes nothing.
    pub(crate) const fn reply(reply: R) -> Self {
        Self { records: Vec::new(), reply, markers: None }
    }
}

/// The end of a transaction, to be written into each of its partitions. When all have it, [`crate::Shard::complete`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// Whose.
    pub transactional_id: Arc<str>,
    /// The producer that the markers name. With version 2 the epoch is one more than that of the records.
    pub producer: Producer,
    /// Commit or abort.
    pub commit: bool,
    /// `transaction.version` under which the transaction ended.
    pub version: i16,
    /// Where to write them, in order.
    pub partitions: Vec<TxnPartition>,
}
