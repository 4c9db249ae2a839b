//! `millstream group list`.

use clap::builder::PossibleValuesParser;
use serde::Serialize;

use super::watch::Watch;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::say;

/// Kafka's names of the states of classic and consumer groups.
const STATES: [&str; 7] = [
    "Stable",
    "Empty",
    "PreparingRebalance",
    "CompletingRebalance",
    "Assigning",
    "Reconciling",
    "Dead",
];
const TYPES: [&str; 2] = ["classic", "consumer"];

/// List consumer groups
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream group list
  millstream group list --state stable,empty --type consumer
  millstream group list --watch

In a pipe each line has: group, state, type, protocol.")]
pub(crate) struct Args {
    /// Only groups in these states; may be repeated
    #[arg(
        long = "state",
        value_name = "STATE",
        value_delimiter = ',',
        ignore_case = true,
        value_parser = PossibleValuesParser::new(STATES)
    )]
    states: Vec<String>,
    /// Only groups of this type: `classic`, or `consumer` where the broker assigns; may be repeated
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_delimiter = ',',
        ignore_case = true,
        value_parser = PossibleValuesParser::new(TYPES)
    )]
    types: Vec<String>,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Serialize)]
struct Listed {
    group: String,
    state: String,
    r#type: String,
    protocol: String,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    args.watch.run(context, async || look(context, args).await).await
}

async fn look(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let groups: Vec<Listed> = admin
        .list_groups(&args.states, &args.types)
        .await?
        .into_iter()
        .map(|group| Listed {
            group: group.group_id,
            state: group.state,
            r#type: group.group_type,
            protocol: group.protocol_type,
        })
        .collect();
    if context.out.json(&groups)? {
        return Ok(());
    }
    if groups.is_empty() {
        say("no groups");
        return Ok(());
    }
    let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let rows: Vec<Vec<String>> = groups
        .into_iter()
        .map(|g| vec![g.group, dash(g.state), dash(g.r#type), dash(g.protocol)])
        .collect();
    Ok(context.out.rows(&["group", "state", "type", "protocol"], &rows)?)
}
