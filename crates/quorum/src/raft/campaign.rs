//! Asking to lead, and asking to follow.
//!
//! Key functions: [`Node::campaign`] (the probe, then the votes), [`Node::would_vote`] (its other side) and [`Node::join`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::NodeId;
use millstream_env::task::{self, Instant};
use tokio::sync::mpsc;
use tracing::info;

use super::message::{Ask, Reply};
use super::node::Node;
use super::types::{LogId, Member, Membership};

/// Whether that node votes.
pub(crate) fn is_voter(members: &Membership, id: i32) -> bool {
    members.voter_ids().any(|voter| voter == id)
}

/// Whether these nodes are a majority, of each of the two sets while members change.
fn is_majority(members: &Membership, nodes: &BTreeSet<i32>) -> bool {
    members.get_joint_config().iter().all(|set| set.intersection(nodes).count() * 2 > set.len())
}

impl Node {
    /// Whether a majority answered this leader within `time`.
    pub(crate) fn reaches_majority(
        &self,
        members: &Membership,
        since: Instant,
        time: Duration,
    ) -> bool {
        if since.elapsed() <= time {
            return true;
        }
        let contacts = self.contacts.lock();
        let fresh = contacts.iter().filter(|(_, contact)| contact.at.elapsed() <= time);
        let mut reached: BTreeSet<i32> = fresh.map(|(id, _)| *id).collect();
        reached.insert(self.id());
        is_majority(members, &reached)
    }

    /// Whether this node hears from a leader, so that no other is needed.
    fn hears_a_leader(&self) -> bool {
        let heard = self.heard.lock();
        let alive = heard.leader.is_some() && heard.leader != heard.gone;
        alive && heard.at.elapsed() < self.timing().election_min
    }

    /// Asks whether there would be a majority, and if so, for its votes.
    pub(crate) async fn campaign(self: &Arc<Self>, gone: bool) {
        let members = self.membership();
        let gone = gone.then(|| self.heard.lock().gone).flatten();
        let last = self.machine.log.entries(super::entries::Entries::last);
        let (sender, mut answers) = mpsc::unbounded_channel();
        for id in members.voter_ids().filter(|id| *id != self.id()).collect::<BTreeSet<_>>() {
            let Some(member) = members.get_node(&id).cloned() else { continue };
            let (node, sender) = (Arc::clone(self), sender.clone());
            drop(task::spawn(async move {
                let within = node.timing().election_min;
                let reply = node.call(id, &member, Ask::Probe { last, gone }, within).await;
                if matches!(reply, Ok(Reply::Probe { yes: true })) {
                    let _ = sender.send(id);
                }
            }));
        }
        drop(sender);
        let mut willing = BTreeSet::from([self.id()]);
        while !is_majority(&members, &willing) {
            let Some(id) = answers.recv().await else {
                // Perhaps it votes no more, and nobody told it.
                if !self.hears_a_leader() {
                    self.join().await;
                }
                return;
            };
            willing.insert(id);
        }
        if self.hears_a_leader() {
            return;
        }
        info!(node = self.id(), "asking to lead the metadata quorum");
        if let Some(raft) = self.raft() {
            drop(raft.trigger().elect().await);
        }
    }

    /// Whether this node would vote for `from`, whose log ends with `last`.
    pub(crate) async fn would_vote(&self, last: Option<LogId>, gone: Option<i32>) -> bool {
        if self.leadership.borrow().leader == Some(NodeId(self.id())) {
            return false;
        }
        if last < self.machine.log.entries(super::entries::Entries::last) {
            return false;
        }
        if self.hears_a_leader() {
            let leader = self.heard.lock().leader;
            let Some(leader) = leader.filter(|leader| gone == Some(*leader)) else { return false };
            // The other says that it is gone. Is it?
            if let Some(member) = self.membership().get_node(&leader).cloned() {
                drop(self.call(leader, &member, Ask::Ping, self.timing().heartbeat).await);
            }
        }
        !self.hears_a_leader()
    }

    /// Asks the voters to be let in, until one of them does.
    pub(crate) async fn join(self: &Arc<Self>) {
        let me = self.me();
        if me.host.is_empty() {
            self.complain(
                "this node's address is not known, so it cannot follow the metadata quorum",
            );
            return;
        }
        let members = self.membership();
        let mut peers: Vec<(i32, Member)> = members
            .voter_ids()
            .filter_map(|id| members.get_node(&id).map(|member| (id, member.clone())))
            .collect();
        for voter in &self.options.voters {
            let id = voter.peer.id.get();
            if id != self.id() && peers.iter().all(|(known, _)| *known != id) {
                peers.push((id, Member::new(&voter.peer, voter.directory_id)));
            }
        }
        peers.sort_by_key(|(id, _)| *id);
        peers.dedup_by_key(|(id, _)| *id);
        peers.retain(|(id, _)| *id != self.id());
        for (id, member) in &peers {
            let asked = Ask::Join(me.clone());
            match self.call(*id, member, asked, self.timing().request).await {
                Ok(Reply::Done) => return,
                Ok(Reply::Elsewhere(Some(leader))) => {
                    let Some((id, member)) = peers.iter().find(|(id, _)| *id == leader) else {
                        continue;
                    };
                    let asked = Ask::Join(me.clone());
                    if let Ok(Reply::Done) =
                        self.call(*id, member, asked, self.timing().request).await
                    {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    /// Has a snapshot taken if the log has grown enough.
    pub(crate) async fn snapshot_if_due(&self) {
        let due = {
            let state = self.machine.state.lock();
            state.bytes_since_snapshot >= self.options.snapshot_after_bytes
                && !state.replayer.in_transaction()
        };
        if let Some(raft) = self.raft().filter(|_| due) {
            drop(raft.trigger().snapshot().await);
        }
    }
}
