//! All shards of this broker, and the one task that keeps their time.
//!
//! Key type: [`GroupCoordinator`]. Which shards there are follows the cluster image ([`GroupCoordinator::refresh`]); a
//! request finds its shard by the hash of its group id, without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use millstream_base::{ErrorCode, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId};
use millstream_config::BrokerConfig;
use millstream_env::clock::Clock;
use millstream_env::random::Random;
use millstream_env::task;
use millstream_groups::{
    Decided, GroupConfig, JoinGroup, JoinResponse, Now, RequestToken, Response, Shard, SyncGroup,
    SyncResponse,
};
use millstream_metadata::ClusterImage;
use tokio::sync::{Notify, oneshot};
use tracing::warn;

use super::shard::{HostedShard, InTransaction, NEVER, Written};
use super::topic::TopicMaker;
use super::topics::ImageTopics;
use crate::replica::{Partition, TxnMarker, Verification};
use crate::state_log::{Commit, LoadReport, Shards, TimeKeeper, keep_time};
use crate::topic_rules::OFFSETS_TOPIC;

/// The group coordinator of this broker.
#[derive(Debug)]
pub(crate) struct GroupCoordinator {
    config: Arc<ArcSwap<BrokerConfig>>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    shards: Shards<HostedShard>,
    /// What shards know of topics.
    topics: ArcSwap<ImageTopics>,
    /// Until when the timer task sleeps, on the monotonic clock.
    sleeps_until_ms: AtomicI64,
    wake: Arc<Notify>,
    topic_maker: TopicMaker,
}

