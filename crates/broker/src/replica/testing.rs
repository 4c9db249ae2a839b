//! Partitions of several brokers in one process, for tests: no network, no controller; time and metadata are set by hand.
//!
//! Key type: [`Cluster`].

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;
use millstream_base::{
    BrokerEpoch, LeaderEpoch, NodeId, Offset, TimestampMs, TopicPartition, Uuid,
};
use millstream_config::{BrokerConfig, ServerProperties, TopicConfig, TopicThrottles};
use millstream_env::clock::ManualClock;
use millstream_env::fs::OsFs;
use millstream_log::{Log, LogConfig, OpenOptions};
use millstream_metadata::{
    BrokerRegistration, ClusterImage, LeaderRecoveryState, Partition as PartitionImage,
};
use millstream_partition::AppendOrigin;
use millstream_records::{BatchBuilder, BatchOptions};

use super::acks::Durable;
use super::append::AppendFailure;
use super::bells::Bell;
use super::follow::FromLeader;
use super::partition::{Partition, Settings};
use super::read::{FetchRead, FetchRefused, Follower};
use super::role::Duty;
use super::shared::Shared;
use crate::fetch::Wanted;

/// When everything happens.
pub(crate) const NOW: TimestampMs = TimestampMs(1_000);

/// What metadata says of one partition, and the brokers that hold it.
pub(crate) struct Cluster {
    /// The partition.
    pub image: PartitionImage,
    /// Every broker's clock.
    pub clock: Arc<ManualClock>,
    min_insync: i32,
    log: LogConfig,
}

