//! `millstream topic list`.

use serde::Serialize;

use crate::context::Context;
use crate::failure::Outcome;

/// List topics
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream topic list
  millstream topic list --json | jq -r '.[].topic'

In a pipe each line has: name, partitions, replicas.")]
pub(crate) struct Args {
    /// Also those that the cluster keeps for itself
    #[arg(short, long)]
    internal: bool,
}

#[derive(Serialize)]
struct Listed {
    topic: String,
    id: String,
    partitions: usize,
    replicas: usize,
    internal: bool,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let topics: Vec<Listed> = admin
        .list_topics()
        .await?
        .iter()
        .filter(|topic| args.internal || !topic.is_internal)
        .map(|topic| Listed {
            topic: topic.name.to_string(),
            id: topic.id.to_string(),
            partitions: topic.partitions.len(),
            replicas: topic.partitions.first().map_or(0, |first| first.replicas.len()),
            internal: topic.is_internal,
        })
        .collect();
    if context.out.json(&topics)? {
        return Ok(());
    }
    if topics.is_empty() {
        crate::output::say("no topics yet; `millstream topic create NAME` makes one");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = topics
        .into_iter()
        .map(|t| vec![t.topic, t.partitions.to_string(), t.replicas.to_string()])
        .collect();
    Ok(context.out.rows(&["topic", "partitions", "replicas"], &rows)?)
}
