//! Who takes part: observers that join, voters that are added and removed, and what the leader sees to.
//!
//! Key functions: [`Node::admit`], [`Node::add_voter`], [`Node::keep_up`]. Only a leader changes members, one change at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream_base::{NodeId, Uuid};
use millstream_env::task::{self, Instant};
use millstream_metadata::decide::{Decision, bootstrap_features};
use millstream_metadata::{ClusterImage, MetadataRecord};
use millstream_wire::stored::AbortTransactionRecord;
use openraft::ChangeMembers;
use openraft::error::{ChangeMembershipError, ClientWriteError, RaftError};
use tracing::{info, warn};

use super::campaign::is_voter;
use super::message::Reply;
use super::node::{Node, is_another};
use super::types::{Command, Member};
use crate::error::{CommitError, MemberError};
use crate::job::{Pending, Turn};
use crate::options::Voter;
use crate::transport::Peer;

/// How long a node that is to vote may take to catch up.
const CATCH_UP: Duration = Duration::from_secs(20);
/// The most nodes that follow the metadata log.
const MAX_MEMBERS: usize = 2000;
/// The longest name of a host (RFC 1035).
const MAX_HOST: usize = 255;

type Change = ChangeMembers<i32, Member>;

impl Node {
    fn leader(&self) -> Result<(), MemberError> {
        if self.leadership.borrow().is_me { Ok(()) } else { Err(self.member_error()) }
    }

    fn member_error(&self) -> MemberError {
        match self.not_controller() {
            CommitError::NotController { leader } => MemberError::NotController { leader },
            other => MemberError::Failed(other.to_string()),
        }
    }

