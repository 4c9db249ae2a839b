//! All shards of this broker, the markers that they ask for, and the task that keeps their time.
//!
//! Key type: [`TransactionCoordinator`]. Which shards there are follows the cluster image
//! ([`TransactionCoordinator::refresh`]); a request finds its shard by the hash of its transactional id, without a lock.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use millstream_base::{ErrorCode, NodeId, PartitionIndex};
use millstream_config::BrokerConfig;
use millstream_env::clock::Clock;
use millstream_env::task;
use millstream_metadata::ClusterImage;
use millstream_txns::{Decided, EndTxn, InitProducerId, InitRefused, Producer, Shard, TxnConfig};
use parking_lot::Mutex;
use tracing::{info, warn};

use super::shard::{HostedTxns, Written};
use crate::broker::Broker;
use crate::coordinator::{GroupCoordinator, partition_of};
use crate::replica::{Partition, Replicas};
use crate::topic_rules::TRANSACTIONS_TOPIC;

/// How long the answer to EndTxn is held back for the markers, so that the producer's next transaction finds the last one
/// complete and need not ask twice. The decision is committed by then.
const HOLD: Duration = Duration::from_millis(20);

/// By partition of `__transaction_state`; `None` where another broker leads. Empty while the topic does not exist.
type Slots = Vec<Option<Arc<HostedTxns>>>;

/// The transaction coordinator of this broker.
#[derive(Debug)]
pub(crate) struct TransactionCoordinator {
    me: NodeId,
    config: Arc<ArcSwap<BrokerConfig>>,
    pub(super) clock: Arc<dyn Clock>,
    /// The cluster's metadata as this coordinator was told of it last.
    image: ArcSwap<ClusterImage>,
    pub(super) replicas: Arc<Replicas>,
    pub(super) groups: Arc<GroupCoordinator>,
    slots: ArcSwap<Slots>,
    /// One refresh at a time.
    refreshing: Mutex<()>,
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
        let (slots, refreshing) = (ArcSwap::default(), Mutex::new(()));
        let image = ArcSwap::new(image);
        Arc::new(Self { me, config, clock, image, replicas, groups, slots, refreshing })
    }

    /// Starts the task that aborts what takes too long and forgets what expired. It ends with the coordinator.
    pub(crate) fn start_timers(self: &Arc<Self>) {
        task::spawn(keep_time(Arc::downgrade(self)));
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
        let _one = self.refreshing.lock();
        let old = self.slots.load_full();
        let mut slots = Slots::new();
        let mut fresh = Vec::new();
        let partitions = image.topics.get(TRANSACTIONS_TOPIC).map(|topic| topic.partitions.iter());
        for (index, partition) in partitions.into_iter().flatten() {
            let at = usize::try_from(index.get()).unwrap_or_default();
            slots.resize(slots.len().max(at + 1), None);
            let replica = hosted(*index).filter(|_| partition.leader == Some(self.me));
            let epoch = partition.leader_epoch;
            let is_known = |known: &&Arc<HostedTxns>, replica: &Arc<Partition>| {
                Arc::ptr_eq(&known.partition, replica) && known.epoch == epoch
            };
            let slot = replica.map(|replica| {
                let known = old.get(at).and_then(Option::as_ref);
                known.filter(|known| is_known(known, &replica)).cloned().unwrap_or_else(|| {
                    let shard = HostedTxns::new(replica, epoch);
                    fresh.push(Arc::clone(&shard));
                    shard
                })
            });
            if let Some(place) = slots.get_mut(at) {
                *place = slot;
            }
        }
        let slots = Arc::new(slots);
        self.slots.store(Arc::clone(&slots));
        for shard in old.iter().flatten() {
            if !slots.iter().flatten().any(|kept| Arc::ptr_eq(kept, shard)) {
                shard.close();
            }
        }
        for shard in fresh {
            self.load_in_background(shard);
        }
    }

    /// Gives up all shards: the broker stops.
    pub(crate) fn close_all(&self) {
        let _one = self.refreshing.lock();
        for shard in self.slots.swap(Arc::default()).iter().flatten() {
            shard.close();
        }
    }

    fn load_in_background(self: &Arc<Self>, hosted: Arc<HostedTxns>) {
        let coordinator = Arc::clone(self);
        task::spawn_blocking(move || {
            let buffer = coordinator.config.load().transactions.state_load_buffer_size;
            let buffer = u32::try_from(buffer).unwrap_or(1);
            let config = coordinator.txn_config();
            match super::load::load(&hosted.partition, config, buffer) {
                Some(loaded) => {
                    for markers in hosted.activate(loaded) {
                        info!(transactional_id = %markers.transactional_id, commit = markers.commit,
                            "finishing a transaction whose end was decided before the start");
                        drop(coordinator.finish(&hosted, markers, None));
                    }
                }
                None => hosted.fail(),
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

    /// The settings of transactions.
    pub(super) fn settings(&self) -> millstream_config::TransactionsConfig {
        self.config.load().transactions.clone()
    }

    /// The shard of a transactional id, or why this broker has none.
    pub(crate) fn shard(&self, transactional_id: &str) -> Result<Arc<HostedTxns>, ErrorCode> {
        let slots = self.slots.load();
        if slots.is_empty() {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        let slot = slots.get(partition_of(transactional_id, slots.len())).and_then(Option::as_ref);
        slot.cloned().ok_or(ErrorCode::NotCoordinator)
    }

    /// All shards of this broker.
    pub(crate) fn shards(&self) -> Vec<Arc<HostedTxns>> {
        self.slots.load().iter().flatten().cloned().collect()
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
        let end = markers.map(|markers| self.finish(hosted, markers, Some(written.commit.clone())));
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
            let Ok(late) = hosted.read(|shard| shard.timed_out(now.get())) else { continue };
            for (id, producer) in late {
                let decide = |shard: &Shard| shard.abort_timed_out(now.get(), &id, producer);
                match hosted.decide(now, decide) {
                    Ok(Written { reply: true, markers: Some(markers), commit }) => {
                        info!(transactional_id = %id, producer_id = producer.id,
                            "aborting a transaction that took longer than its time-out");
                        drop(self.finish(&hosted, markers, Some(commit)));
                    }
                    Ok(_) => {}
                    Err(error) => warn!(transactional_id = %id, %error,
                        "a transaction that took too long could not be aborted; trying again later"),
                }
            }
        }
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

/// The one task that keeps the time of all transactions.
async fn keep_time(coordinator: Weak<TransactionCoordinator>) {
    let mut since_expiry = Duration::ZERO;
    loop {
        let Some(settings) = coordinator.upgrade().map(|alive| alive.settings()) else { return };
        let every = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(1));
        let tick = every(settings.abort_timed_out_interval_ms);
        task::sleep(tick).await;
        let Some(alive) = coordinator.upgrade() else { return };
        alive.abort_timed_out();
        since_expiry += tick;
        if since_expiry >= every(settings.remove_expired_interval_ms) {
            since_expiry = Duration::ZERO;
            alive.expire();
        }
    }
}
