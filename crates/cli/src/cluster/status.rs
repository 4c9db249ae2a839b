//! `millstream cluster status`.

use serde::Serialize;

use super::picture::{Node, Picture, Trouble};
use super::{many, shown, some};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::group::watch::Watch;
use crate::output::Style;

/// Show how the cluster is, and what is wrong with it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream cluster status
  millstream cluster status --watch
  millstream cluster status --check || page-somebody

In a pipe each line has a name and a value: cluster, brokers alive, brokers known, controller,
controller epoch, topics, partitions, partitions without a leader, partitions with replicas
that are behind, partitions that move.")]
pub(crate) struct Args {
    /// Exit with 1 when something is wrong
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Serialize)]
struct Status {
    cluster: String,
    controller: Option<i32>,
    controller_epoch: Option<i32>,
    topics: usize,
    partitions: usize,
    moving: Vec<String>,
    trouble: Trouble,
    nodes: Vec<Node>,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    args.watch.run(context, async || look(context, args.check).await).await
}

async fn look(context: &Context, check: bool) -> Outcome {
    let admin = context.admin().await?;
    let picture = Picture::take(&admin).await?;
    let status = Status {
        cluster: picture.cluster.cluster_id.clone(),
        controller: picture.controller().map(|node| node.0),
        controller_epoch: picture.quorum.as_ref().map(|quorum| quorum.epoch),
        topics: picture.topics.len(),
        partitions: picture.partitions(),
        moving: picture.moving.keys().map(ToString::to_string).collect(),
        trouble: picture.trouble(),
        nodes: picture.nodes(),
    };
    let healthy = status.trouble.is_none();
    if !context.out.json(&status)? {
        match context.out.style {
            Style::Table => context.out.line(&for_people(&status).join("\n"))?,
            _ => context.out.rows(&[], &for_pipes(&status))?,
        }
    }
    if check && !healthy {
        return Err(Failure::failed("the cluster is not well").hint("`millstream cluster status`"));
    }
    Ok(())
}

fn for_people(status: &Status) -> Vec<String> {
    let (alive, known) = brokers(status);
    let epoch =
        status.controller_epoch.map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
    let mut lines = vec![
        format!("cluster     {}", status.cluster),
        format!("brokers     {alive} of {known} alive"),
        format!("controller  {}{epoch}", shown(status.controller)),
        format!(
            "data        {}, {}",
            many(status.topics, "topic"),
            many(status.partitions, "partition")
        ),
    ];
    if !status.moving.is_empty() {
        let count = many(status.moving.len(), "partition");
        lines.push(format!("moving      {count}: {}", some(&status.moving)));
    }
    lines.extend(
        problems(&status.trouble).into_iter().map(|problem| format!("WRONG       {problem}")),
    );
    if status.trouble.is_none() {
        lines.push("health      every partition has a leader, every replica is in sync".to_owned());
    }
    lines
}

/// What is wrong, a line each.
pub(crate) fn problems(trouble: &Trouble) -> Vec<String> {
    let mut lines = Vec::new();
    if trouble.no_controller {
        lines.push(
            "no controller: a majority of the voters must run, `millstream cluster quorum`"
                .to_owned(),
        );
    }
    if !trouble.fenced.is_empty() {
        let ids: Vec<String> = trouble.fenced.iter().map(ToString::to_string).collect();
        let verb = if ids.len() == 1 { "is" } else { "are" };
        lines.push(format!("broker {} {verb} not alive", ids.join(", ")));
    }
    if !trouble.leaderless.is_empty() {
        let count = many(trouble.leaderless.len(), "partition");
        lines.push(format!("{count} without a leader: {}", some(&trouble.leaderless)));
    }
    if !trouble.behind.is_empty() {
        let count = many(trouble.behind.len(), "partition");
        lines.push(format!("{count} with replicas that are behind: {}", some(&trouble.behind)));
    }
    lines
}

fn brokers(status: &Status) -> (usize, usize) {
    let brokers = status.nodes.iter().filter(|node| node.roles.contains(&"broker"));
    let alive = brokers.clone().filter(|node| node.state == "alive").count();
    (alive, brokers.count())
}

fn for_pipes(status: &Status) -> Vec<Vec<String>> {
    let (alive, known) = brokers(status);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    vec![
        row("cluster", status.cluster.clone()),
        row("brokers-alive", alive.to_string()),
        row("brokers-known", known.to_string()),
        row("controller", shown(status.controller)),
        row("controller-epoch", shown(status.controller_epoch)),
        row("topics", status.topics.to_string()),
        row("partitions", status.partitions.to_string()),
        row("leaderless", status.trouble.leaderless.len().to_string()),
        row("behind", status.trouble.behind.len().to_string()),
        row("moving", status.moving.len().to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_and_so_is_health() {
        let node = |node, state| Node { node, state, roles: vec!["broker"], ..Node::default() };
        let mut status = Status {
            cluster: "c".to_owned(),
            controller: Some(2),
            controller_epoch: Some(5),
            topics: 1,
            partitions: 3,
            moving: Vec::new(),
            trouble: Trouble::default(),
            nodes: vec![node(1, "alive"), node(2, "alive"), node(3, "fenced")],
        };
        assert_eq!(
            for_people(&status).join("\n"),
            "cluster     c\nbrokers     2 of 3 alive\ncontroller  2, epoch 5\ndata        1 topic, 3 partitions\n\
             health      every partition has a leader, every replica is in sync"
        );
        status.trouble = Trouble {
            leaderless: vec!["t-0".to_owned()],
            behind: vec!["t-0".to_owned(), "t-1".to_owned()],
            fenced: vec![3],
            no_controller: false,
        };
        let told = problems(&status.trouble).join("\n");
        assert_eq!(
            told,
            "broker 3 is not alive\n1 partition without a leader: t-0\n\
             2 partitions with replicas that are behind: t-0 t-1"
        );
    }
}
