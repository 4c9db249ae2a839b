//! `millstream group reset`: where a group goes on reading.
//!
//! Key types: [`To`] (where to), [`Move`] (what it means for one partition). As Kafka users expect: nothing is
//! changed without `--execute`; the group must have no members, as those would commit over it; an offset that is
//! not there becomes the first or the next one that is.

use std::collections::{BTreeMap, BTreeSet};

use millstream_base::{Offset, TimestampMs, TopicPartition};
use millstream_client::{
    Admin, ClientError, CommittedOffset, CommittedOffsets, ListedOffsets, OffsetSpec,
};
use millstream_env::clock::{Clock as _, SystemClock};
use serde::Serialize;

use super::scope::Scope;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::time;

/// Change where a group goes on reading
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream group reset billing --topic orders --to-earliest
  millstream group reset billing --topic orders:0,2 --to-time 2026-08-01T12:00 --execute
  millstream group reset billing --all-topics --shift-by -100 --execute

Without --execute it only shows what it would do. The group must have no members: stop its
consumers first. Offsets that are not there become the first or the next one that is. A group
that does not exist comes into being. In a pipe each line has: group, topic, partition, old
offset, new offset.")]
pub(crate) struct Args {
    /// The group's id
    #[arg(value_name = "GROUP")]
    group: String,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    to: ToArgs,
    /// Do it, instead of only showing what would be done
    #[arg(long)]
    execute: bool,
}

/// The options that say where to; exactly one of them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct ToArgs {
    /// The first record that is there
    #[arg(long)]
    to_earliest: bool,
    /// Behind the last record
    #[arg(long)]
    to_latest: bool,
    /// The first record of this time or later: 2026-08-01T12:30Z, 2026-08-01, or how long ago, such as 6h
    #[arg(long, value_name = "TIME", visible_alias = "to-datetime")]
    to_time: Option<String>,
    /// So many records on from the committed offset, or back where negative
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// This offset
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
}

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Earliest,
    Latest,
    Time(TimestampMs),
    Shift(i64),
    Offset(i64),
}

impl ToArgs {
    fn resolve(&self, now: TimestampMs) -> Result<To, Failure> {
        if let Some(text) = &self.to_time {
            let ms = time::parse(text, now.0).map_err(Failure::usage)?;
            return Ok(To::Time(TimestampMs(ms.max(0))));
        }
        Ok(match (self.to_earliest, self.shift_by, self.to_offset) {
            (true, _, _) => To::Earliest,
            (_, Some(by), _) => To::Shift(by),
            (_, _, Some(offset)) => To::Offset(offset),
            _ => To::Latest,
        })
    }
}

/// What is there of a partition, and where the group is in it.
#[derive(Clone, Copy, Debug)]
struct Known {
    first: i64,
    end: i64,
    committed: Option<i64>,
    /// The first record of the time asked for.
    at_time: Option<i64>,
}

impl To {
    /// The new offset; `None` where there is nothing to shift.
    fn offset(self, known: Known) -> Option<i64> {
        let wanted = match self {
            Self::Earliest => known.first,
            Self::Latest => known.end,
            Self::Time(_) => known.at_time.unwrap_or(known.end),
            Self::Shift(by) => known.committed?.saturating_add(by),
            Self::Offset(offset) => offset,
        };
        Some(wanted.clamp(known.first, known.end.max(known.first)))
    }
}

/// What is done to one partition.
#[derive(Debug, Serialize)]
struct Move {
    topic: String,
    partition: i32,
    old: Option<i64>,
    new: i64,
}

#[derive(Serialize)]
struct Reset<'a> {
    group: &'a str,
    executed: bool,
    partitions: &'a [Move],
}

