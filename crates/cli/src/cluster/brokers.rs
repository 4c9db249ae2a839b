//! `millstream cluster brokers`.

use std::collections::BTreeMap;

use millstream_base::NodeId;
use millstream_client::Admin;
use serde::Serialize;

use super::picture::{Node, Picture};
use super::{shown, size};
use crate::context::Context;
use crate::failure::Outcome;
use crate::group::watch::Watch;

/// Show each broker with what it holds and leads
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream cluster brokers
  millstream cluster brokers --sizes
  millstream cluster brokers --watch=1s

PREFERRED is how many partitions the broker would lead if all were well, BEHIND how many of its
replicas are not in sync. In a pipe each line has: node, address, rack, roles, state, leaders,
preferred, replicas, behind, and with --sizes bytes and free bytes.")]
pub(crate) struct Args {
    /// Also how much each broker stores, and how much its disks have left
    #[arg(long)]
    sizes: bool,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Serialize)]
struct Sized {
    #[serde(flatten)]
    node: Node,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<i64>,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    args.watch.run(context, async || look(context, args).await).await
}

async fn look(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let picture = Picture::take(&admin).await?;
    let sizes = match args.sizes {
        true => sizes(&admin, &picture).await,
        false => BTreeMap::new(),
    };
    let nodes: Vec<Sized> = picture
        .nodes()
        .into_iter()
        .map(|node| {
            let (bytes, free_bytes) = sizes.get(&node.node).copied().unzip();
            Sized { node, bytes, free_bytes: free_bytes.flatten() }
        })
        .collect();
    if context.out.json(&nodes)? {
        return Ok(());
    }
    let mut headings = HEADINGS.to_vec();
    if args.sizes {
        headings.extend(["bytes", "free"]);
    }
    let people = context.out.style == crate::output::Style::Table;
    let bytes = |bytes: Option<i64>| match bytes {
        Some(bytes) if people => size(bytes),
        bytes => shown(bytes),
    };
    let rows: Vec<Vec<String>> = nodes
        .iter()
        .map(|sized| {
            let mut row = row(&sized.node);
            if args.sizes {
                row.extend([bytes(sized.bytes), bytes(sized.free_bytes)]);
            }
            row
        })
        .collect();
    Ok(context.out.rows(&headings, &rows)?)
}

/// The columns of [`row`].
pub(crate) const HEADINGS: [&str; 9] =
    ["node", "address", "rack", "roles", "state", "leaders", "preferred", "replicas", "behind"];

/// One line of the table of nodes.
pub(crate) fn row(node: &Node) -> Vec<String> {
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        node.node.to_string(),
        text(&node.address),
        text(&node.rack),
        node.roles.join("+"),
        node.state.to_owned(),
        node.leaders.to_string(),
        node.preferred.to_string(),
        node.replicas.to_string(),
        node.behind.to_string(),
    ]
}

/// Bytes stored and bytes left of each broker that answers.
async fn sizes(admin: &Admin, picture: &Picture) -> BTreeMap<i32, (i64, Option<i64>)> {
    let mut found = BTreeMap::new();
    for NodeId(id) in picture.alive().into_keys() {
        let Ok(dirs) = admin.describe_log_dirs(NodeId(id)).await else { continue };
        let bytes = dirs.iter().flat_map(|dir| dir.replicas.values()).sum();
        let free = dirs.iter().filter_map(|dir| dir.usable_bytes).min();
        found.insert(id, (bytes, free));
    }
    found
}
