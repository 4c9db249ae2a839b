//! Small text files: `partition.metadata` and `meta.properties`.

use std::collections::BTreeMap;

use millstream_base::{NodeId, Uuid};

/// `partition.metadata`: which topic a directory belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionMetadata {
    pub(crate) topic_id: Uuid,
}

impl PartitionMetadata {
    pub(crate) fn to_text(self) -> String {
        format!("version: 0\ntopic_id: {}", self.topic_id)
    }

    /// `None` for a text that a crash has cut or damaged: the file is written without a sync.
    ///
    /// # Errors
    /// A version that is not known.
    pub(crate) fn from_text(text: &str) -> Result<Option<Self>, String> {
        let field = |name: &str| {
            let mut lines = text.lines().filter_map(|line| line.split_once(':'));
            lines.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim())
        };
        match field("version") {
            Some("0") => {}
            Some(other) if !other.is_empty() && other.bytes().all(|b| b.is_ascii_digit()) => {
                return Err(format!("version `{other}` is not known, only 0 is"));
            }
            _ => return Ok(None),
        }
        Ok(field("topic_id").and_then(|id| id.parse().ok()).map(|topic_id| Self { topic_id }))
    }
}

/// Stands for the cluster's id in a directory whose node has not joined yet: no other file may lack the id.
const JOINING: &str = "millstream.joining";

/// `meta.properties`: whose directory this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`; `None` while the node has not learned yet which cluster it joins.
    pub cluster_id: Option<String>,
    /// `node.id`.
    pub node_id: NodeId,
    /// `directory.id`: each log directory has its own. Absent in files of Kafka before 3.7.
    pub directory_id: Option<Uuid>,
}

/// Why a `meta.properties` cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetaProblem {
    /// A line or value that makes no sense.
    #[error("is damaged: {0}. Restore it from a backup")]
    Damaged(String),
    /// Written by something newer.
    #[error(
        "has version {0}, and this release knows version 1 alone: run the release that wrote it, or a later one"
    )]
    Newer(i64),
    /// Written by a Kafka that kept its metadata in ZooKeeper.
    #[error(
        "has version 0: its cluster keeps its metadata in ZooKeeper. Migrate it to KRaft with Kafka 3.9 first"
    )]
    ZooKeeper,
}

impl MetaProperties {
    /// The file's text.
    pub fn to_text(&self) -> String {
        let Self { cluster_id, node_id, directory_id } = self;
        let cluster = match cluster_id {
            Some(id) => format!("cluster.id={id}"),
            None => format!("{JOINING}=true"),
        };
        let mut text = format!("version=1\n{cluster}\nnode.id={node_id}\n");
        if let Some(id) = directory_id {
            text.push_str(&format!("directory.id={id}\n"));
        }
        text
    }

    /// Reads the file: `key=value` lines, `#` and `!` comments; other keys are left aside.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetaProblem> {
        let damaged = |reason: String| MetaProblem::Damaged(reason);
        let text = std::str::from_utf8(bytes).map_err(|_| damaged("it is not text".to_owned()))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let entries: BTreeMap<&str, &str> = lines
            .filter(|line| !line.starts_with(['#', '!']))
            .filter_map(|line| line.split_once(['=', ':']))
            .map(|(key, value)| (key.trim(), value.trim()))
            .collect();
        let number = |key: &str| -> Result<i64, MetaProblem> {
            let value = entries.get(key).ok_or_else(|| damaged(format!("it has no {key}")))?;
            value.parse().map_err(|_| damaged(format!("{key}={value} is not a number")))
        };
        match if entries.contains_key("version") { number("version")? } else { 0 } {
            1 => {}
            0 => return Err(MetaProblem::ZooKeeper),
            version => return Err(MetaProblem::Newer(version)),
        }
        let cluster_id = entries.get("cluster.id").filter(|id| !id.is_empty());
        if cluster_id.is_none() && entries.get(JOINING) != Some(&"true") {
            return Err(damaged("it has no cluster.id".to_owned()));
        }
        let cluster_id = cluster_id.map(|id| (*id).to_owned());
        let node_id = i32::try_from(number("node.id")?);
        let node_id = node_id.map_err(|_| damaged("node.id is too large".to_owned()))?;
        let directory_id = entries.get("directory.id").map(|id| id.parse());
        let directory_id =
            directory_id.transpose().map_err(|e| damaged(format!("directory.id: {e}")))?;
        Ok(Self { cluster_id, node_id: NodeId(node_id), directory_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let topic = PartitionMetadata { topic_id: Uuid([7; 16]) };
        assert_eq!(PartitionMetadata::from_text(&topic.to_text()), Ok(Some(topic)));
        for cut in ["", "version: 0", "version: 0\ntopic_id: x", "\0\0\0"] {
            assert_eq!(PartitionMetadata::from_text(cut), Ok(None), "{cut:?}");
        }
        assert!(PartitionMetadata::from_text("version: 1\ntopic_id: x").is_err());
        let meta = MetaProperties {
            cluster_id: Some("BzQ4mudgRQqq2ajHYb2mEg".to_owned()),
            node_id: NodeId(1),
            directory_id: Some(Uuid([9; 16])),
        };
        assert_eq!(MetaProperties::parse(meta.to_text().as_bytes()), Ok(meta.clone()));
        let joining = MetaProperties { cluster_id: None, ..meta };
        assert_eq!(MetaProperties::parse(joining.to_text().as_bytes()), Ok(joining));
    }
}
