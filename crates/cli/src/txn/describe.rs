//! `millstream txn describe`.

use serde::Serialize;

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::Style;

/// Show one transactional id with its open transaction
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  millstream txn describe payments-1

In a pipe each line has: transactional id, state, producer id, epoch, time-out in ms, begin in ms
(-1: none), and one partition of the transaction (-: none).")]
pub(crate) struct Args {
    /// The transactional id
    #[arg(value_name = "ID")]
    transactional_id: String,
}

#[derive(Serialize)]
struct Described {
    transactional_id: String,
    state: String,
    coordinator: i32,
    producer_id: i64,
    producer_epoch: i16,
    timeout_ms: i32,
    start_ms: i64,
    partitions: Vec<String>,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let found = admin.describe_transaction(&args.transactional_id).await?;
    let described = Described {
        transactional_id: found.transactional_id,
        state: found.state,
        coordinator: found.coordinator.get(),
        producer_id: found.producer_id,
        producer_epoch: found.producer_epoch,
        timeout_ms: found.timeout_ms,
        start_ms: found.start_ms,
        partitions: found.partitions.iter().map(ToString::to_string).collect(),
    };
    if context.out.json(&described)? {
        return Ok(());
    }
    let Described { transactional_id, state, producer_id, producer_epoch, .. } = &described;
    let people = context.out.style == Style::Table;
    if people {
        context.out.line(&format!(
            "{transactional_id}: {state}, producer {producer_id} at epoch {producer_epoch}, \
             time-out {} ms, coordinated by broker {}",
            described.timeout_ms, described.coordinator
        ))?;
        if described.partitions.is_empty() {
            return Ok(context.out.line("no partition is part of a transaction")?);
        }
        let rows: Vec<Vec<String>> = described.partitions.into_iter().map(|p| vec![p]).collect();
        return Ok(context.out.rows(&["partition"], &rows)?);
    }
    let row = |partition: &str| {
        let numbers = [
            producer_id.to_string(),
            producer_epoch.to_string(),
            described.timeout_ms.to_string(),
            described.start_ms.to_string(),
            partition.to_owned(),
        ];
        [transactional_id.clone(), state.clone()].into_iter().chain(numbers).collect()
    };
    let mut rows: Vec<Vec<String>> = described.partitions.iter().map(|p| row(p)).collect();
    if rows.is_empty() {
        rows.push(row("-"));
    }
    Ok(context.out.rows(&[], &rows)?)
}
