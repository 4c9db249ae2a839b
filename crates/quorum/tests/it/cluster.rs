//! Quorums of several nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use millstream_base::{NodeId, Uuid};
use millstream_metadata::{ClusterImage, ImageDelta};
use millstream_quorum::{CommitError, ImageListener, MemberError, Timing};

use crate::net::{Cluster, Weather, get, set, voter, wait};
use crate::support::run;

#[test]
fn three_nodes_elect_agree_and_replace_a_dead_leader() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 7);
        let start = Instant::now();
        let nodes = cluster.start_all();
        let (first, leader) = cluster.leader().await;
        println!("first leader {first} after {:?}", start.elapsed());
        let id = leader.wait_for_cluster_id().await;
        cluster.set("a", "1").await;
        cluster.agree().await;
        for node in &nodes {
            assert_eq!(get(node, "a").as_deref(), Some("1"));
            assert_eq!(node.image().feature_level("metadata.version"), 25);
            assert_eq!(node.wait_for_cluster_id().await, id);
        }
        let epoch = leader.leadership().borrow().epoch;
        let start = Instant::now();
        cluster.kill(first);
        wait("another leader", || {
            cluster.alive().into_iter().find(|n| n.leadership().borrow().is_me)
        })
        .await;
        println!("another leader after {:?}", start.elapsed());
        cluster.set("a", "2").await;
        let (second, leader) = cluster.leader().await;
        assert!(second != first && leader.leadership().borrow().epoch > epoch);
        cluster.start(first);
        cluster.agree().await;
        assert_eq!(get(&cluster.node(first), "a").as_deref(), Some("2"));
        tokio::time::sleep(Duration::from_millis(10)).await;
    });
}

#[test]
fn every_node_comes_back_in_every_role() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 11);
        cluster.start_all();
        for round in 0..2 {
            let (leader, _) = cluster.leader().await;
            for id in [1, 2, 3] {
                let was = if id == leader { "leader" } else { "follower" };
                println!("round {round}: {was} {id} is killed");
                cluster.set("round", &format!("{round}-{id}-before")).await;
                cluster.kill(id);
                let value = format!("{round}-{id}");
                cluster.set("round", &value).await;
                cluster.start(id);
                cluster.agree().await;
                assert_eq!(get(&cluster.node(id), "round"), Some(value));
            }
        }
        // All at once.
        for id in [1, 2, 3] {
            cluster.kill(id);
        }
        cluster.start_all();
        for node in cluster.alive() {
            assert!(
                get(&node, "round").is_some(),
                "what was committed is shown before anyone leads"
            );
        }
        cluster.set("after", "all").await;
        cluster.agree().await;
    });
}

#[test]
fn a_minority_elects_nobody_and_can_be_read() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 3);
        cluster.start_all();
        cluster.set("a", "1").await;
        cluster.agree().await;
        let (leader, node) = cluster.leader().await;
        let epoch = node.leadership().borrow().epoch;
        for id in [1, 2, 3].into_iter().filter(|id| *id != leader) {
            cluster.kill(id);
        }
        let refused = tokio::time::timeout(Duration::from_secs(5), set(&node, "a", "2")).await;
        let refused = refused.expect("a leader without a majority answers").unwrap_err();
        assert!(matches!(refused, CommitError::NotController { leader: None }), "{refused}");
        assert_eq!(get(&node, "a").as_deref(), Some("1"));
        assert!(!node.leadership().borrow().is_me);
        cluster.kill(leader);
        // Also after a restart, and it does not count up terms meanwhile.
        let node = cluster.start(leader);
        assert_eq!(get(&node, "a").as_deref(), Some("1"));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let now = *node.leadership().borrow();
        assert!(now.leader.is_none() && !now.is_me && now.epoch <= epoch, "{now:?}");
        for id in [1, 2, 3].into_iter().filter(|id| *id != leader) {
            cluster.start(id);
        }
        cluster.set("a", "3").await;
        cluster.agree().await;
    });
}

#[test]
fn what_was_answered_stays_in_any_weather() {
    for seed in [1, 2, 3] {
        println!("seed {seed}");
        run(weather(seed));
    }
}

async fn weather(seed: u64) {
    let mut cluster = Cluster::new(&[1, 2, 3], seed);
    cluster.snapshot_after_bytes = 20_000;
    cluster.start_all();
    cluster.leader().await;
    let stormy = |cut: &[(i32, i32)]| Weather {
        cut: cut.iter().copied().collect(),
        lost: 5,
        doubled: 10,
        late: Duration::from_millis(10),
    };
    let plans: [&[(i32, i32)]; 5] =
        [&[], &[(1, 2), (2, 1), (1, 3), (3, 1)], &[(2, 3)], &[(3, 1), (3, 2)], &[]];
    let mut expected = std::collections::BTreeMap::new();
    for (n, cut) in plans.iter().enumerate() {
        *cluster.net.weather.lock() = stormy(cut);
        // Who is cut off dies, so that a majority stays.
        let any = i32::try_from((seed + n as u64) % 3 + 1).unwrap();
        let victim = cut.first().map_or(any, |(from, _)| *from);
        for step in 0..15 {
            if step == 5 {
                cluster.kill(victim);
            }
            if step == 8 {
                cluster.start(victim);
            }
            let (name, value) = (format!("k{}", step % 7), format!("{n}-{step}"));
            cluster.set(&name, &value).await;
            expected.insert(name, value);
        }
    }
    *cluster.net.weather.lock() = Weather::default();
    cluster.set("last", "one").await;
    cluster.agree().await;
    for (name, value) in expected {
        for node in cluster.alive() {
            assert_eq!(get(&node, &name).as_ref(), Some(&value), "seed {seed}");
        }
    }
}

