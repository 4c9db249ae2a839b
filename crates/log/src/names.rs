//! Names of files and directories in a log directory, as Kafka writes them.

use std::sync::Arc;

use millstream_base::{PartitionIndex, TopicPartition, Uuid};

/// Record batches.
pub(crate) const LOG: &str = ".log";
/// Offset to position.
pub(crate) const INDEX: &str = ".index";
/// Timestamp to offset.
pub(crate) const TIME_INDEX: &str = ".timeindex";
/// Aborted transactions.
pub(crate) const TXN_INDEX: &str = ".txnindex";
/// Producer states.
pub(crate) const SNAPSHOT: &str = ".snapshot";
/// Added to a file's name once it waits for its deletion.
pub(crate) const DELETED: &str = ".deleted";
/// Added to the output of compaction until it is complete.
pub(crate) const CLEANED: &str = ".cleaned";
/// Added to complete output of compaction until it has replaced its sources.
pub(crate) const SWAP: &str = ".swap";
/// Ends the name of a partition's directory that waits for its deletion.
pub(crate) const DELETE_DIR: &str = "-delete";

/// `leader-epoch-checkpoint`.
pub(crate) const EPOCHS: &str = "leader-epoch-checkpoint";
/// `partition.metadata`.
pub(crate) const PARTITION_METADATA: &str = "partition.metadata";

/// The name of a file that starts with an offset.
pub(crate) fn offset_file(offset: i64, suffix: &str) -> String {
    format!("{offset:020}{suffix}")
}

/// The offset at the front of a name and what follows its 20 digits.
pub(crate) fn parse_offset_file(name: &str) -> Option<(i64, &str)> {
    let (digits, suffix) = name.split_at_checked(20)?;
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((digits.parse().ok()?, suffix))
}

/// `topic-partition` of a directory's name.
pub(crate) fn parse_partition_dir(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    if topic.is_empty() || topic.len() > 249 || !digits {
        return None;
    }
    Some(TopicPartition {
        topic: Arc::from(topic),
        partition: PartitionIndex(partition.parse().ok()?),
    })
}

/// The name that a partition's directory takes when its topic is deleted: `topic-partition.uuid-delete`, the
/// topic shortened so that the file system takes it.
pub(crate) fn delete_dir(partition: &TopicPartition, id: Uuid) -> String {
    let hex: String = id.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let suffix = format!("-{}.{hex}{DELETE_DIR}", partition.partition);
    let room = 255_usize.saturating_sub(suffix.len());
    let topic = partition.topic.get(..room.min(partition.topic.len())).unwrap_or_default();
    format!("{topic}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        assert_eq!(offset_file(1500, LOG), "00000000000000001500.log");
        assert_eq!(parse_offset_file("00000000000000001500.log"), Some((1500, ".log")));
        assert_eq!(parse_offset_file("0000000000000000150x.log"), None);
        assert_eq!(parse_offset_file("leader-epoch-checkpoint"), None);
        let tp = parse_partition_dir("a-b.c-12").unwrap();
        assert_eq!((&*tp.topic, tp.partition.get()), ("a-b.c", 12));
        for wrong in ["a", "-1", "a-", "a-x", "a-1.0f-delete", "a-99999999999"] {
            assert!(parse_partition_dir(wrong).is_none(), "{wrong}");
        }
        let long = TopicPartition::new("t".repeat(249), 3);
        assert!(delete_dir(&long, Uuid::ZERO).len() <= 255);
        assert!(parse_partition_dir(&delete_dir(&long, Uuid::ZERO)).is_none());
    }
}
