//! Voters whose disks fail: crashes at any write or fsync while they vote, append, cut off what was overruled, take and give
//! snapshots; and disks that are full.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_quorum::{CommitError, Executor, Options};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::fault_fs::{Fault, FaultFs};
use crate::net::{Cluster, Weather, get, set, wait};
use crate::support::in_simulated_time;

/// Three nodes on disks that fail, and what was acknowledged.
struct Faulty {
    cluster: Cluster,
    options: BTreeMap<i32, Options>,
    disks: BTreeMap<i32, Arc<FaultFs>>,
    acknowledged: Mutex<BTreeMap<String, String>>,
    /// Whose disks are full.
    full: Arc<Mutex<BTreeSet<i32>>>,
    /// Who led when.
    leaders: Arc<Mutex<BTreeMap<i32, i32>>>,
}

impl Faulty {
    fn new(seed: u64) -> Arc<Self> {
        let mut cluster = Cluster::in_memory(&[1, 2, 3], seed);
        cluster.snapshot_after_bytes = 3_000;
        let disks: BTreeMap<i32, _> = [1, 2, 3].map(|id| (id, FaultFs::new())).into();
        for (id, disk) in &disks {
            cluster.disks.insert(*id, Arc::<FaultFs>::clone(disk));
        }
        let full = Arc::<Mutex<BTreeSet<i32>>>::default();
        let (filled, filling) = (Arc::clone(&full), disks.clone());
        cluster.executor = Executor::new(move |work| {
            // The first change of a piece of work meets the end of the disk.
            let full = filled.lock().clone();
            full.iter().for_each(|id| filling[id].arm(0, Fault::Full { keep: 3 }));
            work();
            full.iter().for_each(|id| filling[id].disarm());
        });
        let options = [1, 2, 3].map(|id| (id, cluster.options(id))).into();
        let (acknowledged, leaders) = (Mutex::default(), Arc::default());
        Arc::new(Self { cluster, options, disks, full, acknowledged, leaders })
    }

    async fn started(seed: u64) -> Arc<Self> {
        let faulty = Self::new(seed);
        for id in [1, 2, 3] {
            faulty.start(id);
        }
        faulty.set("a", "0").await;
        wait_for_all(&faulty).await;
        faulty
    }

    /// Starts a node if its disk lets it.
    fn start(&self, id: i32) {
        let Ok(node) = self.cluster.start_with(&self.options[&id]).map_err(|error| {
            assert!(self.disks[&id].crashed(), "node {id} does not come back: {error}");
        }) else {
            return;
        };
        let (leaders, mut leadership) = (Arc::clone(&self.leaders), node.leadership());
        tokio::spawn(async move {
            while leadership.changed().await.is_ok() {
                let now = *leadership.borrow_and_update();
                if now.is_me {
                    let known = *leaders.lock().entry(now.epoch).or_insert(id);
                    assert_eq!(known, id, "two leaders in epoch {}", now.epoch);
                }
            }
        });
    }

