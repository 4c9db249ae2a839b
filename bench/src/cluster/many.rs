//! Ten thousand partitions of three replicas: created, moved when a broker dies, taken up by it again.

use super::{SOON, create, start};
use crate::Plan;
use crate::batch::batch_of;
use crate::broker::resident_mib;
use crate::figure::{Figure, Report};
use crate::raw::{self, Connection};
use anyhow::{Context, Result};
use millstream_testkit::TestCluster;
use std::time::Instant;

const TOPIC: &str = "many";

#[derive(Default)]
struct Lives {
    create: Vec<f64>,
    writable: Vec<f64>,
    memory: Vec<f64>,
    moved: Vec<f64>,
    back: Vec<f64>,
    in_sync: Vec<f64>,
}

/// Runs and shows.
pub(super) fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    let count = if plan.runs == 1 { 1_000 } else { 10_000 };
    report.heading(&format!(
        "{count} partitions of one topic over three brokers, three replicas each"
    ));
    let mut lives = Lives::default();
    for _ in 0..plan.runs {
        live(plan, count, &mut lives)?;
    }
    let all_in_sync = "created, all with a leader and in sync";
    report.add(&Figure::lower(all_in_sync, "s", lives.create).target(10.0));
    report.add(&Figure::lower("  and one record taken, acks all", "s", lives.writable));
    report.add(&Figure::lower("resident memory, a broker", "MiB", lives.memory));
    report.add(&Figure::lower("all led again after kill -9 of one", "s", lives.moved).target(3.0));
    report.add(&Figure::lower("killed one answers again", "s", lives.back));
    report.add(&Figure::lower("  and all are in sync", "s", lives.in_sync));
    Ok(())
}

fn live(plan: &Plan, count: i32, lives: &mut Lives) -> Result<()> {
    let mut cluster = start(plan, &[])?;
    let began = Instant::now();
    create(&mut cluster, TOPIC, count)?;
    lives.create.push(began.elapsed().as_secs_f64());
    let leader = cluster.leader(TOPIC, count - 1).context("no leader")?;
    let mut connection = Connection::open(cluster.address(leader)?.parse()?)?;
    connection.check_produce(&raw::produce(TOPIC, count - 1, -1, &batch_of(1, 100)))?;
    lives.writable.push(began.elapsed().as_secs_f64());
    for id in cluster.ids() {
        lives.memory.push(resident_mib(cluster.pid(id).context("the broker runs")?)?);
    }
    let victim = 3;
    let began = Instant::now();
    cluster.kill(victim)?;
    wait_all_led(&mut cluster, victim)?;
    lives.moved.push(began.elapsed().as_secs_f64());
    let began = Instant::now();
    cluster.launch(victim)?;
    while cluster.metadata(victim, &["-"]).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    lives.back.push(began.elapsed().as_secs_f64());
    cluster.wait_ready(SOON)?;
    cluster.wait_in_sync(TOPIC, SOON)?;
    lives.in_sync.push(began.elapsed().as_secs_f64());
    Ok(())
}

/// Until no partition is led by nobody or by this one.
fn wait_all_led(cluster: &mut TestCluster, dead: i32) -> Result<()> {
    cluster.wait_for("all led again", SOON, |cluster| {
        let answer = cluster.metadata(1, &[TOPIC])?;
        let mut partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.all(|each| each.leader_id > 0 && each.leader_id != dead))
    })
}
