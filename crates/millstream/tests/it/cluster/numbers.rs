//! Numbered records, written while things go wrong and compared with what is there afterwards.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use millstream_base::TopicPartition;
use millstream_client::{
    Consumer, ConsumerConfig, Delivery, OffsetReset, Producer, ProducerConfig, ProducerRecord,
};
use millstream_testkit::TestCluster;

use super::{PARTITIONS, client};

/// Records of one partition that may wait for their acknowledgement.
const UNDER_WAY: usize = 1_000;
const PACE: Duration = Duration::from_millis(5);

/// What one partition's writer knows.
struct Acked {
    /// Number to offset; a duplicate of which the broker does not say the offset has none.
    offsets: BTreeMap<u32, Option<i64>>,
    sent: u32,
    failed: Vec<String>,
    last: Instant,
    longest: Duration,
}

/// Writes numbers into every partition of a topic, with acks=all and idempotence, until it is told to stop.
pub(super) struct Writer {
    partitions: Vec<Arc<Mutex<Acked>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    topic: String,
}

impl Writer {
    /// Starts it, and waits until every partition has an acknowledgement.
    pub(super) fn start(cluster: &TestCluster, topic: &str) -> Self {
        let now = Instant::now();
        let new = |_| {
            let acked = Acked {
                offsets: BTreeMap::new(),
                sent: 0,
                failed: Vec::new(),
                last: now,
                longest: Duration::ZERO,
            };
            Arc::new(Mutex::new(acked))
        };
        let partitions: Vec<_> = (0..PARTITIONS).map(new).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let (bootstrap, shared, halt) = (cluster.bootstrap(), partitions.clone(), stop.clone());
        let name = topic.to_owned();
        let thread = std::thread::spawn(move || {
            crate::run(write_all(&bootstrap, &name, &shared, &halt));
        });
        let writer = Self { partitions, stop, thread, topic: topic.to_owned() };
        writer.wait_for_one_each();
        writer
    }

