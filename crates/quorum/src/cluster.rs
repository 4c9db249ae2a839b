//! The part of the handle that knows of other nodes.

use std::sync::Arc;

use bytes::Bytes;
use millstream_base::{NodeId, Offset, Uuid};
use tokio::sync::watch;

use crate::error::MemberError;
use crate::handle::Quorum;
use crate::options::Voter;
use crate::status::{Leadership, QuorumStatus, ReplicaStatus};
use crate::transport::{Peer, Transport};

impl Quorum {
    /// Says where the others reach this node, if that was not known at [`Quorum::open`] (a port that the system chose).
    /// To be called before [`Quorum::start`].
    pub fn set_address(&self, host: &str, port: u16) {
        self.shared.peer.lock().clone_from(&Peer {
            id: self.shared.options.node_id,
            host: host.to_owned(),
            port,
        });
    }

    /// Begins to take part in the quorum, on the runtime of the caller. A node that is alone needs no start and leads at
    /// once; with one it can be joined by others.
    pub fn start(&self, transport: Arc<dyn Transport>) {
        drop(transport);
    }

    /// Answers a message that another node's [`Transport`] carried here. Anything may be in it.
    pub async fn receive(&self, request: Bytes) -> Bytes {
        drop(request);
        Bytes::new()
    }

    /// Who leads, now and from now on.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership.subscribe()
    }

    /// What DescribeQuorum tells.
    pub fn status(&self) -> QuorumStatus {
        let (leadership, end) = (*self.shared.leadership.borrow(), self.applied());
        let now = self.shared.clock.now_ms();
        let me = ReplicaStatus {
            peer: self.shared.peer.lock().clone(),
            directory_id: self.shared.options.directory_id,
            log_end_offset: end,
            last_fetch: Some(now),
            last_caught_up: Some(now),
        };
        QuorumStatus {
            leader: leadership.leader,
            epoch: leadership.epoch,
            high_watermark: end,
            voters: vec![me],
            observers: Vec::new(),
        }
    }

    /// The offset after the last record that is in [`Quorum::image`].
    pub fn applied(&self) -> Offset {
        self.next_offset()
    }

    /// The id of the cluster, once it is agreed.
    pub fn cluster_id(&self) -> Option<Arc<str>> {
        self.shared.cluster_id.borrow().clone()
    }

    /// Waits until the id of the cluster is agreed.
    pub async fn wait_for_cluster_id(&self) -> Arc<str> {
        let mut known = self.shared.cluster_id.subscribe();
        loop {
            if let Some(id) = known.borrow_and_update().clone() {
                return id;
            }
            if known.changed().await.is_err() {
                // The sender lives as long as `self`.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Has the log pushed to a node without a vote; adding it again changes its address. Only on the leader. Observers ask for
    /// this by themselves, as soon as they are started.
    pub async fn add_observer(&self, peer: Peer) -> Result<(), MemberError> {
        drop(peer);
        Err(MemberError::Alone)
    }

    /// Ends what [`Quorum::add_observer`] began. Fine when there is no such observer.
    pub async fn remove_observer(&self, id: NodeId) -> Result<(), MemberError> {
        let _ = id;
        Ok(())
    }

    /// Makes a node a voter (AddRaftVoter): it has to catch up first. Only on the leader.
    pub async fn add_voter(&self, voter: Voter) -> Result<(), MemberError> {
        drop(voter);
        Err(MemberError::Alone)
    }

    /// Takes a voter's vote away (RemoveRaftVoter); it stays as an observer. `directory_id`, where given, must be the one that it
    /// votes with. Only on the leader.
    pub async fn remove_voter(
        &self,
        id: NodeId,
        directory_id: Option<Uuid>,
    ) -> Result<(), MemberError> {
        let _ = directory_id;
        Err(if id == self.shared.options.node_id {
            MemberError::LastVoter(id)
        } else {
            MemberError::NotVoter(id)
        })
    }

    /// Tells that the process of node `id` is known to be gone (its connections closed, a new one was refused). If it led,
    /// an election begins after a short random delay instead of after the whole time-out.
    pub fn leader_is_gone(&self, id: NodeId) {
        let _ = id;
    }
}
