//! Kafka's text files of one offset per partition.
//!
//! Key type: [`OffsetCheckpoint`]. Lines: `0`, the number of entries, then `TOPIC PARTITION OFFSET` each.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use millstream_base::{Offset, PartitionIndex, TopicPartition};

/// Offsets by partition.
pub type OffsetCheckpoint = BTreeMap<TopicPartition, Offset>;

/// The text is not an offset checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is `{text}`, expected {expected}")]
pub struct CheckpointFormatError {
    /// The line's number, from 1.
    pub line: usize,
    /// What stands there.
    pub text: String,
    /// What should.
    pub expected: &'static str,
}

/// The file's text.
pub(crate) fn to_text(offsets: &OffsetCheckpoint) -> String {
    let mut text = format!("0\n{}\n", offsets.len());
    for (partition, offset) in offsets {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{} {} {offset}", partition.topic, partition.partition);
    }
    text
}

/// Reads the file's text.
pub(crate) fn from_text(text: &str) -> Result<OffsetCheckpoint, CheckpointFormatError> {
    let lines: Vec<&str> = text.lines().collect();
    let wrong = |line: usize, expected| CheckpointFormatError {
        line: line + 1,
        text: lines.get(line).copied().unwrap_or_default().to_owned(),
        expected,
    };
    if lines.first().map(|l| l.trim()) != Some("0") {
        return Err(wrong(0, "version `0`"));
    }
    let count: usize = lines
        .get(1)
        .and_then(|l| l.trim().parse().ok())
        .ok_or_else(|| wrong(1, "the number of entries"))?;
    let mut offsets = OffsetCheckpoint::new();
    for (at, line) in lines.iter().enumerate().skip(2).filter(|(_, l)| !l.trim().is_empty()) {
        let entry = entry(line).ok_or_else(|| wrong(at, "`TOPIC PARTITION OFFSET`"))?;
        offsets.insert(entry.0, entry.1);
    }
    if offsets.len() != count {
        return Err(wrong(1, "the number of entries that follow"));
    }
    Ok(offsets)
}

fn entry(line: &str) -> Option<(TopicPartition, Offset)> {
    let mut fields = line.split_whitespace();
    let topic = fields.next()?;
    let partition: i32 = fields.next()?.parse().ok()?;
    let offset: i64 = fields.next()?.parse().ok()?;
    let whole = fields.next().is_none() && partition >= 0;
    whole.then(|| (TopicPartition::new(topic, PartitionIndex(partition)), Offset(offset)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_and_wrong_text_is_named() {
        let mut offsets = OffsetCheckpoint::new();
        assert_eq!(to_text(&offsets), "0\n0\n");
        offsets.insert(TopicPartition::new("profiles", 0), Offset(2400));
        offsets.insert(TopicPartition::new("orders", 2), Offset(2290));
        assert_eq!(to_text(&offsets), "0\n2\norders 2 2290\nprofiles 0 2400\n");
        assert_eq!(from_text(&to_text(&offsets)), Ok(offsets));
        for (wrong, line) in [
            ("", 1),
            ("1\n0\n", 1),
            ("0\n", 2),
            ("0\nx\n", 2),
            ("0\n1\n", 2),
            ("0\n1\na 0\n", 3),
            ("0\n1\na -1 4\n", 3),
        ] {
            assert_eq!(from_text(wrong).map_err(|e| e.line), Err(line), "{wrong:?}");
        }
    }
}
