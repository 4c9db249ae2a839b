//! Voters that come, go and move while the network loses messages.

use std::time::Duration;

use millstream_base::{NodeId, Uuid};
use millstream_quorum::{MemberError, Quorum};
use tokio::time::Instant;

use crate::net::{Cluster, Weather, get, peer, voter, wait};
use crate::support::in_simulated_time;

/// Asks whoever leads for a change of members until it is done.
async fn change<F>(cluster: &Cluster, what: &str, mut ask: impl FnMut(Quorum) -> F)
where
    F: Future<Output = Result<(), MemberError>>,
{
    let mut last = String::new();
    for _ in 0..50 {
        let (_, leader) = cluster.leader().await;
        match tokio::time::timeout(Duration::from_secs(30), ask(leader)).await {
            Ok(Ok(()) | Err(MemberError::AlreadyVoter(_) | MemberError::NotVoter(_))) => return,
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => "no answer".clone_into(&mut last),
        }
        // It may be cut off from the leader.
        cluster.net.weather.lock().cut.clear();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{what} is never done: {last}");
}

fn voters(quorum: &Quorum) -> Vec<i32> {
    quorum.status().voters.iter().map(|v| v.peer.id.get()).collect()
}

/// Five nodes, of which three vote at first.
fn five(seed: u64) -> Cluster {
    let mut cluster = Cluster::in_memory(&[1, 2, 3, 4, 5], seed);
    cluster.voters = vec![1, 2, 3];
    for id in 1..=5 {
        cluster.start(id);
    }
    cluster
}

#[test]
fn voters_come_and_go_in_any_weather() {
    for seed in 90..96 {
        println!("seed {seed}");
        in_simulated_time(weather(seed));
    }
}

async fn weather(seed: u64) {
    let mut cluster = five(seed);
    cluster.snapshot_after_bytes = 5_000;
    cluster.set("a", "0").await;
    let draw = |n: u64| i32::try_from((seed.wrapping_mul(31) + n * 7) % 5).unwrap() + 1;
    for round in 0..4 {
        let cut = draw(round);
        let stormy = Weather {
            cut: [(cut, cut % 5 + 1), ((cut + 2) % 5 + 1, cut)].into(),
            lost: 5,
            doubled: 10,
            late: Duration::from_millis(10),
        };
        *cluster.net.weather.lock() = stormy;
        for id in [4, 5] {
            let directory = cluster.options(id).directory_id;
            let what = format!("adding {id}");
            change(&cluster, &what, |leader| async move {
                leader.add_voter(voter(id, directory)).await
            })
            .await;
            cluster.set("a", &format!("{round}+{id}")).await;
        }
        // Someone dies in between, the leader at times; then nobody is cut off, so that there is a majority.
        let (leader, _) = cluster.leader().await;
        let victim = if round == 0 { leader } else { draw(round + 9) };
        let dies = round % 2 == 0;
        if dies {
            cluster.net.weather.lock().cut.clear();
            cluster.kill(victim);
        }
        cluster.set("b", &round.to_string()).await;
        for id in [4, 5] {
            let what = format!("removing {id}");
            change(
                &cluster,
                &what,
                |leader| async move { leader.remove_voter(NodeId(id), None).await },
            )
            .await;
            cluster.set("a", &format!("{round}-{id}")).await;
        }
        if dies {
            cluster.start(victim);
        }
    }
    *cluster.net.weather.lock() = Weather::default();
    cluster.set("c", "1").await;
    cluster.agree().await;
    for node in cluster.alive() {
        assert_eq!(get(&node, "a").as_deref(), Some("3-5"));
        assert_eq!(voters(&node), [1, 2, 3], "seed {seed}");
    }
}

#[test]
fn a_voter_that_was_removed_unseats_nobody() {
    in_simulated_time(async {
        let mut cluster = Cluster::in_memory(&[1, 2, 3, 4], 97);
        cluster.start_all();
        cluster.set("a", "1").await;
        cluster.agree().await;
        let (leader, node) = cluster.leader().await;
        let epoch = node.leadership().borrow().epoch;
        let removed = if leader == 4 { 3 } else { 4 };
        let others: Vec<i32> = (1..=4).filter(|id| *id != removed).collect();
        // It does not hear that it was removed.
        let cut = others.iter().flat_map(|id| [(*id, removed), (removed, *id)]).collect();
        *cluster.net.weather.lock() = Weather { cut, ..Weather::default() };
        node.remove_voter(NodeId(removed), None).await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        // It is heard, and hears nothing: the worst that a voter can be.
        let cut = others.iter().map(|id| (*id, removed)).collect();
        *cluster.net.weather.lock() = Weather { cut, ..Weather::default() };
        tokio::time::sleep(Duration::from_secs(5)).await;
        cluster.set("a", "2").await;
        *cluster.net.weather.lock() = Weather::default();
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(node.leadership().borrow().epoch, epoch);
        cluster.agree().await;
        assert_eq!(voters(&cluster.node(removed)), others, "it follows and knows");
        // It does not come to lead when the leader dies, nor votes.
        cluster.kill(leader);
        cluster.set("a", "3").await;
        let (next, node) = cluster.leader().await;
        assert!(next != removed);
        let third = others.iter().find(|id| **id != leader && **id != next).unwrap();
        cluster.kill(*third);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!node.leadership().borrow().is_me, "the vote of {removed} does not count");
        cluster.start(*third);
        cluster.set("a", "4").await;
    });
}

