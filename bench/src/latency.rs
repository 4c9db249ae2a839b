//! End-to-end latency at a gentle rate: from before the produce is sent until a long-polling consumer has the record.

use crate::Plan;
use crate::batch::batch_of;
use crate::broker::Broker;
use crate::figure::{Figure, Report};
use crate::raw::{self, Connection};
use anyhow::{Context, Result};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const RATE: u64 = 1_000;

/// Runs and shows.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    report.heading(
        "End to end, 1,000 records a second of 100 B, one record a request, one partition",
    );
    let records = if plan.runs == 1 { RATE } else { 5 * RATE };
    let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
    for acks in [1, -1] {
        let (mut means, mut p99s, mut p999s) = (vec![], vec![], vec![]);
        for run in 0..plan.runs {
            let topic = format!("latency-{acks}-{run}");
            let mut taken = one_run(&broker, &topic, acks, records)?;
            taken.sort_by(f64::total_cmp);
            means.push(taken.iter().sum::<f64>() / taken.len() as f64);
            p99s.push(quantile(&taken, 0.99));
            p999s.push(quantile(&taken, 0.999));
        }
        let acks = if acks == 1 { "1" } else { "all" };
        let figure = Figure::lower(format!("acks {acks}, mean"), "ms", means);
        report.add(&figure.target(0.3).kafka("1.0-1.6"));
        let figure = Figure::lower(format!("acks {acks}, p99"), "ms", p99s);
        report.add(&figure.target(1.5).kafka("5-9"));
        let figure = Figure::lower(format!("acks {acks}, p99.9"), "ms", p999s);
        report.add(&figure.target(5.0).kafka("35-108"));
    }
    broker.stop()
}

fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The latency of each record, in milliseconds.
fn one_run(broker: &Broker, topic: &str, acks: i16, records: u64) -> Result<Vec<f64>> {
    let mut producer = Connection::open(broker.address())?;
    producer.create_topic(topic, 1)?;
    let frame = raw::produce(topic, 0, acks, &batch_of(1, 100));
    let (seen, arrivals) = mpsc::channel();
    let (address, name) = (broker.address(), topic.to_owned());
    let consumer = std::thread::spawn(move || -> Result<()> {
        let mut consumer = Connection::open(address)?;
        let mut next = 0;
        while next < records {
            let fetch = raw::fetch(&name, i64::try_from(next)?, 5_000, 1 << 20);
            let found = consumer.check_fetch(&fetch)?;
            let now = Instant::now();
            // Every batch holds one record, and all have one size.
            for _ in 0..u64::try_from(found)? / batch_of(1, 100).len() as u64 {
                seen.send(now)?;
                next += 1;
            }
        }
        Ok(())
    });
    let began = Instant::now();
    let mut sent = Vec::new();
    for at in 0..records {
        let due = began + Duration::from_nanos(at * 1_000_000_000 / RATE);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        sent.push(Instant::now());
        producer.send(&frame)?;
        producer.receive()?;
    }
    consumer.join().ok().context("the consumer panicked")??;
    let taken = arrivals.iter().zip(&sent);
    Ok(taken.map(|(seen, sent)| seen.duration_since(*sent).as_secs_f64() * 1e3).collect())
}
