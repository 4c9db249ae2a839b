//! kill -9 at random instants under load: what was acknowledged is there, once, at its offset; nothing else is but what was
//! on its way; and a compacted log reads as its last values.
//!
//! The seed is printed; `MILLSTREAM_TEST_SEED` sets it, `MILLSTREAM_TEST_ROUNDS` how many times the broker is killed.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use millstream_base::ErrorCode;
use millstream_wire::messages::produce::ProduceRequest;

use crate::support::batch::{self, headers, timed};
use crate::support::child::{Child, Under};
use crate::support::client::{
    Client, PRODUCE, Sent, Topic, bytes, code, decode, fetch, only, produce, request_bytes,
};
use crate::support::{eventually, now_ms, seed};

const PARTITIONS: i32 = 3;
const KEYS: u64 = 7;

/// A repeatable sequence of numbers (xorshift).
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// What a writer knows of one partition.
#[derive(Default)]
struct Known {
    /// Acknowledged: first offset, and the values from there.
    acknowledged: Vec<(i64, Vec<String>)>,
    /// Written without an answer: may be there or not.
    unanswered: Vec<Vec<String>>,
    /// Which value every offset had in every epoch in which it was ever read.
    seen: BTreeMap<(i64, i32), String>,
    /// Of every key the last acknowledged number, and the last that was tried.
    last: BTreeMap<String, (u64, u64)>,
    next: u64,
}

fn settings(rng: &mut Rng) -> Vec<(&'static str, &'static str)> {
    let mut settings = vec![
        ("log.cleaner.backoff.ms", "10"),
        ("log.retention.check.interval.ms", "50"),
        ("log.flush.offset.checkpoint.interval.ms", "40"),
        ("log.flush.start.offset.checkpoint.interval.ms", "40"),
    ];
    if rng.below(2) == 0 {
        settings.push(("log.flush.interval.messages", "1"));
    }
    settings
}

/// Writes until the broker is gone.
fn write(mut client: Client, topics: &[Topic; 2], known: &mut [Known], rng: &mut Rng) {
    loop {
        let at = usize::try_from(rng.below(PARTITIONS as u64 + 1)).unwrap();
        let state = &mut known[at];
        let count = 1 + rng.below(20);
        let number = |n: u64| state.next + n;
        let records: Vec<(String, String)> =
            (0..count).map(|n| (format!("k{}", number(n) % KEYS), number(n).to_string())).collect();
        state.next += count;
        for (key, value) in &records {
            state.last.entry(key.clone()).or_default().1 = value.parse().unwrap();
        }
        let listed: Vec<_> =
            records.iter().map(|(k, v)| (Some(k.as_str()), v.as_str(), now_ms())).collect();
        let values: Vec<String> = records.iter().map(|(_, value)| value.clone()).collect();
        let (topic, partition) = match at as i32 {
            PARTITIONS => (&topics[1], 0),
            partition => (&topics[0], partition),
        };
        let request = produce(topic, partition, -1, timed(Default::default(), &listed));
        match attempt(&mut client, &request) {
            Ok((ErrorCode::None, offset)) => {
                state.acknowledged.push((offset, values));
                for (key, value) in &records {
                    state.last.entry(key.clone()).or_default().0 = value.parse().unwrap();
                }
            }
            Ok((refused, _)) => panic!("refused with {refused:?}"),
            Err(_) => {
                state.unanswered.push(values);
                return;
            }
        }
    }
}

fn attempt(client: &mut Client, request: &ProduceRequest) -> io::Result<(ErrorCode, i64)> {
    const CORRELATION: i32 = 77_777;
    client.send_frame(&request_bytes(PRODUCE, CORRELATION, request)[4..]);
    let sent = Sent { correlation_id: CORRELATION, version: PRODUCE };
    let mut answer = decode::<ProduceRequest>(client.receive_frame()?, sent);
    let partition = answer.responses.remove(0).partition_responses.remove(0);
    Ok((code(partition.error_code), partition.base_offset))
}

/// Reads all of a partition: offset, epoch, value.
fn read(client: &mut Client, topic: &Topic, partition: i32) -> Vec<(i64, i32, String, String)> {
    let mut found = Vec::new();
    let mut from = 0;
    loop {
        let data = only(client.call(17, &fetch(topic, &[(partition, from)])));
        assert_eq!(code(data.error_code), ErrorCode::None);
        let stored = bytes(&data);
        let epochs: Vec<_> = headers(stored)
            .iter()
            .map(|h| (h.base_offset.get(), h.last_offset().get(), h.partition_leader_epoch.get()))
            .collect();
        let Some((_, last, _)) = epochs.last() else { return found };
        for record in batch::records(stored, from) {
            let within =
                |(first, last, _): &&(i64, i64, i32)| (*first..=*last).contains(&record.offset);
            let epoch = epochs.iter().find(within).unwrap().2;
            let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap()).unwrap();
            found.push((record.offset, epoch, text(record.key), text(record.value)));
        }
        from = last + 1;
    }
}

