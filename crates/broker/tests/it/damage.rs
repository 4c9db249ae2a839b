//! Bytes on disk that are not what was written: they are never served, everything else is, and somebody is told.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use millstream_base::ErrorCode;
use millstream_env::random::{Random as _, SeededRandom};

use crate::support::batch::{self, batch};
use crate::support::broker::{Stopped, TestBroker};
use crate::support::child::{Child, Under};
use crate::support::client::{FETCH, Topic, bytes, code, fetch, produce};
use crate::support::{logs, seed};

/// The `.log` files of a partition, oldest first.
fn segments(partition: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(partition)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    files
}

/// Turns a byte of a file over.
fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

/// A hundred batches in ten segments of partition 0, and one record in partition 1.
fn many_segments(name: &str) -> (TestBroker, Topic) {
    let broker = Stopped::new(&[]).start();
    let topic = broker.topic(name, 2, &[("segment.bytes", "1048576")]);
    let mut client = broker.connect();
    for _ in 0..100 {
        client.produce(&topic, 0, batch::big(100_000));
    }
    client.produce(&topic, 1, batch(&["elsewhere"]));
    (broker, topic)
}

#[test]
fn a_damaged_batch_in_an_old_segment_is_refused_and_the_rest_is_served() {
    const DAMAGED: i64 = 43;
    let (broker, topic) = many_segments("rotten");
    let stopped = broker.stop();
    let files = segments(&stopped.partition(&topic, 0));
    assert_eq!(files.len(), 10);
    // The fourth batch of the fifth segment.
    flip(&files[4], 350_000);

    let broker = stopped.start();
    let mut client = broker.connect();
    for offset in [0, 1, 30, 40, 42, DAMAGED, 44, 49, 50, 51, 99] {
        let data = client.fetch(&topic, 0, offset);
        match offset {
            DAMAGED => {
                assert_eq!(code(data.error_code), ErrorCode::CorruptMessage);
                assert!(bytes(&data).is_empty(), "damaged bytes were served");
            }
            _ => {
                assert_eq!(code(data.error_code), ErrorCode::None);
                assert_eq!(batch::records(bytes(&data), offset)[0].offset, offset);
            }
        }
    }
    logs::wait_for(&["ERROR", &format!("{}-0", topic.name), "damaged"]);
    // Writers and other partitions do not notice.
    assert_eq!(client.produce(&topic, 0, batch(&["more"])), 100);
    assert_eq!(client.read_values(&topic, 1), ["elsewhere"]);
    // A fetch of both gives the good one.
    let answer = client.call(FETCH, &fetch(&topic, &[(0, DAMAGED), (1, 0)]));
    let parts = &answer.responses[0].partitions;
    assert_eq!(code(parts[0].error_code), ErrorCode::CorruptMessage);
    assert_eq!(batch::values(bytes(&parts[1]), 0), ["elsewhere"]);
    broker.assert_alive();
}

#[test]
fn a_damaged_header_in_the_middle_of_a_segment_stops_its_readers_there() {
    let broker = Stopped::new(&[]).start();
    let topic = broker.topic("header", 1, &[]);
    let mut client = broker.connect();
    let mut positions = Vec::new();
    let mut position = 0;
    for number in 0..100 {
        let batch = batch(&[&format!("{number:04}")]);
        positions.push(position);
        position += batch.len() as u64;
        client.produce(&topic, 0, batch);
    }
    let stopped = broker.stop();
    let file = segments(&stopped.partition(&topic, 0)).remove(0);
    // The length of batch 50: what follows it cannot be found from there.
    flip(&file, positions[50] + 8);
    let broker = stopped.start();
    let mut client = broker.connect();
    let before = client.fetch(&topic, 0, 0);
    assert_eq!(code(before.error_code), ErrorCode::None);
    let read = batch::values(bytes(&before), 0);
    let expected: Vec<_> = (0..50).map(|number| format!("{number:04}")).collect();
    assert_eq!(read, expected);
    let at = client.fetch(&topic, 0, 50);
    assert_eq!(code(at.error_code), ErrorCode::CorruptMessage);
    assert_eq!(client.produce(&topic, 0, batch(&["end"])), 100);
    let end = client.fetch(&topic, 0, 100);
    assert_eq!(batch::values(bytes(&end), 100), ["end"]);
    broker.assert_alive();
}

