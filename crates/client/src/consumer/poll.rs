//! One poll: what the group asks, what the brokers answered, what can be handed out, what to fetch next.
//!
//! Key type: [`Polling`], what a poll leaves for the next one. All network calls are events, so a poll that is
//! dropped half way leaves everything in order.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use millstream_base::{NodeId, TopicPartition};
use millstream_env::task::{Instant, sleep_until};
use millstream_records::Scratch;
use millstream_wire::messages::fetch::{FetchRequest, FetchResponse};

use super::committed::CommittedOffsets;
use super::decode::Chunk;
use super::fetch::{Asked, FetchPlan, PartitionAnswer};
use super::membership::{GroupEvent, Membership};
use super::positions::{Missing, Place};
use super::resolve::{Found, Lacking, resolve};
use super::{CLOSE_WITHIN, ConsumeError, Consumer, ConsumerConfig, ConsumerRecord, commit_error};
use crate::ClientError;
use crate::backoff::Backoff;

/// What a poll waits for.
enum Event {
    Fetched(NodeId, FetchPlan, Result<FetchResponse, ClientError>),
    Resolved(Result<Vec<Found>, ConsumeError>),
    Committed(CommittedOffsets, Result<(), ClientError>),
    Refreshed,
}

type Pending = Pin<Box<dyn Future<Output = Event> + Send>>;

/// What lives from poll to poll.
pub(super) struct Polling {
    events: FuturesUnordered<Pending>,
    busy: HashSet<NodeId>,
    /// Brokers that failed: how often in a row, and when to try again.
    failing: HashMap<NodeId, (u32, Instant)>,
    resolving: bool,
    resolve_after: Option<Instant>,
    resolve_failures: u32,
    refreshing: bool,
    refresh_wanted: bool,
    refresh_after: Instant,
    committing: bool,
    next_commit: Instant,
    scratch: Scratch,
}

impl std::fmt::Debug for Polling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Polling").field("busy", &self.busy).finish_non_exhaustive()
    }
}

impl Polling {
    pub(super) fn new(config: &ConsumerConfig) -> Self {
        let now = Instant::now();
        Self {
            events: FuturesUnordered::new(),
            busy: HashSet::new(),
            failing: HashMap::new(),
            resolving: false,
            resolve_after: None,
            resolve_failures: 0,
            refreshing: false,
            refresh_wanted: false,
            refresh_after: now,
            committing: false,
            next_commit: now + config.auto_commit_interval,
            scratch: Scratch::new(),
        }
    }
}

