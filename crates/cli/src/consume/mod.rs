//! `millstream consume`: records become lines of standard output.

mod format;
mod start;

use std::io::Write as _;
use std::time::Duration;

use millstream_client::{Consumer, ConsumerConfig, ConsumerRecord, Isolation, OffsetReset};
use millstream_env::process;

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::progress::Progress;
use format::{Field, Format};

/// How long one poll waits: how soon the end is noticed.
const POLL: Duration = Duration::from_millis(250);

/// Read records to standard output
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  millstream consume greetings --from-beginning
  millstream consume orders --from-time 2h --exit-at-end --json
  millstream consume orders --partition 0 --offset 120 --max-messages 5 --keys --headers
  millstream consume orders --group billing

Without a group and without a place to start, only what comes from now on is read.
With --group the group's committed offsets say where to go on; --from-beginning and
--from-time then count only where the group has committed nothing. Times are
2026-08-01T12:30:00Z, 2026-08-01, milliseconds since 1970, or how long ago: 15m, 6h, 7d.")]
pub(crate) struct Args {
    /// The topics
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    #[command(flatten)]
    from: start::From,
    /// Only this partition; may be repeated
    #[arg(short, long = "partition", value_name = "N", conflicts_with = "group",
          value_parser = clap::value_parser!(i32).range(0..))]
    partitions: Vec<i32>,
    /// Read as a member of this group and commit
    #[arg(short, long)]
    group: Option<String>,
    /// Do not commit
    #[arg(long, requires = "group")]
    no_commit: bool,
    /// Stop after this many records
    #[arg(short = 'n', long, value_name = "N")]
    max_messages: Option<usize>,
    /// Stop at the end instead of waiting for more
    #[arg(short, long)]
    exit_at_end: bool,
    /// Show keys: key, tab, value
    #[arg(short, long)]
    keys: bool,
    /// Show headers: name=value,name=value
    #[arg(short = 'H', long)]
    headers: bool,
    /// Show these before each value, with commas between
    #[arg(long, value_enum, value_delimiter = ',', value_name = "FIELD,...")]
    show: Vec<Field>,
    /// What stands between the fields; \t is a tab
    #[arg(long, value_name = "TEXT", default_value = "\\t")]
    separator: String,
    /// What stands for null
    #[arg(long, value_name = "TEXT", default_value = "null")]
    null: String,
    /// Leave out records of open and aborted transactions
    #[arg(long)]
    read_committed: bool,
}

impl Args {
    fn config(&self, reset: OffsetReset) -> ConsumerConfig {
        let isolation = match self.read_committed {
            true => Isolation::ReadCommitted,
            false => Isolation::ReadUncommitted,
        };
        ConsumerConfig {
            group_id: self.group.clone(),
            auto_commit: self.group.is_some() && !self.no_commit,
            offset_reset: reset,
            isolation,
            ..ConsumerConfig::default()
        }
    }

    fn format(&self, json: bool) -> Format {
        let mut fields = self.show.clone();
        fields.extend(self.headers.then_some(Field::Headers));
        fields.extend(self.keys.then_some(Field::Key));
        Format::new(json, fields, &self.separator, &self.null)
    }
}

pub(crate) async fn run(context: &Context, args: Args) -> Outcome {
    let cluster = context.cluster().await?;
    let start = args.from.resolve()?;
    let config = args.config(start.reset());
    let consumer = start::begin(&cluster, &args, config, start, context.timeout).await?;
    let progress = Progress::records(std::io::IsTerminal::is_terminal(&std::io::stdout()));
    let mut reading = Reading { consumer, format: args.format(context.out.is_json()), read: 0 };
    let stop = process::stop_signal().map_err(Failure::failed)?;
    let outcome = tokio::select! {
        outcome = reading.all(context, &args, &progress) => outcome,
        () = stop => Ok(()),
    };
    progress.finish();
    // What could not be written was not read: no last commit then.
    if outcome.is_ok() {
        reading.consumer.close().await;
    }
    outcome
}

struct Reading {
    consumer: Consumer,
    format: Format,
    read: usize,
}

impl Reading {
    async fn all(&mut self, context: &Context, args: &Args, progress: &Progress) -> Outcome {
        loop {
            let left = args.max_messages.map_or(usize::MAX, |most| most.saturating_sub(self.read));
            if left == 0 {
                return Ok(());
            }
            let records = self.consumer.poll_at_most(left, POLL).await?;
            self.write(context, &records)?;
            self.read += records.len();
            progress.add(records.len());
            if records.is_empty() && args.exit_at_end && self.consumer.reached_end() {
                return Ok(());
            }
        }
    }

    fn write(&self, context: &Context, records: &[ConsumerRecord]) -> Outcome {
        if records.is_empty() {
            return Ok(());
        }
        let mut out = context.out.writer();
        for record in records {
            self.format.write(&mut out, record)?;
        }
        Ok(out.flush()?)
    }
}
