//! Log directories and restarts: what was acknowledged is there again, offsets and epochs never name two records, and a
//! directory that fails leaves the others alone.

use std::path::{Path, PathBuf};

use millstream_base::ErrorCode;
use millstream_wire::messages::delete_topics::DeleteTopicsRequest;
use millstream_wire::messages::describe_log_dirs::{DescribeLogDirsRequest, DescribeLogDirsResult};
use millstream_wire::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponsePartition,
};

use crate::support::batch::{batch, headers};
use crate::support::broker::Stopped;
use crate::support::client::{Client, Topic, bytes, code, fetch, only};
use crate::support::{batch, eventually};

/// The partitions of a topic as metadata has them, by number.
fn described(client: &mut Client, topic: &Topic) -> Vec<MetadataResponsePartition> {
    let named =
        MetadataRequestTopic { name: Some(topic.name.as_str().into()), ..Default::default() };
    let request = MetadataRequest { topics: Some(vec![named]), ..Default::default() };
    let mut partitions = client.call(12, &request).topics.remove(0).partitions;
    partitions.sort_by_key(|partition| partition.partition_index);
    partitions
}

fn log_dirs(client: &mut Client) -> Vec<DescribeLogDirsResult> {
    client.call(4, &DescribeLogDirsRequest { topics: None }).results
}

/// Two directories and a broker's settings for them.
fn two_dirs() -> (tempfile::TempDir, [PathBuf; 2], Stopped) {
    let root = tempfile::tempdir().unwrap();
    let dirs = ["a", "b"].map(|name| root.path().join(name));
    let named = format!("{},{}", dirs[0].display(), dirs[1].display());
    let place = Stopped::new(&[("log.dirs", &named)]);
    (root, dirs, place)
}

fn holds(dir: &Path, topic: &Topic, partition: i32) -> bool {
    dir.join(format!("{}-{partition}", topic.name)).is_dir()
}

#[test]
fn after_an_unclean_stop_no_offset_has_two_contents_in_one_epoch() {
    let broker = Stopped::new(&[]).start();
    let topic = broker.topic("torn", 1, &[]);
    let mut client = broker.connect();
    client.produce(&topic, 0, batch(&["a", "b"]));
    client.produce(&topic, 0, batch(&["lost"]));
    let before = described(&mut client, &topic)[0].leader_epoch;
    let place = broker.crash();
    // The power went before the last batch was on disk.
    let file = place.partition(&topic, 0).join("00000000000000000000.log");
    let size = std::fs::metadata(&file).unwrap().len();
    let cut = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    cut.set_len(size - 1).unwrap();
    let broker = place.start();
    let mut client = broker.connect();
    let after = described(&mut client, &topic)[0].leader_epoch;
    assert_eq!(after, before + 1);
    assert_eq!(client.produce(&topic, 0, batch(&["other"])), 2);
    let fetched = only(client.call(17, &fetch(&topic, &[(0, 0)])));
    let found: Vec<_> = headers(bytes(&fetched))
        .iter()
        .map(|h| (h.base_offset.get(), h.partition_leader_epoch.get()))
        .collect();
    assert_eq!(found, [(0, before), (2, after)]);
    assert_eq!(batch::values(bytes(&fetched), 0), ["a", "b", "other"]);
    // A stop in order leaves the epoch alone: nothing was lost.
    let broker = broker.stop().start();
    let mut client = broker.connect();
    assert_eq!(described(&mut client, &topic)[0].leader_epoch, after);
    assert_eq!(client.read_values(&topic, 0), ["a", "b", "other"]);
}

#[test]
fn partitions_spread_over_directories_and_are_found_where_they_are() {
    let (_root, dirs, place) = two_dirs();
    let broker = place.start();
    let topic = broker.topic("spread", 6, &[]);
    let mut client = broker.connect();
    for partition in 0..6 {
        client.produce(&topic, partition, batch(&[&format!("p{partition}")]));
    }
    let held = dirs.each_ref().map(|dir| (0..6).filter(|p| holds(dir, &topic, *p)).count());
    assert_eq!(held, [3, 3]);
    let shown = log_dirs(&mut client);
    assert_eq!(shown.len(), 2);
    for dir in &shown {
        assert_eq!(code(dir.error_code), ErrorCode::None);
        assert_eq!(dir.topics[0].partitions.len(), 3);
    }
    let first: Vec<_> = (0..6).map(|p| holds(&dirs[0], &topic, p)).collect();
    let broker = broker.stop().start();
    let mut client = broker.connect();
    for partition in 0..6 {
        assert_eq!(client.read_values(&topic, partition), [format!("p{partition}")]);
    }
    assert_eq!((0..6).map(|p| holds(&dirs[0], &topic, p)).collect::<Vec<_>>(), first);
    // Two more go where fewer are, also after a restart.
    broker.topic("two", 2, &[]);
    let shown = log_dirs(&mut broker.connect());
    let counts: Vec<_> =
        shown.iter().map(|d| d.topics.iter().map(|t| t.partitions.len()).sum::<usize>()).collect();
    assert_eq!(counts, [4, 4]);
}