#[test]
fn a_node_that_was_away_long_takes_a_snapshot() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 5);
        cluster.snapshot_after_bytes = 10_000;
        cluster.start_all();
        let (leader, _) = cluster.leader().await;
        let away = if leader == 3 { 2 } else { 3 };
        cluster.set("a", "before").await;
        cluster.agree().await;
        cluster.kill(away);
        for n in 0..400 {
            cluster.set(&format!("key-{n}"), &"x".repeat(300)).await;
        }
        let node = cluster.start(away);
        let seen = Arc::new(Seen::default());
        node.add_listener(Arc::<Seen>::clone(&seen));
        assert_eq!(get(&node, "key-399"), None);
        cluster.agree().await;
        assert!(seen.0.load(Ordering::SeqCst) > 0, "listeners heard of it");
        assert_eq!(get(&node, "key-399").map(|v| v.len()), Some(300));
        cluster.set("a", "after").await;
        cluster.agree().await;
        cluster.kill(away);
        let node = cluster.start(away);
        assert_eq!(get(&node, "a").as_deref(), Some("after"));
        cluster.agree().await;
        // And it can lead.
        cluster.kill(leader);
        cluster.set("a", "later").await;
        cluster.start(leader);
        cluster.agree().await;
    });
}

#[derive(Default)]
struct Seen(AtomicUsize);

impl ImageListener for Seen {
    fn committed(&self, _: &Arc<ClusterImage>, delta: &ImageDelta) {
        assert!(!delta.configs.is_empty() || delta.features);
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_node_alone_grows_to_three_and_shrinks_again() {
    run(async {
        let mut cluster = Cluster::new(&[1], 9);
        let first = cluster.start(1);
        cluster.set("a", "alone").await;
        let mut ids = vec![1];
        let grown = Arc::new(AtomicBool::new(false));
        let load = {
            let (first, grown) = (first.clone(), Arc::clone(&grown));
            tokio::spawn(async move {
                let (mut done, mut n) = (0, 0);
                while !grown.load(Ordering::SeqCst) {
                    n += 1;
                    if set(&first, "load", &n.to_string()).await.is_ok() {
                        done = n;
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                done
            })
        };
        let start = Instant::now();
        for id in [2, 3] {
            // It knows the others, and follows until it is made a voter.
            let mut options = cluster.options(id);
            options.voters = vec![voter(1, Uuid::ZERO)];
            options.proposed_cluster_id = None;
            let node = cluster.start_with(&options).unwrap();
            assert_eq!(&*node.wait_for_cluster_id().await, "cluster-of-1");
            let refused = node.add_voter(voter(id, options.directory_id)).await.unwrap_err();
            assert!(matches!(refused, MemberError::NotController { .. }), "{refused}");
            let (_, leader) = cluster.leader().await;
            leader.add_voter(voter(id, options.directory_id)).await.unwrap();
            let again = leader.add_voter(voter(id, options.directory_id)).await.unwrap_err();
            assert!(matches!(again, MemberError::AlreadyVoter(_)), "{again}");
            ids.push(id);
            let status = leader.status();
            let voters: Vec<i32> = status.voters.iter().map(|v| v.peer.id.get()).collect();
            assert_eq!(voters, ids);
        }
        grown.store(true, Ordering::SeqCst);
        println!("grown in {:?} under {} changes", start.elapsed(), load.await.unwrap());
        cluster.agree().await;
        let (leader, _) = cluster.leader().await;
        cluster.kill(leader);
        cluster.set("a", "three").await;
        // Members are remembered, whatever the settings say.
        cluster.voters = vec![1, 2, 3];
        cluster.start(leader);
        cluster.agree().await;
        let (_, node) = cluster.leader().await;
        node.remove_voter(NodeId(leader), None).await.unwrap();
        let status = node.status();
        assert_eq!((status.voters.len(), status.observers.len()), (2, 1));
        cluster.set("a", "two").await;
        cluster.agree().await;
        node.remove_observer(NodeId(leader)).await.unwrap();
        assert_eq!(node.status().observers.len(), 0);
    });
}

#[test]
fn observers_follow_and_are_told_of() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 13);
        cluster.start_all();
        cluster.set("a", "1").await;
        let mut options = cluster.options(10);
        options.is_voter = false;
        let observer = cluster.start_with(&options).unwrap();
        observer.wait_for_cluster_id().await;
        cluster.set("a", "2").await;
        cluster.agree().await;
        let (leader, node) = cluster.leader().await;
        let status = wait("the observer's numbers", || {
            let status = node.status();
            let seen = status.observers.first()?;
            (seen.log_end_offset == status.high_watermark && seen.last_caught_up.is_some())
                .then_some(status)
        })
        .await;
        assert_eq!(status.voters.len(), 3);
        assert!(status.voters.iter().all(|v| v.directory_id != Uuid::ZERO), "{status:?}");
        assert_eq!(status.observers[0].peer.id, NodeId(10));
        cluster.kill(leader);
        cluster.set("a", "3").await;
        wait("the observer", || (get(&observer, "a").as_deref() == Some("3")).then_some(())).await;
        assert!(!observer.leadership().borrow().is_me);
        cluster.kill(10);
        let observer = cluster.start_with(&options).unwrap();
        assert_eq!(get(&observer, "a").as_deref(), Some("3"));
        cluster.set("a", "4").await;
        wait("the observer", || (get(&observer, "a").as_deref() == Some("4")).then_some(())).await;
    });
}

