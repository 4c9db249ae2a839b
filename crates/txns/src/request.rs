//! What the host asks, as plain structs: nothing of the wire's layout.

use std::sync::Arc;

use millstream_base::ErrorCode;

/// A topic's name and a partition of it.
pub type TxnPartition = (Arc<str>, i32);

/// A producer id with its epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Producer {
    /// The id.
    pub id: i64,
    /// The epoch.
    pub epoch: i16,
}

/// InitProducerId (key 22) with a transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitProducerId {
    /// Whose.
    pub transactional_id: Arc<str>,
    /// How long a transaction may stay open.
    pub timeout_ms: i32,
    /// What the producer believes to be (version 3 and up, KIP-360): it wants to go on after an error.
    pub expected: Option<Producer>,
    /// An unused producer id, if the host has one at hand; see [`InitRefused::NeedsProducerId`].
    pub fresh_id: Option<i64>,
}

/// Why InitProducerId gives no producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitRefused {
    /// Get an unused producer id and ask again.
    NeedsProducerId,
    /// What the client is told.
    Code(ErrorCode),
}

impl From<ErrorCode> for InitRefused {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

/// AddPartitionsToTxn (key 24) of one transaction, AddOffsetsToTxn (key 25) with the group's partition of
/// `__consumer_offsets`, or the implicit adding of Produce v12 and TxnOffsetCommit v5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddPartitions {
    /// Whose.
    pub transactional_id: Arc<str>,
    /// Who asks.
    pub producer: Producer,
    /// What to add.
    pub partitions: Vec<TxnPartition>,
    /// `transaction.version` of the client: 2 where the client knows that the epoch grows with each end.
    pub client_version: i16,
}

/// Whether partitions belong to the open transaction of a producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyPartitions<'a> {
    /// Whose.
    pub transactional_id: &'a str,
    /// Who asks.
    pub producer: Producer,
    /// Which.
    pub partitions: &'a [TxnPartition],
}

/// EndTxn (key 26).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndTxn {
    /// Whose.
    pub transactional_id: Arc<str>,
    /// Who asks.
    pub producer: Producer,
    /// Commit or abort.
    pub commit: bool,
    /// `transaction.version` of the client: 2 from version 5 on.
    pub client_version: i16,
    /// As in [`InitProducerId::fresh_id`].
    pub fresh_id: Option<i64>,
}
