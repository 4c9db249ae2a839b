//! `millstream group`: one file per verb.

mod delete;
mod describe;
mod list;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;

/// The verbs of `group`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List consumer groups
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show members, committed offsets and lag of groups
    Describe(describe::Args),
    /// Delete groups with their committed offsets
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
}

pub(crate) async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::List(args) => list::run(context, &args).await,
        Command::Describe(args) => describe::run(context, &args).await,
        Command::Delete(args) => delete::run(context, &args).await,
    }
}
