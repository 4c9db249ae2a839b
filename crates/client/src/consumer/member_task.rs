//! The task behind a membership: one loop of join, sync and heartbeats.
//!
//! Key type: [`MemberTask`]. Heartbeats go on while the consumer gives up partitions, so that a slow commit does
//! not cost the membership. A consumer that does not poll within `max.poll.interval.ms` leaves the group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_base::{ErrorCode, TopicPartition};
use millstream_env::task::{Instant, sleep, timeout};
use millstream_wire::messages::heartbeat::HeartbeatRequest;
use millstream_wire::messages::leave_group::{LeaveGroupRequest, MemberIdentity as WireMember};
use tokio::sync::{mpsc, oneshot};

use super::assignor::PartitionCounts;
use super::membership::{GroupEvent, MemberIdentity, Shared};
use super::{ConsumeError, ConsumerConfig};
use crate::backoff::Backoff;
use crate::cluster::Lane;
use crate::{ClientError, Cluster};

/// What a round of joining brought.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) assigned: BTreeSet<TopicPartition>,
    pub(super) cooperative: bool,
    /// As the leader, the partition counts that the assignment was made from.
    pub(super) counts: Option<PartitionCounts>,
}

/// Why heartbeats stopped.
enum Stopped {
    /// Join again; the partitions are still ours.
    Rejoin,
    /// Join again; the partitions are gone.
    Lost,
    /// The consumer goes.
    Leaving,
    /// The consumer does not poll.
    NotPolled,
    /// The membership cannot go on.
    Failed(ClientError),
}

/// The task's state.
pub(super) struct MemberTask {
    pub(super) cluster: Cluster,
    pub(super) config: ConsumerConfig,
    pub(super) group: String,
    pub(super) shared: Arc<Shared>,
    events: mpsc::UnboundedSender<GroupEvent>,
    /// The connection of this member alone.
    pub(super) lane: Lane,
    /// What the consumer reads at the moment.
    pub(super) owned: BTreeSet<TopicPartition>,
    cooperative: bool,
    counts: Option<PartitionCounts>,
    last_beat: Instant,
}

impl MemberTask {
    pub(super) fn new(
        cluster: Cluster,
        config: ConsumerConfig,
        group: String,
        shared: Arc<Shared>,
        events: mpsc::UnboundedSender<GroupEvent>,
    ) -> Self {
        let lane = Lane::Group(cluster.lane_number());
        let cooperative = config.assignors.iter().all(|assignor| assignor.is_cooperative());
        Self {
            cluster,
            config,
            group,
            shared,
            events,
            lane,
            owned: BTreeSet::new(),
            cooperative,
            counts: None,
            last_beat: Instant::now(),
        }
    }

    /// Keeps the membership until the consumer goes or the group refuses it for good.
    pub(super) async fn run(mut self) {
        let mut waits: Backoff = self.cluster.backoff();
        loop {
            if self.shared.is_leaving() {
                return self.leave().await;
            }
            let again = match self.round().await {
                Ok(again) => again,
                Err(error) => {
                    tracing::warn!(group = self.group, %error, "the membership of the group ended");
                    drop(self.events.send(GroupEvent::Failed(error.into())));
                    return;
                }
            };
            if again {
                let wait = waits.next(self.cluster.random());
                tokio::select! {
                    () = sleep(wait) => {}
                    () = self.until_leaving() => {}
                }
            } else {
                waits = self.cluster.backoff();
            }
        }
    }

