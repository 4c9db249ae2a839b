//! `millstream txn abort`.

use std::collections::BTreeSet;

use millstream_base::TopicPartition;
use serde::Serialize;

use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};

/// Abort an open transaction
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream txn abort payments-1
  millstream txn abort --topic orders --partition 3 --start-offset 1042

With a transactional id the coordinator aborts what is open and fences the producer: an application
that still runs gets an error and has to start anew. With a partition an abort marker is written there
for a transaction that no coordinator knows any more, as `millstream txn find-hanging` shows them.")]
pub(crate) struct Args {
    /// The transactional id
    #[arg(value_name = "ID", required_unless_present = "topic", conflicts_with = "topic")]
    transactional_id: Option<String>,
    /// The topic in which a transaction hangs
    #[arg(long, requires_all = ["partition", "start_offset"])]
    topic: Option<String>,
    /// The partition of the topic
    #[arg(long, requires = "topic")]
    partition: Option<i32>,
    /// Where the hanging transaction begins
    #[arg(long, requires = "topic")]
    start_offset: Option<i64>,
}

#[derive(Serialize)]
struct Aborted {
    aborted: String,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let what = match (&args.transactional_id, &args.topic, args.partition, args.start_offset) {
        (Some(id), ..) => {
            context.admin().await?.fence_producer(id).await?;
            format!("transactional id {id}")
        }
        (None, Some(topic), Some(partition), Some(start)) => {
            let partition = TopicPartition::new(topic.as_str(), partition);
            abort_hanging(context, &partition, start).await?;
            format!("transaction at offset {start} of {partition}")
        }
        _ => {
            let usage = "give a transactional id, or --topic, --partition and --start-offset";
            return Err(Failure::usage(usage));
        }
    };
    if !context.out.json(&Aborted { aborted: what.clone() })? {
        context.out.line(&format!("aborted {what}"))?;
    }
    Ok(())
}

async fn abort_hanging(context: &Context, partition: &TopicPartition, start: i64) -> Outcome {
    let admin = context.admin().await?;
    let producers = admin.describe_producers(&BTreeSet::from([partition.clone()])).await?;
    let mut open = producers.get(partition).into_iter().flatten();
    let Some(producer) = open.find(|producer| producer.open_from == Some(start)) else {
        let message = format!("no open transaction begins at offset {start} of {partition}");
        let hint = "`millstream txn find-hanging` shows where they begin";
        return Err(Failure::new(Exit::NotFound, message).hint(hint));
    };
    Ok(admin.abort_in_partition(partition, producer).await?)
}
