//! Processes that are killed, stopped, restarted, and that hang.

use std::time::Duration;

use millstream_testkit::TestCluster;

use super::numbers::Writer;
use super::{Dice, SOON, alone, create, quick, three};

#[test]
fn killed_and_stopped_brokers_lose_nothing() {
    let _one = alone();
    let mut dice = Dice::cast();
    let mut cluster = TestCluster::start_with(&three()).unwrap();
    create(&mut cluster, "numbers");
    let writer = Writer::start(&cluster, "numbers");
    for _ in 0..2 {
        let partition = i32::try_from(dice.below(6)).unwrap();
        let leader = cluster.leader("numbers", partition).unwrap();
        writer.through("kill -9 of a leader", || cluster.kill(leader).unwrap());
        dice.pause(0, 500);
        writer.through("its return", || {
            cluster.restart(leader).unwrap();
            cluster.wait_in_sync("numbers", SOON).unwrap();
        });
        let leader = cluster.leader("numbers", partition).unwrap();
        writer.through("controlled stop of a leader", || cluster.stop(leader).unwrap());
        cluster.restart(leader).unwrap();
        cluster.wait_in_sync("numbers", SOON).unwrap();
    }
    writer.through("rolling restart", || {
        for id in cluster.ids() {
            cluster.stop(id).unwrap();
            cluster.restart(id).unwrap();
            cluster.wait_in_sync("numbers", SOON).unwrap();
        }
    });
    writer.stop_and_check(&cluster);
}

#[test]
fn brokers_that_hang_lose_nothing() {
    let _one = alone();
    let mut dice = Dice::cast();
    let mut cluster = TestCluster::start_with(&quick()).unwrap();
    create(&mut cluster, "numbers");
    let writer = Writer::start(&cluster, "numbers");
    for (what, least) in [("SIGSTOP, shorter than the session", 800), ("SIGSTOP, longer", 4_000)] {
        let victim = dice.pick(&cluster.ids());
        writer.through(what, || {
            cluster.pause(victim).unwrap();
            std::thread::sleep(Duration::from_millis(least));
        });
        writer.through("SIGCONT", || {
            cluster.resume(victim).unwrap();
            cluster.wait_ready(SOON).unwrap();
            cluster.wait_in_sync("numbers", SOON).unwrap();
        });
    }
    writer.stop_and_check(&cluster);
}
