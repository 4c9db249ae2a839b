//! What `isolation.level=read_committed` costs: the same hot partition of transactions read under both levels.

use super::ends::{commit, producer};
use crate::Plan;
use crate::broker::Broker;
use crate::consume::{Isolation, read_with};
use crate::figure::{Figure, Report};
use crate::produce::Refused;
use crate::raw::Connection;
use crate::yardstick::Yardsticks;
use anyhow::{Result, ensure};
use rdkafka::producer::{BaseRecord, Producer};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

const VALUE: [u8; 1_000] = [b'x'; 1_000];
const WITHIN: Duration = Duration::from_secs(60);

/// How a topic was written.
#[derive(Clone, Copy)]
struct Written {
    name: &'static str,
    /// Records of each transaction.
    records: u64,
    /// Of so many transactions the last one is aborted; zero: none is.
    aborted_of: u64,
}

const TOPICS: &[Written] = &[
    Written { name: "100 records each", records: 100, aborted_of: 0 },
    Written { name: "100 records each, 10 % aborted", records: 100, aborted_of: 10 },
    Written { name: "10 records each", records: 10, aborted_of: 0 },
    Written { name: "10 records each, 10 % aborted", records: 10, aborted_of: 10 },
];

/// Runs and shows.
pub(super) fn measure(plan: &Plan, yardsticks: &Yardsticks, report: &mut Report) -> Result<()> {
    report.heading(
        "librdkafka consuming transactions of 1,000 B records, one partition, hot; GB of the log, aborted ones included",
    );
    for topic in TOPICS {
        let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
        // Small transactions take long to write; a quarter is enough to read.
        let bytes = if topic.records < 100 { plan.bytes / 4 } else { plan.bytes };
        let ends = (bytes / VALUE.len() as u64 / topic.records).max(10) / 10 * 10;
        write(broker.address(), topic, ends)?;
        let all = ends * topic.records;
        let committed = match topic.aborted_of {
            0 => all,
            one_in => all - ends / one_in * topic.records,
        };
        let gb = (all * VALUE.len() as u64) as f64 / 1e9;
        read_with(broker.address(), "log", all, Isolation::Uncommitted)?;
        let levels = [
            ("read_uncommitted", Isolation::Uncommitted, all),
            ("read_committed", Isolation::Committed, committed),
        ];
        let mut seen = levels.map(|_| (Vec::new(), Vec::new()));
        // In turn, so that what else the machine does meets both.
        for _ in 0..plan.runs {
            for ((_, level, count), (cpu, rate)) in levels.iter().zip(&mut seen) {
                let before = broker.cpu()?;
                let seconds = read_with(broker.address(), "log", *count, *level)?;
                cpu.push((broker.cpu()? - before).as_secs_f64() / gb);
                rate.push(gb * 1e3 / seconds);
            }
        }
        broker.stop()?;
        for ((level, ..), (cpu, rate)) in levels.iter().zip(seen) {
            let name = format!("{}, {level}", topic.name);
            let figure = Figure::lower(format!("{name}, CPU"), "s a GB", cpu);
            report.add(&figure.beside("sendfile loop", yardsticks.sendfile));
            report.add(&Figure::higher(format!("{name}, rate"), "MB/s", rate));
        }
    }
    Ok(())
}

fn write(address: SocketAddr, topic: &Written, ends: u64) -> Result<()> {
    Connection::open(address)?.create_topic("log", 1)?;
    let refused = Refused::default();
    let producer = producer(address, "writer", refused.clone())?;
    for number in 0..ends {
        producer.begin_transaction()?;
        for _ in 0..topic.records {
            let record = BaseRecord::<(), [u8]>::to("log").payload(&VALUE[..]).partition(0);
            producer.send(record).map_err(|(error, _)| error)?;
        }
        let aborts = topic.aborted_of > 0 && number % topic.aborted_of == topic.aborted_of - 1;
        if aborts {
            // Its records are to be in the log: an abort drops what was not sent yet.
            producer.flush(WITHIN)?;
            producer.abort_transaction(WITHIN)?;
        } else {
            commit(&producer)?;
        }
    }
    let refused = refused.0.load(Ordering::Relaxed);
    ensure!(refused == 0, "{refused} records were refused");
    Ok(())
}
