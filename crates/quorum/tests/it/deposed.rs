//! Leaders that are deposed while a decision is under way.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use millstream_base::NodeId;
use millstream_metadata::decide::Decision;
use millstream_metadata::{ClusterImage, ConfigResource, MetadataRecord};
use millstream_quorum::{CommitError, Quorum};
use millstream_wire::stored::ConfigRecord;

use crate::net::{Cluster, Weather, get, set, wait};
use crate::support::{in_simulated_time, run};

fn isolated(leader: i32) -> Weather {
    let others = [1, 2, 3].into_iter().filter(|id| *id != leader);
    let cut = others.flat_map(|id| [(leader, id), (id, leader)]).collect();
    Weather { cut, ..Weather::default() }
}

/// Sets `name` to what it was and an `x`, deciding only when `go` says so.
async fn slow_append(
    node: &Quorum,
    began: mpsc::Sender<()>,
    go: mpsc::Receiver<()>,
) -> Result<(), CommitError> {
    let decide = move |image: &ClusterImage, _: &_| {
        let known = image.configs.of(&ConfigResource::default_broker());
        let value = known.get("list").map(ToString::to_string).unwrap_or_default() + "x";
        began.send(()).unwrap();
        go.recv().unwrap();
        let record = ConfigRecord {
            resource_type: 4,
            resource_name: String::new().into(),
            name: "list".to_owned().into(),
            value: Some(value.into()),
        };
        Ok(Decision { records: vec![MetadataRecord::Config(record)], reply: () })
    };
    node.execute(decide).await
}

#[test]
fn a_decision_of_a_leader_that_was_deposed_and_elected_again_has_no_effect() {
    run(async {
        let mut cluster = Cluster::new(&[1, 2, 3], 71);
        cluster.start_all();
        cluster.set("list", "a").await;
        cluster.agree().await;
        let (first, node) = cluster.leader().await;
        let epoch = node.leadership().borrow().epoch;
        let ((began, has_begun), (go, may_go)) = (mpsc::channel(), mpsc::channel());
        let deciding = {
            let node = node.clone();
            tokio::spawn(async move { slow_append(&node, began, may_go).await })
        };
        tokio::task::spawn_blocking(move || has_begun.recv().unwrap()).await.unwrap();
        // Another one leads meanwhile, and changes what the decision is about.
        *cluster.net.weather.lock() = isolated(first);
        wait("another leader", || {
            cluster
                .alive()
                .into_iter()
                .find(|n| n.leadership().borrow().epoch > epoch && n.leadership().borrow().is_me)
        })
        .await;
        let alive = cluster.alive();
        let second = alive
            .iter()
            .find(|n| n.leadership().borrow().epoch > epoch && n.leadership().borrow().is_me);
        set(second.unwrap(), "list", "b").await.unwrap();
        *cluster.net.weather.lock() = Weather::default();
        cluster.agree().await;
        // And the first one leads again, while its decision is still not made.
        let (mut leader, mut holder) = cluster.leader().await;
        while leader != first {
            holder.hand_over().await;
            cluster.kill(leader);
            node.leader_is_gone(NodeId(leader));
            (leader, _) = cluster.leader().await;
            for id in [1, 2, 3] {
                if cluster.alive().len() < 3 && !cluster.is_alive(id) {
                    cluster.start(id);
                }
            }
            (leader, holder) =
                if leader == first { (leader, node.clone()) } else { cluster.leader().await };
        }
        assert!(node.leadership().borrow().epoch > epoch + 1);
        wait("the first to know all", || {
            (get(&node, "list").as_deref() == Some("b")).then_some(())
        })
        .await;
        let start = Instant::now();
        go.send(()).unwrap();
        let refused = deciding.await.unwrap().unwrap_err();
        println!("told after {:?}: {refused}", start.elapsed());
        assert!(matches!(refused, CommitError::NotController { .. }), "{refused}");
        assert!(start.elapsed() < Duration::from_millis(500));
        cluster.set("other", "1").await;
        cluster.agree().await;
        for node in cluster.alive() {
            assert_eq!(get(&node, "list").as_deref(), Some("b"), "the decision saw only 'a'");
        }
    });
}

#[test]
fn callers_of_a_deposed_leader_are_told_at_once_and_who_leads() {
    for seed in 80..86 {
        in_simulated_time(async move {
            let mut cluster = Cluster::in_memory(&[1, 2, 3], seed);
            cluster.start_all();
            cluster.set("a", "1").await;
            cluster.agree().await;
            let (first, node) = cluster.leader().await;
            // One entry is under way, others wait behind it.
            *cluster.net.weather.lock() = isolated(first);
            let start = tokio::time::Instant::now();
            let waiting: Vec<_> = (0..20)
                .map(|n| {
                    let node = node.clone();
                    tokio::spawn(async move { set(&node, "void", &n.to_string()).await })
                })
                .collect();
            let mut overruled = false;
            if seed % 2 == 0 {
                // The others go on, and the cut ends before the first one has noticed anything.
                wait("another leader", || {
                    let mut others = cluster.alive().into_iter();
                    others.find(|n| {
                        n.leadership().borrow().is_me
                            && n.leadership().borrow().leader != Some(NodeId(first))
                    })
                })
                .await;
                *cluster.net.weather.lock() = Weather::default();
                overruled = true;
            }
            for one in waiting {
                let refused = one.await.unwrap().unwrap_err();
                assert!(matches!(refused, CommitError::NotController { .. }), "{refused}");
            }
            println!("seed {seed}: told after {:?} (overruled: {overruled})", start.elapsed());
            assert!(start.elapsed() <= cluster.timing.election_max * 2 + cluster.timing.heartbeat);
            *cluster.net.weather.lock() = Weather::default();
            cluster.set("a", "2").await;
            cluster.agree().await;
            let (leader, _) = cluster.leader().await;
            assert_ne!(leader, first);
            let refused = set(&node, "a", "3").await.unwrap_err();
            assert!(
                matches!(refused, CommitError::NotController { leader: Some(id) } if id == NodeId(leader)),
                "{refused}"
            );
            assert_eq!(get(&node, "void"), None);
        });
    }
}
