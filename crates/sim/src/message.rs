//! What nodes, the controller and producers send each other.
//!
//! Key type: [`Message`]. The fields are those of Kafka's requests that matter here.

use millstream_base::{BrokerEpoch, ErrorCode, NodeId};
use millstream_partition::{AlterAnswer, DivergingEpoch, FetchPosition, IsrProposal};

use crate::disk::Batch;

/// Whom a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Node(NodeId),
    Controller,
    Client(usize),
}

/// A request or an answer.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Register { from: NodeId, incarnation: u64, previous: Option<BrokerEpoch> },
    Registered { incarnation: u64, answer: Result<BrokerEpoch, ErrorCode> },
    Heartbeat { from: NodeId, epoch: BrokerEpoch, applied: usize, stopping: bool },
    HeartbeatAnswer { epoch: BrokerEpoch, answer: Result<bool, ErrorCode> },
    GetMetadata { from: NodeId },
    Metadata { upto: usize },
    Alter { from: NodeId, epoch: BrokerEpoch, partition: i32, request: u64, proposal: IsrProposal },
    Altered { partition: i32, request: u64, answer: AlterAnswer },
    Fetch(Fetch),
    Fetched { partition: i32, request: u64, from: NodeId, body: FetchBody },
    Produce { client: usize, partition: i32, request: u64, batch: Batch, all: bool },
    Produced { request: u64, answer: Result<i64, ErrorCode> },
}

/// A follower's fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fetch {
    pub(crate) from: NodeId,
    pub(crate) broker_epoch: BrokerEpoch,
    pub(crate) partition: i32,
    pub(crate) request: u64,
    pub(crate) position: FetchPosition,
}

/// What a leader answers.
#[derive(Clone, Debug)]
pub(crate) enum FetchBody {
    Error,
    OutOfRange { start: i64, end: i64 },
    Diverging(DivergingEpoch),
    Data { batches: Vec<Batch>, high_watermark: i64, start: i64 },
}

impl Message {
    /// Its name and numbers, for the trace.
    pub(crate) fn tag(&self) -> [u64; 3] {
        let number = |id: &NodeId| id.get().unsigned_abs().into();
        match self {
            Self::Register { from, incarnation, .. } => [1, number(from), *incarnation],
            Self::Registered { incarnation, answer } => {
                [2, *incarnation, answer.map_or(0, |e| e.get().unsigned_abs())]
            }
            Self::Heartbeat { from, applied, .. } => [3, number(from), *applied as u64],
            Self::HeartbeatAnswer { answer, .. } => [4, u64::from(answer.is_ok()), 0],
            Self::GetMetadata { from } => [5, number(from), 0],
            Self::Metadata { upto } => [6, *upto as u64, 0],
            Self::Alter { from, request, .. } => [7, number(from), *request],
            Self::Altered { request, .. } => [8, *request, 0],
            Self::Fetch(fetch) => {
                [9, number(&fetch.from), fetch.position.offset.get().unsigned_abs()]
            }
            Self::Fetched { request, from, .. } => [10, *request, number(from)],
            Self::Produce { batch, request, .. } => [11, batch.write, *request],
            Self::Produced { request, answer } => {
                [12, *request, answer.map_or(u64::MAX, i64::unsigned_abs)]
            }
        }
    }
}
