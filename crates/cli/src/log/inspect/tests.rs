//! What is shown of good and of damaged files.

use millstream_base::{Offset, TimestampMs};
use millstream_records::{BatchBuilder, BatchOptions, Codec, Compression};

use super::*;

fn batch(base: i64, codec: Compression, values: &[&str]) -> Vec<u8> {
    let options = BatchOptions {
        base_offset: Offset(base),
        codec: Codec::from(codec),
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder
            .append(TimestampMs(1_700_000_000_000), Some(b"k\n"), Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.build().unwrap()
}

/// A partition's directory with one segment of those bytes.
fn partition(bytes: &[u8]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("t-0")).unwrap();
    std::fs::write(dir.path().join("t-0/00000000000000000000.log"), bytes).unwrap();
    dir
}

fn inspect(path: &Path, depth: Depth, json: bool) -> (String, Vec<String>) {
    let fs = OsFs::shared();
    let mut out = Vec::new();
    let mut problems = Vec::new();
    for segment in segments_of(&*fs, path).unwrap() {
        let mut show = Show { out: &mut out, json, depth, failed: None };
        problems.extend(show.segment(&*fs, &segment).unwrap().problems);
    }
    let text = String::from_utf8(out).unwrap();
    (text.replace(&path.display().to_string(), "DIR"), problems)
}

fn two() -> Vec<u8> {
    [batch(0, Compression::None, &["a", "b"]), batch(2, Compression::Lz4, &["c"])].concat()
}

#[test]
fn a_sound_segment_is_shown_whole() {
    let dir = partition(&two());
    let (text, problems) = inspect(dir.path(), Depth::Records, false);
    assert!(problems.is_empty());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 7, "{text}");
    assert_eq!(lines[0], "DIR/t-0/00000000000000000000.log");
    assert!(lines[1].starts_with("0-1 at byte 0, 81 bytes, 2 records, codec none"), "{text}");
    assert!(lines[2].starts_with("  0\t") && lines[2].ends_with("\tk\\n\ta"), "{text}");
    assert!(lines[4].starts_with("2-2 at byte 81,") && lines[4].contains("codec lz4"), "{text}");
    assert!(lines[6].contains(": sound, "), "{text}");
    // A file, and less of it.
    let file = dir.path().join("t-0/00000000000000000000.log");
    let (text, _) = inspect(&file, Depth::Segments, false);
    assert_eq!(text.lines().count(), 1, "{text}");
    let (text, _) = inspect(&file, Depth::Records, true);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["records"][1]["value"], "b");
    assert_eq!((&lines[2]["batches"], &lines[2]["next_offset"]), (&json!(2), &json!(3)));
}

#[test]
fn damage_is_named_and_what_follows_is_still_shown() {
    let mut bytes = two();
    bytes[70] ^= 1;
    let dir = partition(&bytes);
    let (text, problems) = inspect(dir.path(), Depth::Batches, false);
    assert!(problems.len() == 1 && problems[0].contains("at byte 0"), "{problems:?}");
    assert!(text.contains("DAMAGED") && text.contains("2-2 at byte 81"), "{text}");
    // A torn tail.
    let bytes = two();
    let dir = partition(&bytes[..bytes.len() - 3]);
    let (_, problems) = inspect(dir.path(), Depth::Records, true);
    assert!(problems.len() == 1 && problems[0].contains("at byte 81"), "{problems:?}");
}

#[test]
fn what_is_not_there_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let missing = segments_of(&OsFs, &dir.path().join("none")).unwrap_err();
    assert_eq!(missing.exit, Exit::NotFound);
    let empty = segments_of(&OsFs, dir.path()).unwrap_err();
    assert!(empty.message.contains("no segment"), "{}", empty.message);
}
