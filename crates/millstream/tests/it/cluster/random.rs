//! Faults of every kind in random order, for a while or for long.

use std::time::{Duration, Instant};

use millstream_testkit::{Network, TestCluster};

use super::numbers::Writer;
use super::{Dice, SOON, alone, create, quick};

const DEFAULT_SECONDS: u64 = 15;

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Stop,
    Hang,
    CutOff,
    CutOneWay,
}

#[test]
fn faults_of_every_kind_lose_nothing() {
    let _one = alone();
    let mut dice = Dice::cast();
    let seconds = std::env::var("MILLSTREAM_CLUSTER_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_SECONDS);
    let faults = [Fault::Kill, Fault::Stop, Fault::Hang, Fault::CutOff, Fault::CutOneWay];
    let mut cluster = TestCluster::start_with(&quick().on(Network::to_cut())).unwrap();
    create(&mut cluster, "numbers");
    let writer = Writer::start(&cluster, "numbers");
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        let fault = dice.pick(&faults);
        let victim = dice.pick(&cluster.ids());
        let other = victim % 3 + 1;
        let what = format!("{fault:?} of {victim}");
        writer.through(&what, || {
            let cluster = &mut cluster;
            match fault {
                Fault::Kill => cluster.kill(victim).unwrap(),
                Fault::Stop => cluster.stop(victim).unwrap(),
                Fault::Hang => cluster.pause(victim).unwrap(),
                Fault::CutOff => cluster.cut_off(victim).unwrap(),
                Fault::CutOneWay => cluster.cut(victim, other).unwrap(),
            }
            dice.pause(100, 5_000);
            match fault {
                Fault::Kill | Fault::Stop => cluster.launch(victim).unwrap(),
                Fault::Hang => cluster.resume(victim).unwrap(),
                Fault::CutOff | Fault::CutOneWay => cluster.heal().unwrap(),
            }
            // Now and then the next one comes before all is well again, but only one is away at a time.
            cluster.wait_ready(SOON).unwrap();
            if dice.below(4) > 0 {
                cluster.wait_in_sync("numbers", SOON).unwrap();
            }
        });
    }
    cluster.wait_in_sync("numbers", SOON).unwrap();
    writer.stop_and_check(&cluster);
}
