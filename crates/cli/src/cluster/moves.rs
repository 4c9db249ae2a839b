//! Moving replicas and waiting for it: shared by `reassign` and `decommission`.
//!
//! The cluster moves replicas by itself once it was told to. Who stops waiting stops nothing: the work goes on, and can be
//! looked at and cancelled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream_base::{NodeId, TopicPartition};
use millstream_client::{Admin, ClientError};
use millstream_env::process;
use millstream_env::task::{Instant, sleep};
use serde::Serialize;

use super::plan::{Placement, copies};
use super::{many, size};
use crate::failure::{Failure, Outcome};
use crate::output::{Output, Style, say};
use crate::progress::Steps;

/// How often the cluster is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(300);

/// How often a pipe is told.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A partition of a plan.
#[derive(Debug, Serialize)]
pub(super) struct Move {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) from: Vec<i32>,
    pub(super) to: Vec<i32>,
    /// Bytes to copy, where the brokers say how large the partition is.
    pub(super) bytes: Option<i64>,
}

/// The plan as it is shown.
pub(super) fn moves(
    current: &Placement,
    plan: &Placement,
    sizes: &BTreeMap<TopicPartition, i64>,
) -> Vec<Move> {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
    let one = |(partition, to): (&TopicPartition, &Vec<NodeId>)| {
        let from = current.get(partition).map(Vec::as_slice).unwrap_or_default();
        let new = to.iter().filter(|node| !from.contains(node)).count();
        let copied = i64::try_from(new).unwrap_or(i64::MAX);
        Move {
            topic: partition.topic.to_string(),
            partition: partition.partition.0,
            from: numbers(from),
            to: numbers(to),
            bytes: sizes.get(partition).map(|bytes| bytes.saturating_mul(copied)),
        }
    };
    plan.iter().map(one).collect()
}

/// Shows the plan: a table and a sum for people.
pub(super) fn show(out: Output, current: &Placement, plan: &Placement, moves: &[Move]) -> Outcome {
    let people = out.style == Style::Table;
    let list = |nodes: &[i32]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let rows: Vec<Vec<String>> = moves
        .iter()
        .map(|one| {
            let bytes = match one.bytes {
                Some(bytes) if people => size(bytes),
                bytes => super::shown(bytes),
            };
            vec![
                one.topic.clone(),
                one.partition.to_string(),
                list(&one.from),
                list(&one.to),
                bytes,
            ]
        })
        .collect();
    out.rows(&["topic", "partition", "from", "to", "copied"], &rows)?;
    if people {
        let bytes: i64 = moves.iter().filter_map(|one| one.bytes).sum();
        out.line(&format!(
            "\n{} change, {} are copied ({})",
            many(plan.len(), "partition"),
            many(copies(current, plan).len(), "replica"),
            size(bytes)
        ))?;
    }
    Ok(())
}

/// The size of each partition as its largest replica shows it; partitions of brokers that do not answer are left out.
pub(super) async fn sizes(
    admin: &Admin,
    brokers: impl IntoIterator<Item = NodeId>,
) -> BTreeMap<TopicPartition, i64> {
    let mut sizes = BTreeMap::new();
    for node in brokers {
        let Ok(dirs) = admin.describe_log_dirs(node).await else { continue };
        for (partition, bytes) in dirs.into_iter().flat_map(|dir| dir.replicas) {
            let most = sizes.entry(partition).or_insert(bytes);
            *most = bytes.max(*most);
        }
    }
    sizes
}

/// Tells the cluster to move, and waits until it has.
pub(super) async fn carry_out(admin: &Admin, plan: &Placement) -> Outcome {
    let targets = plan.iter().map(|(at, replicas)| (at.clone(), Some(replicas.clone()))).collect();
    let outcomes = admin.alter_reassignments(&targets).await?;
    let (mut begun, mut failed) = (BTreeSet::new(), 0);
    for (partition, outcome) in outcomes {
        match outcome {
            Ok(()) => {
                begun.insert(partition);
            }
            Err(error) => {
                failed += 1;
                say(&format!("not moved: {error}"));
            }
        }
    }
    wait(admin, &begun).await?;
    match failed {
        0 => Ok(()),
        count => Err(Failure::failed(format!("{} could not be moved", many(count, "partition")))),
    }
}

/// Waits until none of `partitions` moves any more.
pub(super) async fn wait(admin: &Admin, partitions: &BTreeSet<TopicPartition>) -> Outcome {
    let stop = process::stop_signal()?;
    let steps = Steps::new("moving", partitions.len());
    tokio::select! {
        outcome = until_done(admin, partitions, &steps) => {
            steps.finish();
            outcome.map_err(Failure::from)
        }
        () = stop => {
            steps.finish();
            Err(Failure::failed("stopped waiting; the cluster goes on moving").hint(
                "`millstream cluster reassign --status` shows how far it is, `--cancel` stops it",
            ))
        }
    }
}

async fn until_done(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
    steps: &Steps,
) -> Result<(), ClientError> {
    let mut told = Instant::now();
    loop {
        let moving = admin.list_reassignments(None).await?;
        let left = moving.iter().filter(|(partition, _)| partitions.contains(*partition));
        let replicas: usize = left.clone().map(|(_, moving)| moving.adding.len()).sum();
        let left = left.count();
        steps.set(partitions.len() - left, &format!("{} to come", many(replicas, "replica")));
        if left == 0 {
            return Ok(());
        }
        if steps.is_hidden() && told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            say(&format!("{} of {} partitions moved", partitions.len() - left, partitions.len()));
        }
        sleep(LOOK_EVERY).await;
    }
}
