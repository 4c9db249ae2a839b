//! What goes wrong, and what is changed meanwhile.

use millstream_base::NodeId;

use super::{Event, World, number};
use crate::node::Context;

impl World {
    /// One fault, or change of the cluster; then the next after a while, or the end of all faults.
    pub(super) fn fault(&mut self) {
        if self.now_us >= self.scenario.faults_until_us {
            return self.heal();
        }
        let next = self.rng.between(1_000, self.scenario.fault_every_us);
        self.after(next, Event::Fault);
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        let Some(id) = self.rng.pick(&ids).copied() else { return };
        match self.rng.below(18) {
            0..=3 => self.crash(id),
            4..=7 => self.restart_one(),
            8 => self.stall(id),
            9..=10 => self.cut_links(id),
            11..=12 => {
                self.note(&[80], || "all links work again".to_owned());
                self.blocked.clear();
            }
            13 => self.controller_leaves(),
            14..=15 => self.reassign(),
            16 => self.elect_preferred(),
            _ => {
                self.note(&[81, number(id)], || format!("broker {id} is asked to stop"));
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.stopping = node.up;
                }
            }
        }
    }

    fn crash(&mut self, id: NodeId) {
        let power_loss = self.scenario.power_losses && self.rng.percent(50);
        if self.nodes.get(&id).is_none_or(|node| !node.up) {
            return;
        }
        let how = if power_loss { "loses power" } else { "is killed" };
        self.note(&[82, number(id), power_loss.into()], || format!("broker {id} {how}"));
        let mut out = Vec::new();
        let mut ctx = Context {
            now_us: self.now_us,
            rng: &mut self.rng,
            checker: &mut self.checker,
            out: &mut out,
        };
        if let Some(node) = self.nodes.get_mut(&id) {
            node.crash(power_loss, &mut ctx);
        }
        if !power_loss && self.rng.percent(50) {
            let after = self.rng.between(2_000, 40_000);
            self.after(after, Event::Refused(id));
        }
        if self.rng.percent(30) {
            // A supervisor starts it again at once.
            let soon = self.rng.percent(50);
            if soon {
                self.start(id);
            }
        }
    }

    fn restart_one(&mut self) {
        let down = self.nodes.values().filter(|node| !node.up).map(|node| node.id);
        let down: Vec<NodeId> = down.collect();
        if let Some(id) = self.rng.pick(&down).copied() {
            self.start(id);
        }
    }

    fn stall(&mut self, id: NodeId) {
        let until_us = self.now_us + self.rng.between(20_000, 900_000);
        self.note(&[83, number(id), until_us], || format!("broker {id} hangs until {until_us} us"));
        if let Some(node) = self.nodes.get_mut(&id) {
            node.stalled_until_us = until_us;
        }
    }

    /// Cuts a broker off from some or all others and the controller, in one or both directions.
    fn cut_links(&mut self, id: NodeId) {
        let (there, back) = (self.rng.percent(70), self.rng.percent(70));
        let whole = self.rng.percent(40);
        let others: Vec<NodeId> = self.nodes.keys().copied().chain([NodeId(0)]).collect();
        for other in others.into_iter().filter(|other| *other != id) {
            if !whole && self.rng.percent(50) {
                continue;
            }
            if there {
                self.blocked.insert((id, other));
            }
            if back {
                self.blocked.insert((other, id));
            }
        }
        let blocked = self.blocked.len() as u64;
        self.note(&[84, number(id), blocked], || format!("links of broker {id} are cut"));
    }

    fn controller_leaves(&mut self) {
        let until_us = self.now_us + self.rng.between(20_000, 400_000);
        self.note(&[85, until_us], || format!("no controller until {until_us} us"));
        self.controller.away_until_us = until_us;
        self.controller.take_over(until_us);
    }

    fn reassign(&mut self) {
        if !self.topic_is_there || self.now_us < self.controller.away_until_us {
            return;
        }
        let partitions = self.scenario.partitions.unsigned_abs().into();
        let partition = i32::try_from(self.rng.below(partitions)).unwrap_or(0);
        let registered: Vec<NodeId> = self.controller.image().brokers.keys().copied().collect();
        let count = self.rng.between(1, self.scenario.replicas as u64 + 1);
        let mut replicas: Vec<NodeId> = Vec::new();
        for _ in 0..count {
            let candidate = self.rng.pick(&registered).copied();
            replicas.extend(candidate.filter(|id| !replicas.contains(id)));
        }
        let cancel = self.rng.percent(15);
        let wanted = (!cancel).then_some(replicas);
        self.note(&[86], || format!("partition {partition} is to move to {wanted:?}"));
        self.controller.reassign(partition, wanted);
    }

    fn elect_preferred(&mut self) {
        if !self.topic_is_there || self.now_us < self.controller.away_until_us {
            return;
        }
        let partitions = self.scenario.partitions.unsigned_abs().into();
        let partition = i32::try_from(self.rng.below(partitions)).unwrap_or(0);
        self.note(&[87], || format!("partition {partition}: preferred election"));
        self.controller.elect_preferred(partition);
    }

    /// All faults are over: everything is there, and must come to rest.
    fn heal(&mut self) {
        self.note(&[88], || "all faults are over".to_owned());
        self.healed = true;
        self.blocked.clear();
        self.controller.away_until_us = 0;
        let ids: Vec<NodeId> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(node) = self.nodes.get_mut(&id) else { continue };
            node.stalled_until_us = 0;
            // Whoever was asked to stop comes back as a new process.
            if node.stopping && node.up {
                let mut out = Vec::new();
                let mut ctx = Context {
                    now_us: self.now_us,
                    rng: &mut self.rng,
                    checker: &mut self.checker,
                    out: &mut out,
                };
                node.crash(false, &mut ctx);
            }
            if self.nodes.get(&id).is_some_and(|node| !node.up) {
                self.start(id);
            }
        }
        self.after(200_000, Event::Look);
    }
}
