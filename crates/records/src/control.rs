//! Control records: what brokers write for each other into a log, and no application sees.
//!
//! Key types: [`ControlType`] (a control record's key) and [`EndTxnMarker`] (commit or abort of a transaction). The
//! key is version and type, 16 bits each; the value depends on the type and is a message of the protocol's table.

use millstream_base::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

use crate::builder::{BatchBuilder, BatchOptions, BuildError};
use crate::bytes_at::array;

/// What a control record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum ControlType {
    /// A transaction was aborted.
    Abort = 0,
    /// A transaction was committed.
    Commit = 1,
    /// A quorum's leader took over.
    LeaderChange = 2,
    /// A snapshot begins.
    SnapshotHeader = 3,
    /// A snapshot ends.
    SnapshotFooter = 4,
    /// The feature level of the quorum's protocol.
    KRaftVersion = 5,
    /// The voters of the quorum.
    KRaftVoters = 6,
}

impl ControlType {
    /// The type in a control record's key; `None` for one that this table does not know, which readers skip.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        if key.len() < 4 {
            return None;
        }
        match i16::from_be_bytes(array(key, 2)) {
            0 => Some(Self::Abort),
            1 => Some(Self::Commit),
            2 => Some(Self::LeaderChange),
            3 => Some(Self::SnapshotHeader),
            4 => Some(Self::SnapshotFooter),
            5 => Some(Self::KRaftVersion),
            6 => Some(Self::KRaftVoters),
            _ => None,
        }
    }

    /// The key of a control record of this type: version 0.
    pub const fn key(self) -> [u8; 4] {
        let [high, low] = (self as i16).to_be_bytes();
        [0, 0, high, low]
    }
}

/// The end of a transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTxnMarker {
    /// Whether the transaction was committed; aborted otherwise.
    pub committed: bool,
    /// The epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// Reads a marker from a control record's key and value; `None` when it is another control record.
    pub fn read(key: Option<&[u8]>, value: Option<&[u8]>) -> Option<Self> {
        let committed = match ControlType::from_key(key?)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            _ => return None,
        };
        let value = value.filter(|value| value.len() >= 6)?;
        Some(Self { committed, coordinator_epoch: i32::from_be_bytes(array(value, 2)) })
    }

    /// The value of the control record: version 0 and the coordinator's epoch.
    pub const fn value(&self) -> [u8; 6] {
        let [a, b, c, d] = self.coordinator_epoch.to_be_bytes();
        [0, 0, a, b, c, d]
    }

    /// The batch that ends a producer's transaction.
    ///
    /// # Errors
    /// None that its small size would allow; those of [`BatchBuilder::build`].
    pub fn batch(
        &self,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
        now: TimestampMs,
    ) -> Result<Vec<u8>, BuildError> {
        let options = BatchOptions {
            base_offset,
            leader_epoch,
            producer_id,
            producer_epoch,
            transactional: true,
            control: true,
            ..BatchOptions::default()
        };
        let kind = if self.committed { ControlType::Commit } else { ControlType::Abort };
        let mut builder = BatchBuilder::new(options);
        builder.append(now, Some(&kind.key()), Some(&self.value()), &[])?;
        builder.build()
    }
}

/// A batch of one control record that belongs to no producer.
///
/// # Errors
/// Those of [`BatchBuilder::append`] and [`BatchBuilder::build`].
pub fn control_batch(
    kind: ControlType,
    value: &[u8],
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    now: TimestampMs,
) -> Result<Vec<u8>, BuildError> {
    let options =
        BatchOptions { base_offset, leader_epoch, control: true, ..BatchOptions::default() };
    let mut builder = BatchBuilder::new(options);
    builder.append(now, Some(&kind.key()), Some(value), &[])?;
    builder.build()
}