    /// Joins once and stays until something changes. `true` asks for a pause before the next round.
    async fn round(&mut self) -> Result<bool, ClientError> {
        self.shared.subscription_changed.store(false, Ordering::Release);
        if !self.cooperative && !self.owned.is_empty() {
            let all = std::mem::take(&mut self.owned);
            self.revoke(all).await;
        }
        let joined = tokio::select! {
            joined = self.join() => joined,
            () = self.until_leaving() => return Ok(false),
        };
        let joined = match joined {
            Ok(joined) => joined,
            Err(error) => return self.after_join_error(error),
        };
        self.last_beat = Instant::now();
        self.cooperative = joined.cooperative;
        self.counts = joined.counts;
        let gone: BTreeSet<TopicPartition> =
            self.owned.difference(&joined.assigned).cloned().collect();
        if !gone.is_empty() {
            self.revoke(gone.clone()).await;
        }
        self.owned = joined.assigned;
        tracing::debug!(group = self.group, partitions = self.owned.len(), "joined the group");
        drop(self.events.send(GroupEvent::Assign(self.owned.clone())));
        if self.cooperative && !gone.is_empty() {
            // What was given up can now go to its new owner.
            return Ok(false);
        }
        match self.stay().await {
            Stopped::Rejoin | Stopped::Leaving => {}
            Stopped::Lost => self.lost(),
            Stopped::NotPolled => self.not_polled().await,
            Stopped::Failed(error) => return Err(error),
        }
        Ok(false)
    }

    /// What to do after a failed join. `Err` ends the membership.
    fn after_join_error(&mut self, error: ClientError) -> Result<bool, ClientError> {
        tracing::debug!(group = self.group, %error, "joining the group again");
        self.cluster.note_coordinator_error(&self.group, &error);
        match error.code() {
            Some(ErrorCode::MemberIdRequired | ErrorCode::RebalanceInProgress) => Ok(false),
            Some(ErrorCode::UnknownMemberId) => {
                self.forget_member(true);
                self.lost();
                Ok(false)
            }
            Some(ErrorCode::IllegalGeneration) => {
                self.forget_member(false);
                self.lost();
                Ok(false)
            }
            _ if error.is_retriable() => {
                if self.last_beat.elapsed() > self.config.session_timeout {
                    self.lost();
                }
                Ok(true)
            }
            _ => Err(error),
        }
    }

    /// Has the consumer give up `partitions`, with heartbeats meanwhile.
    async fn revoke(&mut self, partitions: BTreeSet<TopicPartition>) {
        let (done, revoked) = oneshot::channel();
        if self.events.send(GroupEvent::Revoke { partitions, done }).is_err() {
            return;
        }
        let mut revoked = revoked;
        loop {
            tokio::select! {
                _ = &mut revoked => return,
                () = self.until_leaving() => return,
                () = sleep(self.config.heartbeat_interval) => {}
            }
            // That the group rebalances is known; other news comes with the next join.
            drop(self.beat().await);
        }
    }

    /// Heartbeats until something has to change.
    async fn stay(&mut self) -> Stopped {
        let mut next = Instant::now() + self.config.heartbeat_interval;
        loop {
            tokio::select! {
                () = millstream_env::task::sleep_until(next) => {}
                () = self.shared.rung.notified() => {}
            }
            if self.shared.is_leaving() {
                return Stopped::Leaving;
            }
            if self.shared.subscription_changed.load(Ordering::Acquire) || self.topics_changed() {
                return Stopped::Rejoin;
            }
            if self.shared.last_poll.lock().elapsed() > self.config.max_poll_interval {
                return Stopped::NotPolled;
            }
            if Instant::now() < next {
                continue;
            }
            next = Instant::now() + self.config.heartbeat_interval;
            let Err(error) = self.beat().await else { continue };
            if let Some(stopped) = self.after_beat_error(error) {
                return stopped;
            }
        }
    }

    fn after_beat_error(&mut self, error: ClientError) -> Option<Stopped> {
        self.cluster.note_coordinator_error(&self.group, &error);
        match error.code() {
            Some(ErrorCode::RebalanceInProgress) => Some(Stopped::Rejoin),
            Some(ErrorCode::UnknownMemberId) => {
                self.forget_member(true);
                Some(Stopped::Lost)
            }
            Some(ErrorCode::IllegalGeneration) => {
                self.forget_member(false);
                Some(Stopped::Lost)
            }
            _ if error.is_retriable() => {
                let expired = self.last_beat.elapsed() > self.config.session_timeout;
                expired.then_some(Stopped::Lost)
            }
            _ => Some(Stopped::Failed(error)),
        }
    }

