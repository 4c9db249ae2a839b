//! Nodes that are cut off from others while clients still reach them, wholly and one way.

use std::time::Duration;

use millstream_testkit::{Network, TestCluster};

use super::numbers::Writer;
use super::{Dice, SOON, alone, create, quick};

#[test]
fn brokers_that_are_cut_off_lose_nothing() {
    let _one = alone();
    let mut dice = Dice::cast();
    let mut cluster = TestCluster::start_with(&quick().on(Network::to_cut())).unwrap();
    create(&mut cluster, "numbers");
    let writer = Writer::start(&cluster, "numbers");
    let leader = cluster.leader("numbers", 0).unwrap();
    writer.through("cut off from the others", || {
        cluster.cut_off(leader).unwrap();
        std::thread::sleep(Duration::from_secs(5));
    });
    heal(&writer, &mut cluster);
    let (from, to) = dice.pick(&[(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)]);
    writer.through("one link dead one way", || {
        cluster.cut(from, to).unwrap();
        std::thread::sleep(Duration::from_secs(4));
    });
    heal(&writer, &mut cluster);
    let victim = dice.pick(&cluster.ids());
    writer.through("hears all, is heard by none of the others", || {
        for other in cluster.ids().into_iter().filter(|&other| other != victim) {
            cluster.cut(victim, other).unwrap();
        }
        std::thread::sleep(Duration::from_secs(5));
    });
    heal(&writer, &mut cluster);
    writer.stop_and_check(&cluster);
}

fn heal(writer: &Writer, cluster: &mut TestCluster) {
    writer.through("healed", || {
        cluster.heal().unwrap();
        cluster.wait_ready(SOON).unwrap();
        cluster.wait_in_sync("numbers", SOON).unwrap();
    });
}
