//! `millstream dev`: what developers run on their own machine.

mod cluster;
mod files;
mod nodes;
mod screen;

use clap::Subcommand;

use crate::context::Context;
use crate::failure::Outcome;

/// The verbs of `dev`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a cluster of several nodes on this machine and watch it
    Cluster(cluster::Args),
}

pub(crate) async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Cluster(args) => cluster::run(context, &args).await,
    }
}
