//! `millstream cluster decommission`.

use std::time::Duration;

use millstream_base::NodeId;
use millstream_client::Admin;
use millstream_env::process;
use millstream_env::task::sleep;
use serde::Serialize;

use super::many;
use super::moves::{self, Move};
use super::picture::Picture;
use super::plan::{Placement, Wanted, spread};
use super::quorum::directory_of_voter;
use super::throttle::{self, Throttle};
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::output::say;
use crate::progress::Steps;

/// Empty a broker for good and forget it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream cluster decommission 3               # shows what would move where
  millstream cluster decommission 3 --execute
  millstream cluster decommission 3 --execute --throttle 50MB

Moves every replica to other brokers, takes the node's vote if it has one, waits until the node was
stopped, and unregisters it. A broker that is dead already is emptied from the replicas that are left.
Ctrl-C stops the waiting, not the moving; the same command goes on where it was.")]
pub(crate) struct Args {
    /// The broker's id
    #[arg(value_name = "ID")]
    broker: i32,
    /// Do it
    #[arg(long)]
    execute: bool,
    /// Move at most this many bytes a second on each broker, such as 50MB
    #[arg(long, value_name = "BYTES", value_parser = throttle::rate, requires = "execute")]
    throttle: Option<u64>,
}

#[derive(Serialize)]
struct Planned {
    broker: i32,
    executed: bool,
    moves: Vec<Move>,
}

/// How often the cluster is asked whether the node has gone.
const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let picture = Picture::take(&admin).await?;
    let id = NodeId(args.broker);
    if !picture.cluster.brokers.iter().any(|known| known.broker.id == id) {
        return Err(Failure::new(Exit::NotFound, format!("there is no broker {id}"))
            .hint("`millstream cluster brokers` shows the brokers"));
    }
    let current = picture.placement();
    let plan = plan(&picture, &current, id)?;
    let sizes = moves::sizes(&admin, picture.alive().into_keys()).await;
    let shown = moves::moves(&current, &plan, &sizes);
    if context.out.is_json() {
        context.out.json(&Planned { broker: id.0, executed: args.execute, moves: shown })?;
    } else if plan.is_empty() {
        say(&format!("broker {id} holds no replica"));
    } else {
        moves::show(context.out, &current, &plan, &shown)?;
    }
    if !args.execute {
        say("nothing was changed; --execute does it");
        return Ok(());
    }
    if !plan.is_empty() {
        empty(&admin, args, &picture, (&current, &plan)).await?;
    }
    take_vote(&admin, &picture, id).await?;
    until_stopped(&admin, id).await?;
    // What was placed on it meanwhile would go with it.
    let left = holds(&Picture::take(&admin).await?.placement(), id);
    if left > 0 {
        let message = format!("broker {id} was given {} meanwhile", many(left, "replica"));
        return Err(Failure::failed(message).hint("give the same command again"));
    }
    admin.unregister_broker(id).await?;
    say(&format!("broker {id} is out of the cluster; its directories can be deleted"));
    Ok(())
}

fn holds(placement: &Placement, id: NodeId) -> usize {
    placement.values().filter(|replicas| replicas.contains(&id)).count()
}

fn plan(picture: &Picture, current: &Placement, id: NodeId) -> Result<Placement, Failure> {
    let mut targets = picture.alive();
    targets.remove(&id);
    if targets.is_empty() {
        return Err(Failure::failed(format!("broker {id} is the last one alive, and must stay")));
    }
    let on_it = current.iter().filter(|(_, replicas)| replicas.contains(&id));
    let scope = on_it.map(|(partition, _)| partition.clone()).collect();
    let mut keep = picture.dead();
    keep.remove(&id);
    let wanted =
        Wanted { targets: &targets, keep: &keep, scope: &scope, replicas: None, even: false };
    spread(current, &wanted).map_err(|why| {
        Failure::failed(why).hint(
            "add a broker first, or lower the number: `millstream cluster reassign --replicas N --execute`",
        )
    })
}

async fn empty(
    admin: &Admin,
    args: &Args,
    picture: &Picture,
    (current, plan): (&Placement, &Placement),
) -> Outcome {
    if let Some(rate) = args.throttle {
        Throttle::new(rate, current, plan).set(admin).await?;
    }
    moves::carry_out(admin, plan).await?;
    say(&format!("moved {}", many(plan.len(), "partition")));
    if args.throttle.is_some() {
        let brokers = picture.alive().into_keys().collect();
        let topics = plan.keys().map(|partition| partition.topic.to_string()).collect();
        throttle::clear(admin, &brokers, &topics).await?;
    }
    Ok(())
}

async fn take_vote(admin: &Admin, picture: &Picture, id: NodeId) -> Outcome {
    let Some(quorum) = &picture.quorum else { return Ok(()) };
    if !quorum.voters.iter().any(|voter| voter.id == id) {
        return Ok(());
    }
    let directory = directory_of_voter(quorum, id.0)?;
    admin.remove_raft_voter(id, directory).await?;
    say(&format!(
        "node {id} has no vote any more; take it out of controller.quorum.voters on the others"
    ));
    Ok(())
}

/// Waits until the broker is not alive.
async fn until_stopped(admin: &Admin, id: NodeId) -> Outcome {
    if !is_alive(admin, id).await? {
        return Ok(());
    }
    say(&format!("broker {id} holds nothing any more: stop it now"));
    let stop = process::stop_signal()?;
    let steps = Steps::waiting(&format!("waiting until broker {id} was stopped"));
    let gone = async {
        while is_alive(admin, id).await? {
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    };
    tokio::select! {
        outcome = gone => {
            steps.finish();
            outcome
        }
        () = stop => {
            steps.finish();
            Err(Failure::failed(format!("stopped waiting; broker {id} is empty and registered"))
                .hint("give the same command again once it was stopped"))
        }
    }
}

async fn is_alive(admin: &Admin, id: NodeId) -> Result<bool, Failure> {
    let brokers = admin.describe_cluster().await?.brokers;
    Ok(brokers.iter().any(|known| known.broker.id == id && !known.is_fenced))
}