    /// As the leader: whether a topic of the group has got or lost partitions since the last round.
    fn topics_changed(&self) -> bool {
        let Some(counts) = &self.counts else { return false };
        let metadata = self.cluster.metadata();
        counts.iter().any(|(topic, &count)| {
            metadata
                .topic(topic)
                .is_some_and(|info| i32::try_from(info.partitions.len()) != Ok(count))
        })
    }

    async fn beat(&mut self) -> Result<(), ClientError> {
        let MemberIdentity { generation, member_id } = self.shared.identity.lock().clone();
        let request = HeartbeatRequest {
            group_id: self.group.as_str().into(),
            generation_id: generation,
            member_id: member_id.into(),
            group_instance_id: self.instance_id(),
        };
        let build = |_| request.clone();
        let within = Some(self.config.session_timeout);
        let answer = self.cluster.call_coordinator(&self.group, self.lane, within, build).await?;
        ClientError::check(answer.error_code, || format!("group `{}`", self.group))?;
        self.last_beat = Instant::now();
        Ok(())
    }

    /// The group has given the partitions to others.
    fn lost(&mut self) {
        if self.owned.is_empty() {
            return;
        }
        self.owned.clear();
        drop(self.events.send(GroupEvent::Lost));
    }

    /// Leaves, because the application is stuck, and comes back when it polls again.
    async fn not_polled(&mut self) {
        tracing::warn!(
            group = self.group,
            after = ?self.config.max_poll_interval,
            "leaving the group: the application did not ask for records within max.poll.interval.ms"
        );
        self.leave().await;
        self.forget_member(true);
        self.lost();
        let left = Instant::now();
        while !self.shared.is_leaving() && *self.shared.last_poll.lock() < left {
            self.shared.rung.notified().await;
        }
    }

    /// Tells the coordinator that this member goes. A static member keeps its place until its session ends.
    async fn leave(&mut self) {
        let member_id = self.shared.identity.lock().member_id.clone();
        if member_id.is_empty() || self.config.group_instance_id.is_some() {
            return;
        }
        let build = |version: i16| {
            let mut request = LeaveGroupRequest {
                group_id: self.group.as_str().into(),
                ..LeaveGroupRequest::default()
            };
            if version >= 3 {
                let member_id = member_id.as_str().into();
                request.members = vec![WireMember { member_id, ..WireMember::default() }];
            } else {
                request.member_id = member_id.as_str().into();
            }
            request
        };
        let within = Some(Duration::from_secs(5));
        let left = self.cluster.call_coordinator(&self.group, Lane::General, within, build);
        // Not behind a join that may still wait on the group's own connection.
        // Who cannot say goodbye is noticed missing when the session ends.
        if let Ok(Err(error)) = timeout(Duration::from_secs(5), left).await {
            tracing::debug!(group = self.group, %error, "could not leave the group in good order");
        }
    }

    fn forget_member(&self, id_too: bool) {
        let mut identity = self.shared.identity.lock();
        identity.generation = -1;
        if id_too {
            identity.member_id.clear();
        }
    }

    pub(super) fn instance_id(&self) -> Option<millstream_wire::Str> {
        self.config.group_instance_id.as_deref().map(Into::into)
    }

    async fn until_leaving(&self) {
        while !self.shared.is_leaving() {
            self.shared.rung.notified().await;
        }
    }
}

impl Drop for MemberTask {
    fn drop(&mut self) {
        self.cluster.close_lane(self.lane);
    }
}

impl From<ClientError> for GroupEvent {
    fn from(error: ClientError) -> Self {
        Self::Failed(ConsumeError::Client(error))
    }
}
