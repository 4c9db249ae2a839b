//! `millstream group delete`.

use serde::Serialize;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::say;

/// Delete groups with their committed offsets
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  millstream group delete billing

A group with members cannot be deleted: stop its consumers first.")]
pub(crate) struct Args {
    /// The groups' ids
    #[arg(required = true, value_name = "GROUP")]
    groups: Vec<String>,
}

#[derive(Serialize)]
struct Deleted<'a> {
    group: &'a str,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let mut deleted = Vec::new();
    let mut failed: Option<Failure> = None;
    for group in &args.groups {
        match admin.delete_group(group).await {
            Ok(()) => deleted.push(Deleted { group }),
            Err(error) => {
                if let Some(earlier) = failed.replace(error.into()) {
                    say(&earlier.to_string());
                }
            }
        }
    }
    if !context.out.json(&deleted)? {
        for deleted in &deleted {
            context.out.line(&format!("deleted group {}", deleted.group))?;
        }
    }
    failed.map_or(Ok(()), Err)
}
