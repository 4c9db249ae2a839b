//! Producers with ids: what they send twice is stored once, what they leave out is noticed, and a restart forgets neither.

use millstream_base::ErrorCode;
use millstream_env::random::{Random as _, SeededRandom};
use millstream_wire::messages::produce::PartitionProduceResponse;

use crate::support::batch::{batch_of, by_producer};
use crate::support::broker::{Stopped, TestBroker};
use crate::support::client::{Client, Topic, code};
use crate::support::seed;

/// A producer that says its sequence each time.
struct Producer {
    client: Client,
    topic: Topic,
    id: i64,
    epoch: i16,
}

impl Producer {
    fn new(broker: &TestBroker, topic: &Topic) -> Self {
        let mut client = broker.connect();
        let (id, epoch) = client.init_producer();
        Self { client, topic: topic.clone(), id, epoch }
    }

    /// The same producer at a broker that was started again.
    fn at(self, broker: &TestBroker) -> Self {
        Self { client: broker.connect(), ..self }
    }

    fn answer(&mut self, epoch: i16, sequence: i32, values: &[&str]) -> PartitionProduceResponse {
        let batch = batch_of(by_producer(self.id, epoch, sequence), values);
        self.client.try_produce(&self.topic, 0, -1, batch)
    }

    /// The first offset, or why not.
    fn send(&mut self, sequence: i32, values: &[&str]) -> Result<i64, ErrorCode> {
        let answer = self.answer(self.epoch, sequence, values);
        match code(answer.error_code) {
            ErrorCode::None => Ok(answer.base_offset),
            refused => Err(refused),
        }
    }
}

const GAP: Result<i64, ErrorCode> = Err(ErrorCode::OutOfOrderSequenceNumber);

/// What holds of a producer that has sent 0..8 in four batches of two, before and after any restart.
fn assert_remembered(producer: &mut Producer, stored: &mut Vec<String>) {
    // Each of the last batches again: its first offset, and nothing new.
    for (sequence, offset) in [(0, 0), (2, 2), (6, 6), (4, 4)] {
        assert_eq!(producer.send(sequence, &["again", "again"]), Ok(offset));
    }
    // A part of one of them, a gap, and what lies long back.
    assert_eq!(producer.send(6, &["half"]), GAP);
    assert_eq!(producer.send(9, &["early"]), GAP);
    assert_eq!(producer.send(20, &["far too early"]), GAP);
    assert_eq!(&producer.client.read_values(&producer.topic, 0), stored);
}

fn start_with_four_batches(broker: &TestBroker, name: &str) -> (Producer, Vec<String>) {
    let topic = broker.topic(name, 1, &[]);
    let mut producer = Producer::new(broker, &topic);
    let mut stored = Vec::new();
    for sequence in (0..8).step_by(2) {
        let values = [format!("{sequence}"), format!("{}", sequence + 1)];
        let sent = producer.send(sequence, &[&values[0], &values[1]]);
        assert_eq!(sent, Ok(i64::from(sequence)));
        stored.extend(values);
    }
    (producer, stored)
}

fn restarted_by(end: fn(TestBroker) -> Stopped, name: &str) {
    let broker = TestBroker::start();
    let (mut producer, mut stored) = start_with_four_batches(&broker, name);
    assert_remembered(&mut producer, &mut stored);
    let broker = end(broker).start();
    let mut producer = producer.at(&broker);
    assert_remembered(&mut producer, &mut stored);
    assert_eq!(producer.send(8, &["8"]), Ok(8));
    stored.push("8".into());
    let broker = end(broker).start();
    let mut producer = producer.at(&broker);
    assert_eq!(producer.send(8, &["8 again"]), Ok(8));
    assert_eq!(producer.send(9, &["9"]), Ok(9));
    stored.push("9".into());
    assert_eq!(producer.client.read_values(&producer.topic, 0), stored);
}

#[test]
fn duplicates_and_gaps_are_told_after_a_stop() {
    restarted_by(TestBroker::stop, "stopped");
}

#[test]
fn duplicates_and_gaps_are_told_after_a_crash() {
    restarted_by(TestBroker::crash, "crashed");
}

#[test]
fn only_the_last_five_batches_are_known_again() {
    let broker = TestBroker::start();
    let topic = broker.topic("five", 1, &[]);
    let mut producer = Producer::new(&broker, &topic);
    for sequence in 0..7 {
        assert_eq!(producer.send(sequence, &["x"]), Ok(i64::from(sequence)));
    }
    for sequence in 2..7 {
        assert_eq!(producer.send(sequence, &["x"]), Ok(i64::from(sequence)));
    }
    for sequence in 0..2 {
        let answer = producer.answer(producer.epoch, sequence, &["x"]);
        let refused = code(answer.error_code);
        assert!(
            matches!(
                refused,
                ErrorCode::OutOfOrderSequenceNumber | ErrorCode::DuplicateSequenceNumber
            ),
            "{refused:?}"
        );
    }
    assert_eq!(producer.client.read_values(&topic, 0).len(), 7);
}

