//! `millstream topic describe`.

use std::collections::BTreeMap;

use millstream_base::{NodeId, TopicPartition};
use millstream_client::{
    Admin, ClientError, ConfigEntry, ConfigResource, ConfigSource, DescribeConfigsOptions,
    ListedOffsets, OffsetSpec, PartitionInfo, TopicInfo,
};
use serde::Serialize;

use super::sorted_out;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Output, Style};

/// Show partitions, offsets and settings of topics
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  millstream topic describe orders

START is the first offset that is still there, END the offset of the next record. In a
pipe each line has: topic, partition, leader, epoch, replicas, in-sync replicas, start, end.")]
pub(crate) struct Args {
    /// The topics' names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// All settings with their sources, not only those that differ from the default
    #[arg(short, long)]
    all_configs: bool,
}

#[derive(Serialize)]
struct Described {
    topic: String,
    id: String,
    internal: bool,
    partitions: Vec<Partition>,
    configs: Vec<Config>,
}

#[derive(Serialize)]
struct Partition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: i32,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    offline: Vec<i32>,
    start: Option<i64>,
    end: Option<i64>,
}

#[derive(Serialize)]
struct Config {
    name: String,
    value: Option<String>,
    source: &'static str,
    read_only: bool,
    sensitive: bool,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let (topics, ending) = sorted_out(admin.describe_topics(&args.names).await?);
    let mut described = Vec::with_capacity(topics.len());
    for (_, topic) in &topics {
        described.push(describe(&admin, topic, args.all_configs).await?);
    }
    if context.out.json(&described)? {
        return ending;
    }
    for (place, topic) in described.iter().enumerate() {
        if place > 0 && context.out.style == Style::Table {
            context.out.line("")?;
        }
        print(context.out, topic)?;
    }
    ending
}

async fn describe(
    admin: &Admin,
    topic: &TopicInfo,
    all_configs: bool,
) -> Result<Described, ClientError> {
    // A partition without a leader cannot be asked.
    let led: Vec<TopicPartition> = topic
        .partitions
        .iter()
        .filter(|partition| partition.leader.is_some())
        .map(|partition| TopicPartition::new(topic.name.clone(), partition.index))
        .collect();
    let ask = |spec| led.iter().map(|p| (p.clone(), spec)).collect::<BTreeMap<_, _>>();
    let starts = admin.list_offsets(&ask(OffsetSpec::Earliest)).await?;
    let ends = admin.list_offsets(&ask(OffsetSpec::Latest)).await?;
    let resource = ConfigResource::Topic(topic.name.to_string());
    let configs = admin.describe_configs(&resource, &DescribeConfigsOptions::default()).await?;
    let partition = |info: &PartitionInfo| {
        let name = TopicPartition::new(topic.name.clone(), info.index);
        Partition {
            partition: info.index,
            leader: info.leader.map(|leader| leader.0),
            leader_epoch: info.leader_epoch.0,
            replicas: numbers(&info.replicas),
            isr: numbers(&info.isr),
            offline: numbers(&info.offline),
            start: offset(&starts, &name),
            end: offset(&ends, &name),
        }
    };
    Ok(Described {
        topic: topic.name.to_string(),
        id: topic.id.to_string(),
        internal: topic.is_internal,
        partitions: topic.partitions.iter().map(partition).collect(),
        configs: configs
            .iter()
            .filter(|entry| all_configs || entry.source == ConfigSource::Topic)
            .map(config)
            .collect(),
    })
}

fn offset(listed: &ListedOffsets, partition: &TopicPartition) -> Option<i64> {
    listed.get(partition).copied().flatten().map(|listed| listed.offset.get())
}

fn numbers(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

fn config(entry: &ConfigEntry) -> Config {
    Config {
        name: entry.name.clone(),
        value: entry.value.clone(),
        source: entry.source.name(),
        read_only: entry.read_only,
        sensitive: entry.sensitive,
    }
}

fn print(out: Output, topic: &Described) -> std::io::Result<()> {
    let people = out.style == Style::Table;
    if people {
        out.line(&format!("topic {} (id {})", topic.topic, topic.id))?;
    }
    let list = |nodes: &[i32]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let shown = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let row = |partition: &Partition| {
        let mut row = vec![
            partition.partition.to_string(),
            shown(partition.leader.map(i64::from)),
            partition.leader_epoch.to_string(),
            list(&partition.replicas),
            list(&partition.isr),
            shown(partition.start),
            shown(partition.end),
        ];
        if !people {
            row.insert(0, topic.topic.clone());
        }
        row
    };
    let rows: Vec<Vec<String>> = topic.partitions.iter().map(row).collect();
    out.rows(&["partition", "leader", "epoch", "replicas", "isr", "start", "end"], &rows)?;
    if !people || topic.configs.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let value = |config: &Config| match (&config.value, config.sensitive) {
        (_, true) => "(hidden)".to_owned(),
        (Some(value), false) => value.clone(),
        (None, false) => "-".to_owned(),
    };
    let rows: Vec<Vec<String>> = topic
        .configs
        .iter()
        .map(|config| vec![config.name.clone(), value(config), config.source.to_owned()])
        .collect();
    out.rows(&["setting", "value", "from"], &rows)
}