#[test]
fn a_directory_that_goes_takes_its_partitions_alone() {
    let (root, dirs, place) = two_dirs();
    let broker = place.start();
    let topic = broker.topic("half", 4, &[]);
    let mut client = broker.connect();
    for partition in 0..4 {
        client.produce(&topic, partition, batch(&["kept"]));
    }
    let lost: Vec<i32> = (0..4).filter(|p| holds(&dirs[1], &topic, *p)).collect();
    assert_eq!(lost.len(), 2);
    let away = root.path().join("away");
    std::fs::rename(&dirs[1], &away).unwrap();
    eventually("the directory is out of service", || {
        let shown = log_dirs(&mut client);
        let gone = shown.iter().find(|dir| dir.log_dir.ends_with("/b")).unwrap();
        let fetched = only(client.call(17, &fetch(&topic, &[(lost[0], 0)])));
        let codes = [gone.error_code, fetched.error_code].map(code);
        (codes == [ErrorCode::KafkaStorageError; 2]).then_some(())
    });
    for partition in 0..4 {
        let answer = client.try_produce(&topic, partition, -1, batch(&["more"]));
        let expected = match lost.contains(&partition) {
            true => ErrorCode::KafkaStorageError,
            false => ErrorCode::None,
        };
        assert_eq!(code(answer.error_code), expected, "{partition}");
        let fetched = only(client.call(17, &fetch(&topic, &[(partition, 0)])));
        assert_eq!(code(fetched.error_code), expected, "{partition}");
    }
    eventually("the cluster knows", || {
        let shown = described(&mut client, &topic);
        let offline =
            shown.iter().filter(|p| p.offline_replicas == p.replica_nodes && p.leader_id == -1);
        (offline.map(|p| p.partition_index).collect::<Vec<_>>() == lost).then_some(())
    });
    // A start without it: named, and nothing is made anew in its place.
    let place = broker.stop();
    std::fs::write(&dirs[1], "a file where the directory should be").unwrap();
    let broker = place.start();
    let mut client = broker.connect();
    for partition in 0..4 {
        let answer = client.try_produce(&topic, partition, -1, batch(&["again"]));
        assert_eq!(code(answer.error_code).is_error(), lost.contains(&partition), "{partition}");
        assert!(!lost.contains(&partition) || !holds(&dirs[0], &topic, partition));
    }
    let fresh = broker.topic("fresh", 2, &[]);
    client.produce(&fresh, 1, batch(&["x"]));
    // It is back: so is everything in it.
    let place = broker.stop();
    std::fs::remove_file(&dirs[1]).unwrap();
    std::fs::rename(&away, &dirs[1]).unwrap();
    let broker = place.start();
    let mut client = broker.connect();
    for partition in 0..4 {
        let expected: &[&str] = match lost.contains(&partition) {
            true => &["kept"],
            false => &["kept", "more", "again"],
        };
        assert_eq!(client.read_values(&topic, partition), expected, "{partition}");
        client.produce(&topic, partition, batch(&["on"]));
    }
}

#[test]
fn what_belongs_to_no_topic_is_not_touched() {
    let broker = Stopped::new(&[]).start();
    broker.topic("known", 1, &[]);
    let place = broker.stop();
    let foreign = place.path().join("holiday-1");
    std::fs::create_dir(&foreign).unwrap();
    for name in ["00000000000000000007.index", "beach.jpg"] {
        std::fs::write(foreign.join(name), "mine").unwrap();
    }
    let broker = place.start();
    // A topic of that very name leaves it alone as well, or says why it cannot.
    let place = broker.stop();
    let mut left: Vec<_> =
        std::fs::read_dir(&foreign).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["00000000000000000007.index", "beach.jpg"]);
    drop(place);
}

#[test]
fn a_topic_made_anew_inherits_nothing_from_the_checkpoints_of_the_old_one() {
    let broker = Stopped::new(&[]).start();
    let old = broker.topic("again", 1, &[]);
    let mut client = broker.connect();
    for _ in 0..6 {
        client.produce(&old, 0, batch(&["old"]));
    }
    crate::offsets::delete_records(&mut client, &old, 5).unwrap();
    let names = vec![old.name.as_str().into()];
    let delete =
        DeleteTopicsRequest { topic_names: names, timeout_ms: 30_000, ..Default::default() };
    assert_eq!(client.call(5, &delete).responses[0].error_code, 0);
    let new = broker.topic("again", 1, &[]);
    client.produce(&new, 0, batch(&["new"]));
    client.produce(&new, 0, batch(&["newer"]));
    let broker = broker.crash().start();
    assert_eq!(broker.connect().read_values(&new, 0), ["new", "newer"]);
}

#[test]
fn what_checkpoints_say_of_a_log_that_cannot_be_opened_is_kept() {
    let broker = Stopped::new(&[]).start();
    let topic = broker.topic("hurt", 1, &[]);
    let mut client = broker.connect();
    for _ in 0..3 {
        client.produce(&topic, 0, batch(&["r"]));
    }
    crate::offsets::delete_records(&mut client, &topic, 2).unwrap();
    let place = broker.stop();
    // A directory where the log's file should be: it cannot be opened as long as that stands.
    let file = place.partition(&topic, 0).join("00000000000000000000.log");
    let aside = file.with_extension("aside");
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    let place = place.start().stop();
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    let broker = place.start();
    let start = broker.connect().list_offset(5, &topic, -2).offset;
    assert_eq!(start, 2, "where the log starts is still known");
}
