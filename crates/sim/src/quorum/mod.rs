//! The real quorum, over a simulated network and simulated disks.
//!
//! Key function: [`run_quorum`]. Three or five voters and an observer run `millstream_quorum`, with openraft in it, in one
//! runtime whose time jumps from event to event. Commands are proposed all the time while nodes are killed or lose power,
//! links fail, messages are lost, doubled and late, and voters come and go. What must hold: see `history`.
//!
//! The seed chooses everything but one thing: where a timer and a message are due in the same instant, openraft's back-off
//! takes either, so traces of a seed may differ there.

mod disk;
mod history;
mod net;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{NodeId, Uuid};
use millstream_env::clock::ManualClock;
use millstream_env::task;
use millstream_metadata::decide::Decision;
use millstream_metadata::{ClusterImage, MetadataRecord};
use millstream_quorum::{Executor, Peer, Quorum, QuorumOptions, Timing, Voter};
use millstream_wire::stored::ConfigRecord;
use parking_lot::Mutex;

use self::disk::{Disk, VOTE};
use self::history::{COUNT, History, Watcher, key, number};
use self::net::{Net, Side};
use crate::Outcome;
use crate::rng::Rng;

/// A mistake made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumBug {
    /// What a voter promised is not on disk when it says so.
    UnsyncedVote,
}

/// How long a healed quorum may take to come to rest.
const HEALING: Duration = Duration::from_secs(30);

struct Cluster {
    net: Arc<Net>,
    voters: Vec<i32>,
    /// One that never votes, unless it is made to.
    observer: i32,
    disks: BTreeMap<i32, Disk>,
    rng: Rng,
    seed: u64,
    snapshot_after_bytes: u64,
    power_losses: bool,
}

/// Runs a seed's quorum.
pub fn run_quorum(seed: u64, bug: Option<QuorumBug>, verbose: bool) -> Outcome {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else { return failed(seed, "no runtime".to_owned()) };
    let outcome = runtime.block_on(async {
        let history = Arc::new(Mutex::new(History::new(verbose)));
        let mut cluster = Cluster::new(seed, bug, Arc::clone(&history));
        if let Err(what) = cluster.live().await {
            history.lock().fail(what);
        }
        let history = history.lock();
        Outcome {
            seed,
            hash: history.trace.hash(),
            steps: history.trace.steps(),
            acknowledged: history.acknowledged,
            damaged: 0,
            violation: history.violation.clone(),
            story: history.trace.lines().map(str::to_owned).collect(),
        }
    });
    runtime.shutdown_background();
    outcome
}

fn failed(seed: u64, violation: String) -> Outcome {
    let violation = Some(violation);
    Outcome { seed, hash: 0, steps: 0, acknowledged: 0, damaged: 0, violation, story: Vec::new() }
}

fn peer(id: i32) -> Peer {
    Peer { id: NodeId(id), host: "node".to_owned(), port: 9000 }
}

impl Cluster {
    fn new(seed: u64, bug: Option<QuorumBug>, history: Arc<Mutex<History>>) -> Self {
        let mut rng = Rng::new(seed);
        let count = if rng.percent(70) { 3 } else { 5 };
        let never_synced = bug.map(|QuorumBug::UnsyncedVote| VOTE);
        let net = Net {
            nodes: Mutex::default(),
            weather: Mutex::default(),
            rng: Mutex::new(Rng::new(seed ^ 0xABCD)),
            history,
        };
        let disk = |id| (id, Disk::new(never_synced));
        Self {
            net: Arc::new(net),
            voters: (1..=count).collect(),
            observer: count + 1,
            disks: (1..=count + 1).map(disk).collect(),
            seed,
            snapshot_after_bytes: if rng.percent(50) { 4_000 } else { 1 << 30 },
            power_losses: bug.is_some() || rng.percent(60),
            rng,
        }
    }

    async fn live(&mut self) -> Result<(), String> {
        for id in self.voters.clone().into_iter().chain([self.observer]) {
            self.start(id)?;
        }
        let proposers: Vec<_> =
            (0..2).map(|n| task::spawn(propose(Arc::clone(&self.net), n))).collect();
        let faults = self.rng.between(8, 25);
        for _ in 0..faults {
            let pause = self.rng.between(5_000, 900_000);
            task::sleep(Duration::from_micros(pause)).await;
            self.look();
            self.fault().await?;
            if self.net.history.lock().violation.is_some() {
                break;
            }
        }
        self.heal()?;
        task::sleep(Duration::from_secs(1)).await;
        for proposer in proposers {
            proposer.abort();
        }
        self.rest().await
    }

