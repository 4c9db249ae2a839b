//! All shards of this broker, the markers that they ask for, and the task that keeps their time.
//!
//! Key type: [`TransactionCoordinator`]. Which shards there are follows the cluster image
//! ([`TransactionCoordinator::refresh`]); a request finds its shard by the hash of its transactional id, without a lock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use millstream_base::{ErrorCode, NodeId, Offset, PartitionIndex};
use millstream_config::BrokerConfig;
use millstream_env::clock::Clock;
use millstream_env::task;
use millstream_metadata::ClusterImage;
use millstream_txns::{Decided, EndTxn, InitProducerId, InitRefused, Producer, Shard, TxnConfig};
use tracing::{info, warn};

use super::outbox::Outbox;
use super::remote::{Question, SendMarkers};
use super::shard::{HostedTxns, Written};
use crate::broker::Broker;
use crate::coordinator::{GroupCoordinator, partition_of};
use crate::replica::{Partition, Replicas};
use crate::state_log::{LoadReport, Shards, TimeKeeper, keep_time};
use crate::topic_rules::TRANSACTIONS_TOPIC;

/// How long the answer to EndTxn is held back for the markers, so that the producer's next transaction finds the last one
/// complete and need not ask twice. The decision is committed by then.
const HOLD: Duration = Duration::from_millis(20);

/// The transaction coordinator of this broker.
#[derive(Debug)]
pub(crate) struct TransactionCoordinator {
    pub(super) me: NodeId,
    config: Arc<ArcSwap<BrokerConfig>>,
    pub(super) clock: Arc<dyn Clock>,
    /// The cluster's metadata as this coordinator was told of it last.
    image: ArcSwap<ClusterImage>,
    pub(super) replicas: Arc<Replicas>,
    pub(super) groups: Arc<GroupCoordinator>,
    shards: Shards<HostedTxns>,
    /// Markers for partitions that others lead.
    pub(super) marker_outbox: Arc<Outbox<SendMarkers>>,
    /// Questions about transactions that others coordinate.
    pub(super) question_outbox: Arc<Outbox<Question>>,
    /// Transactions that were not used for long are looked for at this time, on the monotonic clock.
    next_expiry_ms: AtomicI64,
}

/// What a coordinator needs of its broker.
pub(crate) struct Surroundings {
    /// This broker.
    pub me: NodeId,
    /// Its settings.
    pub config: Arc<ArcSwap<BrokerConfig>>,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// The cluster's metadata.
    pub image: Arc<ClusterImage>,
    /// The partitions hosted here.
    pub replicas: Arc<Replicas>,
    /// The consumer groups coordinated here.
    pub groups: Arc<GroupCoordinator>,
}

impl TransactionCoordinator {
    /// A coordinator without shards; [`TransactionCoordinator::refresh`] gives it some.
    pub(crate) fn new(surroundings: Surroundings) -> Arc<Self> {
        let Surroundings { me, config, clock, image, replicas, groups } = surroundings;
        let shards = Shards::new(TRANSACTIONS_TOPIC, me);
        Arc::new(Self {
            me,
            config,
            clock,
            image: ArcSwap::new(image),
            replicas,
            groups,
            shards,
            marker_outbox: Outbox::new(),
            question_outbox: Outbox::new(),
            next_expiry_ms: AtomicI64::new(i64::MAX),
        })
    }

    /// The broker, by which others are reached.
    pub(crate) fn set_broker(&self, broker: Weak<Broker>) {
        self.marker_outbox.set_broker(Weak::clone(&broker));
        self.question_outbox.set_broker(broker);
    }

    /// Starts the task that aborts what takes too long and forgets what expired. It ends with the coordinator.
    pub(crate) fn start_timers(self: &Arc<Self>) {
        self.put_off_expiry();
        task::spawn(keep_time(Arc::downgrade(self), Arc::default()));
    }

    // --- Shards ------------------------------------------------------------------------------------------------

    /// The cluster's metadata as this coordinator was told of it last.
    pub(super) fn image(&self) -> Arc<ClusterImage> {
        self.image.load_full()
    }

