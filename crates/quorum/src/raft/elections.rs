//! When to ask for votes, when to say that one is there, and who leads as far as can be told.
//!
//! Key function: [`drive`], one task a node. A voter that hears nothing from a leader asks the others first whether they would
//! vote for it (the probe): so a node that comes back after a cut does not unseat a leader that is alive, and its term does not
//! run away. Time-outs come from the seed of the options.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_base::NodeId;
use millstream_env::task::{self, Instant};
use openraft::{RaftMetrics, ServerState};
use tracing::{error, info};

use super::campaign::is_voter;
use super::node::Node;
use super::types::{Member, epoch_of};
use crate::status::Leadership;

/// What the driver remembers from step to step.
struct Driver {
    node: Arc<Node>,
    /// When the next heartbeat is due.
    heartbeat: Instant,
    /// When a leader next looks whether there is something to see to.
    upkeep: Instant,
    /// How long silence is borne this time.
    patience: Duration,
    /// Before that nothing is tried again.
    pause: Instant,
    /// The term in which this node leads, and since when.
    leads: Option<(u64, Instant)>,
    /// Since when it leads without reaching a majority.
    lost: Option<Instant>,
}

/// Drives a node until it is stopped.
pub(crate) async fn drive(node: Arc<Node>) {
    let Some(raft) = node.raft().cloned() else { return };
    let mut metrics = raft.metrics();
    let (now, timing) = (Instant::now(), *node.timing());
    let patience = node.random.lock().between(timing.election_min, timing.election_max);
    let mut driver = Driver {
        node: Arc::clone(&node),
        heartbeat: now,
        upkeep: now,
        patience,
        pause: now,
        leads: None,
        lost: None,
    };
    while !node.stopped.load(Ordering::SeqCst) {
        let newest = metrics.borrow_and_update().clone();
        if let Err(fatal) = &newest.running_state {
            error!(node = node.id(), error = %fatal, "the metadata quorum failed on this node: restart it");
            break;
        }
        let next = driver.step(&newest).await;
        tokio::select! {
            biased;
            changed = metrics.changed() => if changed.is_err() { break },
            () = node.wake.notified() => {}
            () = task::sleep_until(next) => {}
        }
    }
    let epoch = node.leadership.borrow().epoch;
    node.leadership.send_replace(Leadership { leader: None, epoch, is_me: false });
    node.jobs.notify_one();
}

impl Driver {
    /// Does what is due, and says when something will be.
    async fn step(&mut self, metrics: &RaftMetrics<i32, Member>) -> Instant {
        let now = Instant::now();
        let leads = metrics.state == ServerState::Leader;
        if leads && self.leads.map(|(term, _)| term) != Some(metrics.current_term) {
            self.leads = Some((metrics.current_term, now));
        }
        if !leads {
            self.leads = None;
        }
        self.mute(metrics, now);
        self.publish(metrics, now);
        self.node.snapshot_if_due().await;
        if leads {
            return self.lead(now).await;
        }
        self.follow(metrics, now)
    }

    /// A leader that reaches no majority is silent at times: it may well be heard by voters whose answers are lost, which would
    /// elect no other as long. It is not silent for good, since there may be no other with its log.
    fn mute(&mut self, metrics: &RaftMetrics<i32, Member>, now: Instant) {
        let timing = self.node.timing();
        let members = metrics.membership_config.membership();
        let reaches = |since| self.node.reaches_majority(members, since, timing.election_max);
        let lost = self.leads.is_some_and(|(_, since)| !reaches(since));
        self.lost = lost.then(|| self.lost.unwrap_or(now));
        let silent = self.lost.is_some_and(|lost| {
            let phase = timing.election_max.as_micros().max(1) * 3;
            (now.duration_since(lost).as_micros() / phase).is_multiple_of(2)
        });
        self.node.muted.store(silent, Ordering::SeqCst);
    }

