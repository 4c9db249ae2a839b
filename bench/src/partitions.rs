//! Many partitions and many connections: time to create, to restart, memory.

use crate::Plan;
use crate::batch::batch_of;
use crate::broker::Broker;
use crate::figure::{Figure, Report};
use crate::raw::{self, Connection};
use anyhow::Result;
use std::time::{Duration, Instant};

/// What one life of a broker with many partitions showed.
#[derive(Default)]
struct Life {
    create: Vec<f64>,
    fill: Vec<f64>,
    clean: Vec<f64>,
    killed: Vec<f64>,
    memory: Vec<f64>,
}

/// Runs and shows.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    report
        .heading("Partitions of one topic: created and all writable; first answer after a restart");
    let quick = plan.runs == 1;
    for (count, create_target) in [(1_000, 0.5), (5_000, 2.0)] {
        let mut life = Life::default();
        for _ in 0..plan.runs {
            live(plan, count, &mut life)?;
        }
        let kafka = if count == 5_000 { "answers with 1,536-3,988 made" } else { "" };
        let name = |what: &str| format!("{count} partitions, {what}");
        let figure = Figure::lower(name("create"), "s", life.create);
        report.add(&figure.target(create_target).kafka(kafka));
        report.add(&Figure::lower(name("one record into each"), "s", life.fill));
        let (clean, killed) = (
            Figure::lower(name("restart after a clean stop"), "s", life.clean),
            Figure::lower(name("restart after kill -9"), "s", life.killed),
        );
        let memory = Figure::lower(name("resident memory"), "MiB", life.memory);
        if count == 5_000 {
            report.add(&clean.target(1.0).kafka("13.2-13.8"));
            report.add(&killed.target(3.0).kafka("23.5"));
            report.add(&memory.target(300.0).kafka("600 MB"));
        } else {
            report.add(&clean);
            report.add(&killed);
            report.add(&memory);
        }
        if quick {
            break;
        }
    }
    connections(plan, report)
}

fn live(plan: &Plan, count: i32, life: &mut Life) -> Result<()> {
    let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
    let mut connection = Connection::open(broker.address())?;
    let began = Instant::now();
    connection.create_topic("many", count)?;
    let last = raw::produce("many", count - 1, 1, &batch_of(1, 100));
    connection.check_produce(&last)?;
    life.create.push(began.elapsed().as_secs_f64());
    let began = Instant::now();
    for partition in 0..count - 1 {
        connection.check_produce(&raw::produce("many", partition, 1, &batch_of(1, 100)))?;
    }
    life.fill.push(began.elapsed().as_secs_f64());
    life.memory.push(broker.resident_mib()?);
    broker.stop()?;
    life.clean.push(broker.launch()?.as_secs_f64());
    let mut connection = Connection::open(broker.address())?;
    connection.check_produce(&last)?;
    broker.kill()?;
    life.killed.push(broker.launch()?.as_secs_f64());
    Connection::open(broker.address())?.check_produce(&last)?;
    broker.stop()
}

fn connections(plan: &Plan, report: &mut Report) -> Result<()> {
    report.heading("Idle connections");
    let counts: &[(usize, f64)] =
        if plan.runs == 1 { &[(1_000, 20.0)] } else { &[(1_000, 20.0), (8_000, 120.0)] };
    for &(count, target) in counts {
        let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
        let before = broker.resident_mib()?;
        let mut open = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = Connection::open(broker.address())?;
            connection.send(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff])?;
            connection.receive()?;
            open.push(connection);
        }
        // Long enough for the broker to take idle buffers back.
        std::thread::sleep(Duration::from_secs(4));
        let cpu = broker.cpu()?;
        std::thread::sleep(Duration::from_secs(1));
        let spent = (broker.cpu()? - cpu).as_secs_f64() * 1e3;
        let more = broker.resident_mib()? - before;
        let name = format!("{count} connections, memory more");
        report.add(&Figure::lower(name, "MiB", vec![more]).target(target));
        let name = format!("{count} connections, CPU a second");
        report.add(&Figure::lower(name, "ms", vec![spent]));
        drop(open);
        broker.stop()?;
    }
    Ok(())
}