#[test]
fn an_older_epoch_is_fenced_and_a_newer_one_begins_at_zero() {
    let broker = TestBroker::start();
    let topic = broker.topic("epochs", 1, &[]);
    let mut producer = Producer::new(&broker, &topic);
    let send = |producer: &mut Producer, epoch, sequence| {
        code(producer.answer(epoch, sequence, &["x"]).error_code)
    };
    assert_eq!(send(&mut producer, 3, 0), ErrorCode::None);
    assert_eq!(send(&mut producer, 2, 1), ErrorCode::InvalidProducerEpoch);
    assert_eq!(send(&mut producer, 4, 1), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(send(&mut producer, 4, 0), ErrorCode::None);
    assert_eq!(send(&mut producer, 3, 1), ErrorCode::InvalidProducerEpoch);
    let broker = broker.crash().start();
    let mut producer = producer.at(&broker);
    assert_eq!(send(&mut producer, 3, 1), ErrorCode::InvalidProducerEpoch);
    assert_eq!(send(&mut producer, 4, 1), ErrorCode::None);
    assert_eq!(producer.client.read_values(&topic, 0).len(), 3);
}

#[test]
fn sequences_go_round_at_their_largest_number() {
    let broker = TestBroker::start();
    let topic = broker.topic("round", 1, &[]);
    let mut producer = Producer::new(&broker, &topic);
    // A producer whose state has expired may begin anywhere.
    assert_eq!(producer.send(i32::MAX - 1, &["a", "b"]), Ok(0));
    assert_eq!(producer.send(0, &["c"]), Ok(2));
    assert_eq!(producer.send(1, &["d"]), Ok(3));
    assert_eq!(producer.send(i32::MAX - 1, &["a", "b"]), Ok(0));
    let broker = broker.crash().start();
    let mut producer = producer.at(&broker);
    assert_eq!(producer.send(i32::MAX - 1, &["a", "b"]), Ok(0));
    assert_eq!(producer.send(0, &["c"]), Ok(2));
    assert_eq!(producer.send(2, &["e"]), Ok(4));
    assert_eq!(producer.client.read_values(&topic, 0), ["a", "b", "c", "d", "e"]);
}

#[test]
fn producers_are_told_apart_and_partitions_too() {
    let broker = TestBroker::start();
    let topic = broker.topic("apart", 2, &[]);
    let mut client = broker.connect();
    let ids: Vec<_> = (0..5).map(|_| client.init_producer()).collect();
    for (number, (id, epoch)) in ids.iter().enumerate() {
        assert!(!ids[..number].iter().any(|(other, _)| other == id), "an id was given twice");
        for partition in 0..2 {
            for sequence in 0..3 {
                let batch = batch_of(by_producer(*id, *epoch, sequence), &["x"]);
                client.produce(&topic, partition, batch);
            }
        }
    }
    for partition in 0..2 {
        assert_eq!(client.read_values(&topic, partition).len(), 15);
    }
}

/// A producer with several batches in flight whose answers are lost now and then, and which sends them again.
#[test]
fn lost_answers_never_lead_to_lost_or_repeated_records() {
    const RECORDS: i32 = 300;
    let random = SeededRandom::new(seed("lost_answers"));
    let broker = TestBroker::start();
    let topic = broker.topic("lossy", 1, &[]);
    let mut client = broker.connect();
    let (id, epoch) = client.init_producer();
    let mut next = 0;
    while next < RECORDS {
        // Up to five in flight; the connection breaks before some answer, or none.
        let in_flight = (1 + random.next_u64() % 5) as i32;
        let mut sent = Vec::new();
        for sequence in next..RECORDS.min(next + in_flight) {
            let value = sequence.to_string();
            let batch = batch_of(by_producer(id, epoch, sequence), &[&value]);
            let request = crate::support::client::produce(&topic, 0, -1, batch);
            sent.push(client.send(13, &request));
        }
        let heard = random.next_u64() as usize % (sent.len() + 1);
        for answer in sent.drain(..heard) {
            let answer =
                client.receive::<millstream_wire::messages::produce::ProduceRequest>(answer);
            let part = &answer.responses[0].partition_responses[0];
            assert_eq!(code(part.error_code), ErrorCode::None);
            assert_eq!(part.base_offset, i64::from(next));
            next += 1;
        }
        if !sent.is_empty() {
            client = broker.connect();
        }
    }
    let expected: Vec<_> = (0..RECORDS).map(|sequence| sequence.to_string()).collect();
    assert_eq!(client.read_values(&topic, 0), expected);
}