    /// Sets a value, however often it takes.
    async fn set(&self, name: &str, value: &str) {
        let written = async {
            loop {
                let (_, leader) = self.cluster.leader().await;
                let set = set(&leader, name, value);
                if let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(3), set).await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let written = tokio::time::timeout(Duration::from_secs(120), written).await;
        written.unwrap_or_else(|_| panic!("nobody took {name}={value}"));
        self.acknowledged.lock().insert(name.to_owned(), value.to_owned());
    }

    /// Brings nodes back whose disks crashed, `loss` saying what is left.
    async fn revive(self: Arc<Self>, loss: u64) {
        let mut state = loss;
        loop {
            for (id, disk) in self.disks.iter().filter(|(_, disk)| disk.crashed()) {
                self.cluster.kill(*id);
                tokio::time::sleep(Duration::from_millis(30)).await;
                if loss == 0 {
                    disk.restart(true);
                } else {
                    disk.restart_mixed(|| {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        usize::try_from(state >> 33).unwrap()
                    });
                }
                self.start(*id);
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    }

    /// All that a voter does with its disk.
    async fn life(self: &Arc<Self>) {
        let others = |of: i32| [1, 2, 3].into_iter().filter(move |id| *id != of);
        self.set("a", "1").await;
        // A leader that is cut off writes what will be overruled.
        let (first, leader) = self.cluster.leader().await;
        let cut = others(first).flat_map(|id| [(first, id), (id, first)]).collect();
        *self.cluster.net.weather.lock() = Weather { cut, ..Weather::default() };
        let stray = tokio::spawn(async move { set(&leader, "stray", "1").await });
        tokio::time::sleep(Duration::from_millis(1500)).await;
        for n in 0..3 {
            self.set(&format!("k{n}"), "overrules").await;
        }
        *self.cluster.net.weather.lock() = Weather::default();
        drop(stray.await);
        self.set("b", "1").await;
        // One is away for longer than the log reaches back.
        let (leader, _) = self.cluster.leader().await;
        let away = others(leader).next().unwrap();
        self.cluster.kill(away);
        for n in 0..115 {
            self.set(&format!("k{}", n % 5), &n.to_string()).await;
        }
        if !self.disks[&away].crashed() {
            self.start(away);
        }
        self.set("c", "1").await;
        wait_for_all(self).await;
        // And the leader is replaced.
        let (leader, _) = self.cluster.leader().await;
        self.cluster.kill(leader);
        self.set("d", "1").await;
        if !self.disks[&leader].crashed() {
            self.start(leader);
        }
        self.set("e", "1").await;
        wait_for_all(self).await;
    }

    fn check(&self) {
        for (name, value) in &*self.acknowledged.lock() {
            for node in self.cluster.alive() {
                assert_eq!(get(&node, name).as_ref(), Some(value), "{name}");
            }
        }
    }
}

async fn wait_for_all(faulty: &Arc<Faulty>) {
    wait("all to agree", || {
        let nodes = faulty.cluster.alive();
        let first = nodes.first().filter(|_| nodes.len() == 3)?;
        let same =
            nodes.iter().all(|n| n.applied() == first.applied() && n.image() == first.image());
        same.then_some(())
    })
    .await;
}

/// Lives through all that a voter does, one of them crashing at one change of its disk. Gives the changes there were.
async fn crashing(seed: u64, victim: i32, at: Option<u64>, loss: u64) -> u64 {
    let faulty = Faulty::new(seed);
    if let Some(at) = at {
        let keep = usize::try_from(at * 7 % 90).unwrap();
        faulty.disks[&victim].arm(at, Fault::Crash { keep });
    }
    let reviving = tokio::spawn(Arc::clone(&faulty).revive(loss));
    for id in [1, 2, 3] {
        faulty.start(id);
    }
    faulty.life().await;
    faulty.check();
    // What is on the disks alone is enough.
    reviving.abort();
    for id in [1, 2, 3] {
        faulty.cluster.kill(id);
        tokio::time::sleep(Duration::from_millis(30)).await;
        faulty.disks[&id].restart(true);
    }
    for id in [1, 2, 3] {
        faulty.start(id);
    }
    faulty.set("f", "1").await;
    wait_for_all(&faulty).await;
    faulty.check();
    for id in [1, 2, 3] {
        faulty.cluster.kill(id);
    }
    faulty.disks[&victim].changes()
}

#[test]
fn a_crash_at_any_write_loses_nothing_that_was_acknowledged() {
    let points = std::env::var("CRASH_POINTS").ok().and_then(|n| n.parse().ok()).unwrap_or(5);
    for victim in [1, 2, 3] {
        let seed = 40 + u64::try_from(victim).unwrap();
        let mut changes = 0;
        in_simulated_time(async {
            changes = crashing(seed, victim, None, 0).await;
        });
        let step = (changes / points).max(1);
        println!("node {victim}: {changes} changes, a crash at each {step}th");
        for at in (0..changes).step_by(usize::try_from(step).unwrap()) {
            for loss in [0, at + 1] {
                println!("seed {seed}: node {victim} crashes at change {at}, loss {loss}");
                in_simulated_time(async {
                    crashing(seed, victim, Some(at), loss).await;
                });
            }
        }
    }
}

#[test]
fn a_follower_with_a_full_disk_holds_nobody_up_and_catches_up() {
    in_simulated_time(async {
        let faulty = Faulty::started(51).await;
        let (leader, node) = faulty.cluster.leader().await;
        let epoch = node.leadership().borrow().epoch;
        let follower = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
        faulty.full.lock().insert(follower);
        for n in 0..20 {
            let start = Instant::now();
            faulty.set("a", &n.to_string()).await;
            assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(get(&faulty.cluster.node(follower), "a").as_deref(), Some("0"));
        assert_eq!(node.leadership().borrow().epoch, epoch, "nobody was disturbed");
        faulty.full.lock().clear();
        let start = Instant::now();
        wait_for_all(&faulty).await;
        println!("caught up {:?} after there was room", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(2));
        faulty.check();
    });
}

#[test]
fn a_leader_with_a_full_disk_is_replaced_and_comes_back() {
    in_simulated_time(async {
        let faulty = Faulty::started(52).await;
        let (leader, node) = faulty.cluster.leader().await;
        faulty.full.lock().insert(leader);
        let start = Instant::now();
        let refused = set(&node, "a", "1").await.unwrap_err();
        println!("after {:?}: {refused}", start.elapsed());
        assert!(matches!(refused, CommitError::NotController { .. }), "{refused}");
        faulty.set("a", "2").await;
        println!("another leader took it after {:?}", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(3));
        tokio::time::sleep(Duration::from_secs(60)).await;
        faulty.full.lock().clear();
        wait_for_all(&faulty).await;
        faulty.check();
        // It votes and leads again.
        for id in [1, 2, 3].into_iter().filter(|id| *id != leader) {
            faulty.cluster.kill(id);
            faulty.set("b", &id.to_string()).await;
            faulty.start(id);
            wait_for_all(&faulty).await;
        }
        faulty.check();
    });
}

#[test]
fn when_all_disks_are_full_callers_are_told_and_all_goes_on_afterwards() {
    in_simulated_time(async {
        let faulty = Faulty::started(53).await;
        let (_, node) = faulty.cluster.leader().await;
        faulty.full.lock().extend([1, 2, 3]);
        for _ in 0..3 {
            let refused = tokio::time::timeout(Duration::from_secs(3), set(&node, "a", "1")).await;
            assert!(refused.expect("callers are told").is_err());
            tokio::time::sleep(Duration::from_secs(20)).await;
        }
        faulty.full.lock().clear();
        faulty.set("a", "2").await;
        wait_for_all(&faulty).await;
        faulty.check();
    });
}

#[test]
fn disks_that_are_full_now_and_then_stop_nobody_for_good() {
    for seed in 60..66 {
        println!("seed {seed}");
        in_simulated_time(async move {
            let faulty = Faulty::started(seed).await;
            let (full, mut state) = (Arc::clone(&faulty.full), seed);
            let filling = tokio::spawn(async move {
                loop {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let draw = state >> 33;
                    let id = i32::try_from(draw % 3).unwrap() + 1;
                    // Also two at once, so that no vote can be given for a while.
                    if !full.lock().remove(&id) {
                        full.lock().insert(id);
                    }
                    tokio::time::sleep(Duration::from_millis(draw / 3 % 900)).await;
                }
            });
            for n in 0..60 {
                faulty.set(&format!("k{}", n % 7), &format!("{n}-{}", "x".repeat(200))).await;
            }
            filling.abort();
            faulty.full.lock().clear();
            faulty.set("last", "1").await;
            wait_for_all(&faulty).await;
            faulty.check();
        });
    }
}
