//! Reading records: by assigned partitions or as a member of a group.
//!
//! Key types: [`Consumer`], [`ConsumerRecord`]. A consumer belongs to one task: [`Consumer::poll`] hands out what
//! was fetched and fetches ahead. A poll that is dropped half way loses nothing. A record is handed out once per
//! seek or assignment, in the order of its partition; with a group, positions are committed from time to time
//! and taken up again by whoever is given the partition next (at least once).

pub mod assignor;
mod committed;
mod config;
mod decode;
pub(crate) mod embedded;
mod error;
mod fetch;
mod join;
mod member_task;
mod membership;
mod poll;
mod positions;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, Offset, TimestampMs, TopicPartition};

pub use committed::{CommittedOffset, CommittedOffsets};
pub use config::{ConsumerConfig, OffsetReset, ParseOffsetResetError};
pub use decode::ConsumerRecord;
pub use error::ConsumeError;

use crate::cluster::Lane;
use crate::{Cluster, OffsetSpec};
use membership::Membership;
use poll::Polling;
use positions::{Missing, Place, Positions};

/// How long leaving and the last commit may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);

/// Reads records of a cluster.
#[derive(Debug)]
pub struct Consumer {
    cluster: Cluster,
    config: ConsumerConfig,
    positions: Positions,
    membership: Option<Membership>,
    polling: Polling,
    /// The connections for this consumer's fetches alone.
    lane: Lane,
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.cluster.close_lane(self.lane);
    }
}

impl Consumer {
    /// A consumer that reads nothing yet: see [`Consumer::subscribe`] and [`Consumer::assign`].
    pub fn new(cluster: Cluster, config: ConsumerConfig) -> Self {
        let polling = Polling::new(&config);
        let lane = Lane::Fetch(cluster.lane_number());
        let positions = Positions::default();
        Self { cluster, config, positions, membership: None, polling, lane }
    }

    // ---- what to read ----

    /// Reads `topics` as a member of the group: the group says which partitions.
    ///
    /// # Errors
    /// [`ConsumeError::NoGroup`], and [`ConsumeError::Mixed`] after [`Consumer::assign`].
    pub fn subscribe<T: Into<Arc<str>>>(
        &mut self,
        topics: impl IntoIterator<Item = T>,
    ) -> Result<(), ConsumeError> {
        let group = self.config.group_id.clone().ok_or(ConsumeError::NoGroup)?;
        let topics: BTreeSet<Arc<str>> = topics.into_iter().map(Into::into).collect();
        if let Some(membership) = &self.membership {
            membership.subscribe(topics);
            return Ok(());
        }
        if !self.positions.is_empty() {
            return Err(ConsumeError::Mixed);
        }
        let membership = Membership::start(self.cluster.clone(), &self.config, group, topics);
        self.membership = Some(membership);
        Ok(())
    }

    /// Reads exactly these partitions, whatever others read. Positions of partitions that stay are kept; new ones
    /// start at the group's committed offset if there is a group, else as the reset policy says.
    ///
    /// # Errors
    /// [`ConsumeError::Mixed`] after [`Consumer::subscribe`].
    pub fn assign(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<(), ConsumeError> {
        if self.membership.is_some() {
            return Err(ConsumeError::Mixed);
        }
        self.positions.assign(&partitions.into_iter().collect());
        Ok(())
    }

    /// The partitions that are read now.
    pub fn assignment(&self) -> BTreeSet<TopicPartition> {
        self.positions.names()
    }

    // ---- where to read ----

    /// Goes on with the record at `offset`.
    ///
    /// # Errors
    /// [`ConsumeError::NotAssigned`].
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<(), ConsumeError> {
        self.go(partition, Place::Known(offset))
    }

    /// Goes on with the first record.
    ///
    /// # Errors
    /// [`ConsumeError::NotAssigned`].
    pub fn seek_to_beginning(&mut self, partition: &TopicPartition) -> Result<(), ConsumeError> {
        self.go(partition, Place::Missing(Missing::Beginning))
    }

    /// Goes on with what comes from now on.
    ///
    /// # Errors
    /// [`ConsumeError::NotAssigned`].
    pub fn seek_to_end(&mut self, partition: &TopicPartition) -> Result<(), ConsumeError> {
        self.go(partition, Place::Missing(Missing::End))
    }

    fn go(&mut self, partition: &TopicPartition, place: Place) -> Result<(), ConsumeError> {
        match self.positions.seek(partition, place) {
            true => Ok(()),
            false => Err(ConsumeError::NotAssigned(partition.clone())),
        }
    }

    /// The offset of the next record that [`Consumer::poll`] will give; `None` while it is not known yet.
    pub fn position(&self, partition: &TopicPartition) -> Option<Offset> {
        self.positions.get(partition)?.position()
    }

    /// How many records the partition has beyond the position, as far as known from the last fetch.
    pub fn lag(&self, partition: &TopicPartition) -> Option<i64> {
        let held = self.positions.get(partition)?;
        Some(held.end?.since(held.position()?).max(0))
    }

    /// Whether every assigned partition was read to its end at least once since it was assigned (or since the
    /// last seek in it). `false` while nothing is assigned.
    pub fn reached_end(&self) -> bool {
        !self.positions.is_empty() && self.positions.iter().all(|(_, partition)| partition.ended)
    }

    /// Hands out nothing of `partitions` until they are resumed.
    pub fn pause<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        self.set_paused(partitions, true);
    }

