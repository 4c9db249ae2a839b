//! A transaction's coordinator changes in each of its states: partitions of three brokers, no network; see `replica::testing`.

use std::sync::Arc;

use millstream_base::{ErrorCode, LeaderEpoch};
use millstream_env::task;
use millstream_txns::{
    AddPartitions, EndTxn, InitProducerId, Markers, Producer, TxnConfig, TxnState,
};

use super::load::load;
use super::shard::HostedTxns;
use crate::replica::Partition;
use crate::replica::testing::{Cluster, NOW, replicate, replicate_all};
use crate::state_log::Commit;

struct Lab {
    cluster: Cluster,
    replicas: [Arc<Partition>; 3],
    _dir: tempfile::TempDir,
}

/// One broker's coordinator in the epoch in which it leads, as it is after its load.
struct Coordinator {
    shard: Arc<HostedTxns>,
    ends: Vec<Markers>,
    loaded: Commit,
}

impl Lab {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::new(3);
        let replicas = [1, 2, 3].map(|broker| cluster.partition(broker, dir.path()));
        Self { cluster, replicas, _dir: dir }
    }

    fn elect(&mut self, leader: i32, isr: &[i32]) {
        let [one, two, three] = &self.replicas;
        self.cluster.elect(leader, isr, &[one, two, three]);
    }

    /// What broker `leader` has reaches all others.
    fn replicate(&self, leader: usize) {
        let others = self.replicas.iter().enumerate().filter(|(at, _)| at + 1 != leader);
        let others: Vec<_> = others.map(|(_, replica)| replica).collect();
        replicate_all(&self.replicas[leader - 1], &others);
    }

    fn coordinator(&self, broker: usize) -> Coordinator {
        let partition = Arc::clone(&self.replicas[broker - 1]);
        let shard = HostedTxns::new(partition, self.cluster.image.leader_epoch);
        let (state, report) = load(&shard, TxnConfig::default(), 1 << 20).unwrap();
        let (ends, loaded) = shard.activate(state, &report).unwrap();
        Coordinator { shard, ends, loaded }
    }
}

impl Coordinator {
    fn init(&self) -> (Producer, Commit) {
        let request = InitProducerId {
            transactional_id: "t".into(),
            timeout_ms: 60_000,
            expected: None,
            fresh_id: Some(7),
        };
        let written = self.shard.decide(NOW, |shard| shard.init_producer_id(NOW.get(), &request));
        let written = written.unwrap();
        (written.reply.unwrap(), written.commit)
    }

    fn add(&self, producer: Producer) -> Result<Commit, ErrorCode> {
        let request = AddPartitions {
            transactional_id: "t".into(),
            producer,
            partitions: vec![("a".into(), 0)],
            client_version: 2,
        };
        let written = self.shard.decide(NOW, |shard| shard.add_partitions(NOW.get(), &request))?;
        written.reply.map(|()| written.commit)
    }

    fn end(&self, producer: Producer, commit: bool) -> Commit {
        let request = EndTxn {
            transactional_id: "t".into(),
            producer,
            commit,
            client_version: 2,
            fresh_id: None,
        };
        let written = self.shard.decide(NOW, |shard| shard.end_txn(NOW.get(), &request)).unwrap();
        assert_eq!(written.markers.map(|markers| markers.commit), Some(commit));
        written.commit
    }

    fn complete(&self, markers: &Markers) -> Commit {
        self.shard.decide(NOW, |shard| shard.complete(NOW.get(), markers)).unwrap().commit
    }

    fn state(&self) -> Option<TxnState> {
        self.shard.read(|shard| shard.get("t").map(|txn| txn.state)).unwrap().0
    }
}

/// A coordinator with a transaction that is open, and everything committed.
async fn open(lab: &Lab) -> (Coordinator, Producer) {
    let old = lab.coordinator(1);
    let (producer, commit) = old.init();
    assert!(!commit.is_done(), "nobody else has it yet");
    lab.replicate(1);
    commit.done().await.unwrap();
    let commit = old.add(producer).unwrap();
    lab.replicate(1);
    commit.done().await.unwrap();
    (old, producer)
}

#[tokio::test]
async fn an_end_that_was_not_committed_was_never_decided() {
    for commits in [true, false] {
        let mut lab = Lab::new();
        let (old, producer) = open(&lab).await;
        let decided = old.end(producer, commits);
        let (seen, behind) = old.shard.read(millstream_txns::Shard::len).unwrap();
        assert!(seen == 1 && !behind.is_done(), "what is not committed is not told");
        let waits = task::spawn(async move { decided.done_at_last().await });
        lab.elect(2, &[2, 3]);
        assert_eq!(waits.await.unwrap(), Err(ErrorCode::NotCoordinator));
        assert!(!old.shard.is_alive());
        assert_eq!(old.add(producer).unwrap_err(), ErrorCode::NotCoordinator);
        let next = lab.coordinator(2);
        assert_eq!(next.state(), Some(TxnState::Ongoing));
        assert!(next.ends.is_empty());
        // The producer asks again, for the other end: that one counts.
        let decided = next.end(producer, !commits);
        lab.replicate(2);
        decided.done().await.unwrap();
    }
}

#[tokio::test]
async fn an_end_that_reached_the_next_leader_stays() {
    for commits in [true, false] {
        let mut lab = Lab::new();
        let (old, producer) = open(&lab).await;
        let decided = old.end(producer, commits);
        // One follower has it, the other does not: it is not committed yet.
        assert!(replicate(&lab.replicas[0], &lab.replicas[1]));
        assert!(!decided.is_done());
        lab.elect(2, &[2, 3]);
        assert_eq!(decided.done().await, Err(ErrorCode::NotCoordinator));
        let next = lab.coordinator(2);
        let prepared = if commits { TxnState::PrepareCommit } else { TxnState::PrepareAbort };
        assert_eq!(next.state(), Some(prepared));
        let [markers] = &*next.ends else { panic!("its markers may be missing") };
        assert_eq!(markers.commit, commits);
        assert!(!next.loaded.is_done(), "no marker before the decision is committed here");
        lab.replicate(2);
        next.loaded.done_at_last().await.unwrap();
        // The next coordinator dies before it has noted that all is done: once more, and then never again.
        let complete = next.complete(markers);
        lab.elect(3, &[3]);
        assert_eq!(complete.done().await, Err(ErrorCode::NotCoordinator));
        let last = lab.coordinator(3);
        assert_eq!((last.state(), last.ends.len()), (Some(prepared), 1));
        last.complete(&last.ends[0]).done().await.unwrap();
        let completed = if commits { TxnState::CompleteCommit } else { TxnState::CompleteAbort };
        lab.elect(3, &[3]);
        let again = lab.coordinator(3);
        assert_eq!((again.state(), again.ends.len()), (Some(completed), 0));
    }
}

#[tokio::test]
async fn a_shard_of_an_old_epoch_writes_nothing() {
    let mut lab = Lab::new();
    let (old, producer) = open(&lab).await;
    lab.elect(2, &[2, 3]);
    lab.elect(1, &[1, 2, 3]);
    assert_eq!(lab.cluster.image.leader_epoch, LeaderEpoch(2));
    // It led then and it leads now; what it knows is from then.
    let end = || lab.replicas[0].with_log(|log| log.end_offset());
    let before = end();
    let request = EndTxn {
        transactional_id: "t".into(),
        producer,
        commit: true,
        client_version: 2,
        fresh_id: None,
    };
    let refused = old.shard.decide(NOW, |shard| shard.end_txn(NOW.get(), &request)).unwrap_err();
    assert_eq!((refused, end()), (ErrorCode::NotCoordinator, before));
}
