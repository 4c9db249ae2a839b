//! `millstream topic delete`.

use millstream_base::ErrorCode;
use serde::Serialize;

use super::sorted_out;
use crate::context::Context;
use crate::failure::Outcome;

/// Delete topics and all their records
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  millstream topic delete orders")]
pub(crate) struct Args {
    /// The topics' names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Accept topics that do not exist
    #[arg(long)]
    if_exists: bool,
}

#[derive(Serialize)]
struct Deleted {
    topic: String,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let mut outcomes = admin.delete_topics(&args.names).await?;
    if args.if_exists {
        outcomes.retain(|_, outcome| {
            let code = outcome.as_ref().err().and_then(millstream_client::ClientError::code);
            code != Some(ErrorCode::UnknownTopicOrPartition)
        });
    }
    let (deleted, ending) = sorted_out(outcomes);
    let documents: Vec<Deleted> =
        deleted.into_iter().map(|(topic, ())| Deleted { topic }).collect();
    if context.out.json(&documents)? {
        return ending;
    }
    for deleted in &documents {
        context.out.line(&format!("deleted topic {}", deleted.topic))?;
    }
    ending
}
