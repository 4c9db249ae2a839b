//! Producers, zombies and a broker that is killed at random, between requests and in the middle of them, with torn tails.
//!
//! One thread does everything in the order of its dice, so that the model knows what was appended in which order and how each transaction
//! ended. Held to it: readers of committed records see exactly the committed records, in order, and never a part of a
//! transaction; offsets and output agree; in the end nothing hangs. The seed is printed (`MILLSTREAM_TEST_SEED`).

use std::io::Write as _;
use std::path::Path;

use millstream_base::ErrorCode;
use millstream_wire::messages::end_txn::EndTxnRequest;

use super::offsets::committed;
use super::producer::{New, Old, Producer, Version, produce_request, read_committed};
use crate::support::broker::{Stopped, TestBroker};
use crate::support::client::{Topic, code};
use crate::support::{eventually, seed};

const PARTITIONS: i32 = 3;
const PRODUCERS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    Committed,
    Aborted,
}

/// A record that was appended.
#[derive(Debug)]
struct Sent {
    txn: usize,
    value: String,
}

/// What has to be true of the cluster.
#[derive(Debug, Default)]
struct Model {
    fates: Vec<Fate>,
    partitions: Vec<Vec<Sent>>,
}

impl Model {
    /// What a reader of committed records sees, up to the first record whose fate is open.
    fn visible(&self, partition: usize) -> Vec<String> {
        let known = self.partitions[partition].iter();
        known
            .take_while(|sent| self.fates[sent.txn] != Fate::Open)
            .filter(|sent| self.fates[sent.txn] == Fate::Committed)
            .map(|sent| sent.value.clone())
            .collect()
    }
}

/// One application.
struct App {
    producer: Producer,
    zombie: Option<Producer>,
    txn: Option<usize>,
    /// The offset that its open transaction commits, and the one that was committed.
    pending: Option<i64>,
    offset: i64,
}

struct Lab {
    dice: u64,
    broker: Option<TestBroker>,
    topic: Topic,
    model: Model,
    apps: Vec<App>,
}

impl Lab {
    fn new(seed: u64) -> Self {
        let broker = super::broker();
        let topic = broker.topic("t", PARTITIONS, &[]);
        let app = |at: usize| App {
            producer: Producer::new(broker.connect(), &format!("app-{at}"), version(at)),
            zombie: None,
            txn: None,
            pending: None,
            offset: -1,
        };
        let apps = (0..PRODUCERS).map(app).collect();
        let partitions = (0..PARTITIONS).map(|_| Vec::new()).collect();
        let model = Model { partitions, ..Model::default() };
        let dice = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        Self { dice, broker: Some(broker), topic, model, apps }
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % below
    }

    fn broker(&self) -> &TestBroker {
        self.broker.as_ref().unwrap()
    }

    /// The broker is killed, its logs end in half a batch here and there, and it comes back.
    fn crash(&mut self) {
        let place = self.broker.take().unwrap().crash();
        self.tear(&place);
        self.broker = Some(place.start());
        for at in 0..self.apps.len() {
            self.apps[at].producer.client = self.broker().connect();
            if self.apps[at].zombie.is_some() {
                let client = self.broker().connect();
                self.apps[at].zombie.as_mut().unwrap().client = client;
            }
        }
    }

    fn tear(&mut self, place: &Stopped) {
        for entry in std::fs::read_dir(place.path()).unwrap() {
            let dir = entry.unwrap().path();
            let name = dir.file_name().unwrap().to_string_lossy().into_owned();
            if dir.is_dir() && !name.starts_with("__cluster_metadata") && self.roll(3) == 0 {
                tear_last_segment(&dir, self.roll(60));
            }
        }
    }

    fn step(&mut self) {
        let at = usize::try_from(self.roll(PRODUCERS as u64)).unwrap();
        match self.roll(20) {
            0..=8 => self.send(at),
            9..=11 => self.commit_offset(at),
            12..=15 => {
                let commit = self.roll(3) != 0;
                self.end(at, commit);
            }
            16 => self.new_instance(at),
            17 => self.zombie_acts(at),
            _ => self.crash(),
        }
    }

    fn open(&mut self, at: usize) -> usize {
        let fates = &mut self.model.fates;
        *self.apps[at].txn.get_or_insert_with(|| {
            fates.push(Fate::Open);
            fates.len() - 1
        })
    }

    fn send(&mut self, at: usize) {
        let txn = self.open(at);
        let partition = i32::try_from(self.roll(PARTITIONS as u64)).unwrap();
        let place = usize::try_from(partition).unwrap();
        let value = format!("{at}-{txn}-{}", self.model.partitions[place].len());
        let interrupted = self.roll(6) == 0;
        let topic = self.topic.clone();
        if interrupted {
            // The broker dies with the request on its way; the producer sends it again, as clients do.
            let producer = &mut self.apps[at].producer;
            let name = Some(producer.name.as_str().into());
            let version = if producer.version == Old { 9 } else { 13 };
            if producer.version == New || producer.has_added(&topic, partition) {
                let bytes = producer.batch(&topic, partition, &[&value]);
                let request = produce_request(version, name, &topic, partition, bytes);
                let _ = producer.client.send(version, &request);
                self.crash();
            }
        }
        self.apps[at].producer.send(&topic, partition, &[&value]);
        self.model.partitions[place].push(Sent { txn, value });
    }

