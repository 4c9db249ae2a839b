//! `millstream topic`: one file per verb.

mod alter;
mod create;
mod delete;
mod describe;
mod list;

use clap::Subcommand;
use millstream_client::{ClientError, Outcomes};

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::say;

/// The verbs of `topic`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create topics
    Create(create::Args),
    /// List topics
    #[command(visible_alias = "ls")]
    List(list::Args),
    /// Show partitions, offsets and settings of topics
    Describe(describe::Args),
    /// Change settings, or add partitions
    Alter(alter::Args),
    /// Delete topics and all their records
    #[command(visible_alias = "rm")]
    Delete(delete::Args),
}

pub(crate) async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Create(args) => create::run(context, args).await,
        Command::List(args) => list::run(context, &args).await,
        Command::Describe(args) => describe::run(context, &args).await,
        Command::Alter(args) => alter::run(context, &args).await,
        Command::Delete(args) => delete::run(context, &args).await,
    }
}

/// What worked, and how the command ends: every failure but the last is said here, and that one is returned for
/// when what worked was told; it sets the exit code.
fn sorted_out<T>(outcomes: Outcomes<String, T>) -> (Vec<(String, T)>, Outcome) {
    let mut done = Vec::new();
    let mut failed: Vec<ClientError> = Vec::new();
    for (name, outcome) in outcomes {
        match outcome {
            Ok(value) => done.push((name, value)),
            Err(error) => failed.push(error),
        }
    }
    let Some(last) = failed.pop() else { return (done, Ok(())) };
    for error in failed {
        say(&Failure::from(error).to_string());
    }
    (done, Err(last.into()))
}
