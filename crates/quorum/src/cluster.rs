//! The part of the handle that knows of other nodes.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use millstream_base::{NodeId, Offset, TimestampMs, Uuid};
use millstream_env::task;
use tokio::sync::watch;
use tracing::error;

use crate::core::Core;
use crate::error::{MemberError, OpenError};
use crate::handle::{Mode, Quorum, Shared, open_node};
use crate::options::Voter;
use crate::raft::campaign::is_voter;
use crate::raft::node::Node;
use crate::raft::open::Proposer;
use crate::raft::types::Member;
use crate::status::{Leadership, QuorumStatus, ReplicaStatus};
use crate::transport::{Peer, Transport};

impl Quorum {
    /// Says where the others reach this node, if that was not known at [`Quorum::open`] (a port that the system chose).
    /// To be called before [`Quorum::start`].
    pub fn set_address(&self, host: &str, port: u16) {
        let peer = Peer { id: self.shared.options.node_id, host: host.to_owned(), port };
        if let Some(node) = self.shared.node() {
            *node.address.lock() = Some(peer.clone());
        }
        *self.shared.address.lock() = Some(peer);
    }

    /// Begins to take part in the quorum, on the runtime of the caller. A node that is alone needs no start and leads at
    /// once; with one, others can join it. To be called once.
    pub fn start(&self, transport: Arc<dyn Transport>) {
        let mut mode = self.shared.mode.write();
        match std::mem::replace(&mut *mode, Mode::Between) {
            Mode::Quorum(node) => {
                crate::raft::open::start(&node, transport, proposer(&self.shared));
                *mode = Mode::Quorum(node);
            }
            Mode::Alone(core) => {
                let shared = Arc::clone(&self.shared);
                drop(task::spawn(join_others(shared, core, transport)));
            }
            Mode::Between => {}
        }
    }

    /// Answers a message that another node's [`Transport`] carried here. Anything may be in it.
    pub async fn receive(&self, request: Bytes) -> Bytes {
        match self.shared.node() {
            Some(node) => node.receive(&request).await,
            None => Bytes::new(),
        }
    }

    /// Stops at once, as if the process were killed: nothing is written or sent any more. For tests and simulations.
    pub fn abandon(&self) {
        if let Some(node) = self.shared.node() {
            node.abandon();
        }
    }

    /// Who leads, now and from now on.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.shared.leadership.subscribe()
    }

    /// What DescribeQuorum tells.
    pub fn status(&self) -> QuorumStatus {
        let leadership = *self.shared.leadership.borrow();
        let (voters, observers) = match &*self.shared.mode.read() {
            Mode::Quorum(node) => {
                replicas(node, leadership.leader == Some(self.shared.options.node_id))
            }
            Mode::Alone(core) => (vec![self.alone(core.lock().next_offset())], Vec::new()),
            Mode::Between => (vec![self.alone(Offset(-1))], Vec::new()),
        };
        let Leadership { leader, epoch, .. } = leadership;
        QuorumStatus { leader, epoch, high_watermark: self.applied(), voters, observers }
    }

    fn alone(&self, log_end_offset: Offset) -> ReplicaStatus {
        let (id, now) = (self.shared.options.node_id, self.shared.clock.now_ms());
        let nowhere = || Peer { id, host: String::new(), port: 0 };
        ReplicaStatus {
            peer: self.shared.address.lock().clone().unwrap_or_else(nowhere),
            directory_id: self.shared.options.directory_id,
            log_end_offset,
            last_fetch: Some(now),
            last_caught_up: Some(now),
        }
    }

    /// The offset after the last record that is in [`Quorum::image`].
    pub fn applied(&self) -> Offset {
        match &*self.shared.mode.read() {
            Mode::Quorum(node) => node.machine.applied.borrow().end,
            Mode::Alone(core) => core.lock().next_offset(),
            Mode::Between => Offset(-1),
        }
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

    /// Has the log pushed to a node without a vote; adding it again changes its address. Only on the leader. Nodes that hear
    /// of no leader ask for this by themselves, as soon as they are started.
    pub async fn add_observer(&self, peer: Peer) -> Result<(), MemberError> {
        self.member_node()?.add_observer(&peer).await
    }

    /// Ends what [`Quorum::add_observer`] began. Fine when there is no such observer.
    pub async fn remove_observer(&self, id: NodeId) -> Result<(), MemberError> {
        match self.shared.node() {
            Some(node) => node.forget(id.get()).await,
            None => Ok(()),
        }
    }

    /// Makes a node a voter (AddRaftVoter): it has to run and to catch up first. Only on the leader.
    pub async fn add_voter(&self, voter: Voter) -> Result<(), MemberError> {
        self.member_node()?.add_voter(voter).await
    }

    /// Takes a voter's vote away (RemoveRaftVoter); it stays as an observer. `directory_id`, where given, must be the one that it
    /// votes with. Only on the leader.
    pub async fn remove_voter(
        &self,
        id: NodeId,
        directory_id: Option<Uuid>,
    ) -> Result<(), MemberError> {
        self.member_node()?.remove_voter(id, directory_id).await
    }

    fn member_node(&self) -> Result<Arc<Node>, MemberError> {
        let node = self.shared.node().ok_or(MemberError::Alone)?;
        node.running().map(|_| ()).ok_or(MemberError::NotController { leader: None })?;
        Ok(node)
    }

    /// Tells that the process of node `id` is known to be gone (its connections closed, a new one was refused). If it led,
    /// an election begins after a short random delay instead of after the whole time-out.
    pub fn leader_is_gone(&self, id: NodeId) {
        if let Some(node) = self.shared.node() {
            node.is_gone(id.get());
        }
    }
}