    /// Commits a change of members.
    async fn change(&self, change: Change) -> Result<(), MemberError> {
        let Some(raft) = self.raft() else {
            return Err(MemberError::Failed("the node is stopping".to_owned()));
        };
        let _turn = self.proposing.lock().await;
        match self.while_leading(raft.change_membership(change, true)).await {
            Some(Ok(_)) => Ok(()),
            None | Some(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => {
                Err(self.member_error())
            }
            Some(Err(RaftError::APIError(ClientWriteError::ChangeMembershipError(
                ChangeMembershipError::InProgress(_),
            )))) => Err(MemberError::Busy),
            Some(Err(error)) => Err(MemberError::Failed(error.to_string())),
        }
    }

    /// Lets a node follow the log that asks for it.
    pub(crate) async fn admit(&self, from: i32, member: Member) -> Reply {
        self.is_at(member.peer(from));
        if !self.leadership.borrow().is_me {
            let leader = self.leadership.borrow().leader.map(NodeId::get);
            return Reply::Elsewhere(leader.filter(|leader| *leader != self.id()));
        }
        if let Err(reason) = self.check_joining(from, &member) {
            self.complain(&reason);
            return Reply::Refused(reason);
        }
        match self.observe(from, member).await {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Failed(error.to_string()),
        }
    }

    /// Members are in the log, and each has a task of its own: nobody makes up as many as he likes.
    fn check_joining(&self, from: i32, member: &Member) -> Result<(), String> {
        if from < 0 || member.host.is_empty() || member.host.len() > MAX_HOST {
            return Err(format!("node {from} cannot join: it names no usable id or address"));
        }
        let members = self.membership();
        let is_new = members.get_node(&from).is_none();
        if is_new && members.nodes().count() >= MAX_MEMBERS {
            return Err(format!(
                "node {from} cannot join: {MAX_MEMBERS} nodes follow the metadata log already, unregister some first"
            ));
        }
        Ok(())
    }

    /// Has the log pushed to a node.
    pub(crate) async fn observe(&self, id: i32, member: Member) -> Result<(), MemberError> {
        self.leader()?;
        let members = self.membership();
        let Some(known) = members.get_node(&id).cloned() else {
            info!(
                node = id,
                host = member.host,
                port = member.port,
                "a node follows the metadata log"
            );
            return self.change(Change::AddNodes(BTreeMap::from([(id, member)]))).await;
        };
        if is_another(known.directory(), member.directory()) && !is_voter(&members, id) {
            warn!(
                node = id,
                "a node comes back with an empty metadata directory and follows from the start"
            );
            self.change(Change::RemoveNodes(BTreeSet::from([id]))).await?;
            return self.change(Change::AddNodes(BTreeMap::from([(id, member)]))).await;
        }
        let directory =
            if member.directory() == Uuid::ZERO { known.directory } else { member.directory };
        let member = Member { directory, ..member };
        if member == known {
            return Ok(());
        }
        self.change(Change::SetNodes(BTreeMap::from([(id, member)]))).await
    }

    /// No longer pushes the log to a node.
    pub(crate) async fn forget(&self, id: i32) -> Result<(), MemberError> {
        self.leader()?;
        let members = self.membership();
        if members.get_node(&id).is_none() || is_voter(&members, id) {
            return Ok(());
        }
        self.change(Change::RemoveNodes(BTreeSet::from([id]))).await
    }

    /// Makes a node a voter once it has caught up.
    pub(crate) async fn add_voter(&self, voter: Voter) -> Result<(), MemberError> {
        self.leader()?;
        let id = voter.peer.id;
        if is_voter(&self.membership(), id.get()) {
            return Err(MemberError::AlreadyVoter(id));
        }
        self.observe(id.get(), Member::new(&voter.peer, voter.directory_id)).await?;
        self.caught_up(id).await?;
        self.change(Change::AddVoterIds(BTreeSet::from([id.get()]))).await?;
        info!(node = id.get(), "a voter was added to the metadata quorum");
        Ok(())
    }

    /// Waits until a node has what the leader has now.
    async fn caught_up(&self, id: NodeId) -> Result<(), MemberError> {
        let target = self.machine.log.entries(super::entries::Entries::last);
        let deadline = Instant::now() + CATCH_UP;
        loop {
            self.leader()?;
            let matched = self.raft().and_then(|raft| {
                let metrics = raft.metrics().borrow().clone();
                metrics.replication.and_then(|all| all.get(&id.get()).copied().flatten())
            });
            if matched >= target {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(MemberError::NotCaughtUp(id));
            }
            task::sleep(self.timing().heartbeat / 4).await;
        }
    }

    /// Takes a voter's vote away.
    pub(crate) async fn remove_voter(
        &self,
        id: NodeId,
        directory: Option<Uuid>,
    ) -> Result<(), MemberError> {
        self.leader()?;
        let members = self.membership();
        if !is_voter(&members, id.get()) {
            return Err(MemberError::NotVoter(id));
        }
        let known = members.get_node(&id.get()).map_or(Uuid::ZERO, Member::directory);
        if directory.is_some_and(|directory| is_another(known, directory)) {
            return Err(MemberError::OtherDirectory(id));
        }
        if members.voter_ids().count() == 1 {
            return Err(MemberError::LastVoter(id));
        }
        self.change(Change::RemoveVoters(BTreeSet::from([id.get()]))).await?;
        info!(node = id.get(), "a voter was removed from the metadata quorum");
        if id.get() == self.id() {
            // One without a vote does not lead.
            self.hand_over().await;
            self.stay();
        }
        Ok(())
    }

    /// Adds an observer at the request of the host.
    pub(crate) async fn add_observer(&self, peer: &Peer) -> Result<(), MemberError> {
        self.observe(peer.id.get(), Member::new(peer, Uuid::ZERO)).await
    }

    /// What a leader sees to: that the cluster has an id and its first records, that changes of members which a leader before
    /// it began are finished, and that the log knows the voters' directories and addresses.
    pub(crate) async fn keep_up(&self) {
        if let Err(error) = self.begin().await {
            warn!(%error, "the first records of the cluster are not written yet");
            return;
        }
        if self.proposing.try_lock().is_err() {
            // A change may be under way; there is a next time.
            return;
        }
        let members = self.membership();
        if let [_, next] = members.get_joint_config().as_slice() {
            info!("finishing a change of voters that was begun before");
            drop(self.change(Change::ReplaceAllVoters(next.clone())).await);
            return;
        }
        let (contacts, places) = (self.contacts.lock().clone(), self.known_places());
        let mut changed = BTreeMap::new();
        for (id, member) in members.nodes() {
            let mut newer = member.clone();
            if let Some(peer) = places.get(id) {
                (newer.host, newer.port) = (peer.host.clone(), peer.port);
            }
            if *id == self.id() {
                let me = self.me();
                newer.directory = me.directory;
                if !me.host.is_empty() {
                    (newer.host, newer.port) = (me.host, me.port);
                }
            } else if let Some(contact) = contacts.get(id)
                && member.directory() == Uuid::ZERO
            {
                newer.directory = contact.directory.0;
            }
            if newer != *member {
                changed.insert(*id, newer);
            }
        }
        let stored =
            self.raft().map(|raft| raft.metrics().borrow().membership_config.log_id().is_some());
        if stored == Some(false) && changed.is_empty() {
            changed = members.nodes().map(|(id, member)| (*id, member.clone())).collect();
        }
        if !changed.is_empty() {
            drop(self.change(Change::SetNodes(changed)).await);
        }
    }

    /// The id of the cluster and its first records.
    async fn begin(&self) -> Result<(), CommitError> {
        // A node that was alone knows its cluster, and its log may not.
        let is_logged = self.machine.state.lock().position.cluster_id.is_some();
        if !is_logged {
            let options = &self.options;
            let id = self.cluster_id().or_else(|| options.proposed_cluster_id.clone());
            let id = id.unwrap_or_else(|| options.directory_id.to_string());
            let turn = self.proposing.lock().await;
            self.write(Command::ClusterId(id)).await?;
            drop(turn);
        }
        let records = {
            let state = self.machine.state.lock();
            let reason = Some("the leader was replaced within the transaction".into());
            let abort = AbortTransactionRecord { reason };
            if state.replayer.in_transaction() {
                vec![MetadataRecord::AbortTransaction(abort)]
            } else if state.replayer.image().features.is_empty() {
                bootstrap_features(&self.options.features)
            } else {
                Vec::new()
            }
        };
        if records.is_empty() {
            return Ok(());
        }
        let (told, outcome) = tokio::sync::oneshot::channel();
        let decision = Decision { records, reply: () };
        let decide = move |_: &ClusterImage, _: &Turn| Ok(decision);
        let job = Pending::new(decide, move |result| drop(told.send(result)));
        self.propose(vec![Box::new(job)]).await;
        outcome.await.unwrap_or(Err(CommitError::Closed))
    }
}

/// Two sets of members that take part at the start.
pub(crate) fn configured(
    options: &crate::options::QuorumOptions,
    address: Option<&Peer>,
) -> super::types::Membership {
    let mut nodes: BTreeMap<i32, Member> = options
        .voters
        .iter()
        .map(|voter| (voter.peer.id.get(), Member::new(&voter.peer, voter.directory_id)))
        .collect();
    let me = options.node_id.get();
    if options.is_alone() {
        let directory = options.directory_id;
        let alone = Member { directory: directory.0, ..Member::default() };
        nodes.insert(me, address.map_or(alone, |peer| Member::new(peer, directory)));
    }
    let voters: BTreeSet<i32> =
        nodes.keys().copied().filter(|id| *id != me || options.is_voter).collect();
    super::types::Membership::new(vec![voters], nodes)
}
