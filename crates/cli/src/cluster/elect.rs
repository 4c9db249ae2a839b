//! `millstream cluster elect`.

use std::collections::BTreeSet;

use millstream_client::Election;
use serde::Serialize;

use super::many;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::group::scope::{Chosen, chosen};
use crate::output::say;

/// Elect leaders: the preferred ones, or any replica that is left
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream cluster elect                                 # preferred leaders, where they are in sync
  millstream cluster elect --topic orders:0,3
  millstream cluster elect --unclean --topic orders:0      # gives up records that only lost brokers have

The cluster elects preferred leaders by itself every leader.imbalance.check.interval.seconds; this does it
now. An unclean election takes a replica that lacks records, for partitions that nobody leads; what it
lacks is lost. In a pipe each line has the partition.")]
pub(crate) struct Args {
    /// Only a topic, or some of its partitions; may be repeated
    #[arg(long = "topic", value_name = "NAME[:PARTITION,...]", value_parser = chosen)]
    topics: Vec<Chosen>,
    /// Also a replica that lacks records, where none in sync is left; needs --topic
    #[arg(long, requires = "topics")]
    unclean: bool,
}

#[derive(Serialize)]
struct Elected {
    election: &'static str,
    elected: Vec<String>,
    failed: Vec<Failed>,
}

#[derive(Serialize)]
struct Failed {
    partition: String,
    error: String,
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let admin = context.admin().await?;
    let mut only = BTreeSet::new();
    for topic in &args.topics {
        only.extend(topic.partitions(&admin).await?);
    }
    let only = (!args.topics.is_empty()).then_some(&only);
    let (election, word) = match args.unclean {
        true => (Election::Unclean, "unclean"),
        false => (Election::Preferred, "preferred"),
    };
    let outcomes = admin.elect_leaders(election, only).await?;
    let (mut elected, mut failed) = (Vec::new(), Vec::new());
    for (partition, outcome) in outcomes {
        match outcome {
            Ok(()) => elected.push(partition.to_string()),
            Err(error) => {
                failed.push(Failed { partition: partition.to_string(), error: error.to_string() });
            }
        }
    }
    let document = Elected { election: word, elected, failed };
    if !context.out.json(&document)? {
        for failed in &document.failed {
            say(&format!("not elected: {}", failed.error));
        }
        let rows: Vec<Vec<String>> =
            document.elected.iter().map(|name| vec![name.clone()]).collect();
        if context.out.style == crate::output::Style::Table {
            context.out.line(&summary(&document))?;
        } else {
            context.out.rows(&["partition"], &rows)?;
        }
    }
    match document.failed.len() {
        0 => Ok(()),
        count => Err(Failure::failed(format!("{} elected no leader", many(count, "partition")))),
    }
}

fn summary(document: &Elected) -> String {
    match document.elected.len() {
        0 if document.failed.is_empty() => {
            "nothing to elect: every partition has the leader that it should have".to_owned()
        }
        count => format!("{} got a new leader", many(count, "partition")),
    }
}
