//! `millstream log`: one file per verb. These verbs look at files and need no broker.

mod inspect;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;

/// The verbs of `log`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the batches and records of segment files, and what is wrong with them
    Inspect(inspect::Args),
}

pub(crate) fn run(context: &Context, command: &Command) -> Outcome {
    match command {
        Command::Inspect(args) => inspect::run(context, args),
    }
}
