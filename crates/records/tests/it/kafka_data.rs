//! A data directory that Apache Kafka 4.0.0 wrote, where it lies beside the repository: every batch of it is read
//! and held against the manifest, and every plain batch is made again, byte for byte.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use millstream_records::{BatchHeader, Batches, EndTxnMarker, TimestampType};
use serde_json::Value;

use crate::{Owned, build, fixtures, read, sha256};

/// The files of the archive by name; `None` where there is no archive.
fn archive() -> Option<BTreeMap<String, Vec<u8>>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/fixtures/kafka-4.0.0-data.tar.zst");
    let packed = std::fs::read(path).ok()?;
    let mut tar = Vec::new();
    zstd::Decoder::new(packed.as_slice()).unwrap().read_to_end(&mut tar).unwrap();
    let mut files = BTreeMap::new();
    let mut rest = tar.as_slice();
    while rest.len() >= 512 && rest[0] != 0 {
        let text = |field: &[u8]| {
            let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).trim().to_owned()
        };
        let (name, size) = (text(&rest[..100]), text(&rest[124..136]));
        let size = usize::from_str_radix(&size, 8).unwrap();
        let data = rest[512..512 + size].to_vec();
        files.insert(name.trim_start_matches("./").to_owned(), data);
        rest = &rest[512 + size.next_multiple_of(512)..];
    }
    Some(files)
}

/// Every whole batch of the segments in a partition's folder.
fn batches<'a>(files: &'a BTreeMap<String, Vec<u8>>, folder: &str) -> Vec<(BatchHeader, &'a [u8])> {
    let mut found = Vec::new();
    for (name, bytes) in files.range(format!("{folder}/")..format!("{folder}0")) {
        if !name.ends_with(".log") {
            continue;
        }
        let mut batches = Batches::new(bytes);
        for batch in &mut batches {
            let batch = batch.unwrap_or_else(|error| panic!("{name}: {error}"));
            batch.check_crc().unwrap_or_else(|error| panic!("{name}: {error}"));
            found.push((*batch.header(), batch.bytes()));
        }
        assert_eq!(batches.position(), bytes.len(), "{name} has a tail");
    }
    found
}

fn as_in_manifest(record: &Owned) -> Value {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let headers: Vec<Value> = record
        .headers
        .iter()
        .map(|(key, value)| serde_json::json!([text(key), value.as_deref().map(text)]))
        .collect();
    serde_json::json!([
        record.offset,
        record.timestamp,
        record.key.as_deref().map(text),
        record.value.as_deref().map(sha256::first_digits),
        headers,
    ])
}

#[test]
fn every_record_is_what_the_manifest_says() {
    let Some(files) = archive() else { return };
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    for (partition, expected) in manifest["topics"].as_object().unwrap() {
        let log_start = expected["log_start"].as_i64().unwrap();
        let expected = expected["read_uncommitted"].as_array().unwrap();
        for state in ["killed", "clean"] {
            let mut found = Vec::new();
            for (header, bytes) in batches(&files, &format!("{state}/{partition}")) {
                let records = read(bytes);
                assert_eq!(records.len(), header.records_count as usize);
                if header.attributes.is_control() {
                    continue;
                }
                found.extend(records.iter().filter(|r| r.offset >= log_start).map(as_in_manifest));
            }
            assert_eq!(found.len(), expected.len(), "{state}/{partition}");
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found, expected, "{state}/{partition}");
            }
        }
    }
}

#[test]
fn every_other_log_is_read_and_plain_batches_are_made_again() {
    let Some(files) = archive() else { return };
    let folders: std::collections::BTreeSet<&str> = files
        .keys()
        .filter(|name| name.ends_with(".log"))
        .filter_map(|name| name.rsplit_once('/').map(|(folder, _)| folder))
        .collect();
    let (mut all, mut again, mut markers) = (0, 0, 0);
    for folder in folders {
        for (header, bytes) in batches(&files, folder) {
            all += 1;
            let records = read(bytes);
            assert_eq!(records.len(), header.records_count as usize);
            markers += usize::from(is_marker_made_again(&header, bytes, &records));
            again += usize::from(is_made_again(&header, bytes, &records));
        }
    }
    assert!(all > 1000 && again > 500 && markers > 20, "{all} {again} {markers}");
}

fn is_marker_made_again(header: &BatchHeader, bytes: &[u8], records: &[Owned]) -> bool {
    let [record] = records else { return false };
    let marker = EndTxnMarker::read(record.key.as_deref(), record.value.as_deref());
    let Some(marker) = marker.filter(|_| header.attributes.is_control()) else { return false };
    let again = marker.batch(
        header.producer_id,
        header.producer_epoch,
        header.base_offset,
        header.partition_leader_epoch,
        header.max_timestamp,
    );
    assert_eq!(again.unwrap(), bytes);
    true
}

/// Whether the builder can make a batch like this one; if so, it must make the same bytes.
fn is_made_again(header: &BatchHeader, bytes: &[u8], records: &[Owned]) -> bool {
    let first = records.first().map(|record| record.timestamp);
    let last = records.last().map(|record| record.offset);
    let plain = header.attributes.is_uncompressed()
        && header.attributes.timestamp_type() == TimestampType::CreateTime
        && first == Some(header.base_timestamp.0)
        && last == Some(header.last_offset().0);
    if plain {
        assert_eq!(build(fixtures::options_of(header), records), bytes);
    }
    plain
}
