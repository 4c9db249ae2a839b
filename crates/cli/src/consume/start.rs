//! Where `consume` begins: beginning, end, an offset, a time, or the group's committed offsets.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::{Offset, TimestampMs, TopicPartition};
use millstream_client::{Cluster, Consumer, ConsumerConfig, OffsetReset};
use millstream_env::clock::{Clock as _, SystemClock};

use super::Args;
use crate::failure::{Exit, Failure};
use crate::time;

/// The options that say where to begin; at most one of them.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(super) struct From {
    /// Begin with the first record
    #[arg(short = 'B', long)]
    from_beginning: bool,
    /// Begin with what comes from now on
    #[arg(long)]
    from_end: bool,
    /// Begin with this offset; a negative one counts back from the end
    #[arg(short, long, value_name = "N", allow_hyphen_values = true, conflicts_with = "group")]
    offset: Option<i64>,
    /// Begin with the first record of this time or later
    #[arg(short = 't', long, value_name = "TIME")]
    from_time: Option<String>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Where the group stands, else at the end.
    Usual,
    Beginning,
    End,
    Offset(i64),
    /// At this time, which is so long ago.
    Time(TimestampMs, Duration),
}

impl From {
    pub(super) fn resolve(&self) -> Result<Start, Failure> {
        if let Some(text) = &self.from_time {
            let now = SystemClock::new().now_ms();
            let ms = time::parse(text, now.0).map_err(Failure::usage)?;
            let ago = u64::try_from(now.0.saturating_sub(ms)).unwrap_or(0);
            return Ok(Start::Time(TimestampMs(ms.max(0)), Duration::from_millis(ago)));
        }
        Ok(match (self.from_beginning, self.from_end, self.offset) {
            (true, _, _) => Start::Beginning,
            (_, true, _) => Start::End,
            (_, _, Some(offset)) => Start::Offset(offset),
            _ => Start::Usual,
        })
    }
}

impl Start {
    /// The policy for partitions without a committed offset.
    pub(super) const fn reset(self) -> OffsetReset {
        match self {
            Self::Beginning => OffsetReset::Earliest,
            Self::Usual | Self::End => OffsetReset::Latest,
            // An offset that is not there is an error, not a reason to start elsewhere.
            Self::Offset(_) => OffsetReset::None,
            Self::Time(_, ago) => OffsetReset::ByDuration(ago),
        }
    }
}

/// A consumer at its place: subscribed with a group, else with all partitions assigned.
pub(super) async fn begin(
    cluster: &Cluster,
    args: &Args,
    config: ConsumerConfig,
    start: Start,
    within: Duration,
) -> Result<Consumer, Failure> {
    let mut assigned = Vec::new();
    for name in &args.topics {
        let topic = cluster.topic(&Arc::from(name.as_str()), false, within).await?;
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        if let Some(&missing) = args.partitions.iter().find(|&&wanted| wanted >= count) {
            return Err(Failure::new(
                Exit::NotFound,
                format!(
                    "topic `{name}` has {count} partitions, so there is no partition {missing}"
                ),
            ));
        }
        let wanted = |index: &i32| args.partitions.is_empty() || args.partitions.contains(index);
        let partitions = (0..count).filter(wanted);
        assigned.extend(partitions.map(|index| TopicPartition::new(topic.name.clone(), index)));
    }
    let mut consumer = Consumer::new(cluster.clone(), config);
    if args.group.is_some() {
        consumer.subscribe(args.topics.iter().map(String::as_str))?;
        return Ok(consumer);
    }
    consumer.assign(assigned.iter().cloned())?;
    seek(&mut consumer, &assigned, start).await?;
    Ok(consumer)
}

async fn seek(
    consumer: &mut Consumer,
    partitions: &[TopicPartition],
    start: Start,
) -> Result<(), Failure> {
    match start {
        Start::Usual | Start::End => {
            for partition in partitions {
                consumer.seek_to_end(partition)?;
            }
        }
        Start::Beginning => {
            for partition in partitions {
                consumer.seek_to_beginning(partition)?;
            }
        }
        Start::Offset(offset) if offset >= 0 => {
            for partition in partitions {
                consumer.seek(partition, Offset(offset))?;
            }
        }
        Start::Offset(back) => {
            let starts = consumer.beginning_offsets(partitions.iter().cloned()).await?;
            let ends = consumer.end_offsets(partitions.iter().cloned()).await?;
            for (partition, end) in ends {
                let first = starts.get(&partition).copied().unwrap_or(Offset::ZERO);
                consumer.seek(&partition, end.plus(back).max(first))?;
            }
        }
        Start::Time(timestamp, _) => {
            let found = consumer.offsets_for_time(partitions.iter().cloned(), timestamp).await?;
            for partition in partitions {
                match found.get(partition) {
                    Some(&offset) => consumer.seek(partition, offset)?,
                    // Nothing as late as that yet.
                    None => consumer.seek_to_end(partition)?,
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use millstream_base::ErrorCode;
    use millstream_client::ClientError;

    use super::*;

    #[test]
    fn a_missing_topic_is_not_found_and_says_where_to_look() {
        let failure = Failure::from(ClientError::Broker {
            code: ErrorCode::UnknownTopicOrPartition,
            what: "topic `t`".to_owned(),
            message: None,
        });
        assert_eq!(failure.exit, Exit::NotFound);
        assert!(failure.to_string().contains("millstream topic list"), "{failure}");
    }
}