    /// Goes on with paused partitions.
    pub fn resume<'a>(&mut self, partitions: impl IntoIterator<Item = &'a TopicPartition>) {
        self.set_paused(partitions, false);
    }

    fn set_paused<'a>(
        &mut self,
        partitions: impl IntoIterator<Item = &'a TopicPartition>,
        paused: bool,
    ) {
        for partition in partitions {
            if let Some(held) = self.positions.get_mut(partition) {
                held.paused = paused;
            }
        }
    }

    // ---- offsets ----

    /// The first offsets of `partitions`.
    pub async fn beginning_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, ConsumeError> {
        self.offsets(partitions, OffsetSpec::Earliest).await
    }

    /// The offsets after the last records of `partitions`.
    pub async fn end_offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Offset>, ConsumeError> {
        self.offsets(partitions, OffsetSpec::Latest).await
    }

    /// The first records of `partitions` that are not older than `timestamp`; a partition without one is left out.
    pub async fn offsets_for_time(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        timestamp: TimestampMs,
    ) -> Result<BTreeMap<TopicPartition, Offset>, ConsumeError> {
        self.offsets(partitions, OffsetSpec::At(timestamp)).await
    }

    async fn offsets(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        spec: OffsetSpec,
    ) -> Result<BTreeMap<TopicPartition, Offset>, ConsumeError> {
        let asked = partitions.into_iter().map(|partition| (partition, spec)).collect();
        let within = self.cluster.config().api_timeout;
        let listed = self.cluster.list_offsets(&asked, self.config.isolation, within).await?;
        Ok(listed.into_iter().filter_map(|(p, listed)| Some((p, listed?.offset))).collect())
    }

    // ---- commits ----

    /// Commits the positions: everything that [`Consumer::poll`] handed out counts as done.
    ///
    /// # Errors
    /// [`ConsumeError::NoGroup`]; [`ConsumeError::CommitFailed`] when the group has moved on without this member.
    pub async fn commit(&mut self) -> Result<(), ConsumeError> {
        let offsets = self.to_commit(None);
        self.commit_offsets(&offsets).await
    }

    /// Commits these offsets: each is the next record to read.
    ///
    /// # Errors
    /// As [`Consumer::commit`].
    pub async fn commit_offsets(&mut self, offsets: &CommittedOffsets) -> Result<(), ConsumeError> {
        let group = self.config.group_id.clone().ok_or(ConsumeError::NoGroup)?;
        let identity = self.membership.as_ref().map(Membership::identity);
        let instance_id = self.config.group_instance_id.as_deref();
        let within = self.cluster.config().api_timeout;
        let committed = self
            .cluster
            .commit_offsets(&group, identity.as_ref(), instance_id, offsets, within)
            .await;
        committed.map_err(commit_error)?;
        self.note_committed(offsets);
        Ok(())
    }

    /// What the group has committed for `partitions`.
    ///
    /// # Errors
    /// [`ConsumeError::NoGroup`], and failures of the call.
    pub async fn committed(
        &self,
        partitions: impl IntoIterator<Item = TopicPartition>,
    ) -> Result<CommittedOffsets, ConsumeError> {
        let group = self.config.group_id.as_deref().ok_or(ConsumeError::NoGroup)?;
        let partitions: Vec<TopicPartition> = partitions.into_iter().collect();
        let within = self.cluster.config().api_timeout;
        Ok(self.cluster.fetch_committed(group, Some(&partitions), within).await?)
    }

    /// The positions that differ from what was committed, of all partitions or of `only`.
    fn to_commit(&self, only: Option<&BTreeSet<TopicPartition>>) -> CommittedOffsets {
        self.positions
            .iter()
            .filter(|(partition, _)| only.is_none_or(|only| only.contains(*partition)))
            .filter_map(|(partition, held)| {
                let position = held.position()?;
                let changed = held.committed != Some(position);
                changed.then(|| (partition.clone(), CommittedOffset::at(position)))
            })
            .collect()
    }

    fn note_committed(&mut self, offsets: &CommittedOffsets) {
        for (partition, committed) in offsets {
            if let Some(held) = self.positions.get_mut(partition) {
                held.committed = Some(committed.offset);
            }
        }
    }

    /// Commits if so configured, and leaves the group.
    pub async fn close(mut self) {
        if self.config.auto_commit && self.config.group_id.is_some() {
            let offsets = self.to_commit(None);
            let commit = self.commit_offsets(&offsets);
            match millstream_env::task::timeout(CLOSE_WITHIN, commit).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the last commit failed"),
                Err(_) => tracing::warn!("the last commit took too long"),
            }
        }
        if let Some(membership) = self.membership.take() {
            drop(millstream_env::task::timeout(CLOSE_WITHIN, membership.leave()).await);
        }
    }
}

/// A commit that the group refused because this member is no longer what it was.
fn commit_error(error: crate::ClientError) -> ConsumeError {
    match error.code() {
        Some(
            ErrorCode::UnknownMemberId
            | ErrorCode::IllegalGeneration
            | ErrorCode::RebalanceInProgress
            | ErrorCode::FencedInstanceId,
        ) => ConsumeError::CommitFailed(error),
        _ => ConsumeError::Client(error),
    }
}