impl GroupCoordinator {
    /// A coordinator without shards; [`GroupCoordinator::refresh`] gives it some.
    pub(crate) fn new(
        me: NodeId,
        config: Arc<ArcSwap<BrokerConfig>>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Arc<Self> {
        Arc::new(Self {
            config,
            clock,
            random,
            shards: Shards::new(OFFSETS_TOPIC, me),
            topics: ArcSwap::default(),
            sleeps_until_ms: AtomicI64::new(NEVER),
            wake: Arc::new(Notify::new()),
            topic_maker: TopicMaker::default(),
        })
    }

    /// Starts the task that drives the timers. It ends with the coordinator.
    pub(crate) fn start_timers(self: &Arc<Self>) {
        task::spawn(keep_time(Arc::downgrade(self), Arc::clone(&self.wake)));
    }

    /// Both clocks.
    pub(crate) fn now(&self) -> Now {
        let mono_ms = i64::try_from(self.clock.monotonic().as_millis()).unwrap_or(i64::MAX);
        Now { wall_ms: self.clock.now_ms().get(), mono_ms }
    }

    /// What makes the coordinators' topics.
    pub(crate) const fn topic_maker(&self) -> &TopicMaker {
        &self.topic_maker
    }

    /// Sixteen random bytes, for member ids.
    pub(crate) fn random(&self) -> [u8; 16] {
        self.random.bytes16()
    }

    // --- Shards ------------------------------------------------------------------------------------------------

    /// Follows the cluster image: shards of partitions that this broker leads now are loaded in the background, those
    /// that it leads no more are given up. Call it when the replicas have followed the image.
    pub(crate) fn refresh(
        self: &Arc<Self>,
        image: &ClusterImage,
        hosted: impl Fn(PartitionIndex) -> Option<Arc<Partition>>,
    ) {
        let make = |replica, epoch| {
            HostedShard::new(replica, epoch, self.group_config(), self.commit_timeout())
        };
        for shard in self.shards.refresh(image, hosted, make) {
            self.load(shard);
        }
    }

    /// Gives up all shards: the broker stops. Says how many requests were waiting.
    pub(crate) fn close_all(&self) -> usize {
        self.shards.close_all()
    }

    fn load(self: &Arc<Self>, shard: Arc<HostedShard>) {
        // A new topic's shards answer at once, so that the first member of the first group need not come twice.
        if shard.partition.with_log(|log| log.end_offset() == Offset::ZERO) {
            self.activate(&shard, Shard::new(self.group_config()), &LoadReport::default());
            return self.note_deadline(&shard);
        }
        let coordinator = Arc::clone(self);
        self.shards.load(shard, move |shard| {
            let buffer = coordinator.config.load().groups.offsets_load_buffer_size;
            let buffer = u32::try_from(buffer).unwrap_or(1);
            let clock = Arc::clone(&coordinator.clock);
            let config = coordinator.group_config();
            match super::load::load(&shard, config, buffer, || clock.monotonic()) {
                Some((loaded, report)) => coordinator.activate(&shard, loaded, &report),
                None => shard.fail(),
            }
            coordinator.note_deadline(&shard);
        });
    }

    fn activate(&self, hosted: &HostedShard, mut shard: Shard, report: &LoadReport) {
        shard.set_topics(self.topics.load_full());
        hosted.activate(self.now(), shard, report);
        // Topics and settings may have changed since the shard was made.
        let config = self.group_config();
        let _ = hosted.touch(|shard| {
            shard.set_topics(self.topics.load_full());
            shard.set_config(config);
        });
    }

    /// Topics have come, gone or changed: consumer groups act on it at their members' next heartbeats.
    pub(crate) fn set_topics(&self, image: &Arc<ClusterImage>) {
        let number = self.topics.load().number() + 1;
        let topics = ImageTopics::new(Arc::clone(image), self.config.load_full(), number);
        self.topics.store(Arc::clone(&topics));
        for shard in self.shards() {
            // A shard that loads takes the newest when it is done.
            let _ = shard.touch(|shard| shard.set_topics(Arc::clone(&topics) as _));
        }
    }

    /// The broker's settings have changed: shards take those that count for them.
    pub(crate) fn set_config(&self) {
        let config = self.group_config();
        for shard in self.shards() {
            // A shard that loads takes the newest when it is done.
            let _ = shard.touch(|shard| shard.set_config(config.clone()));
        }
    }

    /// Whether `group.coordinator.rebalance.protocols` has the protocol of KIP-848.
    pub(crate) fn speaks_consumer_protocol(&self) -> bool {
        let config = self.config.load();
        config.groups.rebalance_protocols.iter().any(|protocol| protocol == "consumer")
    }

    fn commit_timeout(&self) -> Duration {
        let ms = self.config.load().groups.offsets_commit_timeout_ms;
        Duration::from_millis(u64::try_from(ms).unwrap_or(1))
    }

    /// The settings as they are now.
    fn group_config(&self) -> GroupConfig {
        let config = self.config.load();
        let groups = &config.groups;
        let size = |value: i32| usize::try_from(value).unwrap_or_default();
        let migrates = |way: &str| {
            let policy = &groups.consumer_migration_policy;
            policy.eq_ignore_ascii_case("bidirectional") || policy.eq_ignore_ascii_case(way)
        };
        GroupConfig {
            consumer_max_size: size(groups.consumer_max_size),
            consumer_session_timeout_ms: groups.consumer_session_timeout_ms,
            consumer_heartbeat_interval_ms: groups.consumer_heartbeat_interval_ms,
            consumer_assignment_interval_ms: groups.consumer_assignment_interval_ms,
            consumer_regex_refresh_interval_ms: groups.consumer_regex_refresh_interval_ms,
            consumer_assignors: assignors(&groups.consumer_assignors),
            may_upgrade: migrates("upgrade"),
            may_downgrade: migrates("downgrade"),
            min_session_timeout_ms: groups.min_session_timeout_ms,
            max_session_timeout_ms: groups.max_session_timeout_ms,
            initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms,
            max_size: size(groups.max_size),
            offset_metadata_max_bytes: size(groups.offset_metadata_max_bytes),
            offsets_retention_ms: i64::from(groups.offsets_retention_minutes) * 60_000,
            offsets_retention_check_interval_ms: groups.offsets_retention_check_interval_ms,
        }
    }

    /// The shard of a group, or why this broker has none.
    pub(crate) fn shard(&self, group_id: &str) -> Result<Arc<HostedShard>, ErrorCode> {
        self.shards.of(group_id)
    }

    /// All shards of this broker.
    pub(crate) fn shards(&self) -> Vec<Arc<HostedShard>> {
        self.shards.all()
    }

    // --- Requests ----------------------------------------------------------------------------------------------

    /// Looks at a group's shard, and waits until what is seen there is committed.
    pub(crate) async fn read<R>(
        &self,
        group_id: &str,
        look: impl FnOnce(&Shard) -> R,
    ) -> Result<R, ErrorCode> {
        let seen = self.shard(group_id)?.read(look)?;
        seen.committed().await
    }

    /// Runs what never writes and never waits.
    pub(crate) fn touch<R>(
        &self,
        group_id: &str,
        run: impl FnOnce(&mut Shard, Now) -> R,
    ) -> Result<R, ErrorCode> {
        let shard = self.shard(group_id)?;
        let now = self.now();
        let result = shard.touch(|shard| run(shard, now));
        self.note_deadline(&shard);
        result
    }

    /// Decides for a group, and writes what was decided.
    pub(crate) fn decide<R>(
        &self,
        group_id: &str,
        decide: impl FnOnce(&mut Shard, Now) -> Decided<R>,
    ) -> Result<Written<R>, ErrorCode> {
        let shard = self.shard(group_id)?;
        let now = self.now();
        let outcome = shard.decide(now, |shard| decide(shard, now));
        self.note_deadline(&shard);
        outcome
    }

    /// [`Self::decide`] until a reply says that there is no more to write. Nobody comes in between.
    pub(crate) fn decide_in_parts<R>(
        &self,
        group_id: &str,
        decide: impl Fn(&mut Shard) -> Decided<Option<R>>,
    ) -> Result<Written<R>, ErrorCode> {
        let shard = self.shard(group_id)?;
        let outcome = shard.decide_in_parts(self.now(), decide);
        self.note_deadline(&shard);
        outcome
    }

    /// [`Self::decide`], where the records are part of a transaction.
    pub(crate) fn decide_in_transaction<R>(
        &self,
        group_id: &str,
        transaction: &InTransaction,
        decide: impl FnOnce(&mut Shard, Now) -> Decided<R>,
    ) -> Result<Written<R>, ErrorCode> {
        let shard = self.shard(group_id)?;
        let now = self.now();
        shard.decide_within(now, Some(transaction), |shard| decide(shard, now))
    }

    /// What has to be taken before the transaction coordinator is asked about a group's partition; see
    /// [`Partition::begin_verification`].
    pub(crate) fn begin_verification(
        &self,
        group_id: &str,
        producer: (ProducerId, ProducerEpoch),
    ) -> Result<Option<Verification>, ErrorCode> {
        let shard = self.shard(group_id)?;
        Ok(shard.partition.begin_verification(producer.0, producer.1))
    }

    /// Writes the end of a transaction into a partition of `__consumer_offsets`.
    pub(crate) fn end_transaction(
        &self,
        partition: PartitionIndex,
        marker: &TxnMarker,
    ) -> Result<Commit, ErrorCode> {
        let shard = self.shards.at(partition).ok_or(ErrorCode::NotLeaderOrFollower)?;
        shard.end_transaction(self.now(), marker)
    }

    fn park(
        &self,
        group_id: &str,
        decide: impl FnOnce(&mut Shard, Now, RequestToken) -> Decided<()>,
    ) -> Result<oneshot::Receiver<Response>, ErrorCode> {
        let shard = self.shard(group_id)?;
        let now = self.now();
        let answer = shard.park(now, |shard, token| decide(shard, now, token));
        self.note_deadline(&shard);
        answer
    }

    /// JoinGroup; the answer may take as long as the group's rebalance.
    pub(crate) async fn join(&self, request: JoinGroup) -> Result<JoinResponse, ErrorCode> {
        let group_id = Arc::clone(&request.group_id);
        let answer =
            self.park(&group_id, |shard, now, token| shard.join_group(now, &request, token))?;
        drop(request);
        match answer.await {
            Ok(Response::Join(join)) => Ok(join),
            // The shard went away without a word.
            Ok(Response::Sync(_)) | Err(_) => Err(ErrorCode::NotCoordinator),
        }
    }

    /// SyncGroup; the answer may take until the leader's sync.
    pub(crate) async fn sync(&self, request: SyncGroup) -> Result<SyncResponse, ErrorCode> {
        let group_id = Arc::clone(&request.group_id);
        let answer =
            self.park(&group_id, |shard, now, token| shard.sync_group(now, &request, token))?;
        drop(request);
        match answer.await {
            Ok(Response::Sync(sync)) => Ok(sync),
            Ok(Response::Join(_)) | Err(_) => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Topics are gone: so are the offsets committed for them. May write much: not on an async thread.
    pub(crate) fn forget_topics(&self, topics: &[Arc<str>]) {
        for shard in self.shards() {
            loop {
                let now = self.now();
                match shard.forget_topics(now, topics) {
                    Ok(true) => {}
                    Ok(false) => break,
                    // Whoever loads the shard next finds such offsets then, and else its retention check does.
                    Err(code) => {
                        warn!(error = %code, "offsets of deleted topics could not be deleted");
                        break;
                    }
                }
            }
        }
    }

    // --- Time --------------------------------------------------------------------------------------------------

    /// Wakes the timer task if the shard's next deadline comes before the task would wake by itself.
    fn note_deadline(&self, shard: &HostedShard) {
        if shard.next_deadline_ms() < self.sleeps_until_ms.load(Ordering::SeqCst) {
            self.wake.notify_one();
        }
    }
}

impl TimeKeeper for GroupCoordinator {
    fn fire_due(self: &Arc<Self>) -> Duration {
        // Whoever sets a deadline from here on wakes the task again, as it might be missed below.
        self.sleeps_until_ms.store(NEVER, Ordering::SeqCst);
        let mut next = NEVER;
        for shard in self.shards() {
            let now = self.now();
            if shard.next_deadline_ms() <= now.mono_ms {
                shard.fire_due(now);
            }
            next = next.min(shard.next_deadline_ms());
        }
        self.sleeps_until_ms.store(next, Ordering::SeqCst);
        let wait_ms = next.saturating_sub(self.now().mono_ms);
        Duration::from_millis(u64::try_from(wait_ms).unwrap_or_default())
    }
}

/// The names by which members ask for assignors: Kafka's classes have the same two.
pub(super) fn assignors(configured: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for configured in configured {
        let class = configured.rsplit('.').next().unwrap_or(configured);
        let name = class.strip_suffix("Assignor").unwrap_or(class).to_ascii_lowercase();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}