    fn options(&mut self, id: i32) -> QuorumOptions {
        let mut directory = [u8::try_from(id).unwrap_or(0); 16];
        directory[15] = 1;
        let voter = |id: &i32| Voter { peer: peer(*id), directory_id: Uuid::ZERO };
        QuorumOptions {
            data_dir: PathBuf::from("/data"),
            node_id: NodeId(id),
            directory_id: Uuid::from_random(directory),
            address: Some((peer(id).host, peer(id).port)),
            voters: self.voters.iter().map(voter).collect(),
            is_voter: true,
            proposed_cluster_id: Some(format!("of-{id}")),
            snapshot_after_bytes: self.snapshot_after_bytes,
            timing: Timing::of_election_timeout(Duration::from_millis(600)),
            seed: self.seed.wrapping_mul(31).wrapping_add(u64::from(id.unsigned_abs())),
            ..QuorumOptions::default()
        }
    }

    fn start(&mut self, id: i32) -> Result<(), String> {
        let mut options = self.options(id);
        options.is_voter = id != self.observer;
        let Some(disk) = self.disks.get(&id) else { return Ok(()) };
        let fs = disk.mount();
        fs.create_dir_all(&options.data_dir).map_err(|e| e.to_string())?;
        fs.sync_dir(&options.data_dir).map_err(|e| e.to_string())?;
        let quorum = Quorum::open(fs, ManualClock::at(0), Executor::inline(), &options)
            .map_err(|e| format!("node {id} does not start: {e}"))?;
        let history = Arc::clone(&self.net.history);
        history.lock().note(&[1, u64::from(id.unsigned_abs())], || format!("node {id} starts"));
        let last = Mutex::new(number(&quorum.image(), COUNT));
        quorum.add_listener(Arc::new(Watcher { node: id, history, last }));
        self.net.nodes.lock().insert(id, quorum.clone());
        quorum.start(Arc::new(Side { net: Arc::clone(&self.net), me: id }));
        Ok(())
    }

    /// Who leads now, and in which epoch.
    fn look(&self) {
        for (id, node) in self.net.nodes.lock().iter() {
            let leadership = *node.leadership().borrow();
            if leadership.is_me {
                self.net.history.lock().on_leader(*id, leadership.epoch);
            }
        }
    }

    fn crash(&mut self, id: i32) {
        let node = self.net.nodes.lock().remove(&id);
        let Some(node) = node else { return };
        let power_loss = self.power_losses && self.rng.percent(60);
        let how = if power_loss { "loses power" } else { "is killed" };
        let numbers = [2, u64::from(id.unsigned_abs()), power_loss.into()];
        self.net.history.lock().note(&numbers, || format!("node {id} {how}"));
        if let Some(disk) = self.disks.get(&id) {
            // It is written in place: whenever this runs, what was promised to others must be on the disk.
            if !disk.crash(power_loss, &mut self.rng) {
                self.net.history.lock().fail(format!("node {id} forgets what it promised"));
            }
        }
        node.abandon();
    }

    async fn fault(&mut self) -> Result<(), String> {
        let ids: Vec<i32> = self.disks.keys().copied().collect();
        let Some(id) = self.rng.pick(&ids).copied() else { return Ok(()) };
        match self.rng.below(12) {
            0..=2 => self.crash(id),
            3 => {
                // The leader, which hurts most.
                if let Some((id, _)) = leader(&self.net) {
                    self.crash(id);
                }
            }
            4..=6 => {
                let down: Vec<i32> = {
                    let nodes = self.net.nodes.lock();
                    ids.into_iter().filter(|id| !nodes.contains_key(id)).collect()
                };
                if let Some(id) = self.rng.pick(&down).copied() {
                    self.start(id)?;
                }
            }
            7..=8 => self.cut(id),
            9 => self.net.weather.lock().cut.clear(),
            10 => {
                let mut weather = self.net.weather.lock();
                weather.lost_permille = self.rng.below(200);
                weather.doubled_permille = self.rng.below(200);
                weather.late_us = self.rng.below(80_000);
            }
            _ => self.change_members(id).await,
        }
        Ok(())
    }

