//! `millstream group list`.

use serde::Serialize;

use crate::context::Context;
use crate::failure::Outcome;

/// List consumer groups
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream group list
  millstream group list --state Stable --state Empty

In a pipe each line has: group, state, type, protocol.")]
pub(crate) struct Args {
    /// Only groups in this state, such as Stable or Empty; may be repeated
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<String>,
    /// Only groups of this type, such as classic; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
}

#[derive(Serialize)]
struct Listed {
    group: String,
    state: String,
    r#type: String,
    protocol: String,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
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
        crate::output::say("no groups");
        return Ok(());
    }
    let dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let rows: Vec<Vec<String>> = groups
        .into_iter()
        .map(|g| vec![g.group, dash(g.state), dash(g.r#type), dash(g.protocol)])
        .collect();
    Ok(context.out.rows(&["group", "state", "type", "protocol"], &rows)?)
}