#[test]
fn a_voter_that_lost_its_disk_is_refused_until_it_is_added_again() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 17);
        cluster.start_all();
        cluster.set("a", "1").await;
        let (leader, node) = cluster.leader().await;
        wait("directories to be known", || {
            let voters = node.status().voters;
            voters.iter().all(|v| v.directory_id != Uuid::ZERO).then_some(())
        })
        .await;
        cluster.agree().await;
        let lost = if leader == 3 { 2 } else { 3 };
        cluster.kill(lost);
        cluster
            .directories
            .insert(lost, (tempfile::tempdir().unwrap(), Uuid::from_random([77; 16])));
        let fresh = cluster.start(lost);
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert_eq!((get(&fresh, "a"), fresh.leadership().borrow().is_me), (None, false));
        assert_eq!(cluster.leader().await.0, leader, "it unseats nobody");
        node.remove_voter(NodeId(lost), None).await.unwrap();
        wait("the node to follow", || get(&fresh, "a")).await;
        node.add_voter(voter(lost, Uuid::from_random([77; 16]))).await.unwrap();
        cluster.agree().await;
        let other = [1, 2, 3].into_iter().find(|id| *id != lost && *id != leader).unwrap();
        cluster.kill(other);
        cluster.set("a", "2").await;
        cluster.agree().await;
    });
}

#[test]
fn a_node_of_another_cluster_is_refused() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 19);
        cluster.start(1);
        cluster.start(2);
        cluster.set("a", "1").await;
        let mut options = cluster.options(3);
        options.cluster_id = Some("another".to_owned());
        let stranger = cluster.start_with(&options).unwrap();
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(get(&stranger, "a"), None);
        cluster.set("a", "2").await;
        assert_eq!(get(&stranger, "a"), None);
    });
}

#[test]
fn bytes_from_anywhere_do_no_harm() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 23);
        cluster.start_all();
        cluster.set("a", "1").await;
        let (_, node) = cluster.leader().await;
        let mut state = 1_u64;
        for len in 0..3_000_usize {
            let mut bytes = vec![1];
            for _ in 0..len % 90 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                bytes.push(u8::try_from(state >> 56).unwrap() % if len % 2 == 0 { 255 } else { 5 });
            }
            node.receive(bytes.into()).await;
        }
        let heard = cluster.net.heard.lock().clone();
        for sent in heard {
            for at in (0..sent.len().min(90)).step_by(7) {
                let mut bytes = sent.to_vec();
                bytes[at] ^= 0x41;
                let answered = node.receive(bytes.into());
                drop(tokio::time::timeout(Duration::from_millis(20), answered).await);
            }
        }
        cluster.set("a", "2").await;
        cluster.agree().await;
    });
}

#[test]
#[ignore = "measures"]
fn how_fast() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 29);
        cluster.timing = Timing::default();
        cluster.start_all();
        let (_, node) = cluster.leader().await;
        cluster.set("warm", "up").await;
        let mut times = Vec::new();
        for n in 0..300 {
            let start = Instant::now();
            set(&node, "a", &n.to_string()).await.unwrap();
            times.push(start.elapsed());
        }
        times.sort();
        println!("one after the other: median {:?}, 99 % {:?}", times[150], times[296]);
        let start = Instant::now();
        let all = (0..5_000).map(|n| {
            let node = node.clone();
            tokio::spawn(async move { set(&node, &format!("k{}", n % 100), "v").await.unwrap() })
        });
        for one in all.collect::<Vec<_>>() {
            one.await.unwrap();
        }
        println!("5000 at once: {:?}", start.elapsed());
        for round in 0..5 {
            let (leader, _) = cluster.leader().await;
            let start = Instant::now();
            cluster.kill(leader);
            if round > 2 {
                tokio::time::sleep(Duration::from_millis(10)).await;
                cluster.alive().iter().for_each(|node| node.leader_is_gone(NodeId(leader)));
            }
            cluster.leader().await;
            println!("round {round}: another leader after {:?}", start.elapsed());
            cluster.start(leader);
            cluster.set("a", "again").await;
        }
    });
}
