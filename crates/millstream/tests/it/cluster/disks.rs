//! A disk that is full, and has room again.

use std::time::Duration;

use millstream_testkit::{TestCluster, can_limit_disks};

use super::numbers::Writer;
use super::{SOON, alone, create, quick};

#[test]
fn a_full_disk_loses_nothing() {
    if !can_limit_disks() {
        println!("skipped: this machine lets tests mount no disks");
        return;
    }
    let _one = alone();
    let mut cluster = TestCluster::start_with(&quick().disk(2, 200)).unwrap();
    create(&mut cluster, "numbers");
    let writer = Writer::start(&cluster, "numbers");
    // What a leader without room leads takes no writes until there is room again; nothing is lost by it.
    writer.through("a full disk, and room again after 3 s", || {
        cluster.fill_disk(2).unwrap();
        std::thread::sleep(Duration::from_secs(3));
        cluster.free_disk(2).unwrap();
        // Where the process ended over it, it comes back.
        if !cluster.is_running(2) {
            cluster.restart(2).unwrap();
        }
    });
    cluster.wait_in_sync("numbers", SOON).unwrap();
    writer.through("a full disk and kill -9", || {
        cluster.fill_disk(2).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        cluster.kill(2).unwrap();
    });
    cluster.free_disk(2).unwrap();
    cluster.restart(2).unwrap();
    cluster.wait_in_sync("numbers", SOON).unwrap();
    writer.stop_and_check(&cluster);
}
