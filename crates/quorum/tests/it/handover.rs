//! Leaders that stop in a controlled way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use millstream_base::NodeId;
use millstream_quorum::{CommitError, Timing};
use tokio::time::Instant;

use crate::net::{Cluster, Weather, get, set};
use crate::support::{in_simulated_time, run};

/// Writes all the time through whoever leads, until it is told to stop. Gives the longest time without an answer that it was
/// done, and how many there were.
async fn write_on(cluster: &Cluster, stop: &AtomicBool) -> (Duration, u32) {
    let (mut last, mut longest, mut done) = (Instant::now(), Duration::ZERO, 0);
    while !stop.load(Ordering::SeqCst) {
        let leader = cluster.alive().into_iter().find(|node| node.leadership().borrow().is_me);
        let Some(leader) = leader else {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        };
        match set(&leader, "n", &done.to_string()).await {
            Ok(()) => {
                longest = longest.max(last.elapsed());
                (last, done) = (Instant::now(), done + 1);
            }
            Err(CommitError::NotController { .. } | CommitError::Closed) => {}
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    (longest, done)
}

async fn gap_at_a_stop(cluster: &Cluster) -> Duration {
    let (leader, _) = cluster.leader().await;
    let stop = AtomicBool::new(false);
    let stopping = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cluster.stop(leader).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::SeqCst);
    };
    let ((gap, done), ()) = tokio::join!(write_on(cluster, &stop), stopping);
    assert!(done > 10, "{done} writes");
    gap
}

#[test]
fn a_leader_that_stops_hands_over_at_once() {
    for seed in 1..=8 {
        in_simulated_time(async move {
            let mut cluster = Cluster::in_memory(&[1, 2, 3], seed);
            cluster.timing = Timing::default();
            cluster.net.weather.lock().late = Duration::from_millis(3);
            cluster.start_all();
            cluster.set("a", "1").await;
            for round in 0..3 {
                let (leader, _) = cluster.leader().await;
                let gap = gap_at_a_stop(&cluster).await;
                println!("seed {seed}, round {round}: {leader} stopped, {gap:?} without an answer");
                assert!(gap <= Duration::from_millis(100), "{gap:?}");
                cluster.start(leader);
                cluster.agree().await;
            }
        });
    }
}

#[test]
fn it_hands_over_when_one_is_missing_and_on_real_disks() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 31);
        cluster.timing = Timing::default();
        cluster.start_all();
        cluster.set("a", "1").await;
        for round in 0..3 {
            let (leader, _) = cluster.leader().await;
            let missing = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
            if round > 0 {
                cluster.kill(missing);
            }
            // The one that leaves still votes for the next, so that two of three are enough for that.
            let before = cluster.alive().len();
            let node = cluster.node(leader);
            let start = Instant::now();
            node.hand_over().await;
            let (next, _) = cluster.leader().await;
            println!("round {round}: from {leader} to {next} in {:?} of {before}", start.elapsed());
            assert!(next != leader && start.elapsed() < Duration::from_millis(900));
            cluster.set("a", &round.to_string()).await;
            cluster.stop(leader).await;
            if round > 0 {
                cluster.start(missing);
            }
            cluster.start(leader);
            cluster.agree().await;
        }
    });
}

#[test]
fn a_follower_that_stops_disturbs_nobody_and_a_last_one_stops_too() {
    in_simulated_time(async {
        let mut cluster = Cluster::in_memory(&[1, 2, 3], 5);
        cluster.start_all();
        cluster.set("a", "1").await;
        let (leader, node) = cluster.leader().await;
        let epoch = node.leadership().borrow().epoch;
        let follower = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
        cluster.stop(follower).await;
        cluster.set("a", "2").await;
        assert_eq!(node.leadership().borrow().epoch, epoch);
        let refused = cluster.alive().into_iter().find(|other| !other.leadership().borrow().is_me);
        let refused = set(&refused.unwrap(), "a", "3").await.unwrap_err();
        let leads = CommitError::NotController { leader: Some(NodeId(leader)) };
        assert_eq!(refused.to_string(), leads.to_string());
        let start = Instant::now();
        for node in cluster.alive() {
            node.close().await;
        }
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        assert!(matches!(set(&node, "a", "4").await, Err(CommitError::Closed)));
    });
}

#[test]
fn a_leader_whose_last_words_are_lost_is_replaced_all_the_same() {
    in_simulated_time(async {
        let mut cluster = Cluster::in_memory(&[1, 2, 3], 6);
        cluster.start_all();
        cluster.set("a", "1").await;
        let (leader, node) = cluster.leader().await;
        let cut = [1, 2, 3].into_iter().flat_map(|id| [(leader, id), (id, leader)]).collect();
        *cluster.net.weather.lock() = Weather { cut, ..Weather::default() };
        node.close().await;
        drop(node);
        cluster.kill(leader);
        cluster.set("a", "2").await;
        *cluster.net.weather.lock() = Weather::default();
        cluster.start(leader);
        cluster.agree().await;
        assert_eq!(get(&cluster.node(leader), "a").as_deref(), Some("2"));
    });
}
