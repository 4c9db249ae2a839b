//! `millstream txn`: one file per verb.

mod abort;
mod describe;
mod find_hanging;
mod list;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;

/// The verbs of `txn`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List transactional ids and where they stand
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show one transactional id with its open transaction
    Describe(describe::Args),
    /// Abort an open transaction
    Abort(abort::Args),
    /// Find transactions that no coordinator will ever end
    FindHanging(find_hanging::Args),
}

pub(crate) async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::List(args) => list::run(context, args).await,
        Command::Describe(args) => describe::run(context, &args).await,
        Command::Abort(args) => abort::run(context, &args).await,
        Command::FindHanging(args) => find_hanging::run(context, &args).await,
    }
}