pub(super) async fn run(context: &Context, args: &Args) -> Outcome {
    let to = args.to.resolve(SystemClock::new().now_ms())?;
    let admin = context.admin().await?;
    super::refuse_members(&admin, &args.group).await?;
    let committed = admin.committed_offsets(&args.group).await?;
    let partitions = args.scope.partitions(&admin, &committed).await?;
    if partitions.is_empty() {
        return Err(Failure::failed(format!("group `{}` has committed nothing", args.group))
            .hint("--topic NAME says what it is to read"));
    }
    let moves = plan(&admin, to, &committed, &partitions).await?;
    if args.execute {
        let offsets: CommittedOffsets = moves
            .iter()
            .map(|each| {
                let partition = TopicPartition::new(each.topic.as_str(), each.partition);
                (partition, CommittedOffset::at(Offset(each.new)))
            })
            .collect();
        admin.set_committed_offsets(&args.group, &offsets).await?;
    }
    show(context, args, &moves)
}

async fn plan(
    admin: &Admin,
    to: To,
    committed: &CommittedOffsets,
    partitions: &BTreeSet<TopicPartition>,
) -> Result<Vec<Move>, ClientError> {
    let firsts = listed(admin, partitions, OffsetSpec::Earliest).await?;
    let ends = listed(admin, partitions, OffsetSpec::Latest).await?;
    let at_time = match to {
        To::Time(at) => listed(admin, partitions, OffsetSpec::At(at)).await?,
        _ => ListedOffsets::new(),
    };
    let offset = |listed: &ListedOffsets, partition| {
        listed.get(partition).copied().flatten().map(|listed| listed.offset.get())
    };
    let mut moves = Vec::with_capacity(partitions.len());
    for partition in partitions {
        let old = committed.get(partition).map(|committed| committed.offset.get());
        let known = Known {
            first: offset(&firsts, partition).unwrap_or(0),
            end: offset(&ends, partition).unwrap_or(0),
            committed: old,
            at_time: offset(&at_time, partition),
        };
        match to.offset(known) {
            Some(new) => moves.push(Move {
                topic: partition.topic.to_string(),
                partition: partition.partition.get(),
                old,
                new,
            }),
            None => say(&format!("{partition}: nothing committed, so nothing to shift")),
        }
    }
    Ok(moves)
}

async fn listed(
    admin: &Admin,
    partitions: &BTreeSet<TopicPartition>,
    spec: OffsetSpec,
) -> Result<ListedOffsets, ClientError> {
    let wanted: BTreeMap<_, _> = partitions.iter().map(|each| (each.clone(), spec)).collect();
    admin.list_offsets(&wanted).await
}

fn show(context: &Context, args: &Args, moves: &[Move]) -> Outcome {
    let document = Reset { group: &args.group, executed: args.execute, partitions: moves };
    if context.out.json(&document)? {
        return Ok(());
    }
    let row = |each: &Move| {
        vec![
            args.group.clone(),
            each.topic.clone(),
            each.partition.to_string(),
            each.old.map_or_else(|| "-".to_owned(), |old| old.to_string()),
            each.new.to_string(),
        ]
    };
    let rows: Vec<Vec<String>> = moves.iter().map(row).collect();
    context.out.rows(&["group", "topic", "partition", "old", "new"], &rows)?;
    if !args.execute {
        say("nothing was changed: --execute does it");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A partition with the records 10 to 19, of which the group has read up to 14.
    const KNOWN: Known = Known { first: 10, end: 20, committed: Some(15), at_time: Some(12) };

    #[test]
    fn where_to() {
        for (to, expected) in [
            (To::Earliest, 10),
            (To::Latest, 20),
            (To::Time(TimestampMs(5)), 12),
            (To::Shift(3), 18),
            (To::Shift(-3), 12),
            (To::Shift(100), 20),
            (To::Shift(i64::MIN), 10),
            (To::Offset(11), 11),
            (To::Offset(3), 10),
            (To::Offset(i64::MAX), 20),
        ] {
            assert_eq!(to.offset(KNOWN), Some(expected), "{to:?}");
        }
    }

    #[test]
    fn a_time_later_than_all_records_is_the_end() {
        let known = Known { at_time: None, ..KNOWN };
        assert_eq!(To::Time(TimestampMs(5)).offset(known), Some(20));
    }

    #[test]
    fn nothing_committed_cannot_be_shifted() {
        let known = Known { committed: None, ..KNOWN };
        assert_eq!(To::Shift(1).offset(known), None);
        assert_eq!(To::Earliest.offset(known), Some(10));
    }
}
