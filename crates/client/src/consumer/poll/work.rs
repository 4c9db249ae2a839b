//! What a poll starts, and what comes of it: fetches, lookups of places, commits, refreshes of the metadata.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{NodeId, TopicPartition};
use millstream_env::task::Instant;
use millstream_wire::messages::fetch::{FetchRequest, FetchResponse};

use super::Event;
use crate::ClientError;
use crate::backoff::Backoff;
use crate::cluster::AskedAs;
use crate::consumer::decode::Chunk;
use crate::consumer::fetch::{Asked, FetchPlan, PartitionAnswer};
use crate::consumer::membership::Membership;
use crate::consumer::positions::{Missing, Place};
use crate::consumer::resolve::{Found, Lacking, resolve};
use crate::consumer::{ConsumeError, Consumer, OffsetReset, commit_error};

/// How long a leader may take to answer, beyond what it may wait for records, before anyone asks whether it still leads.
const PATIENCE: Duration = Duration::from_secs(1);

impl Consumer {
    // ---- starting ----

    pub(super) fn start_work(&mut self) {
        let now = Instant::now();
        self.start_resolving(now);
        self.start_fetches(now);
        self.start_refresh(now);
    }

    pub(super) fn start_auto_commit(&mut self) {
        let now = Instant::now();
        let due = self.config.auto_commit && now >= self.polling.next_commit;
        let Some(group) = self.config.group_id.clone().filter(|_| due) else { return };
        self.polling.next_commit = now + self.config.auto_commit_interval;
        let offsets = self.to_commit(None);
        if self.polling.committing || offsets.is_empty() {
            return;
        }
        self.polling.committing = true;
        let cluster = self.cluster.clone();
        let identity = self.membership.as_ref().map(Membership::identity);
        let instance_id = self.config.group_instance_id.clone();
        let within = self.config.auto_commit_interval.max(Duration::from_secs(1));
        self.polling.events.push(Box::pin(async move {
            let committed = cluster
                .commit_offsets(&group, identity.as_ref(), instance_id.as_deref(), &offsets, within)
                .await;
            Event::Committed(offsets, committed)
        }));
    }

    /// Looks up topics that are not known and places that are missing.
    fn start_resolving(&mut self, now: Instant) {
        let waits = self.polling.resolve_after.is_some_and(|at| at > now);
        if self.polling.resolving || waits {
            return;
        }
        let metadata = self.cluster.metadata();
        let mut topics: BTreeSet<Arc<str>> = BTreeSet::new();
        let mut lacking = Vec::new();
        for (partition, held) in self.positions.iter() {
            if metadata.topic(&partition.topic).is_none() {
                topics.insert(partition.topic.clone());
            }
            if let Place::Missing(missing) = held.place {
                let version = held.version;
                lacking.push(Lacking { partition: partition.clone(), version, missing });
            }
        }
        if topics.is_empty() && lacking.is_empty() {
            return;
        }
        self.polling.resolving = true;
        let (cluster, config) = (self.cluster.clone(), self.config.clone());
        self.polling.events.push(Box::pin(async move {
            Event::Resolved(resolve(cluster, config, topics, lacking).await)
        }));
    }

    /// One fetch for each leader that has none in flight.
    fn start_fetches(&mut self, now: Instant) {
        let metadata = self.cluster.metadata();
        let limit = usize::try_from(self.config.max_partition_fetch_bytes).unwrap_or(1).max(1);
        let mut by_leader: BTreeMap<NodeId, Vec<Asked>> = BTreeMap::new();
        for partition in self.positions.round() {
            let Some(held) = self.positions.get(&partition) else { continue };
            if !held.wants_fetch(now, limit) {
                continue;
            }
            let info = metadata.partition(&partition.topic, partition.partition.0);
            let Some(leader) = info.and_then(|info| info.leader) else {
                self.polling.refresh_wanted |= metadata.topic(&partition.topic).is_some();
                continue;
            };
            let (version, offset) = (held.version, held.fetch_offset);
            by_leader.entry(leader).or_default().push(Asked { partition, version, offset });
        }
        for (node, asked) in by_leader {
            let failing = self.polling.failing.get(&node).is_some_and(|(_, at)| *at > now);
            if failing || !self.polling.busy.insert(node) {
                continue;
            }
            for entry in &asked {
                if let Some(held) = self.positions.get_mut(&entry.partition) {
                    held.fetching = true;
                }
            }
            self.start_fetch(node, FetchPlan::new(&self.config, &metadata, asked));
        }
    }