#[test]
fn a_lost_or_damaged_index_is_built_anew_without_loss() {
    let (broker, topic) = many_segments("indexes");
    let stopped = broker.stop();
    let files = segments(&stopped.partition(&topic, 0));
    fs::remove_file(files[2].with_extension("index")).unwrap();
    fs::remove_file(files[3].with_extension("timeindex")).unwrap();
    fs::write(files[5].with_extension("index"), [0xff; 80]).unwrap();
    fs::write(files[6].with_extension("timeindex"), [0xaa; 13]).unwrap();
    fs::write(files[9].with_extension("index"), b"no index").unwrap();
    let broker = stopped.start();
    let mut client = broker.connect();
    assert_eq!(client.read_all(&topic, 0, 0).len(), 100);
    for offset in (0..100).step_by(7) {
        let data = client.fetch(&topic, 0, offset);
        assert_eq!(batch::records(bytes(&data), offset)[0].offset, offset);
        let timestamp = batch::records(bytes(&data), offset)[0].timestamp;
        let found = client.list_offset(7, &topic, timestamp);
        assert!(found.offset >= 0 && found.offset <= offset, "{found:?}");
        assert_eq!(found.timestamp, timestamp);
    }
}

#[test]
fn a_torn_tail_after_a_kill_is_cut_and_reported_and_nothing_acknowledged_goes() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let broker = Child::start(&data, &[], Under::Nothing);
    let topic = broker.topic("torn", 2, &[]);
    let mut client = broker.connect();
    for number in 0..50 {
        client.produce(&topic, 0, batch(&[&format!("{number:04}")]));
    }
    client.produce(&topic, 1, batch(&["whole"]));
    broker.kill();
    // Half of a batch, as a kill in the middle of a write leaves it.
    let file = segments(&data.join("torn-0")).remove(0);
    let sound = fs::metadata(&file).unwrap().len();
    let half = batch(&["never acknowledged"]);
    let torn = OpenOptions::new().append(true).open(&file).unwrap();
    std::io::Write::write_all(&mut &torn, &half[..half.len() / 2]).unwrap();

    let broker = Child::start(&data, &[], Under::Nothing);
    let said = broker.said();
    let line = said.lines().find(|line| line.contains("torn-0") && line.contains("cut")).unwrap();
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains(&format!("{sound}")), "where it was cut is not in {line}");
    assert!(line.contains(&format!("{}", half.len() / 2)), "how much was cut is not in {line}");
    assert_eq!(fs::metadata(&file).unwrap().len(), sound);
    let mut client = broker.connect();
    let expected: Vec<_> = (0..50).map(|number| format!("{number:04}")).collect();
    assert_eq!(client.read_values(&topic, 0), expected);
    assert_eq!(client.read_values(&topic, 1), ["whole"]);
    assert_eq!(client.produce(&topic, 0, batch(&["next"])), 50);
    broker.assert_alive();
}

/// After a kill what was not synced is checked. Behind a damaged batch nothing can be trusted: the log is cut there, and that is said
/// with what it costs.
#[test]
fn damage_found_after_a_kill_is_cut_off_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let broker = Child::start(&data, &[], Under::Nothing);
    let topic = broker.topic("middle", 2, &[]);
    let mut client = broker.connect();
    let mut starts = vec![0];
    for number in 0..40 {
        let batch = batch(&[&format!("{number:04}")]);
        starts.push(starts[number] + batch.len() as u64);
        client.produce(&topic, 0, batch);
    }
    client.produce(&topic, 1, batch(&["whole"]));
    broker.kill();
    let file = segments(&data.join("middle-0")).remove(0);
    // The last byte of batch 25, which is in its value.
    flip(&file, starts[26] - 2);

    let broker = Child::start(&data, &[], Under::Nothing);
    let said = broker.said();
    let line = said.lines().find(|line| line.contains("middle-0") && line.contains("cut")).unwrap();
    for part in ["WARN", &starts[25].to_string(), &(starts[40] - starts[25]).to_string(), "CRC"] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    let mut client = broker.connect();
    let expected: Vec<_> = (0..25).map(|number| format!("{number:04}")).collect();
    assert_eq!(client.read_values(&topic, 0), expected);
    assert_eq!(client.read_values(&topic, 1), ["whole"]);
    assert_eq!(client.produce(&topic, 0, batch(&["next"])), 25);
    broker.assert_alive();
}