impl Cluster {
    /// A partition on brokers 1 to `brokers`, led by the first, all in sync.
    pub(crate) fn new(brokers: i32) -> Self {
        let replicas: Vec<NodeId> = (1..=brokers).map(NodeId).collect();
        let image = PartitionImage {
            directories: vec![Uuid::ZERO; replicas.len()],
            isr: replicas.clone(),
            replicas,
            removing: Vec::new(),
            adding: Vec::new(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            leader: Some(NodeId(1)),
            leader_recovery_state: LeaderRecoveryState::Recovered,
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 0,
        };
        let (clock, log) = (ManualClock::at(NOW.get()), LogConfig::default());
        Self { image, clock, min_insync: 1, log }
    }

    /// The same with `min.insync.replicas`.
    pub(crate) fn with_min_insync(mut self, replicas: i32) -> Self {
        self.min_insync = replicas;
        self
    }

    /// The same with `flush.messages`.
    pub(crate) fn with_flush_messages(mut self, messages: i64) -> Self {
        self.log.flush_messages = messages;
        self
    }

    /// Broker `me`'s replica in `dir`, which may hold its log already.
    pub(crate) fn partition(&self, me: i32, dir: &Path) -> Arc<Partition> {
        self.partition_committed_to(me, dir, 0)
    }

    /// The same, with a high watermark from a checkpoint.
    pub(crate) fn partition_committed_to(
        &self,
        me: i32,
        dir: &Path,
        high_watermark: i64,
    ) -> Arc<Partition> {
        let name = TopicPartition::new("t", 0);
        let dir = dir.join(me.to_string());
        OsFs::shared().create_dir_all(&dir).unwrap();
        let config = Arc::new(self.log.clone());
        let options = OpenOptions { clean: false, ..OpenOptions::default() };
        let opened = Log::open(OsFs::shared(), &dir, name.clone(), config, &options);
        let mut properties = ServerProperties::default();
        properties.set("log.dirs", &*dir.to_string_lossy());
        let broker = BrokerConfig::load(&properties).unwrap();
        let (mut topic, _) = TopicConfig::resolve_lenient(&BTreeMap::new(), &broker);
        topic.min_insync_replicas = self.min_insync;
        let settings = Settings { topic, throttles: Arc::new(TopicThrottles::default()) };
        let config = Arc::new(ArcSwap::from_pointee(broker));
        let clock = Arc::clone(&self.clock) as _;
        let shared = Shared::new(NodeId(me), clock, config);
        shared.image.store(Arc::new(self.cluster_image()));
        let (log, id) = (opened.unwrap().0, Uuid::default());
        Partition::new(name, id, shared, log, &self.image, Offset(high_watermark), settings)
    }

    fn cluster_image(&self) -> ClusterImage {
        let mut image = ClusterImage::new();
        for id in &self.image.replicas {
            let registration = BrokerRegistration {
                id: *id,
                epoch: broker_epoch(*id),
                incarnation_id: Uuid::ZERO,
                endpoints: Vec::new(),
                features: Vec::new(),
                rack: None,
                fenced: false,
                in_controlled_shutdown: false,
                log_dirs: Vec::new(),
                cordoned_log_dirs: None,
                is_migrating_zk_broker: false,
            };
            image.brokers.insert(*id, Arc::new(registration));
        }
        image
    }

    /// Another broker leads from now on, in the next epoch; all of `hear` learn of it.
    pub(crate) fn elect(&mut self, leader: i32, isr: &[i32], hear: &[&Arc<Partition>]) {
        self.image.leader = (leader >= 0).then_some(NodeId(leader));
        self.image.leader_epoch = LeaderEpoch(self.image.leader_epoch.get() + 1);
        self.set_isr(isr, hear);
    }

    /// Other replicas are in sync from now on; all of `hear` learn of it.
    pub(crate) fn set_isr(&mut self, isr: &[i32], hear: &[&Arc<Partition>]) {
        self.image.isr = isr.iter().copied().map(NodeId).collect();
        self.image.partition_epoch += 1;
        for partition in hear {
            partition.follow_metadata(&self.image);
        }
    }
}

fn broker_epoch(id: NodeId) -> BrokerEpoch {
    BrokerEpoch(i64::from(id.get()) * 100)
}

/// One batch of `values`.
pub(crate) fn batch(values: &[&str], options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options);
    for value in values {
        builder.append(NOW, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// Writes `values` as one batch with acks=all.
pub(crate) fn produce(
    leader: &Arc<Partition>,
    values: &[&str],
    min_insync: usize,
) -> Result<Option<Durable>, AppendFailure> {
    let mut batch = batch(values, BatchOptions::default());
    let appended = leader.append(&mut batch, AppendOrigin::Client, Some(min_insync), NOW)?;
    Ok(appended.durable)
}

/// One fetch of `follower` from `leader`, as the fetcher and the handler do it: truncation included. True when it moved anything.
pub(crate) fn replicate(leader: &Arc<Partition>, follower: &Arc<Partition>) -> bool {
    let Duty::Follow(_, epoch) = follower.duty() else { return false };
    let read = fetch(leader, follower).expect("the leader serves the follower");
    let before = (follower.next_fetch(epoch), follower.high_watermark());
    if let Some((epoch_there, end_offset)) = read.diverging {
        let diverging = millstream_partition::DivergingEpoch { epoch: epoch_there, end_offset };
        follower.cut_where_they_part(epoch, diverging, NOW).unwrap();
    } else {
        let records = read.range.as_ref().map(|range| range.read().unwrap()).unwrap_or_default();
        let from = FromLeader {
            epoch,
            offset: before.0.unwrap().offset,
            records: &records,
            high_watermark: read.high_watermark,
            log_start: read.log_start,
        };
        follower.take_fetched(&from, NOW).unwrap();
    }
    (follower.next_fetch(epoch), follower.high_watermark()) != before
}

/// What the leader gives to a follower's next fetch.
pub(crate) fn fetch(
    leader: &Arc<Partition>,
    follower: &Arc<Partition>,
) -> Result<FetchRead, FetchRefused> {
    let Duty::Follow(_, epoch) = follower.duty() else { panic!("it follows nobody") };
    let position = follower.next_fetch(epoch).unwrap();
    let wanted = Wanted {
        offset: position.offset,
        max_bytes: 1 << 20,
        current_leader_epoch: position.leader_epoch,
        last_fetched_epoch: position.last_epoch,
        log_start: position.log_start,
    };
    let me = follower.shared.me;
    let follower = Follower { id: me, broker_epoch: broker_epoch(me) };
    leader.read_for_follower(follower, &wanted, 1 << 20, true, &Arc::<Bell>::default(), |_| true)
}

/// Fetches until nothing moves any more.
pub(crate) fn replicate_all(leader: &Arc<Partition>, followers: &[&Arc<Partition>]) {
    for _ in 0..100 {
        let moved = followers.iter().filter(|follower| replicate(leader, follower)).count();
        if moved == 0 {
            return;
        }
    }
    panic!("replication does not come to rest");
}

/// All bytes of a replica's log, and where it begins and ends.
pub(crate) fn contents(partition: &Arc<Partition>) -> (i64, i64, Vec<u8>) {
    partition.with_log(|log| {
        let (start, end) = (log.log_start_offset(), log.end_offset());
        let mut bytes = Vec::new();
        let mut at = start;
        while at < end {
            let range = log.read(at, end, 1 << 30, true).unwrap().range.unwrap();
            let read = range.read().unwrap();
            let header = millstream_records::Batches::new(&read).last().unwrap().unwrap();
            at = header.header().next_offset();
            bytes.extend(read);
        }
        (start.get(), end.get(), bytes)
    })
}
