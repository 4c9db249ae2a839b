//! Transactions in the newest versions of the protocol (KIP-890 part 2) over raw connections: two requests each,
//! the records and the end, with a new producer epoch after every end. No client stands between.

use super::run_time;
use crate::Plan;
use crate::batch::batch_of;
use crate::broker::Broker;
use crate::figure::{Figure, Report};
use crate::raw::{Api, Body, Connection, tagged_frame};
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

const VALUE_BYTES: usize = 100;
const PARTITIONS: i32 = 6;
const TOPIC: &str = "newest";
const TIMEOUT_MS: i32 = 30_000;
const TRIPS: f64 = 2.0;

/// Runs and shows.
pub(super) fn measure(plan: &Plan, round_trip: f64, report: &mut Report) -> Result<()> {
    report.heading(
        "Transactions over raw connections, transaction.version 2: one batch of 100 B records and the end, nothing else",
    );
    let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
    let mut connection = Connection::open(broker.address())?;
    connection.create_topic(TOPIC, PARTITIONS)?;
    connection.find_transaction_coordinator("any")?;
    for (producers, records) in [(1, 1), (1, 10), (1, 100), (8, 1), (8, 10), (8, 100)] {
        let (mut rates, mut costs) = (Vec::new(), Vec::new());
        for run in 0..plan.runs {
            let id = format!("{producers}-{records}-{run}");
            let before = broker.cpu()?;
            let (count, seconds) = one_run(&broker, &id, producers, records, run_time(plan))?;
            rates.push(count / seconds);
            costs.push((broker.cpu()? - before).as_secs_f64() * 1e6 / count);
        }
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let (some, more) = (plural(producers), plural(records));
        let name = format!("{producers} producer{some}, {records} record{more}");
        let mut figure = Figure::higher(format!("{name}, rate"), "txns/s", rates);
        if producers == 1 {
            figure = figure.beside("bare round trips", 1e6 / (round_trip * TRIPS));
        }
        report.add(&figure);
        let figure = Figure::lower(format!("{name}, broker CPU each"), "us", costs);
        report.add(&figure.beside("one round trip", round_trip));
    }
    broker.stop()
}

/// How many were committed, and in which time.
fn one_run(
    broker: &Broker,
    id: &str,
    producers: usize,
    records: usize,
    time: Duration,
) -> Result<(f64, f64)> {
    let began = Instant::now();
    let mut threads = Vec::new();
    for number in 0..producers {
        let (address, id) = (broker.address(), format!("{id}-{number}"));
        threads.push(std::thread::spawn(move || {
            let mut producer = Newest::open(address, &id, records)?;
            let mut count = 0;
            while began.elapsed() < time {
                producer.commit_one((number as i32 + count) % PARTITIONS)?;
                count += 1;
            }
            anyhow::Ok(count)
        }));
    }
    let mut total = 0;
    for thread in threads {
        total += thread.join().ok().context("a producer panicked")??;
    }
    ensure!(total > 0, "no transaction was committed");
    Ok((f64::from(total), began.elapsed().as_secs_f64()))
}

/// A producer with its identity of the moment.
struct Newest {
    connection: Connection,
    transactional_id: String,
    producer_id: i64,
    epoch: i16,
    batch: Vec<u8>,
}

impl Newest {
    fn open(address: SocketAddr, id: &str, records: usize) -> Result<Self> {
        let mut connection = Connection::open(address)?;
        let body = Body::default().string(id).int32(TIMEOUT_MS);
        let mut answer = connection.ask(&body.frame(Api::InitProducerId, 1))?;
        answer.skip(4)?;
        answer.check("InitProducerId")?;
        let (producer_id, epoch) = (i64::from_be_bytes(answer.take()?), answer.int16()?);
        let one = batch_of(1, VALUE_BYTES).len() - HEADER;
        let mut batch = batch_of(HEADER + one * records, VALUE_BYTES);
        // A little longer where the offset within the batch takes a second byte.
        while count_of(&batch)? < records as i32 {
            batch = batch_of(batch.len() + one + 1, VALUE_BYTES);
        }
        ensure!(count_of(&batch)? == records as i32, "a batch of another size");
        let transactional_id = id.to_owned();
        Ok(Self { connection, transactional_id, producer_id, epoch, batch })
    }

    fn commit_one(&mut self, partition: i32) -> Result<()> {
        self.stamp()?;
        let body = Body::default().compact(&self.transactional_id).int16(-1).int32(TIMEOUT_MS);
        let body = body.int8(2).compact(TOPIC).int8(2).int32(partition);
        let body = body.varint(self.batch.len() as u32 + 1).plain(&self.batch).int8(0).int8(0);
        let mut answer = self.connection.ask(&tagged_frame(body, Api::Produce, 12))?;
        answer.skip(1 + 1 + 1 + TOPIC.len() + 1 + 4)?;
        answer.check("Produce")?;
        let body = Body::default().compact(&self.transactional_id).int64(self.producer_id);
        let body = body.int16(self.epoch).int8(1);
        let mut answer = self.connection.ask(&tagged_frame(body, Api::EndTxn, 5))?;
        answer.skip(1 + 4)?;
        answer.check("EndTxn")?;
        self.producer_id = i64::from_be_bytes(answer.take()?);
        self.epoch = answer.int16()?;
        Ok(())
    }

    /// Writes the identity and the flag of a transaction into the batch; sequence numbers start anew with each epoch.
    fn stamp(&mut self) -> Result<()> {
        let identity = Body::default().int64(self.producer_id).int16(self.epoch).int32(0);
        put(&mut self.batch, 21, &[0, 0x10])?;
        put(&mut self.batch, 43, identity.as_bytes())?;
        let sum = crc32c::crc32c(self.batch.get(21..).context("a header")?);
        put(&mut self.batch, 17, &sum.to_be_bytes())
    }
}

/// Bytes of a batch before its records.
const HEADER: usize = 61;

fn count_of(batch: &[u8]) -> Result<i32> {
    Ok(i32::from_be_bytes(batch.get(57..HEADER).context("a header")?.try_into()?))
}

fn put(batch: &mut [u8], at: usize, bytes: &[u8]) -> Result<()> {
    let place = batch.get_mut(at..at + bytes.len()).context("a header")?;
    place.copy_from_slice(bytes);
    Ok(())
}
