//! `millstream cluster quorum`.

use millstream_base::{NodeId, Uuid};
use millstream_client::{
    Admin, ClientError, ConnectionError, QuorumDescription, QuorumReplica, RaftListener,
};
use millstream_env::clock::{Clock as _, SystemClock};
use serde::Serialize;

use super::shown;
use crate::context::Context;
use crate::failure::{Exit, Failure, Outcome};
use crate::group::watch::Watch;
use crate::output::{Style, say};

/// Show the metadata quorum; add and remove voters
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream cluster quorum
  millstream cluster quorum --watch
  millstream cluster quorum --add-voter 4@host4:9093
  millstream cluster quorum --remove-voter 2

A voter that is added must run already and follow the quorum as an observer. HEARD is how long ago the
leader heard of a node, LAG how many records of metadata it has yet to get. In a pipe each line has: node,
role, directory, end of log, lag, milliseconds since it was heard of.")]
pub(crate) struct Args {
    /// Make a controller that follows the quorum a voter: its id, and where its controller listener is reached
    #[arg(long, value_name = "ID@HOST:PORT", value_parser = voter, conflicts_with = "remove_voter")]
    add_voter: Option<NewVoter>,
    /// Take the vote from a controller
    #[arg(long, value_name = "ID")]
    remove_voter: Option<i32>,
    #[command(flatten)]
    watch: Watch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct NewVoter {
    id: i32,
    host: String,
    port: u16,
}

fn voter(text: &str) -> Result<NewVoter, String> {
    let parse = || {
        let (id, address) = text.split_once('@')?;
        let (host, port) = address.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let id = id.parse().ok().filter(|id| *id >= 0)?;
        (!host.is_empty()).then_some(())?;
        Some(NewVoter { id, host: host.to_owned(), port: port.parse().ok()? })
    };
    parse().ok_or_else(|| "expected ID@HOST:PORT, such as 4@host4:9093".to_owned())
}

#[derive(Serialize)]
struct Shown {
    leader: Option<i32>,
    epoch: i32,
    high_watermark: i64,
    replicas: Vec<Replica>,
}

#[derive(Serialize)]
struct Replica {
    node: i32,
    role: &'static str,
    directory: Option<String>,
    log_end: Option<i64>,
    lag: Option<i64>,
    heard_ms: Option<i64>,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    if let Some(voter) = &args.add_voter {
        return add(context, voter).await;
    }
    if let Some(id) = args.remove_voter {
        return remove(context, id).await;
    }
    args.watch.run(context, async || look(context).await).await
}

async fn described(admin: &Admin) -> Result<QuorumDescription, Failure> {
    admin.describe_quorum().await.map_err(|error| match error {
        ClientError::Connection(ConnectionError::Unsupported { .. }) => {
            Failure::failed("this broker does not tell of its quorum")
        }
        error => error.into(),
    })
}

async fn look(context: &Context) -> Outcome {
    let admin = context.admin().await?;
    let quorum = described(&admin).await?;
    let now = SystemClock::new().now_ms().0;
    let voters = quorum.voters.iter().map(|voter| replica(&quorum, voter, true, now));
    let observers = quorum.observers.iter().map(|node| replica(&quorum, node, false, now));
    let shown_quorum = Shown {
        leader: quorum.leader.map(|leader| leader.0),
        epoch: quorum.epoch,
        high_watermark: quorum.high_watermark,
        replicas: voters.chain(observers).collect(),
    };
    if context.out.json(&shown_quorum)? {
        return Ok(());
    }
    let people = context.out.style == Style::Table;
    if people {
        context.out.line(&format!(
            "leader {}, epoch {}, committed up to {}",
            shown(shown_quorum.leader),
            quorum.epoch,
            quorum.high_watermark
        ))?;
    }
    let heard = |ms: Option<i64>| match ms {
        Some(ms) if people && ms < 10_000 => format!("{ms} ms ago"),
        Some(ms) if people => format!("{} s ago", ms / 1000),
        ms => shown(ms),
    };
    let rows: Vec<Vec<String>> = shown_quorum
        .replicas
        .iter()
        .map(|replica| {
            vec![
                replica.node.to_string(),
                replica.role.to_owned(),
                shown(replica.directory.clone()),
                shown(replica.log_end),
                shown(replica.lag),
                heard(replica.heard_ms),
            ]
        })
        .collect();
    Ok(context.out.rows(&["node", "role", "directory", "end", "lag", "heard"], &rows)?)
}

fn replica(quorum: &QuorumDescription, state: &QuorumReplica, votes: bool, now_ms: i64) -> Replica {
    let is_leader = quorum.leader == Some(state.id);
    let end = Some(state.log_end_offset).filter(|end| *end >= 0);
    let last = quorum.voters.iter().chain(&quorum.observers).map(|node| node.log_end_offset).max();
    let heard = Some(state.last_fetch_ms).filter(|at| *at >= 0 && !is_leader);
    Replica {
        node: state.id.0,
        role: match (is_leader, votes) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "observer",
        },
        directory: (!state.directory_id.is_zero()).then(|| state.directory_id.to_string()),
        log_end: end,
        lag: end.and_then(|end| Some((last? - end).max(0))),
        heard_ms: heard.map(|at| (now_ms - at).max(0)),
    }
}

