//! What may not grow without end, and messages with lengths that are lies.

use std::time::Duration;

use millstream_quorum::METADATA_DIR;

use crate::fault_fs::FaultFs;
use crate::net::{Cluster, Weather, get, set};
use crate::support::in_simulated_time;

#[test]
fn a_follower_that_is_away_for_long_does_not_make_the_others_keep_everything() {
    in_simulated_time(async {
        let mut cluster = Cluster::in_memory(&[1, 2, 3], 101);
        cluster.snapshot_after_bytes = 5_000;
        let disks: Vec<_> = [1, 2, 3].map(|id| (id, FaultFs::new())).into();
        for (id, disk) in &disks {
            cluster.disks.insert(*id, disk.clone());
        }
        cluster.start_all();
        cluster.set("a", "1").await;
        let mut observer = cluster.options(10);
        observer.is_voter = false;
        cluster.disks.insert(10, FaultFs::new());
        cluster.start_with(&observer).unwrap();
        cluster.agree().await;
        let (leader, _) = cluster.leader().await;
        let away = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
        cluster.kill(away);
        cluster.kill(10);
        // What is on its way to those that are away holds nothing up for longer than an attempt.
        cluster.net.weather.lock().late = Duration::from_millis(4);
        let mut most = 0;
        for n in 0..1_500 {
            cluster.set("a", &n.to_string()).await;
            let directory = cluster.options(leader).data_dir.join(METADATA_DIR);
            let disk = &disks.iter().find(|(id, _)| *id == leader).unwrap().1;
            let kept =
                disk.files(&directory).into_iter().filter(|(name, _)| name.ends_with(".log"));
            most = most.max(kept.map(|(_, bytes)| bytes).sum::<usize>());
        }
        println!("at most {most} bytes of log");
        assert!(most < 60_000, "{most}");
        cluster.start(away);
        cluster.start_with(&observer).unwrap();
        cluster.set("a", "last").await;
        cluster.agree().await;
    });
}

#[test]
fn a_leader_that_is_heard_but_hears_nobody_keeps_no_other_from_leading() {
    in_simulated_time(async {
        let mut cluster = Cluster::in_memory(&[1, 2, 3], 102);
        cluster.start_all();
        cluster.set("a", "1").await;
        cluster.agree().await;
        let (leader, node) = cluster.leader().await;
        let others = [1, 2, 3].into_iter().filter(|id| *id != leader);
        let cut = others.map(|id| (id, leader)).collect();
        *cluster.net.weather.lock() = Weather { cut, ..Weather::default() };
        drop(set(&node, "void", "1").await);
        let start = tokio::time::Instant::now();
        cluster.set("a", "2").await;
        println!("another one leads {:?} after the first one knew", start.elapsed());
        assert!(start.elapsed() < Duration::from_secs(4));
        *cluster.net.weather.lock() = Weather::default();
        cluster.agree().await;
    });
}

#[test]
fn lengths_that_are_lies_take_no_memory_and_no_time() {
    in_simulated_time(async {
        let mut cluster = Cluster::in_memory(&[1, 2, 3], 103);
        cluster.snapshot_after_bytes = 3_000;
        cluster.start_all();
        cluster.set("a", "1").await;
        let (leader, node) = cluster.leader().await;
        // A snapshot is sent as well, so that there is one among what was heard.
        let away = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
        cluster.kill(away);
        for n in 0..150 {
            cluster.set("b", &n.to_string()).await;
        }
        cluster.net.heard.lock().clear();
        cluster.start(away);
        cluster.agree().await;
        let heard = cluster.net.heard.lock().clone();
        let longest = [&[0xff; 9][..], &[0x01]].concat();
        let lies: [&[u8]; 4] =
            [&longest, &[0xff, 0xff, 0xff, 0xff, 0x07], &[0xff, 0xff, 0x03], &[]];
        for id in [1, 2, 3] {
            let node = cluster.node(id);
            for sent in &heard {
                for at in 0..sent.len().min(120) {
                    for lie in lies {
                        let bytes = [&sent[..at], lie, &sent[(at + 1).min(sent.len())..]].concat();
                        let answered = node.receive(bytes.into());
                        drop(tokio::time::timeout(Duration::from_millis(5), answered).await);
                    }
                }
            }
        }
        assert!(get(&node, "b").is_some());
        cluster.set("b", "after").await;
        cluster.agree().await;
    });
}

#[test]
fn a_snapshot_of_many_parts_arrives_although_parts_are_lost() {
    in_simulated_time(async {
        let mut cluster = Cluster::in_memory(&[1, 2, 3], 104);
        cluster.snapshot_after_bytes = 1_000_000;
        cluster.start_all();
        cluster.set("a", "1").await;
        cluster.agree().await;
        let (leader, _) = cluster.leader().await;
        let away = [1, 2, 3].into_iter().find(|id| *id != leader).unwrap();
        cluster.kill(away);
        cluster.net.weather.lock().late = Duration::from_millis(4);
        for n in 0..150 {
            cluster.set(&format!("k{}", n % 16), &"x".repeat(250_000 + n)).await;
        }
        let stormy =
            Weather { lost: 10, doubled: 20, late: Duration::from_millis(4), ..Weather::default() };
        *cluster.net.weather.lock() = stormy;
        let node = cluster.start(away);
        crate::net::wait("the snapshot", || get(&node, "k5")).await;
        *cluster.net.weather.lock() = Weather::default();
        cluster.agree().await;
    });
}
