//! `millstream topic alter`.

use millstream_client::{ConfigOp, ConfigResource};
use serde::Serialize;

use crate::args::assignment;
use crate::context::Context;
use crate::failure::{Failure, Outcome};

/// Change settings, or add partitions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream topic alter orders --set retention.ms=3600000 --unset cleanup.policy
  millstream topic alter orders --partitions 12

With more partitions the same key goes to another partition than before; there is no way
back to fewer.")]
pub(crate) struct Args {
    /// The topic's name
    name: String,
    /// Grow to this many partitions
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,
    /// Set a setting; may be repeated
    #[arg(short, long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// Take a setting back to what acts without it; may be repeated
    #[arg(short, long = "unset", value_name = "NAME")]
    unset: Vec<String>,
    /// Add to a setting that is a list; may be repeated
    #[arg(long = "append", value_name = "NAME=VALUE", value_parser = assignment)]
    append: Vec<(String, String)>,
    /// Take out of a setting that is a list; may be repeated
    #[arg(long = "subtract", value_name = "NAME=VALUE", value_parser = assignment)]
    subtract: Vec<(String, String)>,
}

#[derive(Serialize)]
struct Altered<'a> {
    topic: &'a str,
    partitions: Option<i32>,
    changed: usize,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let owned = |(name, value): &(String, String)| (name.clone(), value.clone());
    let changes: Vec<ConfigOp> = args
        .set
        .iter()
        .map(owned)
        .map(|(name, value)| ConfigOp::Set(name, value))
        .chain(args.unset.iter().cloned().map(ConfigOp::Delete))
        .chain(args.append.iter().map(owned).map(|(n, v)| ConfigOp::Append(n, v)))
        .chain(args.subtract.iter().map(owned).map(|(n, v)| ConfigOp::Subtract(n, v)))
        .collect();
    if changes.is_empty() && args.partitions.is_none() {
        return Err(Failure::usage("nothing to change")
            .hint("--set NAME=VALUE, --unset NAME or --partitions N say what"));
    }
    let admin = context.admin().await?;
    if !changes.is_empty() {
        let resource = ConfigResource::Topic(args.name.clone());
        admin.alter_configs(&resource, &changes, false).await?;
    }
    if let Some(count) = args.partitions {
        admin.create_partitions(&args.name, count, &[]).await?;
    }
    let document =
        Altered { topic: &args.name, partitions: args.partitions, changed: changes.len() };
    if context.out.json(&document)? {
        return Ok(());
    }
    let mut done = Vec::new();
    if !changes.is_empty() {
        let plural = if changes.len() == 1 { "" } else { "s" };
        done.push(format!("changed {} setting{plural}", changes.len()));
    }
    if let Some(count) = args.partitions {
        done.push(format!("grew to {count} partitions"));
    }
    Ok(context.out.line(&format!("topic {}: {}", args.name, done.join(", ")))?)
}
