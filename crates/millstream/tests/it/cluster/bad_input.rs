//! Nodes that do not belong: each is refused with words, and the cluster goes on as if nothing had been.

use std::time::Duration;

use millstream_testkit::{ClusterOptions, TestCluster};

use super::numbers::Writer;
use super::{SOON, alone, create, three};

/// Starts a node that must not be taken in, and waits until its log says so in these words.
fn is_refused(cluster: &mut TestCluster, node: i32, words: &[&str]) {
    cluster.launch(node).unwrap();
    let said = |log: &str| words.iter().all(|word| log.contains(word));
    let what = format!("node {node} says {words:?}");
    cluster
        .wait_for(&what, Duration::from_secs(30), |cluster| Ok(said(&cluster.log(node))))
        .unwrap();
    cluster.kill(node).unwrap();
}

#[test]
fn a_second_broker_of_one_id_is_refused() {
    let _one = alone();
    let options = ClusterOptions { brokers: 1, ..three() };
    let mut cluster = TestCluster::start_with(&options).unwrap();
    create(&mut cluster, "numbers");
    let writer = Writer::start(&cluster, "numbers");
    cluster.add_broker(14, &[("node.id", "4")]).unwrap();
    let words = ["another broker is registered as node 4"];
    writer.through("a second broker with an id", || is_refused(&mut cluster, 14, &words));
    assert!(cluster.is_running(4));
    cluster.wait_ready(SOON).unwrap();
    cluster.wait_in_sync("numbers", SOON).unwrap();
    writer.stop_and_check(&cluster);
}

#[test]
fn a_controller_that_lost_its_disk_is_refused() {
    let _one = alone();
    let mut cluster = TestCluster::start_with(&three()).unwrap();
    create(&mut cluster, "numbers");
    let writer = Writer::start(&cluster, "numbers");
    cluster.kill(3).unwrap();
    std::fs::remove_dir_all(cluster.data_dir(3).unwrap()).unwrap();
    writer.through("a controller without its disk", || {
        is_refused(&mut cluster, 3, &["directory"]);
    });
    writer.stop_and_check(&cluster);
}
