//! Disks that are full, read-only, somebody else's: nothing that was not stored is acknowledged, and whoever can act is told.

use std::path::Path;

use millstream_base::ErrorCode;
use millstream_wire::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use millstream_wire::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use millstream_wire::messages::find_coordinator::FindCoordinatorRequest;
use millstream_wire::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_wire::messages::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic};

use crate::support::batch::{self, batch, big};
use crate::support::broker::Stopped;
use crate::support::child::{self, Child, Under};
use crate::support::client::{Client, Topic, code};
use crate::support::eventually;

/// Produces batches of `size` bytes until the partition refuses one. Gives how many were acknowledged.
fn fill(client: &mut Client, topic: &Topic, partition: i32, size: usize, at_most: i64) -> i64 {
    for number in 0..at_most {
        let answer = client.try_produce(topic, partition, -1, big(size));
        match code(answer.error_code) {
            ErrorCode::None => assert_eq!(answer.base_offset, number),
            refused => {
                assert_eq!(refused, ErrorCode::KafkaStorageError);
                assert_eq!(answer.base_offset, -1);
                return number;
            }
        }
    }
    panic!("the disk took {at_most} batches of {size} bytes");
}

/// `count` records of `size` bytes at the start of the partition, each whole.
fn assert_holds(client: &mut Client, topic: &Topic, partition: i32, count: i64, size: usize) {
    let read = client.read_all(topic, partition, 0);
    assert!(read.len() as i64 >= count, "{} of {count} acknowledged records", read.len());
    for (record, offset) in read.iter().zip(0..count) {
        assert_eq!(record.offset, offset);
        assert_eq!(record.value.as_ref().map(Vec::len), Some(size));
    }
}

#[test]
fn a_file_that_cannot_grow_is_a_storage_error_for_its_partition_alone() {
    const SIZE: usize = 100_000;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    // Files end at 1 MiB, segments later: a write fails in the middle of a batch.
    let broker = Child::start(&data, &[], Under::FileLimit(2048));
    let topic = broker.topic("tight", 2, &[]);
    let mut client = broker.connect();
    client.produce(&topic, 1, batch(&["before"]));
    let kept = fill(&mut client, &topic, 0, SIZE, 20);
    assert!(kept >= 9, "{kept}");
    // It is said where an operator looks.
    eventually("the failure is logged", || broker.said().contains("tight-0").then_some(()));
    broker.assert_alive();
    // Again and again: never acknowledged.
    for _ in 0..3 {
        let answer = client.try_produce(&topic, 0, 1, big(SIZE));
        assert_eq!(code(answer.error_code), ErrorCode::KafkaStorageError);
    }
    // The other partition is served, to readers and writers.
    client.produce(&topic, 1, batch(&["after"]));
    assert_eq!(client.read_values(&topic, 1), ["before", "after"]);
    // What was acknowledged is there, and what fits still goes in.
    assert_holds(&mut client, &topic, 0, kept, SIZE);
    assert_eq!(client.produce(&topic, 0, batch(&["small"])), kept);
    broker.kill();

    // With room, the log goes on where the acknowledged records end.
    let broker = Child::start(&data, &[], Under::Nothing);
    let mut client = broker.connect();
    assert_holds(&mut client, &topic, 0, kept, SIZE);
    assert_eq!(client.produce(&topic, 0, big(SIZE)), kept + 1);
    assert_eq!(client.read_values(&topic, 1), ["before", "after"]);
}

#[test]
fn a_full_disk_loses_nothing_and_serves_again_when_there_is_room() {
    if !child::can_mount() {
        println!(
            "this machine does not let a test mount a file system: left to the test of a file limit"
        );
        return;
    }
    const SIZE: usize = 200_000;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings = [("log.segment.bytes", "1048576"), ("log.segment.delete.delay.ms", "0")];
    let broker = Child::start(&data, &settings, Under::SmallDisk(&data, 6 * 1024));
    let precious = broker.topic("precious", 1, &[]);
    let bulk = broker.topic("bulk", 1, &[]);
    let mut client = broker.connect();
    for number in 0..10 {
        client.produce(&precious, 0, batch(&[&number.to_string()]));
    }
    let kept = fill(&mut client, &bulk, 0, SIZE, 100);
    assert!(kept >= 10, "{kept}");
    // Now nothing has room any more, not even a page.
    let mut more = 0;
    while code(client.try_produce(&bulk, 0, 1, big(2000)).error_code) == ErrorCode::None {
        more += 1;
    }
    broker.assert_alive();
    assert_holds(&mut client, &bulk, 0, kept, SIZE);
    // Chores that write go on meanwhile, and take nothing out of service.
    std::thread::sleep(std::time::Duration::from_millis(2300));
    // Metadata cannot be written either, and says so.
    let refused = create(&mut client, "one-too-many");
    assert!(
        matches!(refused, ErrorCode::KafkaStorageError | ErrorCode::None),
        "{refused:?} for a topic on a full disk"
    );
    assert_eq!(client.read_all(&bulk, 0, 0).len() as i64, kept + more);
    let stored = client.read_all(&precious, 0, 0).len();
    assert_eq!(stored, 10);
    // Room is made as an operator would: by deleting a topic.
    let topic = DeleteTopicState { name: Some("bulk".into()), ..Default::default() };
    let request =
        DeleteTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let deleted = eventually("a topic can be deleted on a full disk", || {
        let code = code(client.call(6, &request).responses[0].error_code);
        (code != ErrorCode::KafkaStorageError).then_some(code)
    });
    assert_eq!(deleted, ErrorCode::None);
    eventually("the precious topic can be written again", || {
        let answer = client.try_produce(&precious, 0, -1, batch(&["again"]));
        (code(answer.error_code) == ErrorCode::None).then_some(())
    });
    let values = client.read_values(&precious, 0);
    assert_eq!(values[..10], ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert_eq!(values[10], "again");
    broker.assert_alive();
}

/// Tries to make a topic of one partition.
fn create(client: &mut Client, name: &str) -> ErrorCode {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 5000, validate_only: false };
    code(client.call(7, &request).topics[0].error_code)
}

