//! openraft's messages on their way to other nodes.
//!
//! Key types: [`Network`], [`Link`]. An answer counts only when it comes from who was meant, of the same cluster and with the
//! metadata directory that the log remembers.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::Duration;

use openraft::AnyError;
use openraft::SnapshotSegmentId;
use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, SnapshotMismatch,
    Unreachable,
};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};

use super::message::{Ask, Reply};
use super::node::{CallError, Node};
use super::types::{Member, Types};

/// Makes links.
pub(crate) struct Network(pub Weak<Node>);

/// The way to one node.
pub(crate) struct Link {
    node: Weak<Node>,
    target: i32,
    member: Member,
}

type Failed<E = openraft::error::Infallible> = RPCError<i32, Member, RaftError<i32, E>>;

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: i32, member: &Member) -> Link {
        Link { node: self.0.clone(), target, member: member.clone() }
    }
}

fn failed<E: std::error::Error>(error: CallError) -> Failed<E> {
    match error {
        CallError::Unreachable(reason) => Unreachable::from(AnyError::error(reason)).into(),
        CallError::Failed(reason) => NetworkError::from(AnyError::error(reason)).into(),
    }
}

fn unexpected<E: std::error::Error>() -> Failed<E> {
    failed(CallError::Unreachable("an answer to something else".to_owned()))
}

impl Link {
    async fn call(&self, ask: Ask, within: Duration) -> Result<Reply, CallError> {
        let Some(node) = self.node.upgrade() else {
            return Err(CallError::Unreachable("this node has stopped".to_owned()));
        };
        node.call(self.target, &self.member, ask, within).await
    }
}

impl RaftNetwork<Types> for Link {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<i32>, Failed> {
        if self.node.upgrade().is_some_and(|node| node.muted.load(Ordering::SeqCst)) {
            let reason = "this leader reaches no majority and is silent for a while";
            return Err(failed(CallError::Unreachable(reason.to_owned())));
        }
        let sent = rpc.entries.last().map(|entry| entry.log_id).or(rpc.prev_log_id);
        let reply = self.call(Ask::Append(rpc), option.hard_ttl()).await.map_err(failed)?;
        let Reply::Append(response) = reply else { return Err(unexpected()) };
        if let Some(node) = self.node.upgrade() {
            node.acknowledged(self.target, sent, &response);
        }
        Ok(response.into())
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<Types>,
        option: RPCOption,
    ) -> Result<InstallSnapshotResponse<i32>, Failed<InstallSnapshotError>> {
        let id = rpc.meta.snapshot_id.clone();
        let (offset, done) = (rpc.offset, rpc.done);
        let (vote, meta, data) = (rpc.vote, rpc.meta, rpc.data.into());
        let ask = Ask::Snapshot { vote, meta, offset, done, data };
        match self.call(ask, option.hard_ttl()).await.map_err(failed)? {
            Reply::Snapshot(vote) => {
                if let Some(node) = self.node.upgrade() {
                    node.contacted(self.target);
                }
                Ok(InstallSnapshotResponse { vote })
            }
            Reply::SnapshotAgain { expect, got } => {
                let segment = |offset| SnapshotSegmentId { id: id.clone(), offset };
                let mismatch = SnapshotMismatch { expect: segment(expect), got: segment(got) };
                let error = RaftError::APIError(InstallSnapshotError::SnapshotMismatch(mismatch));
                Err(RPCError::RemoteError(RemoteError::new(self.target, error)))
            }
            _ => Err(unexpected()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<i32>,
        _option: RPCOption,
    ) -> Result<VoteResponse<i32>, Failed> {
        let within = self.node.upgrade().map_or(Duration::ZERO, |node| node.timing().request);
        match self.call(Ask::Vote(rpc), within).await.map_err(failed)? {
            Reply::Vote(response) => Ok(response),
            _ => Err(unexpected()),
        }
    }

    fn backoff(&self) -> Backoff {
        let pause = self.node.upgrade().map_or(Duration::from_secs(1), |n| n.timing().heartbeat);
        Backoff::new(std::iter::repeat(pause))
    }
}
