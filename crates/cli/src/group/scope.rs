//! Which partitions of a group a command is about: `--topic NAME[:PARTITION,...]` or `--all-topics`.
//!
//! Key types: [`Scope`], [`Chosen`].

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_base::TopicPartition;
use millstream_client::{Admin, CommittedOffsets};

use crate::failure::{Exit, Failure};

/// The options; one of them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Scope {
    /// A topic, or some of its partitions; may be repeated
    #[arg(long = "topic", value_name = "NAME[:PARTITION,...]", value_parser = chosen)]
    topics: Vec<Chosen>,
    /// Everything that the group has committed
    #[arg(long)]
    all_topics: bool,
}

/// A topic and which of its partitions; no numbers mean all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    topic: String,
    partitions: Vec<i32>,
}

/// Reads `NAME` or `NAME:0,2`. A colon is in no topic's name.
pub(crate) fn chosen(text: &str) -> Result<Chosen, String> {
    let (topic, numbers) = match text.split_once(':') {
        Some((topic, numbers)) => (topic, Some(numbers)),
        None => (text, None),
    };
    if topic.is_empty() {
        return Err("expected NAME or NAME:PARTITION,...".to_owned());
    }
    let number = |text: &str| text.trim().parse::<i32>().ok().filter(|number| *number >= 0);
    let read = |numbers: &str| numbers.split(',').map(number).collect::<Option<Vec<i32>>>();
    let partitions = numbers.map_or(Some(Vec::new()), read);
    let partitions = partitions.ok_or_else(|| "expected numbers after the colon".to_owned())?;
    Ok(Chosen { topic: topic.to_owned(), partitions })
}

impl Scope {
    /// The partitions that are meant; each of them exists.
    pub(super) async fn partitions(
        &self,
        admin: &Admin,
        committed: &CommittedOffsets,
    ) -> Result<BTreeSet<TopicPartition>, Failure> {
        if self.all_topics {
            return Ok(committed.keys().cloned().collect());
        }
        let mut found = BTreeSet::new();
        for chosen in &self.topics {
            found.extend(chosen.partitions(admin).await?);
        }
        Ok(found)
    }
}

impl Chosen {
    /// What of `committed` it means; nothing need exist.
    pub(super) fn among(&self, committed: &CommittedOffsets) -> BTreeSet<TopicPartition> {
        let means = |partition: &&TopicPartition| {
            *partition.topic == *self.topic
                && (self.partitions.is_empty()
                    || self.partitions.contains(&partition.partition.get()))
        };
        committed.keys().filter(means).cloned().collect()
    }

    pub(crate) async fn partitions(
        &self,
        admin: &Admin,
    ) -> Result<BTreeSet<TopicPartition>, Failure> {
        let described = admin.describe_topics(std::slice::from_ref(&self.topic)).await?;
        let mut partitions = BTreeSet::new();
        for (_, topic) in described {
            let topic = topic?;
            let name: &Arc<str> = &topic.name;
            let each = topic.partitions.iter();
            partitions.extend(each.map(|info| TopicPartition::new(Arc::clone(name), info.index)));
        }
        if self.partitions.is_empty() {
            return Ok(partitions);
        }
        let count = partitions.len();
        let wanted = self.partitions.iter();
        let wanted: BTreeSet<TopicPartition> =
            wanted.map(|&index| TopicPartition::new(self.topic.as_str(), index)).collect();
        if let Some(missing) = wanted.difference(&partitions).next() {
            return Err(Failure::new(
                Exit::NotFound,
                format!(
                    "topic `{}` has {count} partitions, so there is no partition {}",
                    self.topic,
                    missing.partition.get()
                ),
            ));
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &[i32])>) {
        let read = chosen(text).ok();
        let read = read.as_ref().map(|read| (read.topic.as_str(), read.partitions.as_slice()));
        assert_eq!(read, expected, "{text}");
    }

    #[test]
    fn topics_with_and_without_partitions() {
        check("orders", Some(("orders", &[])));
        check("orders:0", Some(("orders", &[0])));
        check("orders:0, 12", Some(("orders", &[0, 12])));
        for text in ["", ":0", "orders:", "orders:x", "orders:-1", "orders:0:1"] {
            check(text, None);
        }
    }
}