/// A directory in which a broker has run and stored `values`.
fn used(values: &[&str]) -> (Stopped, Topic) {
    let broker = Stopped::new(&[]).start();
    let topic = broker.topic("used", 1, &[]);
    broker.connect().produce(&topic, 0, batch(values));
    (broker.stop(), topic)
}

fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

#[test]
fn a_read_only_data_directory_is_refused_with_its_path() {
    let (place, topic) = used(&["kept"]);
    let data = place.path();
    let shown = data.to_str().unwrap().to_owned();
    if child::can_mount() {
        let refused = Child::try_start(&data, &[], Under::ReadOnly(&data)).unwrap_err();
        says(&refused, &[&shown, "ead-only"]);
    } else {
        // Only where the rights of files mean something, which they do not to a superuser.
        let mut rights = std::fs::metadata(&data).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o555);
        std::fs::set_permissions(&data, rights.clone()).unwrap();
        let refused = Child::try_start(&data, &[], Under::Nothing).unwrap_err();
        says(&refused, &[&shown, "denied"]);
        std::os::unix::fs::PermissionsExt::set_mode(&mut rights, 0o755);
        std::fs::set_permissions(&data, rights).unwrap();
    }
    // Nothing was changed: with rights it starts, cleanly.
    assert_eq!(place.start().connect().read_values(&topic, 0), ["kept"]);
}

#[test]
fn a_data_directory_that_is_a_file_or_cannot_be_made_is_refused_with_its_path() {
    let place = Stopped::new(&[]);
    std::fs::write(place.path(), b"a file").unwrap();
    let shown = place.path().to_str().unwrap().to_owned();
    let (text, place) = place.refuses_to_start();
    says(&text, &[&shown]);
    assert_eq!(std::fs::read(place.path()).unwrap(), b"a file");
    let below = Path::new("/proc/millstream");
    let refused = Child::try_start_at(below, place.path().parent().unwrap()).unwrap_err();
    says(&refused, &["/proc/millstream"]);
}

#[test]
fn two_brokers_on_one_data_directory_are_one_too_many() {
    let broker = Stopped::new(&[]).start();
    let topic = broker.topic("mine", 1, &[]);
    let mut client = broker.connect();
    client.produce(&topic, 0, batch(&["one"]));
    let data = broker.place().path();
    let refused = Child::try_start(&data, &[], Under::Nothing).unwrap_err();
    says(&refused, &[data.to_str().unwrap(), "another broker"]);
    // The first has noticed nothing.
    client.produce(&topic, 0, batch(&["two"]));
    broker.assert_alive();
    let again = broker.stop().start();
    assert_eq!(again.connect().read_values(&topic, 0), ["one", "two"]);
}

#[test]
fn a_data_directory_of_another_node_is_refused_and_left_alone() {
    let (place, topic) = used(&["kept"]);
    let (text, place) = place.set("node.id", "77").refuses_to_start();
    says(&text, &[place.path().to_str().unwrap(), "77"]);
    assert_eq!(place.set("node.id", "1").start().connect().read_values(&topic, 0), ["kept"]);
}

#[test]
fn data_directories_of_two_clusters_are_refused_and_left_alone() {
    let (first, topic) = used(&["kept"]);
    let (second, _) = used(&["other"]);
    let cluster = |place: &Stopped| {
        let text = std::fs::read_to_string(place.path().join("meta.properties")).unwrap();
        let id = text.lines().find_map(|line| line.strip_prefix("cluster.id=")).unwrap();
        id.to_owned()
    };
    let (mine, other) = (cluster(&first), cluster(&second));
    assert_ne!(mine, other);
    let (text, first) =
        first.set("metadata.log.dir", second.path().to_str().unwrap()).refuses_to_start();
    says(&text, &[&mine, &other, second.path().to_str().unwrap()]);
    let own = first.path().display().to_string();
    assert_eq!(
        first.set("metadata.log.dir", &own).start().connect().read_values(&topic, 0),
        ["kept"]
    );
}

