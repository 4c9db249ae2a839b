//! The durable mode: `flush.messages=1`, acks=all. Beside it the machine's own `fdatasync` rate.

use crate::Plan;
use crate::batch::batch_of;
use crate::broker::Broker;
use crate::figure::{Figure, Report};
use crate::raw::{self, Connection};
use anyhow::{Context, Result};
use std::io::Write as _;
use std::time::{Duration, Instant};

const BATCH_BYTES: usize = 16 << 10;

/// Runs and shows.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    report.heading(
        "Durable: flush.messages=1, acks all, one 16 KiB batch of 1,000 B records a request",
    );
    let time = Duration::from_millis(if plan.runs == 1 { 500 } else { 2_000 });
    let mut bare = Vec::new();
    for _ in 0..plan.runs {
        bare.push(bare_rate(plan, time)?);
    }
    let figure = Figure::higher("bare loop: append 16 KiB, fdatasync", "batches/s", bare);
    let fdatasync = figure.median();
    report.add(&figure);
    let setting = ["log.flush.interval.messages=1"];
    let mut broker = Broker::start_with(&plan.broker, &plan.data_dir, &setting)?;
    for producers in [1, 4, 16] {
        for partitions in [1, 6] {
            let mut rates = Vec::new();
            for run in 0..plan.runs {
                let topic = format!("durable-{producers}-{partitions}-{run}");
                rates.push(rate(&broker, &topic, producers, partitions, time)?);
            }
            let name = format!("{producers} producers, {partitions} partitions");
            let mut figure = Figure::higher(name, "batches/s", rates);
            if producers == 16 {
                figure = figure.target(0.8 * fdatasync);
            }
            report.add(&figure.beside("bare loop", fdatasync));
        }
    }
    broker.stop()
}

fn bare_rate(plan: &Plan, time: Duration) -> Result<f64> {
    let mut file = tempfile::tempfile_in(&plan.data_dir)?;
    let bytes = vec![7; BATCH_BYTES];
    let (began, mut count) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        file.write_all(&bytes)?;
        file.sync_data()?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}

/// Acknowledged batches a second; every producer has one request under way.
fn rate(
    broker: &Broker,
    topic: &str,
    producers: i32,
    partitions: i32,
    time: Duration,
) -> Result<f64> {
    Connection::open(broker.address())?.create_topic(topic, partitions)?;
    let began = Instant::now();
    let threads: Vec<_> = (0..producers)
        .map(|producer| {
            let frame =
                raw::produce(topic, producer % partitions, -1, &batch_of(BATCH_BYTES, 1000));
            let address = broker.address();
            std::thread::spawn(move || -> Result<u32> {
                let mut connection = Connection::open(address)?;
                let mut count = 0;
                while began.elapsed() < time {
                    connection.check_produce(&frame)?;
                    count += 1;
                }
                Ok(count)
            })
        })
        .collect();
    let mut total = 0;
    for thread in threads {
        total += thread.join().ok().context("a producer panicked")??;
    }
    Ok(f64::from(total) / began.elapsed().as_secs_f64())
}