    fn start_fetch(&mut self, node: NodeId, plan: FetchPlan) {
        let (cluster, lane) = (self.cluster.clone(), self.lane);
        let within = cluster.config().request_timeout + self.config.fetch_max_wait;
        let patience = self.config.fetch_max_wait + PATIENCE;
        self.polling.events.push(Box::pin(async move {
            let fetched = match cluster.connection(node, lane).await {
                Ok(connection) => match connection.version_of::<FetchRequest>(plan.max_version()) {
                    Ok(version) => {
                        let partitions: Vec<TopicPartition> =
                            plan.asked.iter().map(|asked| asked.partition.clone()).collect();
                        let answer = connection.call(plan.request(), version, Some(within));
                        let (asked, place) =
                            ((&connection, "Fetch"), AskedAs::Leader(node, &partitions));
                        cluster.while_there(asked, place, patience, answer).await
                    }
                    Err(error) => Err(error.into()),
                },
                Err(error) => Err(error),
            };
            Event::Fetched(node, plan, fetched)
        }));
    }

    fn start_refresh(&mut self, now: Instant) {
        let wanted = self.polling.refresh_wanted || self.cluster.is_metadata_old();
        if !wanted || self.polling.refreshing || now < self.polling.refresh_after {
            return;
        }
        self.polling.refresh_wanted = false;
        self.polling.refreshing = true;
        let cluster = self.cluster.clone();
        self.polling.events.push(Box::pin(async move {
            if let Err(error) = cluster.refresh().await {
                tracing::debug!(%error, "cannot refresh the metadata");
            }
            Event::Refreshed
        }));
    }

    // ---- what came of it ----

    pub(super) fn on_event(&mut self, event: Event) -> Result<(), ConsumeError> {
        match event {
            Event::Fetched(node, plan, fetched) => self.on_fetched(node, &plan, fetched),
            Event::Resolved(resolved) => self.on_resolved(resolved),
            Event::Committed(offsets, committed) => {
                self.polling.committing = false;
                match committed {
                    Ok(()) => self.note_committed(&offsets),
                    Err(error) => {
                        let error = commit_error(error);
                        tracing::warn!(%error, "an automatic commit failed");
                    }
                }
                Ok(())
            }
            Event::Refreshed => {
                self.polling.refreshing = false;
                self.refreshed();
                Ok(())
            }
        }
    }

    /// Asks again soon while a partition has no leader that can be reached.
    fn refreshed(&mut self) {
        let metadata = self.cluster.metadata();
        let is_lost = |partition: &TopicPartition| {
            let info = metadata.partition(&partition.topic, partition.partition.0);
            let leader = info.and_then(|info| info.leader);
            leader.is_none_or(|leader| self.polling.failing.contains_key(&leader))
        };
        let in_vain = self
            .positions
            .iter()
            .any(|(partition, _)| metadata.topic(&partition.topic).is_some() && is_lost(partition));
        let polling = &mut self.polling;
        polling.in_vain = if in_vain { polling.in_vain.saturating_add(1) } else { 0 };
        polling.refresh_wanted |= in_vain;
        let pause = self.cluster.backoff().before(polling.in_vain / 8, self.cluster.random());
        polling.refresh_after = Instant::now() + pause;
    }

    fn on_resolved(
        &mut self,
        resolved: Result<Vec<Found>, ConsumeError>,
    ) -> Result<(), ConsumeError> {
        self.polling.resolving = false;
        match resolved {
            Ok(found) => {
                self.polling.resolve_after = None;
                self.polling.resolve_failures = 0;
                for found in found {
                    let held = self.positions.get(&found.partition);
                    if held.is_some_and(|held| held.version == found.version) {
                        self.positions.seek(&found.partition, Place::Known(found.offset));
                        if let Some(held) = self.positions.get_mut(&found.partition) {
                            held.committed = found.committed.then_some(found.offset);
                        }
                    }
                }
                Ok(())
            }
            Err(ConsumeError::Client(error)) if error.is_retriable() || is_timeout(&error) => {
                tracing::warn!(%error, "cannot find out where to read; trying again");
                let (failures, random) = (self.polling.resolve_failures, self.cluster.random());
                let backoff: Backoff = self.cluster.backoff();
                self.polling.resolve_after =
                    Some(Instant::now() + backoff.before(failures, random));
                self.polling.resolve_failures = failures.saturating_add(1);
                Ok(())
            }
            Err(error) => {
                // The caller may change the place and go on.
                self.polling.resolve_after =
                    Some(Instant::now() + self.cluster.config().retry_backoff);
                Err(error)
            }
        }
    }

