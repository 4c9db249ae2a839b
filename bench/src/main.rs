//! Measures a broker: `millstream-bench --broker PATH [--quick] [--only GROUP] [--data-dir FOLDER]`.
//!
//! Every figure is the median of its runs with the spread beside it, next to a bare loop of the same
//! machine in the same run, to the target, and to what Kafka showed for that shape. Broker CPU is user
//! and system time of the broker's process alone, from its own clock. Load and broker share the machine.

mod batch;
mod broker;
mod cluster;
mod consume;
mod durable;
mod figure;
mod groups;
mod latency;
mod log;
mod partitions;
mod produce;
mod raw;
mod requests;
mod start;
mod transactions;
mod yardstick;

use anyhow::{Result, bail};
use figure::Report;
use std::path::PathBuf;

const GROUPS: &[&str] = &[
    "yardsticks",
    "start",
    "produce",
    "consume",
    "requests",
    "latency",
    "durable",
    "partitions",
    "groups",
    "transactions",
    // All of "replication", "failover" and "many".
    "cluster",
    "replication",
    "failover",
    "many",
    "log",
];

/// How much of everything.
#[derive(Clone, Debug)]
struct Plan {
    broker: PathBuf,
    data_dir: PathBuf,
    runs: usize,
    /// Bytes of records a librdkafka run.
    bytes: u64,
    /// Requests of a kind a run.
    requests: u64,
    only: Vec<String>,
}

impl Plan {
    fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == group)
    }
}

fn parse() -> Result<Plan> {
    let mut plan = Plan {
        broker: PathBuf::new(),
        data_dir: std::env::temp_dir(),
        runs: 3,
        bytes: 1_000_000_000,
        requests: 40_000,
        only: Vec::new(),
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| anyhow::anyhow!("{arg} needs a value"));
        match arg.as_str() {
            "--broker" => plan.broker = value()?.into(),
            "--data-dir" => plan.data_dir = value()?.into(),
            "--runs" => plan.runs = value()?.parse()?,
            "--only" => plan.only.push(value()?),
            "--quick" => (plan.runs, plan.bytes, plan.requests) = (1, 60_000_000, 2_000),
            _ => bail!("unknown argument {arg}"),
        }
    }
    if plan.broker.as_os_str().is_empty() {
        bail!("--broker PATH is missing");
    }
    if let Some(unknown) = plan.only.iter().find(|only| !GROUPS.contains(&only.as_str())) {
        bail!("no group {unknown}; there are {}", GROUPS.join(", "));
    }
    Ok(plan)
}

fn main() -> Result<()> {
    let plan = parse()?;
    let mut report = Report::new();
    // The bare loops always run: without them no other figure says anything.
    let yardsticks = yardstick::measure(&plan, &mut report)?;
    if plan.wants("start") {
        start::measure(&plan, &mut report)?;
    }
    if plan.wants("produce") {
        produce::measure(&plan, &yardsticks, &mut report)?;
    }
    if plan.wants("consume") {
        consume::measure(&plan, &yardsticks, &mut report)?;
    }
    if plan.wants("requests") {
        requests::measure(&plan, &yardsticks, &mut report)?;
    }
    if plan.wants("latency") {
        latency::measure(&plan, &mut report)?;
    }
    if plan.wants("durable") {
        durable::measure(&plan, &mut report)?;
    }
    if plan.wants("partitions") {
        partitions::measure(&plan, &mut report)?;
    }
    if plan.wants("groups") {
        groups::measure(&plan, &mut report)?;
    }
    if plan.wants("transactions") {
        transactions::measure(&plan, &yardsticks, &mut report)?;
    }
    cluster::measure(&plan, &yardsticks, &mut report)?;
    if plan.wants("log") {
        log::measure(&plan, &mut report)?;
    }
    report.print_missed();
    Ok(())
}