fn check(client: &mut Client, topics: &[Topic; 2], known: &mut [Known]) {
    for partition in 0..PARTITIONS {
        let state = &mut known[usize::try_from(partition).unwrap()];
        let found = read(client, &topics[0], partition);
        for (at, (offset, epoch, _, value)) in (0..).zip(&found) {
            assert_eq!(*offset, at, "offsets are dense");
            let before = state.seen.insert((*offset, *epoch), value.clone());
            assert!(
                before.is_none_or(|before| before == *value),
                "offset {offset} in epoch {epoch}"
            );
        }
        let value_at = |offset: i64| found.get(usize::try_from(offset).unwrap()).map(|r| &r.3);
        let mut answered = 0;
        for (first, values) in &state.acknowledged {
            for (offset, value) in (*first..).zip(values) {
                assert_eq!(value_at(offset), Some(value), "{partition} at {offset}");
            }
            answered += values.len();
        }
        // What is there beyond that was on its way, whole.
        let there: usize = state
            .unanswered
            .iter()
            .filter(|values| found.iter().any(|record| record.3 == values[0]))
            .map(Vec::len)
            .sum();
        assert_eq!(found.len(), answered + there, "{partition}");
    }
    let state = &known[PARTITIONS as usize];
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    let mut end = -1;
    for (offset, _, key, value) in read(client, &topics[1], 0) {
        assert!(offset > end);
        end = offset;
        last.insert(key, value.parse().unwrap());
    }
    for (key, (acknowledged, tried)) in &state.last {
        let found = last.get(key).copied().unwrap_or_default();
        assert!(
            (*acknowledged..=*tried).contains(&found),
            "{key}: {found}, {acknowledged}..={tried}"
        );
    }
}

fn round(
    data: &Path,
    rng: &mut Rng,
    topics: Option<&[Topic; 2]>,
    known: &mut [Known],
) -> [Topic; 2] {
    let broker = Child::start(data, &settings(rng), Under::Nothing);
    let mut client = broker.connect();
    let topics = match topics {
        Some(topics) => topics.clone(),
        None => [
            client.create_topic("plain", PARTITIONS, &[("internal.segment.bytes", "3000")]),
            client.create_topic(
                "compacted",
                1,
                &[
                    ("cleanup.policy", "compact"),
                    ("internal.segment.bytes", "2000"),
                    ("min.cleanable.dirty.ratio", "0.01"),
                    ("file.delete.delay.ms", "20"),
                ],
            ),
        ],
    };
    eventually("it serves", || {
        let data = only(client.call(17, &fetch(&topics[0], &[(0, 0)])));
        (code(data.error_code) == ErrorCode::None).then_some(())
    });
    check(&mut client, &topics, known);
    let until = Duration::from_millis(20 + rng.below(300));
    let mut writer_rng = Rng(rng.below(u64::MAX - 1) + 1);
    std::thread::scope(|scope| {
        // It ends at the first answer that does not come.
        let writer = scope.spawn(|| write(client, &topics, known, &mut writer_rng));
        std::thread::sleep(until);
        broker.kill();
        writer.join().unwrap();
    });
    topics
}

#[test]
fn what_was_acknowledged_survives_kills_under_load() {
    let mut rng = Rng(seed("storage_crash") | 1);
    let rounds = std::env::var("MILLSTREAM_TEST_ROUNDS").ok().and_then(|t| t.parse().ok());
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut known: Vec<Known> = (0..=PARTITIONS).map(|_| Known::default()).collect();
    let mut topics = None;
    for _ in 0..rounds.unwrap_or(5) {
        topics = Some(round(&data, &mut rng, topics.as_ref(), &mut known));
    }
    let broker = Child::start(&data, &[], Under::Nothing);
    let mut client = broker.connect();
    check(&mut client, &topics.unwrap(), &mut known);
    let written: usize = known.iter().flat_map(|k| &k.acknowledged).map(|(_, v)| v.len()).sum();
    println!("{written} records acknowledged, all there");
}
