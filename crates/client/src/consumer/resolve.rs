//! Finding the place to start in partitions that have none: the committed offset, or what the policy says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{Offset, TimestampMs, TopicPartition};

use super::positions::Missing;
use super::{ConsumeError, ConsumerConfig, OffsetReset};
use crate::{Cluster, OffsetSpec};

/// A partition that needs a place, with the version that the answer is for.
#[derive(Clone, Debug)]
pub(super) struct Lacking {
    pub(super) partition: TopicPartition,
    pub(super) version: u64,
    pub(super) missing: Missing,
}

/// A place that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) partition: TopicPartition,
    pub(super) version: u64,
    pub(super) offset: Offset,
    /// Whether the group had committed it.
    pub(super) committed: bool,
}

/// Learns `topics` and finds a place for each of `lacking`.
pub(super) async fn resolve(
    cluster: Cluster,
    config: ConsumerConfig,
    topics: BTreeSet<Arc<str>>,
    lacking: Vec<Lacking>,
) -> Result<Vec<Found>, ConsumeError> {
    let within = cluster.config().api_timeout;
    for topic in &topics {
        cluster.topic(topic, config.allow_auto_create_topics, within).await?;
    }
    let committed = committed(&cluster, &config, &lacking, within).await?;
    let mut found = Vec::new();
    let mut asked: BTreeMap<TopicPartition, OffsetSpec> = BTreeMap::new();
    for lack in &lacking {
        if let Some(&offset) = committed.get(&lack.partition) {
            found.push(lack.at(offset, true));
            continue;
        }
        asked.insert(lack.partition.clone(), spec_for(&cluster, &config, lack)?);
    }
    if asked.is_empty() {
        return Ok(found);
    }
    let listed = cluster.list_offsets(&asked, config.isolation, within).await?;
    // Nothing as late as the time asked for: then with what comes next.
    let late: BTreeMap<TopicPartition, OffsetSpec> = listed
        .iter()
        .filter(|(_, listed)| listed.is_none())
        .map(|(partition, _)| (partition.clone(), OffsetSpec::Latest))
        .collect();
    let ends = match late.is_empty() {
        true => BTreeMap::new(),
        false => cluster.list_offsets(&late, config.isolation, within).await?,
    };
    for lack in &lacking {
        let answer = |from: &crate::ListedOffsets| from.get(&lack.partition).copied().flatten();
        if let Some(listed) = answer(&listed).or_else(|| answer(&ends)) {
            found.push(lack.at(listed.offset, false));
        }
    }
    Ok(found)
}

impl Lacking {
    fn at(&self, offset: Offset, committed: bool) -> Found {
        Found { partition: self.partition.clone(), version: self.version, offset, committed }
    }
}

async fn committed(
    cluster: &Cluster,
    config: &ConsumerConfig,
    lacking: &[Lacking],
    within: Duration,
) -> Result<BTreeMap<TopicPartition, Offset>, ConsumeError> {
    let wanted: Vec<TopicPartition> = lacking
        .iter()
        .filter(|lack| lack.missing == Missing::Committed)
        .map(|lack| lack.partition.clone())
        .collect();
    let Some(group) = config.group_id.as_deref().filter(|_| !wanted.is_empty()) else {
        return Ok(BTreeMap::new());
    };
    let found = cluster.fetch_committed(group, Some(&wanted), within).await?;
    Ok(found.into_iter().map(|(partition, committed)| (partition, committed.offset)).collect())
}

fn spec_for(
    cluster: &Cluster,
    config: &ConsumerConfig,
    lack: &Lacking,
) -> Result<OffsetSpec, ConsumeError> {
    let partition = lack.partition.clone();
    let policy = match lack.missing {
        Missing::Beginning => OffsetReset::Earliest,
        Missing::End => OffsetReset::Latest,
        Missing::Committed | Missing::Reset { .. } => config.offset_reset,
    };
    Ok(match (policy, lack.missing) {
        (OffsetReset::Earliest, _) => OffsetSpec::Earliest,
        (OffsetReset::Latest, _) => OffsetSpec::Latest,
        (OffsetReset::ByDuration(span), _) => {
            let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
            let from = cluster.now_ms().0.saturating_sub(span_ms).max(0);
            OffsetSpec::At(TimestampMs(from))
        }
        (OffsetReset::None, Missing::Reset { gone: Some(offset) }) => {
            return Err(ConsumeError::OffsetOutOfRange { partition, offset });
        }
        (OffsetReset::None, _) => return Err(ConsumeError::NoCommittedOffset { partition }),
    })
}