    fn cut(&mut self, id: i32) {
        let (there, back) = (self.rng.percent(70), self.rng.percent(70));
        let mut weather = self.net.weather.lock();
        for other in self.disks.keys().copied().filter(|other| *other != id) {
            if there {
                weather.cut.insert((id, other));
            }
            if back {
                weather.cut.insert((other, id));
            }
        }
        let numbers = [3, u64::from(id.unsigned_abs())];
        self.net.history.lock().note(&numbers, || format!("links of node {id} are cut"));
    }

    /// Gives a node a vote, or takes it away.
    async fn change_members(&mut self, id: i32) {
        let Some((_, leader)) = leader(&self.net) else { return };
        let votes = leader.status().voters.iter().any(|voter| voter.peer.id == NodeId(id));
        let few = leader.status().voters.len() <= 3;
        let directory_id = self.options(id).directory_id;
        let change = async {
            match votes {
                true if few => Ok(()),
                true => leader.remove_voter(NodeId(id), None).await,
                false => leader.add_voter(Voter { peer: peer(id), directory_id }).await,
            }
        };
        let result = task::timeout(Duration::from_secs(2), change).await;
        let done = matches!(result, Ok(Ok(())));
        let numbers = [4, u64::from(id.unsigned_abs()), votes.into(), done.into()];
        self.net
            .history
            .lock()
            .note(&numbers, || format!("node {id} had a vote: {votes}, changed: {result:?}"));
    }

    fn heal(&mut self) -> Result<(), String> {
        self.net.history.lock().note(&[5], || "all faults are over".to_owned());
        *self.net.weather.lock() = net::Weather { late_us: 2_000, ..net::Weather::default() };
        let down: Vec<i32> = {
            let nodes = self.net.nodes.lock();
            self.disks.keys().copied().filter(|id| !nodes.contains_key(id)).collect()
        };
        down.into_iter().try_for_each(|id| self.start(id))
    }

    /// All have the same, and all that was acknowledged is in it.
    async fn rest(&self) -> Result<(), String> {
        let began = task::Instant::now();
        loop {
            self.look();
            if let Some(violation) = self.net.history.lock().violation.clone() {
                return Err(violation);
            }
            let nodes = self.net.nodes.lock().clone();
            let first = nodes.values().next().map(Quorum::image);
            let same = |node: &Quorum| Some(node.image()) == first;
            if leader(&self.net).is_some() && nodes.values().all(same) {
                let mut history = self.net.history.lock();
                nodes.iter().for_each(|(id, node)| history.check_all(*id, &node.image()));
                return Ok(());
            }
            if began.elapsed() > HEALING {
                let told: Vec<String> = nodes
                    .iter()
                    .map(|(id, node)| {
                        let count = number(&node.image(), COUNT);
                        format!("{id}: {count}, {:?}", *node.leadership().borrow())
                    })
                    .collect();
                return Err(format!("the nodes do not agree: {told:?}"));
            }
            task::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn leader(net: &Net) -> Option<(i32, Quorum)> {
    let nodes = net.nodes.lock();
    let leads = |(_, node): &(&i32, &Quorum)| node.leadership().borrow().is_me;
    nodes.iter().find(leads).map(|(id, node)| (*id, node.clone()))
}

/// Proposes one command after the other to whoever leads.
async fn propose(net: Arc<Net>, proposer: u64) {
    for turn in 0_u64.. {
        let pause = net.rng.lock().between(2_000, 60_000);
        task::sleep(Duration::from_micros(pause)).await;
        let Some((id, node)) = leader(&net) else { continue };
        net.history.lock().on_leader(id, node.leadership().borrow().epoch);
        let command = format!("{proposer}-{turn}");
        let name = command.clone();
        let decide = move |image: &ClusterImage, _: &_| {
            let at = number(image, COUNT) + 1;
            let records = vec![setting(COUNT, &at.to_string()), setting(&key(at), &name)];
            Ok(Decision { records, reply: at })
        };
        let answer = task::timeout(Duration::from_secs(3), node.execute(decide)).await;
        if let Ok(Ok(at)) = answer {
            net.history.lock().on_acknowledged(at, &command);
        }
    }
}

fn setting(name: &str, value: &str) -> MetadataRecord {
    MetadataRecord::Config(ConfigRecord {
        resource_type: 4,
        resource_name: String::new().into(),
        name: name.to_owned().into(),
        value: Some(value.to_owned().into()),
    })
}
