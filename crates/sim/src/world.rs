//! The cluster, its network and its clock.
//!
//! Key type: [`World`]. One queue of events in the order of virtual time; each is handled to its end, then the checks
//! run. Nothing else decides what happens next but the seed.

mod faults;
mod network;

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use millstream_base::NodeId;

use crate::checker::Checker;
use crate::client::Client;
use crate::controller::Controller;
use crate::message::{Address, Message};
use crate::node::{Context, Node, Role};
use crate::rng::Rng;
use crate::scenario::Scenario;
use crate::trace::Trace;

/// How long a healed cluster may take until all is well again.
const HEALING_US: u64 = 6_000_000;
const TICK_US: u64 = 10_000;

#[derive(Debug)]
enum Event {
    Deliver {
        to: Address,
        message: Message,
    },
    Tick(NodeId),
    ControllerTick,
    ClientTick(usize),
    Fault,
    /// Somebody finds that nobody listens at that broker any more.
    Refused(NodeId),
    Look,
}

#[derive(Debug)]
struct Scheduled {
    at_us: u64,
    number: u64,
    event: Event,
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at_us, other.number).cmp(&(self.at_us, self.number))
    }
}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Scheduled {}

/// A cluster under test.
#[derive(Debug)]
pub(crate) struct World {
    scenario: Scenario,
    rng: Rng,
    now_us: u64,
    queue: BinaryHeap<Scheduled>,
    scheduled: u64,
    pub(crate) trace: Trace,
    controller: Controller,
    nodes: BTreeMap<NodeId, Node>,
    clients: Vec<Client>,
    /// Who does not reach whom; the controller is broker 0.
    blocked: BTreeSet<(NodeId, NodeId)>,
    pub(crate) checker: Checker,
    incarnations: u64,
    /// The metadata up to which the ISRs were checked.
    checked_upto: usize,
    topic_is_there: bool,
    healed: bool,
    is_well: bool,
    out: Vec<(Address, Message)>,
}

impl World {
    pub(crate) fn new(seed: u64, scenario: Scenario, verbose: bool) -> Self {
        let mut world = Self {
            rng: Rng::new(seed.wrapping_mul(0x1000_0001).wrapping_add(77)),
            now_us: 0,
            queue: BinaryHeap::new(),
            scheduled: 0,
            trace: Trace::new(verbose),
            controller: Controller::new(&scenario),
            nodes: BTreeMap::new(),
            clients: (0..scenario.clients).map(Client::new).collect(),
            blocked: BTreeSet::new(),
            checker: Checker::default(),
            incarnations: 0,
            checked_upto: 0,
            topic_is_there: false,
            healed: false,
            is_well: false,
            out: Vec::new(),
            scenario,
        };
        // One more than the topic needs joins when a fault starts it.
        let brokers = i32::try_from(world.scenario.brokers).unwrap_or(3);
        for id in (1..=brokers + 1).map(NodeId) {
            let mut node = Node::new(id, &world.scenario);
            node.clock_ppm = i64::try_from(world.rng.below(200_000)).unwrap_or(0) - 100_000;
            world.nodes.insert(id, node);
            world.after(TICK_US + u64::from(id.get().unsigned_abs()) * 700, Event::Tick(id));
        }
        for id in (1..=brokers).map(NodeId) {
            world.start(id);
        }
        for client in 0..world.clients.len() {
            world.after(50_000, Event::ClientTick(client));
        }
        world.after(20_000, Event::ControllerTick);
        world
    }

