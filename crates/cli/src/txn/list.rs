//! `millstream txn list`.

use std::time::Duration;

use millstream_client::TransactionFilter;
use serde::Serialize;

use crate::args::span;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::say;

/// The states that an id can be in.
const STATES: [&str; 6] =
    ["Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort"];

/// List transactional ids and where they stand
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream txn list
  millstream txn list --state Ongoing --longer-than 5m

In a pipe each line has: transactional id, state, producer id, coordinator.")]
pub(crate) struct Args {
    /// Only ids in this state, such as Ongoing or PrepareCommit; may be repeated
    #[arg(long = "state", value_name = "STATE", value_parser = STATES)]
    states: Vec<String>,
    /// Only this producer id; may be repeated
    #[arg(long = "producer", value_name = "ID")]
    producers: Vec<i64>,
    /// Only transactions that run for longer, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = span)]
    longer_than: Option<Duration>,
    /// Only ids that match this expression as a whole
    #[arg(long, value_name = "EXPRESSION")]
    pattern: Option<String>,
}

#[derive(Serialize)]
struct Listed {
    transactional_id: String,
    state: String,
    producer_id: i64,
    coordinator: i32,
}

pub(super) async fn run(context: &Context, args: Args) -> Outcome {
    let admin = context.admin().await?;
    let longer_than_ms = args.longer_than.and_then(|time| i64::try_from(time.as_millis()).ok());
    let filter = TransactionFilter {
        states: args.states,
        producer_ids: args.producers,
        longer_than_ms,
        pattern: args.pattern,
    };
    let listed = admin.list_transactions(&filter).await?.into_iter().map(|txn| Listed {
        transactional_id: txn.transactional_id,
        state: txn.state,
        producer_id: txn.producer_id,
        coordinator: txn.coordinator.get(),
    });
    let listed: Vec<Listed> = listed.collect();
    if context.out.json(&listed)? {
        return Ok(());
    }
    if listed.is_empty() {
        say("no transactions");
        return Ok(());
    }
    let row = |txn: Listed| {
        let numbers = [txn.producer_id.to_string(), txn.coordinator.to_string()];
        [txn.transactional_id, txn.state].into_iter().chain(numbers).collect()
    };
    let rows: Vec<Vec<String>> = listed.into_iter().map(row).collect();
    Ok(context.out.rows(&["transactional id", "state", "producer", "coordinator"], &rows)?)
}
