//! librdkafka producing: broker CPU a GB and MB/s by record size, partitions, acks and codec.

use crate::Plan;
use crate::broker::Broker;
use crate::figure::{Figure, Report};
use crate::raw::Connection;
use crate::yardstick::Yardsticks;
use anyhow::{Result, bail};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is produced.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of a record's value; there are no keys.
    pub value_bytes: usize,
    /// Partitions of the topic, written round robin.
    pub partitions: i32,
    /// The `acks` setting.
    pub acks: &'static str,
    /// The `compression.type` setting.
    pub codec: &'static str,
}

/// A shape with what Kafka showed and what is to be reached: (text, CPU s a GB), (text, MB/s).
type Line = (Shape, (&'static str, f64), (&'static str, f64));

const fn shape(
    value_bytes: usize,
    partitions: i32,
    acks: &'static str,
    codec: &'static str,
) -> Shape {
    Shape { value_bytes, partitions, acks, codec }
}

const LINES: &[Line] = &[
    (shape(1000, 1, "1", "none"), ("0.82-0.96", 0.40), ("600-785", 1100.0)),
    (shape(1000, 1, "all", "none"), ("0.82-0.96", 0.40), ("600-785", 1100.0)),
    (shape(1000, 6, "1", "none"), ("0.82-0.96", 0.40), ("600-785", 1100.0)),
    (shape(1000, 6, "all", "none"), ("0.82-0.96", 0.40), ("600-785", 1100.0)),
    (shape(100, 1, "1", "none"), ("1.2-1.6", 0.70), ("203-229", 281.0)),
    (shape(100, 6, "1", "none"), ("1.2-1.6", 0.70), ("203-229", 281.0)),
    (shape(1000, 1, "1", "lz4"), ("0.15", 0.09), ("1,430", 1430.0)),
];

/// Counts what the broker refused.
#[derive(Clone, Default)]
pub struct Refused(pub Arc<AtomicU64>);

impl ClientContext for Refused {}

impl ProducerContext for Refused {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs and shows.
pub fn measure(plan: &Plan, yardsticks: &Yardsticks, report: &mut Report) -> Result<()> {
    report.heading(
        "librdkafka producing, 1 MB batches, no keys, fsync never (Kafka's default); MB before codec",
    );
    for (shape, (kafka_cpu, cpu_target), (kafka_rate, rate_target)) in LINES {
        let (mut cpu, mut rate) = (Vec::new(), Vec::new());
        let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
        write(broker.address(), "warm-up", shape, plan.bytes / 10)?;
        for run in 0..plan.runs {
            let before = broker.cpu()?;
            let seconds = write(broker.address(), &format!("run-{run}"), shape, plan.bytes)?;
            let gb = plan.bytes as f64 / 1e9;
            cpu.push((broker.cpu()? - before).as_secs_f64() / gb);
            rate.push(gb * 1e3 / seconds);
        }
        let resident = broker.resident_mib()?;
        broker.stop()?;
        let Shape { value_bytes, partitions, acks, codec } = shape;
        let name = format!("{value_bytes} B, {partitions} partitions, acks {acks}, {codec}");
        let figure = Figure::lower(format!("{name}, CPU"), "s a GB", cpu).target(*cpu_target);
        // With a codec the bytes that move are others than those that are counted.
        let figure = match *codec {
            "none" => figure.beside("bare loop", yardsticks.receive_crc_append),
            _ => figure,
        };
        report.add(&figure.kafka(kafka_cpu));
        let figure = Figure::higher(format!("{name}, rate"), "MB/s", rate).target(*rate_target);
        report.add(&figure.kafka(kafka_rate));
        report
            .add(&Figure::lower("  resident memory after it", "MiB", vec![resident]).target(200.0));
    }
    Ok(())
}

/// The same text in every record: with a codec it compresses far better than real records do.
fn payload(bytes: usize) -> Vec<u8> {
    let words = b"2026-01-01T00:00:00Z INFO request served path=/orders/ status=200 took_us=";
    words.iter().copied().cycle().take(bytes).collect()
}

/// Produces so many bytes to a new topic; the seconds from the first record to the last answer.
pub fn write(address: SocketAddr, topic: &str, shape: &Shape, bytes: u64) -> Result<f64> {
    Connection::open(address)?.create_topic(topic, shape.partitions)?;
    fill(&address.to_string(), topic, shape, bytes)
}

/// The same to a topic that is there.
pub fn fill(bootstrap: &str, topic: &str, shape: &Shape, bytes: u64) -> Result<f64> {
    let refused = Refused::default();
    let producer: BaseProducer<Refused> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("acks", shape.acks)
        .set("compression.type", shape.codec)
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "262144")
        .set("delivery.report.only.error", "true")
        .create_with_context(refused.clone())?;
    let value = payload(shape.value_bytes);
    let count = bytes / shape.value_bytes as u64;
    let began = Instant::now();
    for number in 0..count {
        let partition = i32::try_from(number / 500 % shape.partitions.cast_unsigned() as u64)?;
        let mut record =
            BaseRecord::<(), [u8]>::to(topic).payload(value.as_slice()).partition(partition);
        while let Err((error, back)) = producer.send(record) {
            if error != KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                return Err(error.into());
            }
            record = back;
            producer.poll(Duration::from_millis(1));
        }
        if number % 10_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120))?;
    let seconds = began.elapsed().as_secs_f64();
    match refused.0.load(Ordering::Relaxed) {
        0 => Ok(seconds),
        count => bail!("{count} records were refused"),
    }
}