    /// Runs to the end; what was wrong, if anything.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let last_us = self.scenario.faults_until_us + HEALING_US;
        while let Some(next) = self.queue.pop() {
            self.now_us = next.at_us;
            self.handle(next.event);
            self.check();
            if let Some(violation) = self.checker.violation() {
                return Err(violation.to_owned());
            }
            if self.is_well {
                return Ok(());
            }
            if self.now_us > last_us {
                return Err(format!("the cluster did not heal: {}", self.what_is_wrong()));
            }
        }
        Ok(())
    }

    fn after(&mut self, delay_us: u64, event: Event) {
        self.scheduled += 1;
        let (at_us, number) = (self.now_us + delay_us, self.scheduled);
        self.queue.push(Scheduled { at_us, number, event });
    }

    fn note(&mut self, numbers: &[u64], text: impl FnOnce() -> String) {
        self.trace.note(self.now_us, numbers, text);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Deliver { to, message } => self.deliver(to, message),
            Event::Tick(id) => {
                self.after(TICK_US, Event::Tick(id));
                let stalled = self.nodes.get(&id).is_some_and(|n| self.now_us < n.stalled_until_us);
                if !stalled {
                    self.with_node(id, Node::tick);
                }
            }
            Event::ControllerTick => {
                self.after(20_000, Event::ControllerTick);
                self.controller_tick();
            }
            Event::ClientTick(number) => {
                self.after(5_000, Event::ClientTick(number));
                self.client_tick(number);
            }
            Event::Fault => self.fault(),
            Event::Refused(id) => {
                let is_down = self.nodes.get(&id).is_some_and(|node| !node.up);
                if is_down && self.now_us >= self.controller.away_until_us {
                    self.note(&[90, number(id)], || format!("broker {id} is seen to be dead"));
                    self.controller.fence(id);
                }
            }
            Event::Look => {
                self.after(40_000, Event::Look);
                self.is_well = self.what_is_wrong().is_empty();
            }
        }
    }

    fn with_node(&mut self, id: NodeId, act: impl FnOnce(&mut Node, &mut Context<'_>)) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.up) else { return };
        let mut out = std::mem::take(&mut self.out);
        let mut ctx = Context {
            now_us: self.now_us,
            rng: &mut self.rng,
            checker: &mut self.checker,
            out: &mut out,
        };
        act(node, &mut ctx);
        for (to, message) in out.drain(..) {
            self.send(Address::Node(id), to, message);
        }
        self.out = out;
    }

    fn start(&mut self, id: NodeId) {
        self.incarnations += 1;
        let incarnation = self.incarnations;
        self.note(&[91, number(id), incarnation], || format!("broker {id} starts"));
        if let Some(node) = self.nodes.get_mut(&id) {
            node.up = true;
        }
        self.with_node(id, |node, ctx| node.start(incarnation, ctx));
    }

    fn controller_tick(&mut self) {
        if self.now_us < self.controller.away_until_us {
            return;
        }
        self.controller.tick(self.now_us);
        let ready = |node: &Node| node.up && self.controller.image().is_active(node.id);
        if !self.topic_is_there
            && self.nodes.values().filter(|node| ready(node)).count() >= self.scenario.brokers
        {
            self.topic_is_there = true;
            let shift = usize::try_from(self.rng.below(8)).unwrap_or(0);
            self.controller.create_topic(&self.scenario, shift);
            self.note(&[92], || "the topic is created".to_owned());
            self.after(self.scenario.fault_every_us, Event::Fault);
        }
    }

    fn client_tick(&mut self, number: usize) {
        let may_begin = self.topic_is_there && !self.healed;
        let partitions = self.scenario.partitions;
        let Some(client) = self.clients.get_mut(number) else { return };
        let Some(out) = client.tick(self.now_us, partitions, may_begin, &mut self.rng) else {
            return;
        };
        let known = self.controller.partition(out.partition).and_then(|p| p.leader);
        let anyone: Vec<NodeId> = self.nodes.keys().copied().collect();
        let guess = self.rng.pick(&anyone).copied();
        let to = if self.rng.percent(80) { known.or(guess) } else { guess };
        let Some(to) = to else { return };
        let message = Message::Produce {
            client: number,
            partition: out.partition,
            request: out.request,
            batch: out.batch,
            all: out.all,
        };
        self.send(Address::Client(number), Address::Node(to), message);
    }

    /// Holds the controller's ISRs against what is on the disks.
    fn check(&mut self) {
        if let Some(problem) = self.controller.problem.take() {
            self.checker.fail(|| problem);
        }
        let changed = self.metadata_changed();
        let all = std::mem::take(&mut self.checker.cut) || changed;
        for partition in 0..self.scenario.partitions {
            let grown = self.checker.history(partition).grown_from.take();
            let from = if all { Some(0) } else { grown };
            if let Some(from) = from {
                self.check_in_sync(partition, from);
            }
        }
    }

    fn check_in_sync(&mut self, partition: i32, from: i64) {
        let Some(state) = self.controller.partition(partition).cloned() else { return };
        let history = self.checker.history(partition);
        if history.damaged {
            return;
        }
        let (mut holds, mut lost) = (false, false);
        let mut lacking = None;
        for id in state.isr.iter().chain(&state.elr) {
            let replica = self.nodes.get_mut(id).and_then(|n| n.replicas.get_mut(&partition));
            let Some(replica) = replica else {
                if history.end() > 0 {
                    lacking = Some((*id, None));
                }
                continue;
            };
            // One that lost records is looked at from the start: it may have them again.
            let from = if replica.lost { 0 } else { from };
            match history.lacking_from(&replica.log, from) {
                None => {
                    holds = true;
                    // Until its new process has a role, a leader may count on what the old one said.
                    replica.lost &= matches!(replica.role, Role::Idle);
                }
                Some(_) if replica.lost => lost = true,
                Some(batch) => lacking = Some((*id, Some(batch))),
            }
        }
        if let Some((id, batch)) = lacking {
            let (isr, elr) = (&state.isr, &state.elr);
            self.checker.fail(|| {
                format!(
                    "partition {partition}: broker {id} of ISR {isr:?}, ELR {elr:?} lacks {batch:?}"
                )
            });
        } else if !holds && lost {
            self.checker.damage(partition);
        }
    }

    /// What is not as it should be in a healed cluster; empty when all is well.
    fn what_is_wrong(&self) -> String {
        for node in self.nodes.values() {
            if !node.up || !self.controller.image().is_active(node.id) {
                return format!("broker {} is not active", node.id);
            }
        }
        for partition in 0..self.scenario.partitions {
            let problem = self.wrong_with(partition);
            if !problem.is_empty() {
                return format!("partition {partition}: {problem}");
            }
        }
        String::new()
    }

    fn wrong_with(&self, partition: i32) -> String {
        let Some(state) = self.controller.partition(partition) else {
            return "there is none".to_owned();
        };
        let Some(leader) = state.leader else { return format!("no leader: {state:?}") };
        if state.isr.len() != state.replicas.len() || state.is_reassigning() {
            return format!("not all in sync: {state:?}");
        }
        let replica_of = |id: &NodeId| self.nodes.get(id)?.replicas.get(&partition);
        let Some(first) = replica_of(&leader) else { return "no log".to_owned() };
        if !matches!(first.role, Role::Leader { .. }) {
            return format!("broker {leader} does not know that it leads");
        }
        for id in &state.replicas {
            let Some(replica) = replica_of(id) else { return format!("no log on {id}") };
            let log = &replica.log;
            if let Some(problem) = log.problem() {
                return format!("broker {id}: {problem}");
            }
            let from = log.start().max(first.log.start());
            if log.from(from) != first.log.from(from) || log.end() != first.log.end() {
                return format!("brokers {id} and {leader} differ");
            }
            if replica.high_watermark != log.end() {
                return format!("broker {id} stands at {}", replica.high_watermark);
            }
        }
        String::new()
    }
}

fn number(id: NodeId) -> u64 {
    id.get().unsigned_abs().into()
}