    async fn lead(&mut self, now: Instant) -> Instant {
        if now >= self.heartbeat {
            self.heartbeat = now + self.node.timing().heartbeat;
            // openraft would only put it behind what waits for the disk.
            let silent = self.node.leaves()
                || self.node.muted.load(Ordering::SeqCst)
                || self.node.machine.log.waits();
            if let Some(raft) = self.node.raft().filter(|_| !silent) {
                // A failure shows in the metrics.
                drop(raft.trigger().heartbeat().await);
            }
        }
        let active = self.node.leadership.borrow().is_me;
        if active && now >= self.upkeep && !self.node.keeping.swap(true, Ordering::SeqCst) {
            self.upkeep = now + self.node.timing().heartbeat;
            let node = Arc::clone(&self.node);
            drop(task::spawn(async move {
                node.keep_up().await;
                node.keeping.store(false, Ordering::SeqCst);
            }));
        }
        self.heartbeat
    }

    fn follow(&mut self, metrics: &RaftMetrics<i32, Member>, now: Instant) -> Instant {
        let timing = *self.node.timing();
        let (at, gone) = {
            let heard = self.node.heard.lock();
            (heard.at, heard.gone.is_some() && heard.gone == heard.leader)
        };
        let members = metrics.membership_config.membership();
        let votes = self.node.options.is_voter && is_voter(members, self.node.id());
        if votes && self.node.leaves() {
            return now + timing.election_max;
        }
        let alone = votes && members.voter_ids().count() == 1;
        let due = if alone || gone { self.pause } else { (at + self.patience).max(self.pause) };
        if gone && self.pause <= now && self.patience > timing.election_min / 4 {
            // So that not all who lost their leader ask at the same time.
            self.patience = Duration::ZERO;
            self.pause =
                now + self.node.random.lock().between(Duration::ZERO, timing.election_min / 10);
            return self.pause;
        }
        if now < due || self.node.trying.swap(true, Ordering::SeqCst) {
            return due.max(now + timing.heartbeat / 4);
        }
        {
            let mut random = self.node.random.lock();
            self.patience = random.between(timing.election_min, timing.election_max);
            let least = if gone || alone { timing.heartbeat / 2 } else { timing.election_min / 2 };
            self.pause = now + random.between(least, least * 2);
        }
        let node = Arc::clone(&self.node);
        drop(task::spawn(async move {
            if votes {
                node.campaign(gone).await;
            } else {
                node.join().await;
            }
            node.trying.store(false, Ordering::SeqCst);
            node.wake.notify_one();
        }));
        self.pause
    }

    /// Says who leads.
    fn publish(&self, metrics: &RaftMetrics<i32, Member>, now: Instant) {
        let timing = self.node.timing();
        let me = self.node.id();
        let leader = if let Some((term, since)) = self.leads {
            let reached = self.node.reaches_majority(
                metrics.membership_config.membership(),
                since,
                timing.election_max,
            );
            let applied = metrics.last_applied.is_some_and(|id| id.leader_id.term == term);
            (reached && !self.node.leaves()).then_some((me, applied))
        } else {
            let heard = self.node.heard.lock();
            let fresh = now.duration_since(heard.at) <= timing.election_max * 2;
            let known = metrics.current_leader.filter(|leader| *leader != me);
            known
                .filter(|leader| fresh && heard.gone != Some(*leader))
                .map(|leader| (leader, false))
        };
        let epoch = epoch_of(metrics.current_term).get();
        let told = Leadership {
            leader: leader.map(|(id, _)| NodeId(id)),
            epoch,
            is_me: leader == Some((me, true)),
        };
        let changed = self.node.leadership.send_if_modified(|known| {
            let changed = *known != told;
            *known = told;
            changed
        });
        if changed {
            info!(
                node = me,
                epoch,
                leader = told.leader.map_or(-1, NodeId::get),
                active = told.is_me,
                "leader of the metadata quorum"
            );
            self.node.jobs.notify_one();
        }
    }
}