    /// The cluster's metadata is this now.
    pub(super) fn set_image(&self, image: &Arc<ClusterImage>) {
        self.image.store(Arc::clone(image));
    }

    /// Follows the cluster image: shards of partitions that this broker leads now are loaded in the background, those
    /// that it leads no more are given up. Call it when the replicas have followed the image.
    pub(crate) fn refresh(
        self: &Arc<Self>,
        image: &ClusterImage,
        hosted: impl Fn(PartitionIndex) -> Option<Arc<Partition>>,
    ) {
        for shard in self.shards.refresh(image, hosted, HostedTxns::new) {
            self.load(shard);
        }
    }

    /// Gives up all shards: the broker stops.
    pub(crate) fn close_all(&self) {
        self.shards.close_all();
    }

    fn load(self: &Arc<Self>, shard: Arc<HostedTxns>) {
        if shard.partition.with_log(|log| log.end_offset() == Offset::ZERO) {
            shard.activate(Shard::new(self.txn_config()), &LoadReport::default());
            return;
        }
        let coordinator = Arc::clone(self);
        self.shards.load(shard, move |hosted| {
            let buffer = coordinator.config.load().transactions.state_load_buffer_size;
            let buffer = u32::try_from(buffer).unwrap_or(1);
            let Some((loaded, report)) =
                super::load::load(&hosted, coordinator.txn_config(), buffer)
            else {
                return hosted.fail();
            };
            let Some((ends, commit)) = hosted.activate(loaded, &report) else { return };
            for markers in ends {
                info!(transactional_id = %markers.transactional_id, commit = markers.commit,
                    "finishing a transaction whose end was decided before");
                drop(coordinator.finish(&hosted, markers, commit.clone()));
            }
        });
    }

    /// The settings as they are now.
    fn txn_config(&self) -> TxnConfig {
        let config = self.config.load();
        TxnConfig {
            max_timeout_ms: config.transactions.max_timeout_ms,
            id_expiration_ms: i64::from(config.transactions.transactional_id_expiration_ms),
        }
    }

    /// The other broker that coordinates a transactional id; `None` where that is this one, or nobody.
    pub(super) fn elsewhere(&self, transactional_id: &str) -> Option<NodeId> {
        let image = self.image();
        let topic = image.topics.get(TRANSACTIONS_TOPIC)?;
        let at = partition_of(transactional_id, topic.partitions.len());
        let index = PartitionIndex(i32::try_from(at).ok()?);
        topic.partition(index)?.leader.filter(|leader| *leader != self.me)
    }

    /// The settings of transactions.
    pub(super) fn settings(&self) -> millstream_config::TransactionsConfig {
        self.config.load().transactions.clone()
    }

    /// The shard of a transactional id, or why this broker has none.
    pub(crate) fn shard(&self, transactional_id: &str) -> Result<Arc<HostedTxns>, ErrorCode> {
        self.shards.of(transactional_id)
    }

    /// All shards of this broker.
    pub(crate) fn shards(&self) -> Vec<Arc<HostedTxns>> {
        self.shards.all()
    }

    // --- Requests ----------------------------------------------------------------------------------------------

    /// Decides for a transactional id, and writes what was decided.
    pub(crate) fn decide<R>(
        &self,
        transactional_id: &str,
        decide: impl FnOnce(&Shard, i64) -> Decided<R>,
    ) -> Result<Written<R>, ErrorCode> {
        let now = self.clock.now_ms();
        self.shard(transactional_id)?.decide(now, |shard| decide(shard, now.get()))
    }

    /// InitProducerId with a transactional id.
    pub(crate) async fn init_producer_id(
        self: &Arc<Self>,
        broker: &Broker,
        mut request: InitProducerId,
    ) -> Result<Producer, ErrorCode> {
        let hosted = self.shard(&request.transactional_id)?;
        loop {
            let now = self.clock.now_ms();
            let decide = |shard: &Shard| shard.init_producer_id(now.get(), &request);
            let mut written = hosted.decide(now, decide)?;
            if written.reply == Err(InitRefused::NeedsProducerId) {
                request.fresh_id = Some(broker.producer_ids().next(broker).await?.get());
                continue;
            }
            self.settle(&hosted, &mut written).await?;
            return written.reply.map_err(code_of);
        }
    }