impl Consumer {
    /// The next records: at most `max.poll.records`, or none when there are none after `wait`.
    ///
    /// # Errors
    /// What waiting does not mend. The consumer stays usable: seek past a corrupt batch, for example.
    pub async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        self.poll_at_most(self.config.max_poll_records, wait).await
    }

    /// [`Consumer::poll`] with another bound than `max.poll.records`, if that is lower.
    ///
    /// # Errors
    /// As [`Consumer::poll`].
    pub async fn poll_at_most(
        &mut self,
        most: usize,
        wait: Duration,
    ) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        let most = most.min(self.config.max_poll_records).max(1);
        let deadline = Instant::now() + wait;
        if let Some(membership) = &self.membership {
            membership.polled();
        }
        self.start_auto_commit();
        loop {
            while let Some(event) = self.membership.as_mut().and_then(Membership::try_next) {
                self.on_group_event(event).await?;
            }
            self.handle_ready()?;
            self.start_work();
            // Starting is only done when the new futures were polled once.
            self.handle_ready()?;
            let records = self.take_records(most)?;
            if !records.is_empty() {
                // What was handed out makes room for more.
                self.start_work();
                self.handle_ready()?;
                return Ok(records);
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(Vec::new());
            }
            self.wait(self.wake_at(now).min(deadline)).await?;
        }
    }

    /// Waits for an event, at most until `until`.
    async fn wait(&mut self, until: Instant) -> Result<(), ConsumeError> {
        let group_event = match &mut self.membership {
            Some(membership) => {
                tokio::select! {
                    event = membership.next() => Some(event),
                    Some(event) = self.polling.events.next() => {
                        return self.on_event(event);
                    }
                    () = sleep_until(until) => None,
                }
            }
            None => {
                tokio::select! {
                    Some(event) = self.polling.events.next() => {
                        return self.on_event(event);
                    }
                    () = sleep_until(until) => None,
                }
            }
        };
        match group_event {
            Some(event) => self.on_group_event(event).await,
            None => Ok(()),
        }
    }

    /// When something is due without an event.
    fn wake_at(&self, now: Instant) -> Instant {
        let far = now + Duration::from_secs(3600);
        let partitions = self.positions.iter().filter_map(|(_, partition)| partition.not_before);
        let nodes = self.polling.failing.values().map(|(_, at)| *at);
        let others = [
            self.polling.resolve_after,
            self.polling.refresh_wanted.then_some(self.polling.refresh_after),
        ];
        let due = partitions.chain(nodes).chain(others.into_iter().flatten());
        due.filter(|&at| at > now).min().unwrap_or(far)
    }

    fn handle_ready(&mut self) -> Result<(), ConsumeError> {
        while let Some(Some(event)) = self.polling.events.next().now_or_never() {
            self.on_event(event)?;
        }
        Ok(())
    }

    // ---- the group ----

    async fn on_group_event(&mut self, event: GroupEvent) -> Result<(), ConsumeError> {
        match event {
            GroupEvent::Assign(partitions) => {
                self.positions.assign(&partitions);
                Ok(())
            }
            GroupEvent::Lost => {
                self.positions.assign(&BTreeSet::new());
                Ok(())
            }
            GroupEvent::Failed(error) => Err(error),
            GroupEvent::Revoke { partitions, done } => {
                let offsets = self.to_commit(Some(&partitions));
                self.positions.remove(&partitions);
                if self.config.auto_commit {
                    let commit = self.commit_offsets(&offsets);
                    match millstream_env::task::timeout(CLOSE_WITHIN, commit).await {
                        Ok(Ok(())) => {}
                        Ok(Err(error)) => {
                            tracing::warn!(%error, "the commit before giving up partitions failed");
                        }
                        Err(_) => tracing::warn!("the commit before giving up partitions hangs"),
                    }
                }
                // The membership may be gone meanwhile; then nobody waits.
                let _ = done.send(());
                Ok(())
            }
        }
    }

    // ---- starting ----

    fn start_work(&mut self) {
        let now = Instant::now();
        self.start_resolving(now);
        self.start_fetches(now);
        self.start_refresh(now);
    }

    fn start_auto_commit(&mut self) {
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
        self.polling.events.push(Box::pin(async move {
            let fetched = match cluster.connection(node, lane).await {
                Ok(connection) => match connection.version_of::<FetchRequest>(plan.max_version()) {
                    Ok(version) => connection
                        .call(plan.request(), version, Some(within))
                        .await
                        .map_err(ClientError::from),
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

    fn on_event(&mut self, event: Event) -> Result<(), ConsumeError> {
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
                let pause = self.cluster.config().retry_backoff;
                self.polling.refresh_after = Instant::now() + pause;
                Ok(())
            }
        }
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
        let mut outcome = Ok(());
        for asked in &plan.asked {
            let answer = match plan.find(&response, asked) {
                Some(data) => PartitionAnswer::of(asked, data, self.config.isolation),
                None => {
                    let error = ClientError::Missing(asked.partition.to_string());
                    PartitionAnswer::Again { error, refresh: true }
                }
            };
            outcome = outcome.and(self.on_partition(asked, answer));
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

    fn on_partition(&mut self, asked: &Asked, answer: PartitionAnswer) -> Result<(), ConsumeError> {
        let pause = self.cluster.config().retry_backoff;
        let (check_crcs, policy_none) =
            (self.config.check_crcs, self.config.offset_reset == super::OffsetReset::None);
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
                held.not_before = Some(Instant::now() + pause);
                self.polling.refresh_wanted |= refresh;
                Ok(())
            }
            PartitionAnswer::Failed(error) => {
                held.not_before = Some(Instant::now() + pause);
                Err(error.into())
            }
        }
    }

    // ---- handing out ----

    fn take_records(&mut self, most: usize) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        let mut taken = Vec::new();
        for partition in self.positions.round() {
            match self.take_from(&partition, most, &mut taken) {
                Ok(()) => {}
                // What was taken comes first; the error is found again by the next poll.
                Err(_) if !taken.is_empty() => return Ok(taken),
                Err(error) => return Err(error),
            }
            if taken.len() >= most {
                break;
            }
        }
        Ok(taken)
    }

    fn take_from(
        &mut self,
        partition: &TopicPartition,
        most: usize,
        taken: &mut Vec<ConsumerRecord>,
    ) -> Result<(), ConsumeError> {
        let Some(held) = self.positions.get_mut(partition) else { return Ok(()) };
        if held.paused {
            return Ok(());
        }
        loop {
            while let Some(record) = held.ready.front() {
                if taken.len() >= most {
                    return Ok(());
                }
                held.place = Place::Known(record.offset.plus(1));
                taken.extend(held.ready.pop_front());
            }
            if let (Some(next), Some(position)) = (held.ready_next.take(), held.position()) {
                held.place = Place::Known(position.max(next));
            }
            let Some(chunk) = held.chunks.front_mut() else { break };
            match chunk.next(partition, &mut self.polling.scratch)? {
                Some(decoded) => {
                    held.ready = decoded.records.into();
                    held.ready_next = Some(decoded.next);
                }
                None => {
                    held.buffered_bytes = held.buffered_bytes.saturating_sub(chunk.total());
                    held.chunks.pop_front();
                }
            }
        }
        held.note_end();
        Ok(())
    }
}

/// Whether the call was given up after retries.
const fn is_timeout(error: &ClientError) -> bool {
    matches!(error, ClientError::Timeout { .. })
}
