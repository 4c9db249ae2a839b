//! Data directories of Apache Kafka 4.0.0 are served as they are. Skipped where the fixture is not beside the repository.
//! `compat/takeover.py` holds all of it against the list, with a client of its own.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::batch::batch;
use crate::support::broker::Stopped;
use crate::support::client::{Client, Topic};

use millstream_base::Uuid;
use millstream_wire::messages::metadata::{MetadataRequest, MetadataRequestTopic};

fn topic(client: &mut Client, name: &str) -> (Topic, usize) {
    let named = MetadataRequestTopic { name: Some(name.into()), topic_id: Uuid::ZERO };
    let request = MetadataRequest { topics: Some(vec![named]), ..Default::default() };
    let found = client.call(12, &request).topics.remove(0);
    (Topic { name: name.to_owned(), id: found.topic_id }, found.partitions.len())
}

/// Every record of these topics is where Kafka had it, and writing goes on behind it.
fn check(client: &mut Client, manifest: &Value, added: usize) {
    // Transactions' markers and compaction are left to the script.
    for name in ["orders", "trimmed", "logappend"] {
        let (topic, partitions) = topic(client, name);
        for partition in 0..partitions {
            let listed = &manifest["topics"][format!("{name}-{partition}")];
            let listed_records = listed["read_uncommitted"].as_array().unwrap();
            let start = listed["log_start"].as_i64().unwrap();
            let partition = i32::try_from(partition).unwrap();
            let read = client.read_all(&topic, partition, start);
            assert_eq!(read.len(), listed_records.len() + added, "{name}-{partition}");
            for (record, listed) in read.iter().zip(listed_records) {
                let key = record.key.as_ref().map(|key| String::from_utf8(key.clone()).unwrap());
                let found = serde_json::json!([record.offset, record.timestamp, key]);
                assert_eq!(found.as_array().unwrap()[..], listed.as_array().unwrap()[..3]);
            }
            let end = listed["high_watermark"].as_i64().unwrap();
            let offset = client.produce(&topic, partition, batch(&["more"]));
            assert_eq!(offset, end + i64::try_from(added).unwrap());
        }
    }
}

#[test]
fn what_kafka_wrote_is_served_and_goes_on() {
    let archive = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/fixtures/kafka-4.0.0-data.tar.zst");
    if !archive.exists() {
        println!("skipped: {} is missing", archive.display());
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.arg("--zstd").arg("-xf").arg(&archive).arg("-C").arg(root.path());
    if !tar.status().is_ok_and(|status| status.success()) {
        println!("skipped: tar with zstd is missing");
        return;
    }
    let manifest = std::fs::read(root.path().join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    for name in ["killed", "clean"] {
        let dir = root.path().join(name);
        let place = Stopped::new(&[
            ("log.dirs", dir.to_str().unwrap()),
            ("node.id", "1"),
            ("log.cleaner.enable", "false"),
        ]);
        let broker = place.start();
        check(&mut broker.connect(), &manifest, 0);
        let broker = broker.crash().start();
        check(&mut broker.connect(), &manifest, 1);
        let broker = broker.stop().start();
        check(&mut broker.connect(), &manifest, 2);
    }
}
