//! A leader that stops hands its place over, so that nobody has to find out that it is gone.
//!
//! Key function: [`Node::hand_over`]. The leader finishes the proposal at hand, takes no other, falls silent and tells all voters
//! who is to follow it: the one that has most of its log, which asks for votes without a probe. Whatever is lost of this, the
//! others find out by their time-outs as ever.

use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_env::task::{self, Instant};
use openraft::ServerState;
use tracing::{info, warn};

use super::campaign::is_voter;
use super::message::{Ask, Reply};
use super::node::Node;
use super::types::Raft;
use crate::status::Leadership;

/// How long a successor may take before another one is named.
const ATTEMPT: Duration = Duration::from_millis(100);
/// How many are named.
const ATTEMPTS: usize = 3;

impl Node {
    /// Whether this node leaves, and leads no more.
    pub(crate) fn leaves(&self) -> bool {
        self.leaving.load(Ordering::SeqCst)
    }

    /// Gives up leading in favour of another voter, and asks for no votes from here on. Returns when another one leads or none
    /// can be had soon.
    pub(crate) async fn hand_over(&self) {
        let Some(raft) = self.raft().cloned() else { return };
        if self.leaves() {
            return;
        }
        // What is under way is finished: its callers hear how it went. The lock is held until the end.
        let turn = task::timeout(self.timing().election_min, self.proposing.lock()).await;
        self.leaving.store(true, Ordering::SeqCst);
        if raft.metrics().borrow().state != ServerState::Leader {
            return;
        }
        self.leadership.send_modify(|known| {
            *known = Leadership { leader: None, epoch: known.epoch, is_me: false };
        });
        let mut tried = Vec::new();
        while tried.len() < ATTEMPTS {
            let Some(next) = self.successor(&raft, &tried).await else { break };
            info!(node = self.id(), next, "handing the metadata quorum over");
            self.name(&raft, next);
            if succeeded(&raft, self.id()).await {
                drop(turn);
                return;
            }
            tried.push(next);
        }
        if self.membership().voter_ids().any(|id| id != self.id()) {
            warn!(
                node = self.id(),
                "nobody took over the metadata quorum yet: its voters will elect a leader by themselves"
            );
        }
        drop(turn);
    }

    /// It goes on after all.
    pub(crate) fn stay(&self) {
        self.leaving.store(false, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// The voter that has most of the log, among those that were not tried.
    async fn successor(&self, raft: &Raft, tried: &[i32]) -> Option<i32> {
        let deadline = Instant::now() + ATTEMPT;
        loop {
            let metrics = raft.metrics().borrow().clone();
            let members = metrics.membership_config.membership();
            let candidates = metrics.replication.iter().flatten().filter(|(id, _)| {
                **id != self.id() && is_voter(members, **id) && !tried.contains(*id)
            });
            let (id, matched) = candidates.max_by_key(|(_, matched)| **matched)?;
            let last = self.machine.log.entries(super::entries::Entries::last);
            if *matched >= last || Instant::now() >= deadline {
                return Some(*id);
            }
            task::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Tells all voters who is to lead.
    fn name(&self, raft: &Raft, next: i32) {
        let Some(running) = self.running() else { return };
        let metrics = raft.metrics().borrow().clone();
        let term = metrics.current_term;
        let members = metrics.membership_config.membership();
        for (id, member) in members.nodes().filter(|(id, _)| **id != self.id()) {
            if !is_voter(members, *id) {
                continue;
            }
            let ask = Ask::Leaving { term, next };
            let Ok((peer, request)) = self.request(*id, member, ask) else { continue };
            let transport = std::sync::Arc::clone(&running.transport);
            drop(task::spawn(async move {
                // No answer is waited for: who leads next shows by itself.
                drop(transport.call(&peer, request, ATTEMPT).await);
            }));
        }
    }

    /// The leader leaves and says who is to follow it.
    pub(crate) async fn is_left(&self, raft: &Raft, from: i32, term: u64, next: i32) -> Reply {
        let metrics = raft.metrics().borrow().clone();
        let led = metrics.vote.leader_id.voted_for;
        let known = metrics.current_leader == Some(from) && metrics.current_term == term;
        let tried = metrics.current_leader.is_none() && metrics.current_term > term;
        if !known && !tried {
            return Reply::Failed(format!("node {from} does not lead here: {led:?} does"));
        }
        {
            let mut heard = self.heard.lock();
            (heard.leader, heard.at, heard.gone) = (None, Instant::now(), Some(from));
        }
        let votes = is_voter(metrics.membership_config.membership(), self.id());
        if next == self.id() && votes && self.options.is_voter && !self.leaves() {
            // Voters do not listen while they have just heard of the leader.
            task::sleep(super::LEASE * 2).await;
            drop(raft.trigger().elect().await);
        }
        self.wake.notify_one();
        Reply::Done
    }
}

/// Waits for another leader, for a while.
async fn succeeded(raft: &Raft, me: i32) -> bool {
    let mut metrics = raft.metrics();
    let other = metrics.wait_for(|now| now.current_leader.is_some_and(|leader| leader != me));
    matches!(task::timeout(ATTEMPT, other).await, Ok(Ok(_)))
}
