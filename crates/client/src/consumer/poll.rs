//! One poll: what the group asks, what can be handed out, how long to wait.
//!
//! Key type: [`Polling`], what a poll leaves for the next one. All network calls are events, so a poll that is
//! dropped half way leaves everything in order.

mod work;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use millstream_base::{NodeId, TopicPartition};
use millstream_env::task::{Instant, sleep_until};
use millstream_records::Scratch;
use millstream_wire::messages::fetch::FetchResponse;

use super::committed::CommittedOffsets;
use super::fetch::FetchPlan;
use super::membership::{GroupEvent, Membership};
use super::positions::Place;
use super::resolve::Found;
use super::{CLOSE_WITHIN, ConsumeError, Consumer, ConsumerConfig, ConsumerRecord};
use crate::ClientError;

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
    /// Refreshes in a row after which some partition still had nobody to ask.
    in_vain: u32,
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
            in_vain: 0,
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
            self.work()?;
            let records = self.take_records(most)?;
            if !records.is_empty() {
                // What was handed out makes room for more.
                self.work()?;
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

    /// Starts what can be started and takes what has come, until nothing more can be done without waiting: an
    /// answer may make more work, and work is under way only once its future was polled.
    fn work(&mut self) -> Result<(), ConsumeError> {
        loop {
            self.start_work();
            let Some(Some(event)) = self.polling.events.next().now_or_never() else {
                return Ok(());
            };
            self.on_event(event)?;
        }
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
            GroupEvent::Failed(error) => {
                self.membership = None;
                self.positions.assign(&BTreeSet::new());
                Err(error)
            }
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
