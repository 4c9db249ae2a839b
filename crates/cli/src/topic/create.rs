//! `millstream topic create`.

use millstream_base::ErrorCode;
use millstream_client::NewTopic;
use serde::Serialize;

use super::sorted_out;
use crate::args::assignment;
use crate::context::Context;
use crate::failure::Outcome;

/// Create topics
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  millstream topic create orders --partitions 6 --config retention.ms=86400000")]
pub(crate) struct Args {
    /// The topics' names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// How many partitions [default: the broker's num.partitions]
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// How many replicas of each [default: the broker's default.replication.factor]
    #[arg(short, long, value_parser = clap::value_parser!(i16).range(1..))]
    replication_factor: Option<i16>,
    /// A setting of the topic; may be repeated
    #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = assignment)]
    configs: Vec<(String, String)>,
    /// Accept topics that exist already
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether it would work
    #[arg(long)]
    dry_run: bool,
}

#[derive(Serialize)]
struct Created {
    topic: String,
    id: String,
    partitions: i32,
    replication_factor: i16,
    created: bool,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let admin = context.admin().await?;
    let topics: Vec<NewTopic> = args
        .names
        .iter()
        .map(|name| NewTopic {
            name: name.clone(),
            partitions: args.partitions,
            replication_factor: args.replication_factor,
            assignments: Vec::new(),
            configs: args.configs.iter().map(|(n, v)| (n.clone(), Some(v.clone()))).collect(),
        })
        .collect();
    let mut outcomes = admin.create_topics(&topics, args.dry_run).await?;
    let mut existing = Vec::new();
    if args.if_not_exists {
        let exists = |code| code == Some(ErrorCode::TopicAlreadyExists);
        let known = |(name, outcome): (&String, &Result<_, millstream_client::ClientError>)| {
            outcome.as_ref().is_err_and(|error| exists(error.code())).then(|| name.clone())
        };
        existing = outcomes.iter().filter_map(known).collect();
        outcomes.retain(|name, _| !existing.contains(name));
    }
    let (created, ending) = sorted_out(outcomes);
    let documents: Vec<Created> = created
        .iter()
        .map(|(topic, made)| Created {
            topic: topic.clone(),
            id: made.id.to_string(),
            partitions: made.partitions,
            replication_factor: made.replication_factor,
            created: !args.dry_run,
        })
        .collect();
    if context.out.json(&documents)? {
        return ending;
    }
    let verb = if args.dry_run { "would create" } else { "created" };
    for made in &documents {
        let partitions = made.partitions;
        let plural = if partitions == 1 { "" } else { "s" };
        let extent = if partitions > 0 {
            format!(" with {partitions} partition{plural}")
        } else {
            String::new()
        };
        context.out.line(&format!("{verb} topic {}{extent}", made.topic))?;
    }
    for name in existing {
        context.out.line(&format!("topic {name} exists already"))?;
    }
    ending
}
