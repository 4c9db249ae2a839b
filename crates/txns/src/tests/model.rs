//! Random producers, zombies among them, against a coordinator that restarts at random.
//!
//! Each transactional id is used by several instances. The model remembers which instance is the newest and what was decided
//! for each transaction, and holds the coordinator to it. The seed of a failing run is in its message.

use std::collections::BTreeMap;

use super::lab::Lab;
use crate::*;

/// A small generator: the same numbers for a seed on every machine.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

const IDS: [&str; 3] = ["a", "b", "c"];

/// What one instance of an application believes.
#[derive(Clone, Copy, Debug)]
struct Instance {
    producer: Producer,
    version: i16,
}

#[derive(Default)]
struct Model {
    instances: BTreeMap<&'static str, Vec<Instance>>,
    /// By the producer of the transaction's markers: the decision.
    decided: BTreeMap<Producer, bool>,
    /// The largest epoch ever given out for a producer id.
    epochs: BTreeMap<i64, i16>,
}

impl Model {
    fn learn(&mut self, id: &'static str, producer: Producer, version: i16) {
        let largest = self.epochs.entry(producer.id).or_insert(-1);
        assert!(producer.epoch >= *largest, "an epoch was given out twice");
        *largest = producer.epoch;
        self.instances.entry(id).or_default().push(Instance { producer, version });
    }

    fn newest(&self, id: &str) -> Option<Instance> {
        self.instances.get(id).and_then(|all| all.last().copied())
    }

    fn note_decisions(&mut self, markers: &[Markers]) {
        for markers in markers {
            let before = self.decided.insert(markers.producer, markers.commit);
            let is_same = before.is_none_or(|before| before == markers.commit);
            // Before version 2 one epoch can end many transactions, each its own way.
            assert!(markers.version < 2 || is_same, "one end was decided both ways: {markers:?}");
        }
    }
}

fn run(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut lab = Lab::new();
    let mut model = Model::default();
    for turn in 0..300 {
        lab.now_ms += i64::try_from(dice.roll(2_000)).unwrap();
        let at = usize::try_from(dice.roll(3)).unwrap();
        step(&mut dice, &mut lab, &mut model, IDS[at]);
        model.note_decisions(&lab.pending.clone());
        check(&lab, &model);
        if turn % 50 == 0 {
            check_replay(&lab);
        }
    }
    check_replay(&lab);
    // In the end everything that was decided is complete.
    lab.restart();
    lab.complete_all();
    for id in IDS {
        let state = lab.shard.get(id).map(|txn| txn.state);
        assert!(state.is_none_or(|state| !state.is_prepared()), "{id} {state:?}");
    }
}

fn step(dice: &mut Dice, lab: &mut Lab, model: &mut Model, id: &'static str) {
    let Some(newest) = model.newest(id) else {
        let version = if dice.roll(2) == 0 { 0 } else { 2 };
        let producer = lab.init(id, None).unwrap();
        return model.learn(id, producer, version);
    };
    // Now and then a zombie acts.
    let all = &model.instances[id];
    let zombie = all[usize::try_from(dice.roll(all.len() as u64)).unwrap()];
    let is_zombie = dice.roll(4) == 0 && zombie.producer != newest.producer;
    let who = if is_zombie { zombie } else { newest };
    match dice.roll(10) {
        0 => lab.restart(),
        1 | 2 => {
            lab.complete_all();
        }
        3 => {
            let version = if dice.roll(2) == 0 { 0 } else { 2 };
            if let Ok(producer) = lab.init(id, None) {
                model.learn(id, producer, version);
            }
        }
        4 => {
            let before = lab.shard.get(id).cloned();
            match lab.init(id, Some(who.producer)) {
                Ok(producer) if producer == newest.producer => {}
                Ok(producer) => model.learn(id, producer, who.version),
                Err(_) if is_zombie => assert_eq!(lab.shard.get(id).cloned(), before),
                Err(_) => {}
            }
        }
        5..=7 => {
            let partition = i32::try_from(dice.roll(4)).unwrap();
            let added = lab.add(id, who.producer, &[partition], who.version);
            assert!(!(is_zombie && added.is_ok()), "a zombie opened or widened a transaction");
            if added.is_ok() {
                assert_eq!(lab.verify(id, who.producer, partition), Ok(()));
            }
        }
        8 => {
            let commit = dice.roll(2) == 0;
            let before = lab.shard.get(id).cloned();
            match lab.end(id, who.producer, commit, who.version) {
                // A zombie may be told the outcome of its own end again, and nothing more.
                Ok(_) if is_zombie => assert_eq!(lab.shard.get(id).cloned(), before),
                Ok(next) if next != who.producer && next != newest.producer => {
                    model.learn(id, next, who.version);
                }
                _ => {}
            }
        }
        _ => {
            if dice.roll(5) == 0 {
                lab.now_ms += 61_000;
            }
            for (id, producer) in lab.shard.timed_out(lab.now_ms) {
                let decided = lab.shard.abort_timed_out(lab.now_ms, &id, producer);
                assert!(lab.settle(decided));
            }
        }
    }
}

fn check(lab: &Lab, model: &Model) {
    for id in IDS {
        let Some(txn) = lab.shard.get(id) else { continue };
        let prepared: Vec<_> = lab.pending.iter().filter(|m| &*m.transactional_id == id).collect();
        // Whoever is prepared has its markers on the way, and nobody else has.
        assert_eq!(prepared.len(), usize::from(txn.state.is_prepared()), "{id} {txn:?}");
        let given = model.epochs.get(&txn.producer_id).copied().unwrap_or(-1);
        assert!(txn.epoch >= given || txn.producer_id < 0, "an epoch went back");
        let has_partitions = !txn.partitions.is_empty();
        assert!(!has_partitions || !txn.state.is_idle(), "{id} {txn:?}");
    }
}

/// The log alone gives the same state, but for what Kafka's record cannot carry.
fn check_replay(lab: &Lab) {
    let mut replayed = Shard::new(TxnConfig::default());
    for (key, value) in &lab.log {
        replayed.load(key, value.as_deref()).unwrap();
    }
    for id in IDS {
        let without = |txn: &Transaction| Transaction { last_epoch: -1, ..txn.clone() };
        assert_eq!(replayed.get(id).map(without), lab.shard.get(id).map(without));
    }
}

#[test]
fn random_producers_and_restarts() {
    let seeds: Vec<u64> = match std::env::vars().find(|(name, _)| name == "MILLSTREAM_SEED") {
        Some((_, seed)) => vec![seed.parse().unwrap()],
        None => (1..=200).collect(),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "failed with MILLSTREAM_SEED={seed}");
    }
}
