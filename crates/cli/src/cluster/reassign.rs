//! `millstream cluster reassign`.

use std::collections::{BTreeMap, BTreeSet};

use millstream_base::{NodeId, TopicPartition};
use millstream_client::{Admin, Election};
use serde::Serialize;

use super::moves::{self, Move};
use super::picture::Picture;
use super::plan::{Placement, Wanted, spread};
use super::throttle::{self, Throttle};
use super::{many, some};
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::group::scope::{Chosen, chosen};
use crate::output::{Style, say};

/// Move replicas: spread them evenly, off some brokers, more or fewer of them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream cluster reassign                                  # shows what would even out the cluster
  millstream cluster reassign --execute --throttle 50MB
  millstream cluster reassign --off 3 --execute
  millstream cluster reassign --topic orders --to 1,2,4 --execute
  millstream cluster reassign --topic orders --replicas 3 --execute
  millstream cluster reassign --status
  millstream cluster reassign --cancel

Without --execute nothing is changed. Replicas move only where that evens out the load; racks are kept
apart. Ctrl-C stops the waiting, not the moving. In a pipe each line has: topic, partition, replicas
before, replicas after, bytes to copy.")]
pub(crate) struct Args {
    /// Only a topic, or some of its partitions; may be repeated
    #[arg(long = "topic", value_name = "NAME[:PARTITION,...]", value_parser = chosen)]
    topics: Vec<Chosen>,
    /// Move everything off these brokers
    #[arg(long, value_name = "ID,...", value_delimiter = ',', conflicts_with = "to")]
    off: Vec<i32>,
    /// Use these brokers only
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    to: Vec<i32>,
    /// How many replicas each partition gets
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    replicas: Option<u8>,
    /// Do it
    #[arg(long)]
    execute: bool,
    /// Move at most this many bytes a second on each broker, such as 50MB
    #[arg(long, value_name = "BYTES", value_parser = throttle::rate, requires = "execute")]
    throttle: Option<u64>,
    /// Do not wait until all has moved
    #[arg(long, requires = "execute")]
    no_wait: bool,
    /// Show what moves now, and take throttles away when nothing does
    #[arg(long, conflicts_with_all = ["execute", "off", "to", "replicas", "cancel"])]
    status: bool,
    /// Stop what moves now: partitions go back to the replicas that they had
    #[arg(long, conflicts_with_all = ["execute", "off", "to", "replicas"])]
    cancel: bool,
}

#[derive(Serialize)]
struct Planned<'a> {
    executed: bool,
    moves: &'a [Move],
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    if args.status || args.cancel {
        let scope = scope(&admin, &args.topics).await?;
        return if args.cancel {
            cancel(context, &admin, scope).await
        } else {
            status(context, &admin, scope).await
        };
    }
    let picture = Picture::take(&admin).await?;
    let current = picture.placement();
    let scope = match scope(&admin, &args.topics).await? {
        Some(scope) => scope,
        None => current.keys().cloned().collect(),
    };
    let targets = targets(&picture, args)?;
    refuse_moving(&picture, &scope)?;
    // Brokers that are only down for a while keep what they have, unless it is asked for.
    let may_keep = |id: &NodeId| args.to.is_empty() && !args.off.contains(&id.0);
    let keep = picture.dead().into_iter().filter(may_keep).collect();
    let wanted = Wanted {
        targets: &targets,
        keep: &keep,
        scope: &scope,
        replicas: args.replicas.map(usize::from),
        even: args.off.is_empty() && args.replicas.is_none(),
    };
    let plan = spread(&current, &wanted).map_err(|why| {
        Failure::failed(why).hint("start another broker first, or ask for fewer with --replicas N")
    })?;
    let sizes = moves::sizes(&admin, picture.alive().into_keys()).await;
    let shown = moves::moves(&current, &plan, &sizes);
    if !context.out.json(&Planned { executed: args.execute, moves: &shown })? {
        if plan.is_empty() {
            say("nothing to move: it is as asked for already");
            return Ok(());
        }
        moves::show(context.out, &current, &plan, &shown)?;
    }
    if plan.is_empty() {
        return Ok(());
    }
    if !args.execute {
        say("nothing was changed; --execute does it");
        return Ok(());
    }
    execute(&admin, args, (&picture, &current), &plan).await
}

async fn execute(
    admin: &Admin,
    args: &Args,
    (picture, current): (&Picture, &Placement),
    plan: &Placement,
) -> Outcome {
    if let Some(rate) = args.throttle {
        Throttle::new(rate, current, plan).set(admin).await?;
    }
    if args.no_wait {
        let targets = plan.iter().map(|(at, to)| (at.clone(), Some(to.clone()))).collect();
        for outcome in admin.alter_reassignments(&targets).await?.into_values() {
            outcome?;
        }
        say("begun; `millstream cluster reassign --status` shows how far it is");
        return Ok(());
    }
    moves::carry_out(admin, plan).await?;
    if args.throttle.is_some() {
        clear_throttles(admin, picture).await?;
    }
    // Leadership follows the new order at once, and not at the next balance.
    let changed = plan.keys().cloned().collect();
    let elected = admin.elect_leaders(Election::Preferred, Some(&changed)).await?;
    let elected = elected.values().filter(|outcome| outcome.is_ok()).count();
    say(&format!("moved {}; {elected} got another leader", many(plan.len(), "partition")));
    Ok(())
}