    /// EndTxn. Answered when the decision is committed; who the producer is from now on.
    pub(crate) async fn end_txn(
        self: &Arc<Self>,
        broker: &Broker,
        mut request: EndTxn,
    ) -> Result<Producer, ErrorCode> {
        let hosted = self.shard(&request.transactional_id)?;
        loop {
            let now = self.clock.now_ms();
            let mut written = hosted.decide(now, |shard| shard.end_txn(now.get(), &request))?;
            if written.reply == Err(InitRefused::NeedsProducerId) {
                request.fresh_id = Some(broker.producer_ids().next(broker).await?.get());
                continue;
            }
            self.settle(&hosted, &mut written).await?;
            return written.reply.map_err(code_of);
        }
    }

    /// Waits for the commit; an end that was decided is seen through, whether the client waits or not.
    async fn settle<R>(
        self: &Arc<Self>,
        hosted: &Arc<HostedTxns>,
        written: &mut Written<R>,
    ) -> Result<(), ErrorCode> {
        let markers = written.markers.take();
        let end = markers.map(|markers| self.finish(hosted, markers, written.commit.clone()));
        written.commit.done().await?;
        if let Some(end) = end {
            drop(task::timeout(HOLD, end).await);
        }
        Ok(())
    }

    // --- Time --------------------------------------------------------------------------------------------------

    /// Aborts the transactions that are open for too long.
    fn abort_timed_out(self: &Arc<Self>) {
        let now = self.clock.now_ms();
        for hosted in self.shards() {
            // A shard that is loading has its turn next time.
            let Ok(late) = hosted.peek(|shard| shard.timed_out(now.get())) else { continue };
            for (id, producer) in late {
                let decide = |shard: &Shard| shard.abort_timed_out(now.get(), &id, producer);
                match hosted.decide(now, decide) {
                    Ok(Written { reply: true, markers: Some(markers), commit }) => {
                        info!(transactional_id = %id, producer_id = producer.id,
                            "aborting a transaction that took longer than its time-out");
                        drop(self.finish(&hosted, markers, commit));
                    }
                    Ok(_) => {}
                    Err(error) => warn!(transactional_id = %id, %error,
                        "a transaction that took too long could not be aborted; trying again later"),
                }
            }
        }
    }

    fn mono_ms(&self) -> i64 {
        i64::try_from(self.clock.monotonic().as_millis()).unwrap_or(i64::MAX)
    }

    fn put_off_expiry(&self) {
        let interval = i64::from(self.config.load().transactions.remove_expired_interval_ms);
        let next = self.mono_ms().saturating_add(interval);
        self.next_expiry_ms.store(next, Ordering::Relaxed);
    }

    /// Forgets transactional ids that nobody uses.
    fn expire(&self) {
        let now = self.clock.now_ms();
        let config = self.txn_config();
        for hosted in self.shards() {
            hosted.set_config(config.clone());
            while let Ok(written) = hosted.decide(now, |shard| shard.expire(now.get())) {
                if !written.reply {
                    break;
                }
            }
        }
    }
}

fn code_of(refused: InitRefused) -> ErrorCode {
    match refused {
        InitRefused::Code(code) => code,
        // Asked for one and gave one: it does not come to this.
        InitRefused::NeedsProducerId => ErrorCode::CoordinatorLoadInProgress,
    }
}

impl TimeKeeper for TransactionCoordinator {
    fn fire_due(self: &Arc<Self>) -> Duration {
        self.abort_timed_out();
        if self.mono_ms() >= self.next_expiry_ms.load(Ordering::Relaxed) {
            self.put_off_expiry();
            self.expire();
        }
        let ms = self.config.load().transactions.abort_timed_out_interval_ms;
        Duration::from_millis(u64::try_from(ms).unwrap_or(1))
    }
}