    /// Waits until every partition has acknowledged one record that was sent from now on.
    pub(super) fn wait_for_one_each(&self) {
        let sent: Vec<u32> = self.partitions.iter().map(|one| one.lock().unwrap().sent).collect();
        let deadline = Instant::now() + super::SOON;
        for (partition, (acked, sent)) in self.partitions.iter().zip(sent).enumerate() {
            while acked.lock().unwrap().offsets.range(sent..).next().is_none() {
                let failed = acked.lock().unwrap().failed.clone();
                assert!(
                    Instant::now() < deadline,
                    "partition {partition} acknowledges nothing {failed:?}"
                );
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Does harm, waits until all partitions go on, and prints the longest time without an acknowledgement in any
    /// partition from just before it.
    pub(super) fn through(&self, what: &str, harm: impl FnOnce()) -> Duration {
        self.wait_for_one_each();
        for acked in &self.partitions {
            acked.lock().unwrap().longest = Duration::ZERO;
        }
        harm();
        self.wait_for_one_each();
        let longest = self.partitions.iter().map(|acked| acked.lock().unwrap().longest).max();
        let longest = longest.unwrap_or_default();
        println!("{what}: longest gap in acknowledgements {} ms", longest.as_millis());
        longest
    }

    /// Stops, and compares what was acknowledged with what is in the topic.
    pub(super) fn stop_and_check(self, cluster: &TestCluster) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        let read = crate::run(read_all(&cluster.bootstrap(), &self.topic));
        let mut total = 0;
        for (partition, acked) in self.partitions.iter().enumerate() {
            let acked = acked.lock().unwrap();
            let found = read.get(&i32::try_from(partition).unwrap());
            check(partition, &acked, found.map_or(&[], Vec::as_slice));
            total += acked.offsets.len();
            if let Some(first) = acked.failed.first() {
                println!("partition {partition}: {} not acknowledged: {first}", acked.failed.len());
            }
        }
        println!("{total} acknowledged records are there, once and in order");
    }
}

/// Nothing acknowledged is lost or elsewhere, nothing is twice, and numbers grow.
fn check(partition: usize, acked: &Acked, found: &[(i64, u32)]) {
    for pair in found.windows(2) {
        assert!(
            pair[0].1 < pair[1].1,
            "partition {partition}: {:?} stands before {:?} (offset, number)",
            pair[0],
            pair[1]
        );
    }
    let by_number: BTreeMap<u32, i64> = found.iter().map(|&(at, number)| (number, at)).collect();
    for (number, offset) in &acked.offsets {
        let there = by_number.get(number);
        assert!(
            there.is_some(),
            "partition {partition}: {number}, acknowledged at {offset:?}, is lost"
        );
        assert!(
            offset.is_none() || *offset == there.copied(),
            "partition {partition}: {number} was acknowledged at {offset:?} and is at {there:?}"
        );
    }
    assert!(by_number.keys().all(|&number| number < acked.sent), "partition {partition}: unknown");
}

async fn write_all(
    bootstrap: &str,
    topic: &str,
    partitions: &[Arc<Mutex<Acked>>],
    stop: &AtomicBool,
) {
    let config = ProducerConfig { linger: Duration::from_millis(2), ..ProducerConfig::default() };
    let producer = Producer::new(client(bootstrap).await, config).await.unwrap();
    let writers = partitions.iter().zip(0..).map(|(acked, partition)| {
        let to = ProducerRecord::to(topic).partition(partition);
        write(&producer, to, acked, stop)
    });
    futures_util::future::join_all(writers).await;
    producer.close().await;
}

async fn write(producer: &Producer, to: ProducerRecord, acked: &Mutex<Acked>, stop: &AtomicBool) {
    let mut under_way: VecDeque<(u32, Delivery)> = VecDeque::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        match producer.send(to.clone().value(number.to_string())).await {
            Ok(delivery) => under_way.push_back((number, delivery)),
            Err(error) => acked.lock().unwrap().failed.push(error.to_string()),
        }
        number += 1;
        acked.lock().unwrap().sent = number;
        millstream_env::task::sleep(PACE).await;
        while let Some((_, first)) = under_way.front()
            && (first.peek().is_some() || under_way.len() >= UNDER_WAY)
        {
            settle(&mut under_way, acked).await;
        }
    }
    while !under_way.is_empty() {
        settle(&mut under_way, acked).await;
    }
}

/// Waits for the first one's outcome and notes it.
async fn settle(under_way: &mut VecDeque<(u32, Delivery)>, acked: &Mutex<Acked>) {
    let Some((number, delivery)) = under_way.pop_front() else { return };
    let outcome = delivery.await;
    let mut acked = acked.lock().unwrap();
    match outcome {
        Ok(landed) => {
            acked.offsets.insert(number, landed.offset.map(millstream_base::Offset::get));
            let now = Instant::now();
            acked.longest = acked.longest.max(now - acked.last);
            acked.last = now;
        }
        Err(error) => acked.failed.push(format!("{number}: {error}")),
    }
}

/// Offset and number of every record, by partition.
pub(super) async fn read_all(bootstrap: &str, topic: &str) -> BTreeMap<i32, Vec<(i64, u32)>> {
    let config =
        ConsumerConfig { offset_reset: OffsetReset::Earliest, ..ConsumerConfig::default() };
    let mut consumer = Consumer::new(client(bootstrap).await, config);
    consumer.assign((0..PARTITIONS).map(|index| TopicPartition::new(topic, index))).unwrap();
    let mut all: BTreeMap<i32, Vec<(i64, u32)>> = BTreeMap::new();
    let deadline = Instant::now() + super::SOON;
    loop {
        assert!(Instant::now() < deadline, "the reader does not reach the end");
        let records = consumer.poll(Duration::from_millis(200)).await.unwrap();
        if records.is_empty() && consumer.reached_end() {
            return all;
        }
        for record in records {
            let number = str::from_utf8(record.value.as_ref().unwrap()).unwrap().parse().unwrap();
            all.entry(record.partition).or_default().push((record.offset.get(), number));
        }
    }
}
