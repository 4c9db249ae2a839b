//! librdkafka consuming hot records: broker CPU a GB and MB/s. Records are taken off the client's queue
//! in batches by its C interface, as the fastest programs do.

use crate::Plan;
use crate::broker::Broker;
use crate::figure::{Figure, Report};
use crate::produce::{Shape, write};
use crate::yardstick::Yardsticks;
use anyhow::{Result, bail};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList, bindings};
use std::net::SocketAddr;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

const AT_ONCE: usize = 10_000;
const SILENCE: Duration = Duration::from_secs(20);

/// Runs and shows.
pub fn measure(plan: &Plan, yardsticks: &Yardsticks, report: &mut Report) -> Result<()> {
    report.heading("librdkafka consuming, one partition, hot, 1 MB batches; MB after codec");
    let lines = [
        (1000, "none", ("0.21", 0.15), ("1,860-2,220", 1860.0)),
        (100, "none", ("0.34", 0.20), ("425", 425.0)),
        (1000, "lz4", ("", 0.15), ("", 0.0)),
    ];
    for (value_bytes, codec, (kafka_cpu, cpu_target), (kafka_rate, rate_target)) in lines {
        let mut broker = Broker::start(&plan.broker, &plan.data_dir)?;
        let shape = Shape { value_bytes, partitions: 1, acks: "1", codec };
        write(broker.address(), "hot", &shape, plan.bytes)?;
        let count = plan.bytes / value_bytes as u64;
        read(broker.address(), "hot", count / 10)?;
        let (mut cpu, mut rate) = (Vec::new(), Vec::new());
        for _ in 0..plan.runs {
            let before = broker.cpu()?;
            let seconds = read(broker.address(), "hot", count)?;
            let gb = plan.bytes as f64 / 1e9;
            cpu.push((broker.cpu()? - before).as_secs_f64() / gb);
            rate.push(gb * 1e3 / seconds);
        }
        broker.stop()?;
        let name = format!("{value_bytes} B, {codec}");
        let figure = Figure::lower(format!("{name}, CPU"), "s a GB", cpu).target(cpu_target);
        // With a codec the bytes that move are others than those that are counted.
        let figure = match codec {
            "none" => figure.beside("sendfile loop", yardsticks.sendfile),
            _ => figure,
        };
        report.add(&figure.kafka(kafka_cpu));
        let mut figure = Figure::higher(format!("{name}, rate"), "MB/s", rate).kafka(kafka_rate);
        if rate_target > 0.0 {
            figure = figure.target(rate_target);
        }
        report.add(&figure);
    }
    Ok(())
}

/// Reads so many records of partition 0; the seconds from the first fetch to the last record.
fn read(address: SocketAddr, topic: &str, count: u64) -> Result<f64> {
    read_with(address, topic, count, Isolation::Committed)
}

/// The `isolation.level` setting. librdkafka's default is the first.
#[derive(Clone, Copy, Debug)]
pub enum Isolation {
    /// What aborted transactions wrote is left out, open ones are waited for.
    Committed,
    /// Everything.
    Uncommitted,
}

/// The same under an isolation level.
pub fn read_with(
    address: SocketAddr,
    topic: &str,
    count: u64,
    isolation: Isolation,
) -> Result<f64> {
    let level = match isolation {
        Isolation::Committed => "read_committed",
        Isolation::Uncommitted => "read_uncommitted",
    };
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address.to_string())
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", level)
        .set("queued.min.messages", "1000000")
        .set("queued.max.messages.kbytes", "262144")
        .create()?;
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_offset(topic, 0, Offset::Beginning)?;
    let began = Instant::now();
    consumer.assign(&wanted)?;
    let mut last = began;
    let mut received = 0;
    let client = consumer.client().native_ptr();
    // SAFETY: the consumer outlives the queue's handle, which is given back below.
    let queue = unsafe { bindings::rd_kafka_queue_get_consumer(client) };
    let mut failed = None;
    while received < count && failed.is_none() {
        let (records, error) = take(queue)?;
        received += records;
        failed = error;
        if records > 0 {
            last = Instant::now();
        } else if last.elapsed() > SILENCE {
            failed = Some(format!("no record for {SILENCE:?} after {received} of {count}"));
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    // SAFETY: the handle is used no more.
    unsafe { bindings::rd_kafka_queue_destroy(queue) };
    match failed {
        None => Ok(seconds),
        Some(text) => bail!("{text}"),
    }
}

/// Takes what is there; the number of records, and an error that came instead of one.
fn take(queue: *mut bindings::rd_kafka_queue_t) -> Result<(u64, Option<String>)> {
    let mut messages = [null_mut(); AT_ONCE];
    // SAFETY: there is room for `AT_ONCE` messages, and the queue's handle is held by the caller.
    let count = unsafe {
        bindings::rd_kafka_consume_batch_queue(queue, 200, messages.as_mut_ptr(), AT_ONCE)
    };
    let count = usize::try_from(count)?;
    let (mut records, mut error) = (0, None);
    for &message in messages.iter().take(count) {
        // SAFETY: the first `count` messages are valid until they are given back, which is done once.
        let code = unsafe { (*message).err };
        unsafe { bindings::rd_kafka_message_destroy(message) };
        if code == bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            records += 1;
        } else if code != bindings::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
            error = Some(format!("the consumer got error {code:?}"));
        }
    }
    Ok((records, error))
}
