//! `millstream produce`: lines of standard input become records.

mod input;
mod line;

use std::collections::VecDeque;
use std::io::IsTerminal as _;
use std::time::Duration;

use millstream_client::{
    Acks, Compression, Delivery, Header, ProduceError, Producer, ProducerConfig, ProducerRecord,
};
use serde::Serialize;

use crate::args::span;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::say;
use crate::progress::Progress;
use line::LineFormat;

/// Deliveries that may be open before reading goes on.
const MAX_OPEN: usize = 200_000;

/// Send records from standard input
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  echo hello | millstream produce greetings
  printf 'alice:1\\nbob:2\\n' | millstream produce visits --key-separator :
  millstream produce orders --compression zstd -H source=import < orders.txt
  printf 'lang=en\\talice\\thello\\n' | millstream produce chat --inline-headers -K '\\t'
  millstream consume orders -B -e --json | millstream produce copy --input json

JSON lines have `key`, `value`, `headers` ([{\"key\", \"value\"}]), `partition` and
`timestamp`, all optional; `key_base64` and `value_base64` carry bytes that are not text.
Records of one key stay in order, and a retry sends none twice. Stops at the first record
that is refused.")]
pub(crate) struct Args {
    /// The topic
    topic: String,
    /// What the lines are
    #[arg(short, long, value_enum, default_value_t = Input::Text)]
    input: Input,
    /// Split each line into key and value at the first of these; \t is a tab
    #[arg(short = 'K', long, value_name = "TEXT")]
    key_separator: Option<String>,
    /// The key of every record
    #[arg(short, long, conflicts_with = "key_separator")]
    key: Option<String>,
    /// A header of every record; may be repeated
    #[arg(short = 'H', long = "header", value_name = "NAME=VALUE", value_parser = crate::args::assignment)]
    headers: Vec<(String, String)>,
    /// Each line begins with its own headers (name=value,name=value) and a tab
    #[arg(long)]
    inline_headers: bool,
    /// A key or value that is exactly this becomes null
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// The partition of every record [default: the key decides]
    #[arg(short, long, value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// How batches are compressed: none, gzip, snappy, lz4 or zstd
    #[arg(short = 'z', long, default_value = "none", value_parser = compression)]
    compression: Compression,
    /// The codec's level
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    compression_level: Option<i32>,
    /// Who must have a record before it counts: 0, 1 or all
    #[arg(long, default_value = "all", value_parser = acks)]
    acks: Acks,
    /// How long a batch waits for more records
    #[arg(long, default_value = "5ms", value_parser = span)]
    linger: Duration,
    /// The largest batch before compression, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10)]
    batch_size: usize,
    /// The largest record, in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    max_record_size: usize,
    /// Ignore the partitions that JSON lines name
    #[arg(long)]
    ignore_partitions: bool,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Input {
    /// A value, or what the other options split
    Text,
    /// A JSON object
    Json,
}

#[derive(Serialize)]
struct Summary<'a> {
    topic: &'a str,
    records: u64,
}

fn compression(name: &str) -> Result<Compression, String> {
    Compression::from_name(name)
        .ok_or_else(|| "expected none, gzip, snappy, lz4 or zstd".to_owned())
}

fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "0" => Ok(Acks::None),
        "1" => Ok(Acks::Leader),
        "all" | "-1" => Ok(Acks::All),
        _ => Err("expected 0, 1 or all".to_owned()),
    }
}

impl Args {
    fn format(&self) -> LineFormat {
        let header = |(key, value): &(String, String)| Header {
            key: key.clone(),
            value: Some(value.clone().into()),
        };
        LineFormat {
            topic: self.topic.as_str().into(),
            json: self.input == Input::Json,
            key_separator: self.key_separator.as_deref().map(line::unescape),
            key: self.key.clone().map(Into::into),
            headers: self.headers.iter().map(header).collect(),
            inline_headers: self.inline_headers,
            null: self.null.clone().map(Into::into),
            partition: self.partition,
            ignore_partitions: self.ignore_partitions,
        }
    }

    fn config(&self, context: &Context) -> ProducerConfig {
        ProducerConfig {
            acks: self.acks,
            compression: self.compression,
            compression_level: self.compression_level,
            batch_size: self.batch_size.max(1),
            linger: self.linger,
            max_request_size: self.max_record_size.max(1),
            max_block: context.timeout,
            delivery_timeout: context.timeout.max(Duration::from_secs(1)),
            ..ProducerConfig::default()
        }
    }
}

pub(crate) async fn run(context: &Context, args: Args) -> Outcome {
    let format = args.format();
    let cluster = context.cluster().await?;
    let producer = Producer::new(cluster, args.config(context)).await?;
    if std::io::stdin().is_terminal() {
        say(&format!("each line is a record for {}; Ctrl-D ends", args.topic));
    }
    let progress = Progress::records(std::io::stdin().is_terminal());
    let mut sending = Sending::new(&producer, &progress);
    let outcome = sending.all(&format, input::lines(args.max_record_size)).await;
    progress.finish();
    if let Err(mut failure) = outcome {
        // What had been taken before is sent and told, so that it is known what is there.
        let delivered = sending.count_the_rest().await;
        failure.message = format!("{} ({delivered} other records were sent)", failure.message);
        return Err(failure);
    }
    let sent = sending.delivered;
    producer.close().await;
    let told = context.out.json(&Summary { topic: &args.topic, records: sent })?;
    if !told && std::io::stderr().is_terminal() {
        let plural = if sent == 1 { "" } else { "s" };
        say(&format!("sent {sent} record{plural} to {}", args.topic));
    }
    Ok(())
}

/// Records on their way, in the order of the lines.
struct Sending<'a> {
    producer: &'a Producer,
    progress: &'a Progress,
    open: VecDeque<(u64, Delivery)>,
    delivered: u64,
}

