//! librdkafka producing to topics of three replicas.

use super::{cpu, create, start};
use crate::Plan;
use crate::broker::resident_mib;
use crate::figure::{Figure, Report};
use crate::produce::{Shape, fill};
use crate::yardstick::Yardsticks;
use anyhow::{Context, Result};

/// What was to be reached: one and a half times what Kafka showed.
const RATE: f64 = 1.5 * 288.0;

/// Runs and shows.
pub(super) fn measure(plan: &Plan, yardsticks: &Yardsticks, report: &mut Report) -> Result<()> {
    report.heading(
        "Three brokers, three replicas, min ISR 2: librdkafka producing 1,000 B, 1 MB batches, acks all, idempotence off; \
         CPU of all three",
    );
    for partitions in [1, 6] {
        let (mut costs, mut rates, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        let mut cluster = start(plan, &[])?;
        let bootstrap = cluster.bootstrap();
        let shape = Shape { value_bytes: 1_000, partitions, acks: "all", codec: "none" };
        create(&mut cluster, "warm-up", partitions)?;
        fill(&bootstrap, "warm-up", &shape, plan.bytes / 10)?;
        for run in 0..plan.runs {
            let topic = format!("run-{run}");
            create(&mut cluster, &topic, partitions)?;
            let before = cpu(&cluster)?;
            let seconds = fill(&bootstrap, &topic, &shape, plan.bytes)?;
            let gb = plan.bytes as f64 / 1e9;
            rates.push(gb * 1e3 / seconds);
            // What the followers still have to write belongs to it.
            cluster.wait_in_sync(&topic, super::SOON)?;
            costs.push((cpu(&cluster)? - before).as_secs_f64() / gb);
        }
        for id in cluster.ids() {
            memory.push(resident_mib(cluster.pid(id).context("the broker runs")?)?);
        }
        let name = format!("1,000 B, {partitions} partitions");
        // Each byte is received, checked and appended thrice, and sent twice.
        let bare = 3.0 * yardsticks.receive_crc_append + 2.0 * yardsticks.sendfile;
        let figure = Figure::lower(format!("{name}, CPU"), "s a GB", costs);
        report.add(&figure.beside("bare loops", bare).kafka("3.5-4.1"));
        let figure = Figure::higher(format!("{name}, rate"), "MB/s", rates).target(RATE);
        report.add(&figure.kafka("269-306"));
        report.add(&Figure::lower("  resident memory after it, a broker", "MiB", memory));
    }
    Ok(())
}