/// kill -9 while producing, several times: all that was acknowledged is there, in order, once.
#[test]
fn kills_while_producing_lose_nothing_acknowledged() {
    const ROUNDS: usize = 4;
    let random = SeededRandom::new(seed("kills"));
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut topic = None;
    let mut producer = None;
    // What was acknowledged, and what may have been stored without its answer arriving.
    let mut acknowledged: Vec<(i64, String)> = Vec::new();
    let mut sequence = 0;
    for round in 0..ROUNDS {
        let broker = Child::start(&data, &[], Under::Nothing);
        let topic = topic.get_or_insert_with(|| broker.topic("killed", 1, &[]));
        let mut client = broker.connect();
        let (id, epoch) = *producer.get_or_insert_with(|| client.init_producer());
        // First everything of the round before.
        let read = client.read_all(topic, 0, 0);
        for (offset, value) in &acknowledged {
            let record = &read[usize::try_from(*offset).unwrap()];
            assert_eq!(record.value.as_deref(), Some(value.as_bytes()), "round {round}");
        }
        // The producer goes on with its sequence, beginning with what it knows no answer to.
        let stored = i32::try_from(read.len()).unwrap();
        assert!(stored - sequence <= 6, "{stored} stored, {sequence} acknowledged");
        let count = 20 + random.next_u64() % 100;
        for _ in 0..count {
            let value = format!("value {sequence}");
            let batch = batch::batch_of(batch::by_producer(id, epoch, sequence), &[&value]);
            let offset = client.produce(topic, 0, batch);
            assert_eq!(offset, i64::from(sequence), "a record was lost or stored twice");
            acknowledged.push((offset, value));
            sequence += 1;
        }
        // Some more are on their way when the broker is killed.
        for ahead in 0..(random.next_u64() % 5) as i32 {
            let value = format!("value {}", sequence + ahead);
            let options = batch::by_producer(id, epoch, sequence + ahead);
            let _sent =
                client.send(13, &produce(topic, 0, -1, batch::batch_of(options, &[&value])));
        }
        broker.kill();
    }
    let broker = Child::start(&data, &[], Under::Nothing);
    let read = broker.connect().read_values(topic.as_ref().unwrap(), 0);
    for (number, value) in read.iter().enumerate() {
        assert_eq!(*value, format!("value {number}"));
    }
    assert!(read.len() >= acknowledged.len());
}

#[test]
fn directories_of_other_topics_are_never_served_as_this_one() {
    let broker = Stopped::new(&[]).start();
    let topic = broker.topic("strange", 3, &[]);
    let mut client = broker.connect();
    for partition in 0..3 {
        client.produce(&topic, partition, batch(&["kept"]));
    }
    let stopped = broker.stop();
    // Another topic's id in the way of partition 1.
    let metadata = stopped.partition(&topic, 1).join("partition.metadata");
    let text = fs::read_to_string(&metadata).unwrap();
    let other = millstream_base::Uuid::from_random([7; 16]).to_string();
    let (start, _) = text.split_once("topic_id: ").unwrap();
    fs::write(&metadata, format!("{start}topic_id: {other}\n")).unwrap();
    fs::create_dir(stopped.path().join("no-partition-at-all")).unwrap();
    fs::create_dir(stopped.path().join("stray-0")).unwrap();
    let broker = stopped.start();
    let mut client = broker.connect();
    assert_eq!(client.read_values(&topic, 0), ["kept"]);
    assert_eq!(client.read_values(&topic, 2), ["kept"]);
    // What another topic has stored is not handed out, and not lost either: it is set aside.
    assert_eq!(client.read_values(&topic, 1), [""; 0]);
    logs::wait_for(&["WARN", "strange-1", "aside"]);
    logs::wait_for(&["WARN", "stray-0", "belongs to no topic"]);
    assert_eq!(client.produce(&topic, 1, batch(&["new"])), 0);
    let names = fs::read_dir(broker.place().path()).unwrap().map(|entry| entry.unwrap());
    let aside = names.map(|entry| entry.path()).find(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("strange-1.") && name.ends_with("-stray")
    });
    let kept = fs::read(segments(&aside.unwrap()).remove(0)).unwrap();
    assert_eq!(batch::values(&kept, 0), ["kept"]);
    // And so it stays.
    let again = broker.stop().start();
    assert_eq!(again.connect().read_values(&topic, 1), ["new"]);
    again.assert_alive();
}
