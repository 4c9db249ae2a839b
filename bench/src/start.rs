//! Start and idleness: time to the first answer on an empty and on a used directory, resident memory.

use crate::Plan;
use crate::broker::Broker;
use crate::figure::{Figure, Report};
use crate::raw::Connection;
use anyhow::Result;
use std::time::Duration;

/// Runs and shows.
pub fn measure(plan: &Plan, report: &mut Report) -> Result<()> {
    report.heading("Start and idleness");
    let (mut empty, mut again, mut idle, mut ticking) = (vec![], vec![], vec![], vec![]);
    for _ in 0..plan.runs.max(3) {
        let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
        broker.stop()?;
        // Once more on a directory made anew, now that the binary is in the page cache.
        let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
        empty.push(millis(broker.first_start()));
        Connection::open(broker.address())?.create_topic("used", 6)?;
        broker.stop()?;
        again.push(millis(broker.launch()?));
        let began = broker.cpu()?;
        std::thread::sleep(Duration::from_secs(1));
        ticking.push((broker.cpu()? - began).as_secs_f64() * 1e3);
        idle.push(broker.resident_mib()?);
    }
    let figure = Figure::lower("start to first answer, empty directory", "ms", empty);
    report.add(&figure.target(50.0).kafka("1,900"));
    let figure = Figure::lower("restart to first answer", "ms", again);
    report.add(&figure.target(100.0).kafka("12,700"));
    let figure = Figure::lower("resident memory, idle", "MiB", idle);
    report.add(&figure.target(40.0).kafka("380 MB"));
    report.add(&Figure::lower("CPU a second, idle", "ms", ticking).kafka("20"));
    Ok(())
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
