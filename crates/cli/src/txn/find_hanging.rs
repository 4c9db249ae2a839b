//! `millstream txn find-hanging`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use millstream_base::TopicPartition;
use millstream_client::{Admin, ClientError, PartitionProducer, TransactionFilter};
use serde::Serialize;

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::say;

/// Find transactions that no coordinator will ever end
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream txn find-hanging
  millstream txn find-hanging --topic orders

A transaction hangs when it is open in a partition, but its coordinator knows nothing of it: readers of
committed records wait there for ever. `millstream txn abort` ends one. In a pipe each line has: topic,
partition, start offset, producer id, epoch, time of the last record in ms.")]
pub(crate) struct Args {
    /// Only this topic; may be repeated
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
}

#[derive(Serialize)]
struct Hanging {
    topic: String,
    partition: i32,
    start_offset: i64,
    producer_id: i64,
    producer_epoch: i16,
    last_record_ms: i64,
}

/// A partition and a producer whose transaction is open in it, and where it begins.
type Open = (TopicPartition, i64, i64);

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let partitions = partitions(&admin, &args.topics).await?;
    let before = open(&admin, &partitions).await?;
    let mut candidates = Vec::new();
    for (key, producer) in before {
        if !is_known(&admin, &key).await? {
            candidates.push((key, producer));
        }
    }
    // What ended while the coordinators were asked does not hang.
    let again = candidates.iter().map(|((partition, ..), _)| partition.clone()).collect();
    let still = open(&admin, &again).await?;
    let hanging = candidates.into_iter().filter(|(key, _)| still.contains_key(key));
    let hanging: Vec<Hanging> = hanging
        .map(|((partition, producer_id, start_offset), producer)| Hanging {
            topic: partition.topic.to_string(),
            partition: partition.partition.get(),
            start_offset,
            producer_id,
            producer_epoch: producer.producer_epoch,
            last_record_ms: producer.last_timestamp_ms,
        })
        .collect();
    if context.out.json(&hanging)? {
        return Ok(());
    }
    if hanging.is_empty() {
        say("no transaction hangs");
        return Ok(());
    }
    let row = |found: &Hanging| {
        vec![
            found.topic.clone(),
            found.partition.to_string(),
            found.start_offset.to_string(),
            found.producer_id.to_string(),
            found.producer_epoch.to_string(),
            found.last_record_ms.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = hanging.iter().map(row).collect();
    let headings = ["topic", "partition", "start offset", "producer", "epoch", "last record"];
    Ok(context.out.rows(&headings, &rows)?)
}

async fn partitions(
    admin: &Admin,
    topics: &[String],
) -> Result<BTreeSet<TopicPartition>, ClientError> {
    let metadata = admin.cluster().refresh_all().await?;
    for outcome in admin.describe_topics(topics).await?.into_values() {
        // Named, so it has to be there.
        outcome?;
    }
    let mut partitions = BTreeSet::new();
    for topic in metadata.topics() {
        if topics.is_empty() || topics.iter().any(|name| **name == *topic.name) {
            let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            let name = &topic.name;
            partitions.extend((0..count).map(|at| TopicPartition::new(Arc::clone(name), at)));
        }
    }
    Ok(partitions)
}

async fn open(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<BTreeMap<Open, PartitionProducer>, ClientError> {
    let described = admin.describe_producers(partitions).await?;
    let mut open = BTreeMap::new();
    for (partition, producers) in described {
        for producer in producers {
            if let Some(start) = producer.open_from {
                open.insert((partition.clone(), producer.producer_id, start), producer);
            }
        }
    }
    Ok(open)
}

/// Whether a coordinator has the partition in a transaction of the producer.
async fn is_known(admin: &Admin, (partition, producer, _): &Open) -> Result<bool, ClientError> {
    let producer_ids = vec![*producer];
    let filter = TransactionFilter { producer_ids, ..TransactionFilter::default() };
    for listed in admin.list_transactions(&filter).await? {
        let described = admin.describe_transaction(&listed.transactional_id).await?;
        if described.partitions.contains(partition) {
            return Ok(true);
        }
    }
    Ok(false)
}
