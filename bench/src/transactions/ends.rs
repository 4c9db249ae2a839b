//! librdkafka's transactional producers, each committing one transaction after the other: [`Work`] is the shape.
//!
//! librdkafka speaks the older protocol: a partition is added by a request of its own before records go there.

use super::run_time;
use crate::Plan;
use crate::broker::Broker;
use crate::figure::{Figure, Report};
use crate::produce::Refused;
use crate::raw::Connection;
use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList, bindings};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

const VALUE: [u8; 100] = [b'x'; 100];
const PARTITIONS: i32 = 6;
const WITHIN: Duration = Duration::from_secs(30);
/// Requests of one transaction that wait for each other: partition added, records, end.
const TRIPS: f64 = 3.0;

/// One shape of transactions.
#[derive(Clone, Copy)]
struct Work {
    producers: usize,
    records: usize,
    /// The records of one go to so many partitions.
    spread: usize,
    /// The offset of a group is sent with it.
    offsets: bool,
}

const fn work(producers: usize, records: usize) -> Work {
    Work { producers, records, spread: 1, offsets: false }
}

const LINES: &[Work] = &[
    work(1, 1),
    work(1, 10),
    work(1, 100),
    work(8, 1),
    work(8, 10),
    work(8, 100),
    Work { spread: 6, ..work(1, 100) },
    Work { offsets: true, ..work(1, 10) },
    Work { offsets: true, ..work(8, 10) },
];

/// Runs and shows.
pub(super) fn measure(plan: &Plan, round_trip: f64, report: &mut Report) -> Result<()> {
    report.heading(
        "Transactions committed by librdkafka: records of 100 B, those of one transaction in one partition of 6, \
         linger 0",
    );
    let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
    Connection::open(broker.address())?.create_topic("ends", PARTITIONS)?;
    for (line, work) in LINES.iter().enumerate() {
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for run in 0..plan.runs {
            let (rate, cost) = one_run(plan, &broker, &format!("{line}-{run}"), *work)?;
            rates.push(rate);
            costs.push(cost);
        }
        let name = name(work);
        let mut figure = Figure::higher(format!("{name}, rate"), "txns/s", rates);
        if work.producers == 1 {
            figure = figure.beside("bare round trips", 1e6 / (round_trip * TRIPS));
        }
        report.add(&figure);
        let figure = Figure::lower(format!("{name}, broker CPU each"), "us", costs);
        report.add(&figure.beside("one round trip", round_trip));
    }
    broker.stop()
}

fn name(work: &Work) -> String {
    let Work { producers, records, spread, offsets } = work;
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let mut name = format!("{producers} producer{}", plural(*producers));
    name += &format!(", {records} record{}", plural(*records));
    if *spread > 1 {
        name += &format!(" in {spread} partitions");
    }
    if *offsets {
        name += ", offsets";
    }
    name
}

/// Transactions a second and broker CPU microseconds each.
fn one_run(plan: &Plan, broker: &Broker, id: &str, work: Work) -> Result<(f64, f64)> {
    let time = run_time(plan);
    let start = Arc::new(Barrier::new(work.producers + 1));
    let mut threads = Vec::new();
    for number in 0..work.producers {
        let (address, start, id) = (broker.address(), start.clone(), format!("{id}-{number}"));
        threads.push(std::thread::spawn(move || {
            let ready = prepare(address, &id, work);
            // Also where it failed: the others wait for it.
            start.wait();
            ready?.commit_for(time)
        }));
    }
    start.wait();
    let (before, began) = (broker.cpu()?, Instant::now());
    let mut total = 0;
    for thread in threads {
        total += thread.join().ok().context("a producer panicked")??;
    }
    let (cpu, wall) = (broker.cpu()? - before, began.elapsed());
    ensure!(total > 0, "no transaction was committed");
    let total = f64::from(total);
    Ok((total / wall.as_secs_f64(), cpu.as_secs_f64() * 1e6 / total))
}

/// A producer that is ready, and the group whose offsets it sends.
struct Ready {
    producer: BaseProducer<Refused>,
    refused: Refused,
    group: Option<BaseConsumer>,
    work: Work,
}

fn prepare(address: SocketAddr, id: &str, work: Work) -> Result<Ready> {
    let refused = Refused::default();
    let producer = producer(address, id, refused.clone())?;
    let mut group = None;
    if work.offsets {
        let member: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", address.to_string())
            .set("group.id", id)
            .create()?;
        group = Some(member);
    }
    let mut ready = Ready { producer, refused, group, work };
    for number in 0..20 {
        ready.commit_one(number)?;
    }
    Ok(ready)
}

/// A transactional producer that has begun.
pub(super) fn producer(
    address: SocketAddr,
    id: &str,
    refused: Refused,
) -> Result<BaseProducer<Refused>> {
    let producer: BaseProducer<Refused> = ClientConfig::new()
        .set("bootstrap.servers", address.to_string())
        .set("transactional.id", id)
        .set("linger.ms", "0")
        .set("delivery.report.only.error", "true")
        .set("queue.buffering.max.messages", "500000")
        .create_with_context(refused)?;
    producer.init_transactions(WITHIN)?;
    Ok(producer)
}

impl Ready {
    /// How many it committed in this time.
    fn commit_for(mut self, time: Duration) -> Result<u32> {
        let (began, mut count) = (Instant::now(), 0);
        while began.elapsed() < time {
            self.commit_one(count)?;
            count += 1;
        }
        let refused = self.refused.0.load(Ordering::Relaxed);
        ensure!(refused == 0, "{refused} records were refused");
        Ok(count)
    }

    fn commit_one(&mut self, number: u32) -> Result<()> {
        self.producer.begin_transaction()?;
        for record in 0..self.work.records {
            let partition = (number as usize + record % self.work.spread) % PARTITIONS as usize;
            let record = BaseRecord::<(), [u8]>::to("ends").payload(&VALUE[..]);
            let record = record.partition(i32::try_from(partition)?);
            self.producer.send(record).map_err(|(error, _)| error)?;
        }
        if let Some(group) = &self.group {
            let mut offsets = TopicPartitionList::new();
            offsets.add_partition_offset("ends", 0, Offset::Offset(i64::from(number)))?;
            let member = group.group_metadata().context("no group metadata")?;
            self.producer.send_offsets_to_transaction(&offsets, &member, WITHIN)?;
        }
        commit(&self.producer)
    }
}

/// Commits. The wrapper's own call first waits for delivery reports in steps of 100 ms, which is longer than all
/// the rest; here only failures are reported, so the C interface alone waits for the records.
pub(super) fn commit(producer: &BaseProducer<Refused>) -> Result<()> {
    producer.poll(Duration::ZERO);
    let within = i32::try_from(WITHIN.as_millis())?;
    let client = producer.client().native_ptr();
    // SAFETY: the producer outlives the call, and an error that it returns is given back once.
    let code = unsafe {
        let error = bindings::rd_kafka_commit_transaction(client, within);
        let code = bindings::rd_kafka_error_code(error);
        if !error.is_null() {
            bindings::rd_kafka_error_destroy(error);
        }
        code
    };
    let is_done = code == bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
    ensure!(is_done, "a commit failed: {code:?}");
    Ok(())
}
