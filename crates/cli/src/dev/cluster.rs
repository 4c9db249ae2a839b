//! `millstream dev cluster`.

use std::path::PathBuf;
use std::time::Duration;

use millstream_client::{Admin, ClientConfig, Cluster};
use millstream_env::process;
use millstream_env::task::{sleep, timeout};
use serde::Serialize;

use super::files::{Folder, Layout};
use super::nodes::Nodes;
use super::screen::{Screen, Seen};
use crate::cluster::picture::Picture;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::say;

/// Run a cluster of several nodes on this machine and watch it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream dev cluster
  millstream dev cluster --brokers 5 --dir ./five --base-port 19092
  millstream dev cluster --set num.partitions=6

Each node is a process of its own with a folder of its own: server.properties, data, log. The first three
nodes are controllers as well. Topics get three replicas. The same command on the same folder goes on where
it was; more --brokers add nodes. Kill a node and watch. Ctrl-C stops all, one after the other; a second
Ctrl-C ends them at once. In a pipe there is a line for each change, and `ready ADDRESSES` once all is well.")]
pub(crate) struct Args {
    /// How many nodes [default: as many as the folder has, or 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=50))]
    brokers: Option<u16>,
    /// Where settings, data and logs of all nodes lie; made if missing
    #[arg(long, value_name = "DIR", default_value = "./dev-cluster")]
    dir: PathBuf,
    /// The port of the first node; each node takes two
    #[arg(long, value_name = "PORT", default_value_t = 9092, value_parser = clap::value_parser!(u16).range(1..))]
    base_port: u16,
    /// Set one setting on every node; may be repeated
    #[arg(long = "set", value_name = "NAME=VALUE")]
    set: Vec<String>,
}

#[derive(Serialize)]
struct Ready<'a> {
    cluster: &'a str,
    bootstrap_servers: &'a [String],
    directory: String,
}

/// How often the cluster is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let folder = Folder::new(&args.dir);
    let there = u16::try_from(folder.existing()?.len()).unwrap_or(u16::MAX);
    let count = args.brokers.unwrap_or(if there == 0 { 3 } else { there });
    if count < there {
        return Err(Failure::usage(format!(
            "{} has {there} nodes, and --brokers {count} would leave some out",
            args.dir.display()
        ))
        .hint("leave --brokers out, or choose another --dir"));
    }
    let files = folder.complete(Layout { nodes: count, base_port: args.base_port })?;
    let servers: Vec<String> = files.iter().map(|node| node.address.clone()).collect();
    let stop = process::stop_signal()?;
    // A terminal that is closed must not leave nodes behind.
    let hangup = process::hangup_signal()?;
    let mut nodes = Nodes::new(files, &args.set)?;
    let mut looker = Looker { servers: servers.clone(), cluster: None };
    let mut last_seen = None;
    let outcome = match nodes.start() {
        Ok(()) => {
            tokio::select! {
                outcome = watch(context, args, (&mut nodes, &mut looker), &mut last_seen) => outcome,
                () = stop => Ok(()),
                () = hangup => Ok(()),
            }
        }
        Err(failure) => Err(failure),
    };
    if !nodes.any_runs() {
        return outcome;
    }
    say("stopping all nodes; Ctrl-C again ends them at once");
    let again = process::stop_signal()?;
    let controller = last_seen.and_then(|seen: Seen| seen.controller);
    let stopped = tokio::select! {
        stopped = nodes.stop(controller) => Some(stopped),
        () = again => None,
    };
    match stopped {
        Some(stopped) => {
            say(&format!("stopped; the same command goes on with {}", args.dir.display()));
            outcome.and(stopped)
        }
        None => {
            nodes.kill();
            Err(Failure::failed("ended by a second signal; the next start checks the logs"))
        }
    }
}

/// Shows the cluster until it is stopped, or nothing is left of it.
async fn watch(
    context: &Context,
    args: &Args,
    (nodes, looker): (&mut Nodes, &mut Looker),
    last_seen: &mut Option<Seen>,
) -> Outcome {
    let mut screen = Screen::new(context.out, args.dir.clone());
    let mut told = false;
    loop {
        nodes.look()?;
        let seen = looker.look().await;
        screen.show(nodes, seen.as_ref())?;
        if !nodes.any_runs() {
            let why: Vec<String> = nodes
                .all
                .iter()
                .filter_map(|node| {
                    Some(format!("node {}: {}", node.files.id, node.ended.as_ref()?))
                })
                .collect();
            return Err(Failure::failed(format!("every node has ended\n  {}", why.join("\n  ")))
                .hint(format!("their logs are {}/node*/log", args.dir.display())));
        }
        if let Some(seen) = seen.as_ref().filter(|seen| !told && seen.is_well(nodes.all.len())) {
            told = true;
            ready(context, args, seen, &looker.servers)?;
        }
        if seen.is_some() {
            *last_seen = seen;
        }
        let pause = if told { LOOK_EVERY } else { LOOK_EVERY / 5 };
        sleep(pause).await;
    }
}

/// For programs that start a cluster and wait for it.
fn ready(context: &Context, args: &Args, seen: &Seen, servers: &[String]) -> Outcome {
    let document = Ready {
        cluster: &seen.cluster,
        bootstrap_servers: servers,
        directory: args.dir.display().to_string(),
    };
    if !context.out.json(&document)? && context.out.style == crate::output::Style::Tabs {
        context.out.line(&format!("ready {}", servers.join(",")))?;
    }
    Ok(())
}

/// Asks the cluster how it is, over one connection for as long as that works.
struct Looker {
    servers: Vec<String>,
    cluster: Option<Cluster>,
}

impl Looker {
    /// `None` when nothing answers.
    async fn look(&mut self) -> Option<Seen> {
        let seen = timeout(LOOK_WITHIN, self.try_look()).await.ok().flatten();
        if seen.is_none() {
            self.cluster = None;
        }
        seen
    }

    async fn try_look(&mut self) -> Option<Seen> {
        let cluster = match &self.cluster {
            Some(cluster) => cluster.clone(),
            None => {
                let config = ClientConfig {
                    client_id: "millstream-dev".to_owned(),
                    api_timeout: LOOK_WITHIN,
                    request_timeout: LOOK_WITHIN,
                    connect_timeout: Duration::from_secs(1),
                    ..ClientConfig::for_servers(&self.servers.join(","))
                };
                Cluster::connect(config).await.ok()?
            }
        };
        self.cluster = Some(cluster.clone());
        let picture = Picture::take(&Admin::new(cluster)).await.ok()?;
        Some(Seen::of(&picture))
    }
}
