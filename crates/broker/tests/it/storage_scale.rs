//! Thousands of partitions: how long they take to make and to open, and what they cost. Ignored: run it with `--ignored
//! --nocapture`, best with optimization, and read the figures.

use std::time::{Duration, Instant};

use crate::support::batch::batch;
use crate::support::child::{Child, Under};
use crate::support::client::{Client, Topic};

/// `MILLSTREAM_TEST_PARTITIONS`, or 5,000.
fn partitions() -> i32 {
    let given = std::env::var("MILLSTREAM_TEST_PARTITIONS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(5_000)
}

fn write_everywhere(client: &mut Client, topic: &Topic, partitions: i32) -> Duration {
    let begin = Instant::now();
    for partition in 0..partitions {
        client.produce(topic, partition, batch(&["x"]));
    }
    begin.elapsed()
}

fn mib(bytes: u64) -> u64 {
    bytes >> 20
}

#[test]
#[ignore = "prints figures"]
fn figures_of_many_partitions() {
    let partitions = partitions();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let start = |what: &str| {
        let begin = Instant::now();
        let broker = Child::start(&data, &[], Under::Nothing);
        broker.assert_alive();
        println!("start, {what}: {:?}, {} MiB resident", begin.elapsed(), mib(broker.memory()));
        broker
    };
    let broker = start("empty");
    let mut client = broker.connect();
    let begin = Instant::now();
    let topic = client.create_topic("many", partitions, &[]);
    println!("{partitions} partitions created: {:?}", begin.elapsed());
    println!("one record into each: {:?}", write_everywhere(&mut client, &topic, partitions));
    println!("resident: {} MiB", mib(broker.memory()));
    let begin = Instant::now();
    broker.stop();
    println!("stopped in order: {:?}", begin.elapsed());
    let broker = start("after a stop in order");
    broker.kill();
    let broker = start("after kill -9, nothing written");
    let mut client = broker.connect();
    println!("one record into each: {:?}", write_everywhere(&mut client, &topic, partitions));
    broker.kill();
    let broker = start("after kill -9, a record in each");
    let mut client = broker.connect();
    let last = partitions - 1;
    assert_eq!(client.read_values(&topic, last), ["x", "x"]);
    println!("resident: {} MiB", mib(broker.memory()));
}
