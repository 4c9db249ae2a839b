//! Transactions: how many a second and what each costs the broker ([`ends`] by librdkafka, [`newest`] in the newest
//! versions of the protocol), and what reading only what was committed costs ([`isolation`]).

mod ends;
mod isolation;
mod newest;

use crate::Plan;
use crate::figure::{Figure, Report};
use crate::yardstick::Yardsticks;
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

const ROUND_TRIPS: u32 = 20_000;
/// About what a request and an answer of a transaction weigh.
const MESSAGE: [u8; 100] = [0; 100];

/// Runs and shows.
pub fn measure(plan: &Plan, yardsticks: &Yardsticks, report: &mut Report) -> Result<()> {
    report
        .heading("Bare loop beside transactions: 100 B there and back over loopback, two threads");
    let mut bare = Vec::new();
    for _ in 0..plan.runs {
        bare.push(round_trip_us()?);
    }
    let figure = Figure::lower("loopback round trip", "us", bare);
    let round_trip = figure.median();
    report.add(&figure);
    ends::measure(plan, round_trip, report)?;
    newest::measure(plan, round_trip, report)?;
    isolation::measure(plan, yardsticks, report)
}

/// How long one line is measured.
fn run_time(plan: &Plan) -> Duration {
    Duration::from_millis(if plan.runs == 1 { 300 } else { 3_000 })
}

fn round_trip_us() -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = std::thread::spawn(move || -> std::io::Result<()> {
        let mut message = MESSAGE;
        for _ in 0..ROUND_TRIPS {
            far.read_exact(&mut message)?;
            far.write_all(&message)?;
        }
        Ok(())
    });
    let mut message = MESSAGE;
    let began = Instant::now();
    for _ in 0..ROUND_TRIPS {
        near.write_all(&message)?;
        near.read_exact(&mut message)?;
    }
    let taken = began.elapsed();
    echo.join().ok().context("the echo panicked")??;
    Ok(taken.as_secs_f64() * 1e6 / f64::from(ROUND_TRIPS))
}