async fn scope(
    admin: &Admin,
    topics: &[Chosen],
) -> Result<Option<BTreeSet<TopicPartition>>, Failure> {
    let mut partitions = BTreeSet::new();
    for topic in topics {
        partitions.extend(topic.partitions(admin).await?);
    }
    Ok((!topics.is_empty()).then_some(partitions))
}

/// The brokers that replicas may lie on.
fn targets(picture: &Picture, args: &Args) -> Result<BTreeMap<NodeId, Option<String>>, Failure> {
    let alive = picture.alive();
    let known = |id: &&i32| picture.cluster.brokers.iter().any(|one| one.broker.id.0 == **id);
    if let Some(id) = args.off.iter().chain(&args.to).find(|id| !known(id)) {
        return Err(Failure::new(Exit::NotFound, format!("there is no broker {id}"))
            .hint("`millstream cluster brokers` shows the brokers"));
    }
    if let Some(id) = args.to.iter().find(|id| !alive.contains_key(&NodeId(**id))) {
        return Err(Failure::failed(format!(
            "broker {id} is not alive, so nothing can move to it"
        )));
    }
    let is_target = |node: &NodeId| match args.to.is_empty() {
        true => !args.off.contains(&node.0),
        false => args.to.contains(&node.0),
    };
    let targets: BTreeMap<_, _> = alive.into_iter().filter(|(node, _)| is_target(node)).collect();
    if targets.is_empty() {
        return Err(Failure::failed("no broker is left to move to"));
    }
    Ok(targets)
}

fn refuse_moving(picture: &Picture, scope: &BTreeSet<TopicPartition>) -> Outcome {
    let moving = picture.moving.keys().filter(|partition| scope.contains(*partition));
    let moving: Vec<String> = moving.map(ToString::to_string).collect();
    if moving.is_empty() {
        return Ok(());
    }
    let message = format!("{} under way: {}", many(moving.len(), "move"), some(&moving));
    Err(Failure::failed(message).hint("`--status` shows them, `--cancel` stops them"))
}

#[derive(Serialize)]
struct Moving {
    topic: String,
    partition: i32,
    replicas: Vec<i32>,
    adding: Vec<i32>,
    removing: Vec<i32>,
}

async fn status(
    context: &Context,
    admin: &Admin,
    only: Option<BTreeSet<TopicPartition>>,
) -> Outcome {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect::<Vec<_>>();
    let moving = admin.list_reassignments(None).await?;
    let is_all = moving.is_empty();
    let moving: Vec<Moving> = moving
        .iter()
        .filter(|(at, _)| only.as_ref().is_none_or(|only| only.contains(*at)))
        .map(|(at, moving)| Moving {
            topic: at.topic.to_string(),
            partition: at.partition.0,
            replicas: numbers(&moving.replicas),
            adding: numbers(&moving.adding),
            removing: numbers(&moving.removing),
        })
        .collect();
    if is_all && clear_throttles(admin, &Picture::take(admin).await?).await? {
        say("all has moved; throttles that were left are taken away");
    }
    if context.out.json(&moving)? {
        return Ok(());
    }
    if moving.is_empty() {
        say("nothing moves");
        return Ok(());
    }
    let list = |nodes: &[i32]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let rows: Vec<Vec<String>> = moving
        .iter()
        .map(|one| {
            let (topic, partition) = (one.topic.clone(), one.partition.to_string());
            vec![topic, partition, list(&one.replicas), list(&one.adding), list(&one.removing)]
        })
        .collect();
    Ok(context.out.rows(&["topic", "partition", "replicas", "adding", "removing"], &rows)?)
}

#[derive(Serialize)]
struct Cancelled {
    cancelled: Vec<String>,
}

async fn cancel(
    context: &Context,
    admin: &Admin,
    only: Option<BTreeSet<TopicPartition>>,
) -> Outcome {
    let moving = admin.list_reassignments(None).await?;
    let meant = moving.into_keys().filter(|at| only.as_ref().is_none_or(|only| only.contains(at)));
    let targets: BTreeMap<_, _> = meant.map(|partition| (partition, None)).collect();
    let mut cancelled = Vec::new();
    let mut ending = Ok(());
    if !targets.is_empty() {
        for (partition, outcome) in admin.alter_reassignments(&targets).await? {
            match outcome {
                Ok(()) => cancelled.push(partition.to_string()),
                Err(error) => ending = Err(error.into()),
            }
        }
    }
    if only.is_none() {
        clear_throttles(admin, &Picture::take(admin).await?).await?;
    }
    let document = Cancelled { cancelled };
    if context.out.json(&document)? {
        return ending;
    }
    if context.out.style == Style::Table {
        match document.cancelled.len() {
            0 => say("nothing moves"),
            count => context.out.line(&format!("cancelled {}", many(count, "move")))?,
        }
    } else {
        let rows: Vec<Vec<String>> = document.cancelled.into_iter().map(|at| vec![at]).collect();
        context.out.rows(&["partition"], &rows)?;
    }
    ending
}

async fn clear_throttles(admin: &Admin, picture: &Picture) -> Result<bool, Failure> {
    let brokers = picture.alive().into_keys().collect();
    let topics = picture.topics.iter().map(|topic| topic.name.to_string()).collect();
    Ok(throttle::clear(admin, &brokers, &topics).await?)
}
