//! One broker: the product's replica cores with a simulated disk, and the traffic around them.
//!
//! Key type: [`Node`]. It stands for what the broker's host code does: roles after the metadata, fetches, acknowledgements,
//! heartbeats, proposals. What is decided is decided by `millstream_partition`; this only carries it out.

mod follow;
mod lead;
mod metadata;
mod replica;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{BrokerEpoch, ErrorCode, NodeId};
use millstream_metadata::ClusterImage;
use millstream_partition::LeaderSettings;

pub(crate) use replica::{Replica, Role};

use crate::checker::Checker;
use crate::message::{Address, Message};
use crate::rng::Rng;
use crate::scenario::{Bug, Scenario};

/// What a node may use while it handles something.
pub(crate) struct Context<'a> {
    pub(crate) now_us: u64,
    pub(crate) rng: &'a mut Rng,
    pub(crate) checker: &'a mut Checker,
    pub(crate) out: &'a mut Vec<(Address, Message)>,
}

impl Context<'_> {
    fn send(&mut self, to: Address, message: Message) {
        self.out.push((to, message));
    }
}

/// A broker, alive or not.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) up: bool,
    /// It does nothing until then, as a stopped process or one whose disk hangs.
    pub(crate) stalled_until_us: u64,
    /// Drawn anew by every process.
    pub(crate) incarnation: u64,
    pub(crate) epoch: Option<BrokerEpoch>,
    /// The epoch under which it stopped in good order.
    previous: Option<BrokerEpoch>,
    pub(crate) stopping: bool,
    image: Arc<ClusterImage>,
    applied: usize,
    pub(crate) replicas: BTreeMap<i32, Replica>,
    /// Its clock runs so much faster or slower, in a million.
    pub(crate) clock_ppm: i64,
    heartbeat_at_us: u64,
    lag_check_at_us: u64,
    requests: u64,
    settings: LeaderSettings,
    durable: bool,
    bug: Option<Bug>,
}

const HEARTBEAT_US: u64 = 40_000;
const FETCH_TIMEOUT_US: u64 = 60_000;
const ALTER_TIMEOUT_US: u64 = 80_000;
const ACK_TIMEOUT_US: u64 = 300_000;

impl Node {
    pub(crate) fn new(id: NodeId, scenario: &Scenario) -> Self {
        Self {
            id,
            up: false,
            stalled_until_us: 0,
            incarnation: 0,
            epoch: None,
            previous: None,
            stopping: false,
            image: Arc::new(ClusterImage::new()),
            applied: 0,
            replicas: BTreeMap::new(),
            clock_ppm: 0,
            heartbeat_at_us: 0,
            lag_check_at_us: 0,
            requests: 0,
            settings: LeaderSettings {
                lag_time_max: Duration::from_micros(scenario.lag_us),
                min_insync: scenario.min_insync,
            },
            durable: scenario.durable,
            bug: scenario.bug,
        }
    }

    /// A process starts. It knows the metadata that it had before; that names it by an older incarnation.
    pub(crate) fn start(&mut self, incarnation: u64, ctx: &mut Context<'_>) {
        self.up = true;
        self.incarnation = incarnation;
        (self.epoch, self.stopping, self.stalled_until_us) = (None, false, 0);
        (self.heartbeat_at_us, self.lag_check_at_us) = (0, ctx.now_us);
        if self.bug == Some(Bug::RoleBeforeRegistration) {
            self.apply_roles(ctx);
        }
    }

    /// The process ends at once, or the machine does.
    pub(crate) fn crash(&mut self, power_loss: bool, ctx: &mut Context<'_>) {
        self.up = false;
        ctx.checker.cut |= power_loss;
        for replica in self.replicas.values_mut() {
            let end = replica.log.end();
            replica.crash(power_loss, ctx.rng);
            // What it lost need not be committed yet: a leader may know already that it was here.
            replica.lost |= replica.log.end() < end;
        }
    }

    /// The process has ended in good order.
    fn end(&mut self) {
        self.up = false;
        self.previous = self.epoch;
        for replica in self.replicas.values_mut() {
            replica.stop();
        }
    }

    /// This node's own time.
    fn local(&self, now_us: u64) -> Duration {
        let skew = i128::from(now_us) * i128::from(self.clock_ppm) / 1_000_000;
        let own = i128::from(now_us) + skew + 1_000_000;
        Duration::from_micros(u64::try_from(own).unwrap_or(0))
    }

    fn next_request(&mut self) -> u64 {
        self.requests += 1;
        (self.incarnation << 32) | self.requests
    }

    /// What is due by time.
    pub(crate) fn tick(&mut self, ctx: &mut Context<'_>) {
        if ctx.now_us >= self.heartbeat_at_us {
            self.heartbeat_at_us = ctx.now_us + HEARTBEAT_US;
            self.heartbeat(ctx);
        }
        ctx.send(Address::Controller, Message::GetMetadata { from: self.id });
        let partitions: Vec<i32> = self.replicas.keys().copied().collect();
        for &partition in &partitions {
            self.fetch_if_due(partition, ctx);
            self.resend_proposal(partition, ctx);
            self.expire_waiting(partition, ctx);
        }
        if ctx.now_us >= self.lag_check_at_us {
            let every = u64::try_from(self.settings.lag_time_max.as_micros()).unwrap_or(0) / 2;
            self.lag_check_at_us = ctx.now_us + every;
            for &partition in &partitions {
                self.check_lag(partition, ctx);
            }
        }
        if ctx.rng.percent(2) {
            for replica in self.replicas.values_mut() {
                replica.sync();
            }
        }
    }

    fn heartbeat(&mut self, ctx: &mut Context<'_>) {
        let from = self.id;
        let message = match self.epoch {
            None => {
                let (incarnation, previous) = (self.incarnation, self.previous);
                Message::Register { from, incarnation, previous }
            }
            Some(epoch) => {
                Message::Heartbeat { from, epoch, applied: self.applied, stopping: self.stopping }
            }
        };
        ctx.send(Address::Controller, message);
    }

    /// A message has come.
    pub(crate) fn receive(&mut self, message: Message, ctx: &mut Context<'_>) {
        match message {
            Message::Registered { incarnation, answer: Ok(epoch) }
                if incarnation == self.incarnation && self.epoch.is_none() =>
            {
                self.epoch = Some(epoch);
                self.previous = None;
                self.heartbeat_at_us = ctx.now_us;
            }
            Message::HeartbeatAnswer { epoch, answer: Ok(true) }
                if Some(epoch) == self.epoch && self.stopping =>
            {
                self.end();
            }
            // A late message of the process before has taken its place: the same process registers again.
            Message::HeartbeatAnswer { epoch, answer: Err(ErrorCode::StaleBrokerEpoch) }
                if Some(epoch) == self.epoch =>
            {
                self.epoch = None;
            }
            Message::Fetch(fetch) => self.on_fetch(&fetch, ctx),
            Message::Fetched { partition, request, from, body } => {
                self.on_fetched(partition, request, from, body, ctx);
            }
            Message::Produce { client, partition, request, batch, all } => {
                self.on_produce((client, request), partition, batch, all, ctx);
            }
            Message::Altered { partition, request, answer } => {
                self.on_altered(partition, request, answer, ctx);
            }
            _ => {}
        }
    }
}
