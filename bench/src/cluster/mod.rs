//! Three brokers that are controllers as well, on one machine, which they share with the load: [`throughput`] with three
//! replicas, [`failover`] by kill -9 and by a controlled stop, [`many`] partitions created, moved and taken up again.

mod failover;
mod many;
mod throughput;

use crate::Plan;
use crate::broker::process_cpu;
use crate::figure::Report;
use crate::raw::Connection;
use crate::yardstick::Yardsticks;
use anyhow::{Context, Result};
use millstream_testkit::{ClusterOptions, TestCluster};
use std::time::Duration;

const REPLICAS: i16 = 3;
const SOON: Duration = Duration::from_secs(120);

/// Runs and shows the parts that are wanted.
pub fn measure(plan: &Plan, yardsticks: &Yardsticks, report: &mut Report) -> Result<()> {
    let wants = |part: &str| plan.wants("cluster") || plan.wants(part);
    if wants("replication") {
        throughput::measure(plan, yardsticks, report)?;
    }
    if wants("failover") {
        failover::measure(plan, report)?;
    }
    if wants("many") {
        many::measure(plan, report)?;
    }
    Ok(())
}

/// Starts three nodes with these settings.
fn start(plan: &Plan, settings: &[(&str, &str)]) -> Result<TestCluster> {
    let options = ClusterOptions {
        binary: Some(plan.broker.clone()),
        parent: Some(plan.data_dir.clone()),
        ..ClusterOptions::default()
    };
    let set = |options: ClusterOptions, (name, value): &(&str, &str)| options.set(name, *value);
    TestCluster::start_with(&settings.iter().fold(options, set))
}

/// Makes a topic with three replicas, two of which must have a record, and waits until all are in sync.
fn create(cluster: &mut TestCluster, topic: &str, partitions: i32) -> Result<()> {
    let mut connection = Connection::open(cluster.address(1)?.parse()?)?;
    connection.create_replicated(topic, partitions, REPLICAS, &[("min.insync.replicas", "2")])?;
    cluster.wait_in_sync(topic, SOON)
}

/// User and system time of all brokers.
fn cpu(cluster: &TestCluster) -> Result<Duration> {
    let mut total = Duration::ZERO;
    for id in cluster.ids() {
        total += process_cpu(cluster.pid(id).context("the broker runs")?)?;
    }
    Ok(total)
}
