//! Broker CPU a request: requests that were encoded beforehand, pipelined over raw connections.

use crate::Plan;
use crate::batch::batch_of;
use crate::broker::Broker;
use crate::figure::{Figure, Report};
use crate::raw::{self, Connection};
use crate::yardstick::Yardsticks;
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const BATCH_BYTES: usize = 16 << 10;
const UNDER_WAY: u64 = 5;
const POLLERS: usize = 200;
const POLL_WAIT_MS: i32 = 50;

/// Runs and shows.
pub fn measure(plan: &Plan, yardsticks: &Yardsticks, report: &mut Report) -> Result<()> {
    report.heading("Broker CPU a request, raw generator, requests encoded beforehand");
    let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
    let batch = batch_of(BATCH_BYTES, 1000);
    let batch_us = |seconds_per_gb: f64| seconds_per_gb * batch.len() as f64 / 1e9 * 1e6;
    for (acks, under_way) in [(1, UNDER_WAY), (-1, UNDER_WAY), (1, 1)] {
        let costs = runs(plan, &broker, |connection, run| {
            let topic = format!("produce-{acks}-{under_way}-{run}");
            connection.create_topic(&topic, 1)?;
            let frame = raw::produce(&topic, 0, acks, &batch);
            connection.check_produce(&frame)?;
            connection.pipeline(&frame, plan.requests / 10, under_way)?;
            Ok((frame, under_way))
        })?;
        let name = format!("produce, one 16 KiB batch, acks {acks}, {under_way} under way");
        let figure = Figure::lower(name, "us", costs).target(16.0).kafka("60");
        report.add(&figure.beside("bare loop", batch_us(yardsticks.receive_crc_append)));
    }
    let costs = runs(plan, &broker, |connection, _| {
        let frame = raw::fetch("produce-1-5-0", 0, 0, BATCH_BYTES as i32);
        let found = connection.check_fetch(&frame)?;
        ensure!(found > 0, "the fetch found nothing");
        connection.pipeline(&frame, plan.requests / 10, 1)?;
        Ok((frame, 1))
    })?;
    let bytes_us = batch_us(yardsticks.sendfile);
    let figure = Figure::lower("fetch that finds one 16 KiB batch", "us", costs);
    report.add(&figure.target(12.0 + bytes_us).beside("sendfile loop", bytes_us));
    let costs = runs(plan, &broker, |connection, run| {
        let member = connection.join(&format!("group-{run}"))?;
        connection.pipeline(&member.heartbeat(), plan.requests / 10, 1)?;
        Ok((member.heartbeat(), 1))
    })?;
    report.add(&Figure::lower("heartbeat", "us", costs).target(6.0));
    let costs = long_polls(plan, &broker)?;
    report.add(&Figure::lower("empty long poll", "us", costs).target(8.0));
    broker.stop()
}

/// CPU microseconds a request of each run: `prepare` warms up and says what to send.
fn runs(
    plan: &Plan,
    broker: &Broker,
    prepare: impl Fn(&mut Connection, usize) -> Result<(Vec<u8>, u64)>,
) -> Result<Vec<f64>> {
    let mut costs = Vec::new();
    for run in 0..plan.runs {
        let mut connection = Connection::open(broker.address())?;
        let (frame, under_way) = prepare(&mut connection, run)?;
        let before = broker.cpu()?;
        connection.pipeline(&frame, plan.requests, under_way)?;
        costs.push((broker.cpu()? - before).as_secs_f64() * 1e6 / plan.requests as f64);
    }
    Ok(costs)
}

/// CPU microseconds of a poll that waits its whole time on an empty partition, over many connections.
fn long_polls(plan: &Plan, broker: &Broker) -> Result<Vec<f64>> {
    Connection::open(broker.address())?.create_topic("empty", 1)?;
    let frame = raw::fetch("empty", 0, POLL_WAIT_MS, 1 << 20);
    let mut connections = Vec::new();
    for _ in 0..POLLERS {
        let mut connection = Connection::open(broker.address())?;
        ensure!(connection.check_fetch(&frame)? <= 0, "the empty partition is not empty");
        connections.push(connection);
    }
    let rounds = (plan.requests / POLLERS as u64).max(5);
    let mut costs = Vec::new();
    for _ in 0..plan.runs {
        let (before, began) = (broker.cpu()?, Instant::now());
        for _ in 0..rounds {
            for connection in &mut connections {
                connection.send(&frame)?;
            }
            for connection in &mut connections {
                connection.receive()?;
            }
        }
        let least = Duration::from_millis(POLL_WAIT_MS as u64) * u32::try_from(rounds)?;
        ensure!(began.elapsed() > least * 9 / 10, "polls were answered before their time");
        let polls = rounds as f64 * POLLERS as f64;
        costs.push((broker.cpu()? - before).as_secs_f64() * 1e6 / polls);
    }
    Ok(costs)
}
