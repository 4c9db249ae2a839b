//! `millstream group delete`.

use std::collections::BTreeSet;

use millstream_base::TopicPartition;
use millstream_client::Admin;
use serde::Serialize;

use super::scope::{Chosen, chosen};
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::say;

/// Delete groups with their committed offsets
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream group delete billing
  millstream group delete billing --topic orders    # only what it has committed for a topic

A group with members cannot be deleted: stop its consumers first. Offsets of a topic can be,
once no member reads that topic.")]
pub(crate) struct Args {
    /// The groups' ids
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
    /// Delete only the committed offsets of a topic, or of some of its partitions; may be repeated
    #[arg(long = "topic", value_name = "NAME[:PARTITION,...]", value_parser = chosen)]
    topics: Vec<Chosen>,
}

#[derive(Serialize)]
struct Deleted<'a> {
    group: &'a str,
    /// The partitions whose offsets were deleted; absent when it was the whole group.
    #[serde(skip_serializing_if = "Option::is_none")]
    offsets: Option<Vec<String>>,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let mut deleted = Vec::new();
    let mut failed: Option<Failure> = None;
    for group in &args.groups {
        match delete(&admin, group, &args.topics).await {
            Ok(offsets) => deleted.push(Deleted { group, offsets }),
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    say(&earlier.to_string());
                }
            }
        }
    }
    if !context.out.json(&deleted)? {
        for deleted in &deleted {
            let text = match &deleted.offsets {
                None => format!("deleted group {}", deleted.group),
                Some(offsets) => {
                    format!("deleted offsets of group {}: {}", deleted.group, offsets.join(" "))
                }
            };
            context.out.line(&text)?;
        }
    }
    failed.map_or(Ok(()), Err)
}

async fn delete(
    admin: &Admin,
    group: &str,
    topics: &[Chosen],
) -> Result<Option<Vec<String>>, Failure> {
    if topics.is_empty() {
        admin.delete_group(group).await?;
        return Ok(None);
    }
    let committed = admin.committed_offsets(group).await?;
    let partitions: BTreeSet<TopicPartition> =
        topics.iter().flat_map(|chosen| chosen.among(&committed)).collect();
    if partitions.is_empty() {
        let message = format!("group `{group}` has committed nothing there");
        return Err(Failure::new(Exit::NotFound, message)
            .hint("`millstream group describe` shows what it has committed"));
    }
    admin.delete_committed_offsets(group, &partitions).await?;
    Ok(Some(partitions.iter().map(ToString::to_string).collect()))
}