/// Who takes part, and how far each is as far as this node knows.
fn replicas(node: &Node, leads: bool) -> (Vec<ReplicaStatus>, Vec<ReplicaStatus>) {
    let members = node.membership();
    let matched: BTreeMap<i32, Option<crate::raft::types::LogId>> = node
        .raft()
        .filter(|_| leads)
        .and_then(|raft| raft.metrics().borrow().replication.clone())
        .unwrap_or_default();
    let contacts = node.contacts.lock().clone();
    let now = node.machine.clock.now_ms();
    let known = |time: TimestampMs| (time != TimestampMs::NONE).then_some(time);
    let status = |(id, member): (&i32, &Member)| {
        let contact = contacts.get(id).filter(|_| leads);
        let log = &node.machine.log;
        let (end, fetch, caught_up) = if *id == node.id() {
            (Some(log.entries(crate::raft::entries::Entries::end)), Some(now), Some(now))
        } else {
            let last = matched.get(id).copied().flatten();
            let end = last.and_then(|last| log.entries(|known| known.end_of(last.index)));
            let times = contact.map(|contact| (known(contact.fetched), contact.caught_up));
            let (fetched, caught_up) = times.unwrap_or_default();
            (end, fetched, caught_up)
        };
        ReplicaStatus {
            peer: member.peer(*id),
            directory_id: member.directory(),
            log_end_offset: end.unwrap_or(Offset(-1)),
            last_fetch: fetch,
            last_caught_up: caught_up,
        }
    };
    let (voters, observers): (Vec<_>, Vec<_>) =
        members.nodes().partition(|(id, _)| is_voter(&members, **id));
    (voters.into_iter().map(status).collect(), observers.into_iter().map(status).collect())
}

/// The task that hands commands to a node of a quorum.
fn proposer(shared: &Arc<Shared>) -> Proposer {
    let shared = Arc::downgrade(shared);
    Box::new(move |node| Box::pin(propose(shared, node)))
}

async fn propose(shared: Weak<Shared>, node: Arc<Node>) {
    loop {
        {
            let Some(shared) = shared.upgrade() else { return };
            while let Some(jobs) = shared.next_jobs() {
                let rest = node.propose(jobs).await;
                if !rest.is_empty() {
                    shared.put_back(rest);
                }
            }
        }
        if node.running().is_none() {
            return;
        }
        node.jobs.notified().await;
    }
}

/// Takes a node that was alone into a quorum, which it makes up with itself at first.
async fn join_others(
    shared: Arc<Shared>,
    core: Arc<parking_lot::Mutex<Core>>,
    transport: Arc<dyn Transport>,
) {
    let opened = {
        let shared = Arc::clone(&shared);
        shared.executor.clone().run(move || reopen(&shared, &core)).await
    };
    match opened {
        Some(Ok(node)) => {
            crate::raft::open::start(&node, transport, proposer(&shared));
            *shared.mode.write() = Mode::Quorum(node);
            shared.work();
        }
        Some(Err(error)) => {
            error!(%error, "the metadata log cannot be opened again for a quorum: restart the node");
            shared.shut();
        }
        None => shared.shut(),
    }
}

fn reopen(shared: &Shared, core: &parking_lot::Mutex<Core>) -> Result<Arc<Node>, OpenError> {
    core.lock().retire();
    let address = shared.address.lock().clone();
    let epoch = shared.leadership.borrow().epoch;
    shared.leadership.send_replace(Leadership { leader: None, epoch, is_me: false });
    open_node(
        &shared.fs,
        &shared.clock,
        &shared.executor,
        &shared.options,
        address,
        Some(Arc::clone(&shared.publisher)),
        &shared.leadership,
        &shared.cluster_id,
    )
}
