//! Which transactions were aborted, while a log is read in order.
//!
//! Key type: [`Transactions`]. Batches of an aborted transaction are dropped; its marker stays until a later run meets
//! no batch of that transaction any more, since a reader that began in between needs it. A commit's marker likewise.

use std::collections::{HashMap, HashSet};

use millstream_base::ProducerId;
use millstream_records::{BatchHeader, EndTxnMarker};

use crate::txn_index::AbortedTxn;

/// The state of transactions at the place of the reader.
#[derive(Debug)]
pub(super) struct Transactions {
    /// By first offset, the next one last.
    waiting: Vec<AbortedTxn>,
    /// Aborted ones that are open here, and whether a batch of theirs was met.
    aborted: HashMap<ProducerId, (AbortedTxn, bool)>,
    /// Others of which a batch was met.
    committed: HashSet<ProducerId>,
}

/// What a marker means for its own keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkerFate {
    /// No batch of its transaction is left, so it may go once its horizon is over.
    pub(super) may_go: bool,
    /// The transaction that the marker aborts, for the index of the output.
    pub(super) aborts: Option<AbortedTxn>,
}

impl Transactions {
    pub(super) fn new(aborted: &[AbortedTxn]) -> Self {
        let mut waiting = aborted.to_vec();
        waiting.sort_by_key(|txn| std::cmp::Reverse(txn.first_offset));
        Self { waiting, aborted: HashMap::new(), committed: HashSet::new() }
    }

    fn open_upto(&mut self, last: millstream_base::Offset) {
        while let Some(txn) = self.waiting.pop_if(|txn| txn.first_offset <= last) {
            self.aborted.insert(txn.producer_id, (txn, false));
        }
    }

    /// Takes a data batch; whether it belongs to an aborted transaction.
    pub(super) fn data(&mut self, header: &BatchHeader) -> bool {
        self.open_upto(header.last_offset());
        if !header.attributes.is_transactional() {
            return false;
        }
        if let Some((_, met)) = self.aborted.get_mut(&header.producer_id) {
            *met = true;
            return true;
        }
        self.committed.insert(header.producer_id);
        false
    }

    /// Takes a marker. `None` stands for a control batch that is no marker, or one that an earlier run has emptied.
    pub(super) fn marker(
        &mut self,
        header: &BatchHeader,
        marker: Option<EndTxnMarker>,
    ) -> MarkerFate {
        self.open_upto(header.last_offset());
        match marker {
            None => MarkerFate { may_go: header.records_count == 0, aborts: None },
            Some(EndTxnMarker { committed: true, .. }) => {
                MarkerFate { may_go: !self.committed.remove(&header.producer_id), aborts: None }
            }
            Some(EndTxnMarker { committed: false, .. }) => {
                match self.aborted.remove(&header.producer_id) {
                    Some((txn, true)) => MarkerFate { may_go: false, aborts: Some(txn) },
                    _ => MarkerFate { may_go: true, aborts: None },
                }
            }
        }
    }
}