    fn on_fetched(
        &mut self,
        node: NodeId,
        plan: &FetchPlan,
        fetched: Result<FetchResponse, ClientError>,
    ) -> Result<(), ConsumeError> {
        self.polling.busy.remove(&node);
        for asked in &plan.asked {
            if let Some(held) = self.positions.get_mut(&asked.partition)
                && held.version == asked.version
            {
                held.fetching = false;
            }
        }
        let checked = fetched.and_then(|response| {
            ClientError::check(response.error_code, || format!("fetch from broker {node}"))?;
            Ok(response)
        });
        let response = match checked {
            Ok(response) => response,
            Err(error) => return self.on_fetch_failure(node, error),
        };
        self.polling.failing.remove(&node);
        let leaders = plan.new_leaders(&response);
        self.cluster.learn_leaders(&leaders);
        let mut outcome = Ok(());
        for asked in &plan.asked {
            let answer = match plan.find(&response, asked) {
                Some(data) => PartitionAnswer::of(asked, data, self.config.isolation),
                None => {
                    let error = ClientError::Missing(asked.partition.to_string());
                    PartitionAnswer::Again { error, refresh: true }
                }
            };
            let moved =
                leaders.iter().any(|new| new.partition == asked.partition && new.leader != node);
            outcome = outcome.and(self.on_partition(asked, answer, moved));
        }
        outcome
    }

    fn on_fetch_failure(&mut self, node: NodeId, error: ClientError) -> Result<(), ConsumeError> {
        if !error.is_retriable() {
            return Err(error.into());
        }
        let random = self.cluster.random();
        let backoff = self.cluster.backoff();
        let (failures, at) = self.polling.failing.entry(node).or_insert((0, Instant::now()));
        if *failures == 0 {
            tracing::warn!(%node, %error, "lost a broker; trying to get back to it");
        }
        *at = Instant::now() + backoff.before(*failures, random);
        *failures = failures.saturating_add(1);
        self.polling.refresh_wanted = true;
        Ok(())
    }

    fn on_partition(
        &mut self,
        asked: &Asked,
        answer: PartitionAnswer,
        moved: bool,
    ) -> Result<(), ConsumeError> {
        let pause = self.cluster.config().retry_backoff;
        let (check_crcs, policy_none) =
            (self.config.check_crcs, self.config.offset_reset == OffsetReset::None);
        let Some(held) = self.positions.get_mut(&asked.partition) else { return Ok(()) };
        if held.version != asked.version || held.fetch_offset != asked.offset {
            return Ok(());
        }
        held.not_before = None;
        match answer {
            PartitionAnswer::Records { bytes, aborted, end } => {
                held.end = Some(end);
                if !bytes.is_empty() {
                    let chunk = Chunk::new(bytes, asked.offset, aborted, check_crcs);
                    held.fetch_offset = chunk.end().unwrap_or(asked.offset).max(asked.offset);
                    held.buffered_bytes += chunk.total();
                    held.chunks.push_back(chunk);
                }
                held.note_end();
                Ok(())
            }
            PartitionAnswer::OutOfRange if held.position() != Some(asked.offset) => {
                // First hand out what was fetched before.
                held.not_before = Some(Instant::now() + pause);
                Ok(())
            }
            PartitionAnswer::OutOfRange if policy_none => {
                held.not_before = Some(Instant::now() + pause);
                let (partition, offset) = (asked.partition.clone(), asked.offset);
                Err(ConsumeError::OffsetOutOfRange { partition, offset })
            }
            PartitionAnswer::OutOfRange => {
                tracing::warn!(
                    partition = %asked.partition, offset = %asked.offset,
                    "the offset is not there; going where auto.offset.reset says"
                );
                let gone = Some(asked.offset);
                self.positions.seek(&asked.partition, Place::Missing(Missing::Reset { gone }));
                Ok(())
            }
            PartitionAnswer::Again { error, refresh } => {
                tracing::debug!(partition = %asked.partition, %error, "fetching again");
                // A leader that was told within the answer is asked at once.
                held.not_before = (!moved).then(|| Instant::now() + pause);
                self.polling.refresh_wanted |= refresh;
                Ok(())
            }
            PartitionAnswer::Failed(error) => {
                held.not_before = Some(Instant::now() + pause);
                Err(error.into())
            }
        }
    }
}

/// Whether the call was given up after retries.
const fn is_timeout(error: &ClientError) -> bool {
    matches!(error, ClientError::Timeout { .. })
}