#[test]
fn a_directory_with_other_peoples_files_is_refused_and_left_alone() {
    let place = Stopped::new(&[]);
    std::fs::create_dir(place.path()).unwrap();
    std::fs::write(place.path().join("thesis.txt"), b"years of work").unwrap();
    let (text, place) = place.refuses_to_start();
    says(&text, &[place.path().to_str().unwrap(), "thesis.txt", "meta.properties"]);
    let names: Vec<_> =
        std::fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.contains(&"thesis.txt".into()), "{names:?}");
    assert!(!names.iter().any(|name| name == "meta.properties"), "{names:?}");
}

#[test]
fn a_directory_of_a_newer_format_or_with_a_damaged_identity_is_refused() {
    let (place, topic) = used(&["kept"]);
    let meta = place.path().join("meta.properties");
    let good = std::fs::read_to_string(&meta).unwrap();
    std::fs::write(&meta, good.replace("version=1", "version=2")).unwrap();
    let (text, place) = place.refuses_to_start();
    says(&text, &["meta.properties", "2"]);
    std::fs::write(&meta, "cluster.id\u{0}\u{1}garbage").unwrap();
    let (text, place) = place.refuses_to_start();
    says(&text, &["meta.properties"]);
    std::fs::write(&meta, good).unwrap();
    assert_eq!(place.start().connect().read_values(&topic, 0), ["kept"]);
}

#[test]
fn a_port_in_use_is_refused_before_the_directory_is_touched() {
    let broker = Stopped::new(&[]).start();
    let taken = format!("PLAINTEXT://{}", broker.address());
    let (text, place) = Stopped::new(&[]).set("listeners", &taken).refuses_to_start();
    says(&text, &["cannot listen on", &broker.address().port().to_string()]);
    assert!(!place.path().exists());
    broker.assert_alive();
    assert!(batch::values(&[], 0).is_empty());
}

/// Commits `offset` for group `g`, with metadata of that many bytes.
fn commit(client: &mut Client, topic: &Topic, offset: i64, metadata: usize) -> ErrorCode {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_leader_epoch: -1,
        committed_metadata: Some("m".repeat(metadata).into()),
    };
    let committed = OffsetCommitRequestTopic {
        name: topic.name.as_str().into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![committed],
        ..Default::default()
    };
    code(client.call(8, &request).topics[0].partitions[0].error_code)
}

/// The committed offset, once the coordinator has loaded.
fn committed(client: &mut Client, topic: &Topic) -> i64 {
    let asked =
        OffsetFetchRequestTopic { name: topic.name.as_str().into(), partition_indexes: vec![0] };
    let request = OffsetFetchRequest {
        group_id: "g".into(),
        topics: Some(vec![asked]),
        ..Default::default()
    };
    eventually("a coordinator that has loaded", || {
        let answer = client.call(7, &request);
        let ready = code(answer.error_code) == ErrorCode::None;
        ready.then(|| answer.topics[0].partitions[0].committed_offset)
    })
}

#[test]
fn a_commit_that_finds_no_room_is_refused_and_the_last_one_stands() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let settings = [("offsets.topic.num.partitions", "1")];
    // Sixty commits of four thousand bytes, no more.
    let broker = Child::start(&data, &settings, Under::FileLimit(512));
    let topic = broker.topic("read", 1, &[]);
    let mut client = broker.connect();
    let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
    eventually("a coordinator", || {
        (client.call(4, &find).coordinators[0].error_code == 0).then_some(())
    });
    eventually("a coordinator that has loaded", || {
        (commit(&mut client, &topic, 0, 1) == ErrorCode::None).then_some(())
    });
    let mut last = 0;
    let refused = loop {
        match commit(&mut client, &topic, last + 1, 4000) {
            ErrorCode::None => last += 1,
            refused => break refused,
        }
        assert!(last < 1000, "a thousand commits found room");
    };
    assert!(
        matches!(refused, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable),
        "{refused:?}: clients must try again"
    );
    assert!(last > 30, "{last}");
    assert_eq!(committed(&mut client, &topic), last);
    // The group is served on, and a commit that fits is taken.
    eventually("a small commit", || {
        (commit(&mut client, &topic, last + 1, 1) == ErrorCode::None).then_some(())
    });
    assert_eq!(committed(&mut client, &topic), last + 1);
    broker.assert_alive();
    broker.kill();

    let broker = Child::start(&data, &settings, Under::Nothing);
    let mut client = broker.connect();
    assert_eq!(committed(&mut client, &topic), last + 1);
    assert_eq!(commit(&mut client, &topic, last + 2, 4000), ErrorCode::None);
    assert_eq!(committed(&mut client, &topic), last + 2);
}
