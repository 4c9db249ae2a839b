//! `millstream cluster`: one file per verb.

mod brokers;
mod decommission;
mod elect;
mod moves;
pub(crate) mod picture;
mod plan;
mod quorum;
mod reassign;
mod status;
mod throttle;

use clap::Subcommand;
pub(crate) use status::problems;

use crate::context::Context;
use crate::failure::Outcome;

/// The verbs of `cluster`.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show how the cluster is, and what is wrong with it
    Status(status::Args),
    /// Show each broker with what it holds and leads
    Brokers(brokers::Args),
    /// Show the metadata quorum; add and remove voters
    Quorum(quorum::Args),
    /// Move replicas: spread them evenly, off some brokers, more or fewer of them
    Reassign(reassign::Args),
    /// Elect leaders: the preferred ones, or any replica that is left
    Elect(elect::Args),
    /// Empty a broker for good and forget it
    Decommission(decommission::Args),
}

pub(crate) async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Status(args) => status::run(context, &args).await,
        Command::Brokers(args) => brokers::run(context, &args).await,
        Command::Quorum(args) => quorum::run(context, &args).await,
        Command::Reassign(args) => reassign::run(context, &args).await,
        Command::Elect(args) => elect::run(context, &args).await,
        Command::Decommission(args) => decommission::run(context, &args).await,
    }
}

/// A number, or a dash where there is none.
pub(crate) fn shown(number: Option<impl ToString>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

/// The first few of many names.
fn some(names: &[String]) -> String {
    const MOST: usize = 8;
    let first = names.iter().take(MOST).cloned().collect::<Vec<_>>().join(" ");
    if names.len() > MOST { format!("{first} and {} more", names.len() - MOST) } else { first }
}

/// `1 partition`, `2 partitions`.
fn many(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A size for people.
fn size(bytes: i64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    let mut rest = 0;
    while value >= 1024 && unit + 1 < UNITS.len() {
        rest = value % 1024;
        value /= 1024;
        unit += 1;
    }
    let unit_name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 || value >= 100 {
        return format!("{value} {unit_name}");
    }
    format!("{value}.{} {unit_name}", rest * 10 / 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_and_counts_are_for_people() {
        assert_eq!(super::size(0), "0 B");
        assert_eq!(super::size(1536), "1.5 KiB");
        assert_eq!(super::size(200 << 20), "200 MiB");
        assert_eq!(super::many(1, "replica"), "1 replica");
        let names: Vec<String> = (0..9).map(|n| format!("t-{n}")).collect();
        assert_eq!(super::some(&names), "t-0 t-1 t-2 t-3 t-4 t-5 t-6 t-7 and 1 more");
    }
}
