//! Small text files: `partition.metadata` and `meta.properties`.

use millstream_base::Uuid;

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

/// `meta.properties`: whose directory this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// `cluster.id`.
    pub cluster_id: String,
    /// `node.id`.
    pub node_id: Option<i32>,
    /// `directory.id`: each log directory has its own.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// The file's text.
    pub fn to_text(&self) -> String {
        let mut text = String::from("#\n");
        if let Some(id) = self.node_id {
            text.push_str(&format!("node.id={id}\n"));
        }
        if let Some(id) = self.directory_id {
            text.push_str(&format!("directory.id={id}\n"));
        }
        text.push_str("version=1\n");
        text.push_str(&format!("cluster.id={}\n", self.cluster_id));
        text
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// A sentence that says what is missing or not understood.
    pub fn from_text(text: &str) -> Result<Self, String> {
        let (mut cluster_id, mut node_id, mut directory_id, mut version) = (None, None, None, None);
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (key, value) = line.split_once('=').ok_or(format!("`{line}` is not NAME=VALUE"))?;
            let value = value.trim();
            match key.trim() {
                "version" => version = Some(value.to_owned()),
                "cluster.id" => cluster_id = Some(value.to_owned()),
                "node.id" | "broker.id" => {
                    let id = value.parse().map_err(|_| format!("`{value}` is not a node id"))?;
                    node_id = Some(id);
                }
                "directory.id" => {
                    directory_id = Some(value.parse().map_err(|e| format!("{e}"))?);
                }
                _ => {}
            }
        }
        match version.as_deref() {
            Some("1") => {}
            Some("0") => {
                return Err("was written by a ZooKeeper-based Kafka (version 0)".to_owned());
            }
            other => return Err(format!("version {} is not known", other.unwrap_or("(none)"))),
        }
        let cluster_id = cluster_id.ok_or("has no cluster.id")?;
        Ok(Self { cluster_id, node_id, directory_id })
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
            cluster_id: "BzQ4mudgRQqq2ajHYb2mEg".to_owned(),
            node_id: Some(1),
            directory_id: Some(Uuid([9; 16])),
        };
        assert_eq!(MetaProperties::from_text(&meta.to_text()), Ok(meta));
        for wrong in ["", "version=0\ncluster.id=x", "version=1", "version=2\ncluster.id=x", "x"] {
            assert!(MetaProperties::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