async fn add(context: &Context, voter: &NewVoter) -> Outcome {
    let admin = context.admin().await?;
    let quorum = described(&admin).await?;
    if quorum.voters.iter().any(|known| known.id.0 == voter.id) {
        say(&format!("node {} is a voter already", voter.id));
        return Ok(());
    }
    let Some(observer) = quorum.observers.iter().find(|known| known.id.0 == voter.id) else {
        let message = format!("node {} does not follow the quorum", voter.id);
        return Err(Failure::new(Exit::NotFound, message).hint(
            "start it first, with controller among its process.roles and the quorum in controller.quorum.bootstrap.servers",
        ));
    };
    let name = quorum.listeners.values().flatten().next();
    let listener = RaftListener {
        name: name.map_or_else(|| "CONTROLLER".to_owned(), |listener| listener.name.clone()),
        host: voter.host.clone(),
        port: voter.port,
    };
    admin.add_raft_voter(NodeId(voter.id), observer.directory_id, &[listener]).await?;
    done(context, voter.id, "is a voter now").await
}

async fn remove(context: &Context, id: i32) -> Outcome {
    let admin = context.admin().await?;
    let quorum = described(&admin).await?;
    let directory = directory_of_voter(&quorum, id)?;
    admin.remove_raft_voter(NodeId(id), directory).await?;
    done(context, id, "has no vote any more").await
}

/// The directory of a voter that can be taken away.
pub(super) fn directory_of_voter(quorum: &QuorumDescription, id: i32) -> Result<Uuid, Failure> {
    let voter = quorum.voters.iter().find(|voter| voter.id.0 == id);
    let voter = voter.ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("node {id} is no voter"))
            .hint("`millstream cluster quorum` shows the voters")
    })?;
    if quorum.voters.len() == 1 {
        return Err(Failure::failed(format!("node {id} is the last voter, and must stay")));
    }
    Ok(voter.directory_id)
}

#[derive(Serialize)]
struct Changed {
    node: i32,
    voters: Vec<i32>,
}

async fn done(context: &Context, node: i32, what: &str) -> Outcome {
    let voters = context.admin().await?.describe_quorum().await?.voters;
    let document = Changed { node, voters: voters.iter().map(|voter| voter.id.0).collect() };
    if context.out.json(&document)? {
        return Ok(());
    }
    let names: Vec<String> = document.voters.iter().map(ToString::to_string).collect();
    Ok(context.out.line(&format!("node {node} {what}; the voters are {}", names.join(", ")))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn voters_are_read() {
        let read = voter("4@host4:9093").unwrap();
        assert_eq!((read.id, read.host.as_str(), read.port), (4, "host4", 9093));
        assert_eq!(voter("4@[::1]:1").unwrap().host, "::1");
        for text in ["", "4", "4@host", "x@host:1", "-1@host:1", "4@:1", "4@host:x"] {
            assert!(voter(text).is_err(), "{text}");
        }
    }
}