impl<'a> Sending<'a> {
    const fn new(producer: &'a Producer, progress: &'a Progress) -> Self {
        Self { producer, progress, open: VecDeque::new(), delivered: 0 }
    }

    async fn all(&mut self, format: &LineFormat, mut lines: input::Lines) -> Outcome {
        let mut number = 0;
        while let Some(chunk) = lines.next().await {
            let chunk =
                chunk.map_err(|error| Failure::failed(format!("standard input: {error}")))?;
            for line in chunk {
                number += 1;
                let record = format
                    .parse(&line)
                    .map_err(|error| Failure::failed(format!("line {number}: {error}")))?;
                self.send(number, record).await?;
            }
            self.collect_done()?;
        }
        self.producer.flush().await;
        while let Some((number, delivery)) = self.open.pop_front() {
            self.note(number, delivery.await)?;
        }
        Ok(())
    }

    /// How many records were delivered in all, after a failure.
    async fn count_the_rest(&mut self) -> u64 {
        self.producer.flush().await;
        for (_, delivery) in self.open.drain(..) {
            self.delivered += u64::from(matches!(delivery.peek(), Some(Ok(_))));
        }
        self.delivered
    }

    async fn send(&mut self, number: u64, record: ProducerRecord) -> Outcome {
        let delivery = self.producer.send(record).await.map_err(|error| at_line(number, error))?;
        self.open.push_back((number, delivery));
        if self.open.len() >= MAX_OPEN
            && let Some((number, delivery)) = self.open.pop_front()
        {
            self.note(number, delivery.await)?;
        }
        Ok(())
    }

    /// Counts what is known to be delivered, without waiting.
    fn collect_done(&mut self) -> Outcome {
        while let Some((number, delivery)) = self.open.front() {
            let Some(fate) = delivery.peek() else { return Ok(()) };
            let number = *number;
            self.open.pop_front();
            self.note(number, fate)?;
        }
        Ok(())
    }

    fn note<T>(&mut self, number: u64, fate: Result<T, ProduceError>) -> Outcome {
        fate.map_err(|error| at_line(number, error))?;
        self.delivered += 1;
        self.progress.add(1);
        Ok(())
    }
}

fn at_line(number: u64, error: ProduceError) -> Failure {
    let mut failure = Failure::from(error);
    failure.message = format!("line {number}: {}", failure.message);
    failure
}
