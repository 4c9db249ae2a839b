//! The command line: global options and the list of verbs. Each verb's own options stand in its file.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::{cluster, consume, dev, group, log, produce, serve, topic, txn};

/// An event streaming platform in one binary that speaks the Kafka protocol.
#[derive(Debug, Parser)]
#[command(
    name = "millstream",
    version,
    about = "An event streaming platform in one binary that speaks the Kafka protocol",
    disable_help_subcommand = true,
    after_help = "\
Start here:
  millstream serve                                 # a broker on localhost:9092
  echo hello | millstream produce greetings        # send a record
  millstream consume greetings --from-beginning    # read it
  millstream dev cluster                           # three nodes on this machine

Output is a table on a terminal, lines with tabs in a pipe, and JSON with --json.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no broker answers, 4 not found."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every verb takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The brokers to ask first: HOST:PORT, several with commas between
    #[arg(
        short = 'b',
        long,
        global = true,
        env = "MILLSTREAM_BOOTSTRAP",
        hide_env_values = true,
        help_heading = "Everywhere",
        value_name = "HOST:PORT",
        default_value = "localhost:9092"
    )]
    pub(crate) bootstrap_server: String,
    /// Print JSON for programs
    #[arg(long, global = true, help_heading = "Everywhere")]
    pub(crate) json: bool,
    /// Give up after this time, such as 500ms, 30s or 2m
    #[arg(
        long,
        global = true,
        value_name = "TIME",
        default_value = "30s",
        value_parser = span,
        help_heading = "Everywhere"
    )]
    pub(crate) timeout: Duration,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a broker
    Serve(serve::Args),
    /// Create, list, describe, alter and delete topics
    #[command(subcommand)]
    Topic(topic::Command),
    /// Send records from standard input
    Produce(produce::Args),
    /// Read records to standard output
    Consume(consume::Args),
    /// List, describe, reset and delete consumer groups
    #[command(subcommand)]
    Group(group::Command),
    /// List, describe and abort transactions
    #[command(subcommand)]
    Txn(txn::Command),
    /// Look at the cluster, move replicas, elect leaders, take brokers out
    #[command(subcommand)]
    Cluster(cluster::Command),
    /// Run a cluster on this machine
    #[command(subcommand)]
    Dev(dev::Command),
    /// Look at the files of logs
    #[command(subcommand)]
    Log(log::Command),
}

impl Cli {
    pub(crate) fn from<T: Into<OsString> + Clone>(
        args: impl IntoIterator<Item = T>,
    ) -> Result<Self, clap::Error> {
        Self::try_parse_from(args)
    }
}

/// A length of time such as `500ms`, `30s`, `2m`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    crate::time::parse_span(text)
        .and_then(|ms| u64::try_from(ms).ok())
        .map(Duration::from_millis)
        .ok_or_else(|| "expected a time such as 500ms, 30s or 2m".to_owned())
}

/// `NAME=VALUE`.
pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.to_owned()))
        }
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;
