//! Quorums of several nodes.

use std::time::{Duration, Instant};

use crate::net::{Cluster, get, wait};

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.unwrap().block_on(test);
}

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
        wait("another leader", || cluster.alive().into_iter().find(|n| n.leadership().borrow().is_me)).await;
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