    fn commit_offset(&mut self, at: usize) {
        self.open(at);
        let topic = self.topic.clone();
        let app = &mut self.apps[at];
        let offset = app.pending.unwrap_or(app.offset) + 1;
        let done = app.producer.try_commit_offset(&group(at), &topic, offset);
        assert_eq!(done, ErrorCode::None);
        app.pending = Some(offset);
    }

    fn end(&mut self, at: usize, commit: bool) {
        if self.apps[at].txn.is_none() {
            return;
        }
        if self.roll(3) == 0 {
            // The broker dies with the request on its way; the producer asks again.
            let producer = &mut self.apps[at].producer;
            let request = EndTxnRequest {
                transactional_id: producer.name.as_str().into(),
                producer_id: producer.id,
                producer_epoch: producer.epoch,
                committed: commit,
            };
            let version = if producer.version == Old { 4 } else { 5 };
            let _ = producer.client.send(version, &request);
            let pause = self.roll(3);
            std::thread::sleep(std::time::Duration::from_micros(pause * 300));
            self.crash();
        }
        let ended = self.apps[at].producer.try_end(commit);
        assert_eq!(ended, ErrorCode::None);
        self.ended(at, commit);
    }

    fn ended(&mut self, at: usize, commit: bool) {
        let app = &mut self.apps[at];
        let fate = if commit { Fate::Committed } else { Fate::Aborted };
        if let Some(txn) = app.txn.take() {
            self.model.fates[txn] = fate;
        }
        if let Some(offset) = app.pending.take().filter(|_| commit) {
            app.offset = offset;
        }
    }

    fn new_instance(&mut self, at: usize) {
        let client = self.broker().connect();
        let fresh = Producer::new(client, &format!("app-{at}"), version(at));
        let old = std::mem::replace(&mut self.apps[at].producer, fresh);
        self.apps[at].zombie = Some(old);
        // What was open is aborted.
        self.ended(at, false);
    }

    /// An instance that was replaced may do nothing any more.
    fn zombie_acts(&mut self, at: usize) {
        let topic = self.topic.clone();
        let commit = self.roll(2) == 0;
        let Some(zombie) = &mut self.apps[at].zombie else { return };
        let sent = zombie.try_send(&topic, 0, &["zombie"]);
        assert!(code(sent.error_code).is_error(), "a zombie wrote");
        assert!(zombie.try_commit_offset(&group(at), &topic, 1_000_000).is_error());
        let (id, epoch) = (zombie.id, zombie.epoch);
        if zombie.try_end(commit) == ErrorCode::None {
            // It was told the outcome of an end of its own again, and nothing else.
            (zombie.id, zombie.epoch) = (id, epoch);
        }
    }

    /// What readers see is a beginning of what they have to see: markers may be a moment late.
    fn check(&self) {
        let mut client = self.broker().connect();
        for partition in 0..PARTITIONS {
            let seen = read_committed(&mut client, &self.topic, partition);
            let expected = self.model.visible(usize::try_from(partition).unwrap());
            assert!(expected.starts_with(&seen), "{seen:?} is not a beginning of {expected:?}");
        }
    }

    fn check_at_the_end(&mut self) {
        for at in 0..PRODUCERS {
            self.end(at, true);
        }
        let mut client = self.broker().connect();
        for partition in 0..PARTITIONS {
            let expected = self.model.visible(usize::try_from(partition).unwrap());
            eventually("every committed record is seen", || {
                let seen = read_committed(&mut client, &self.topic, partition);
                assert!(expected.starts_with(&seen), "{seen:?} is not a beginning of {expected:?}");
                Some(()).filter(|()| seen.len() == expected.len())
            });
        }
        for at in 0..PRODUCERS {
            let expected = self.apps[at].offset;
            eventually("offsets agree with the output", || {
                let (offset, error) = committed(&mut client, &group(at), &self.topic, true);
                let is_settled = error != ErrorCode::UnstableOffsetCommit;
                assert!(!is_settled || offset == expected, "{offset} is not {expected}");
                is_settled.then_some(())
            });
        }
    }
}

fn version(at: usize) -> Version {
    if at == 0 { Old } else { New }
}

fn group(at: usize) -> String {
    format!("group-{at}")
}

/// Bytes of a write that did not come to its end.
fn tear_last_segment(dir: &Path, count: u64) {
    let segments = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let logs = segments.filter(|path| path.extension().is_some_and(|kind| kind == "log"));
    let Some(last) = logs.max() else { return };
    let mut file = std::fs::OpenOptions::new().append(true).open(last).unwrap();
    let half: Vec<u8> = (0..count).map(|at| u8::try_from(at % 7).unwrap()).collect();
    file.write_all(&half).unwrap();
}

#[test]
fn kills_at_random() {
    let first = seed("transactions::faults");
    for round in 0..8 {
        let seed = first.wrapping_add(round);
        println!("round with seed {seed}");
        let mut lab = Lab::new(seed);
        for turn in 0..80 {
            lab.step();
            if turn % 10 == 9 {
                lab.check();
            }
        }
        lab.check_at_the_end();
    }
}