#[test]
fn a_leader_that_is_removed_is_replaced_at_once() {
    in_simulated_time(async {
        let mut cluster = Cluster::in_memory(&[1, 2, 3], 98);
        cluster.start_all();
        cluster.set("a", "1").await;
        let (leader, node) = cluster.leader().await;
        let start = Instant::now();
        node.remove_voter(NodeId(leader), None).await.unwrap();
        let (next, _) = cluster.leader().await;
        println!("from {leader} to {next} in {:?}", start.elapsed());
        assert!(next != leader && start.elapsed() < Duration::from_millis(100));
        cluster.set("a", "2").await;
        cluster.agree().await;
        assert_eq!(get(&node, "a").as_deref(), Some("2"), "it goes on as an observer");
        // And may come back.
        let directory = cluster.options(leader).directory_id;
        let (_, next) = cluster.leader().await;
        next.add_voter(voter(leader, directory)).await.unwrap();
        next.hand_over().await;
        cluster.set("a", "3").await;
        cluster.agree().await;
    });
}

#[test]
fn voters_that_moved_are_found() {
    in_simulated_time(async {
        let mut cluster = Cluster::in_memory(&[1, 2, 3], 99);
        cluster.start_all();
        cluster.set("a", "1").await;
        cluster.agree().await;
        let moved = |id: i32| (format!("elsewhere-{id}"), peer(id).port + 500);
        // One after the other comes back somewhere else; the settings of the rest do not say so.
        for id in [1, 2, 3] {
            cluster.kill(id);
            cluster.set("a", &format!("without {id}")).await;
            let mut options = cluster.options(id);
            options.address = Some(moved(id));
            options.voters.retain(|voter| voter.peer.id != NodeId(id));
            options.voters.push(voter(id, Uuid::ZERO));
            cluster.start_with(&options).unwrap();
            cluster.set("a", &format!("with {id}")).await;
            cluster.agree().await;
            let node = cluster.node(id);
            wait("its address to be known", || {
                let voters = node.status().voters;
                let me = voters.iter().find(|v| v.peer.id == NodeId(id))?;
                ((me.peer.host.clone(), me.peer.port) == moved(id)).then_some(())
            })
            .await;
        }
        // All at once, and all settings say where.
        for id in [1, 2, 3] {
            cluster.kill(id);
        }
        for id in [1, 2, 3] {
            let mut options = cluster.options(id);
            for voter in &mut options.voters {
                "third".clone_into(&mut voter.peer.host);
            }
            options.address = Some(("third".to_owned(), peer(id).port));
            cluster.start_with(&options).unwrap();
        }
        cluster.set("a", "all").await;
        cluster.agree().await;
        let (_, leader) = cluster.leader().await;
        wait("all addresses to be known", || {
            leader.status().voters.iter().all(|v| v.peer.host == "third").then_some(())
        })
        .await;
    });
}
