//! The controller: one linearizable metadata log, decided by the product's own rules.
//!
//! Key type: [`Controller`]. Decisions are those of `millstream_metadata`; that a quorum agrees on them is shown by the
//! quorum's own simulation. Here the controller may be away for a while, and forget who it heard from; what it
//! committed stays.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_base::{BrokerEpoch, ErrorCode, NodeId, Offset, PartitionIndex, Uuid};
use millstream_metadata::decide::{
    AlterPartition, AlterReassignments, AlteredPartition, BrokerChange, Decision, ElectLeaders,
    ElectionDefaults, ElectionKind, Heartbeat, Reassignment, RegisterBroker, bootstrap_features,
    change_broker, register_broker, settle,
};
use millstream_metadata::{
    ClusterImage, LeaderRecoveryState, MetadataRecord, Partition, Replayer, SupportedFeature,
};
use millstream_partition::{AlterAnswer, IsrProposal};
use millstream_wire::stored::{PartitionRecord, TopicRecord};

use crate::scenario::Scenario;

/// The one topic.
pub(crate) const TOPIC: Uuid = Uuid([7; 16]);
const NAME: &str = "t";
const ELR: &str = "eligible.leader.replicas.version";

/// The metadata log and who it was heard from.
#[derive(Debug)]
pub(crate) struct Controller {
    replayer: Replayer,
    /// The image after so many entries.
    images: Vec<Arc<ClusterImage>>,
    defaults: ElectionDefaults,
    session_us: u64,
    heard: BTreeMap<NodeId, u64>,
    /// Nobody is the active controller until then.
    pub(crate) away_until_us: u64,
    /// What the last decisions broke, if anything.
    pub(crate) problem: Option<String>,
}

impl Controller {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        let mut controller = Self {
            replayer: Replayer::new(ClusterImage::new()),
            images: vec![Arc::new(ClusterImage::new())],
            defaults: ElectionDefaults {
                min_insync_replicas: scenario.min_insync,
                unclean_leader_election: false,
            },
            session_us: scenario.session_us,
            heard: BTreeMap::new(),
            away_until_us: 0,
            problem: None,
        };
        let level = i16::from(scenario.elr);
        controller.commit(&bootstrap_features(&[(Arc::from(ELR), level)]));
        controller
    }

    /// Creates the topic, once all brokers are registered.
    pub(crate) fn create_topic(&mut self, scenario: &Scenario, shift: usize) {
        let topic = TopicRecord { name: NAME.into(), topic_id: TOPIC };
        let mut records = vec![MetadataRecord::Topic(topic)];
        for partition in 0..scenario.partitions {
            let first = shift + usize::try_from(partition).unwrap_or(0);
            let place = |n: usize| i32::try_from((first + n) % scenario.brokers + 1).unwrap_or(1);
            let replicas: Vec<i32> = (0..scenario.replicas).map(place).collect();
            records.push(MetadataRecord::Partition(PartitionRecord {
                partition_id: partition,
                topic_id: TOPIC,
                leader: replicas.first().copied().unwrap_or(-1),
                isr: replicas.clone(),
                directories: vec![Uuid::ZERO; replicas.len()],
                leader_epoch: 0,
                partition_epoch: 0,
                replicas,
                ..PartitionRecord::default()
            }));
        }
        self.commit(&records);
    }

    pub(crate) fn image(&self) -> &Arc<ClusterImage> {
        // There is always the empty one.
        &self.images[self.images.len() - 1]
    }

    pub(crate) fn image_at(&self, upto: usize) -> Arc<ClusterImage> {
        Arc::clone(self.images.get(upto).unwrap_or_else(|| self.image()))
    }

    /// How many entries the log has.
    pub(crate) fn applied(&self) -> usize {
        self.images.len() - 1
    }

    pub(crate) fn partition(&self, index: i32) -> Option<&Arc<Partition>> {
        partition_of(self.image(), index)
    }

    fn commit(&mut self, records: &[MetadataRecord]) {
        if records.is_empty() {
            return;
        }
        for record in records {
            if let Err(error) = self.replayer.replay(record) {
                self.problem = Some(format!("{record:?} does not fit: {error}"));
            }
        }
        self.images.push(Arc::new(self.replayer.image().clone()));
    }

    fn take<R>(&mut self, decision: Decision<R>) -> R {
        self.commit(&decision.records);
        decision.reply
    }

    pub(crate) fn register(
        &mut self,
        id: NodeId,
        incarnation: u64,
        previous: Option<BrokerEpoch>,
        now_us: u64,
    ) -> Result<BrokerEpoch, ErrorCode> {
        let mut incarnation_id = [0; 16];
        incarnation_id[..8].copy_from_slice(&incarnation.to_be_bytes());
        let command = RegisterBroker {
            id,
            incarnation_id: Uuid(incarnation_id),
            features: [ELR, "metadata.version"]
                .map(|name| SupportedFeature { name: Arc::from(name), min: 0, max: i16::MAX })
                .to_vec(),
            previous_epoch: previous,
            other_is_alive: self.is_alive(id, now_us),
            defaults: self.defaults,
            ..RegisterBroker::default()
        };
        let next = Offset(i64::try_from(self.images.len()).unwrap_or(i64::MAX));
        let decision = register_broker(self.image(), &command, next).map_err(|e| e.code)?;
        let registered = self.take(decision);
        self.heard.insert(id, now_us);
        Ok(registered.epoch)
    }

    fn is_alive(&self, id: NodeId, now_us: u64) -> bool {
        let fenced = self.image().broker(id).is_none_or(|broker| broker.fenced);
        !fenced
            && self.heard.get(&id).is_some_and(|at| now_us.saturating_sub(*at) < self.session_us)
    }

    /// Whether the broker may end now.
    pub(crate) fn heartbeat(
        &mut self,
        id: NodeId,
        epoch: BrokerEpoch,
        applied: usize,
        stopping: bool,
        now_us: u64,
    ) -> Result<bool, ErrorCode> {
        let heartbeat = Heartbeat {
            id,
            epoch,
            applied: Offset(i64::try_from(applied).unwrap_or(0)),
            want_shut_down: stopping,
            may_end: true,
            defaults: self.defaults,
            ..Heartbeat::default()
        };
        let decision = heartbeat.decide(self.image()).map_err(|e| e.code)?;
        self.heard.insert(id, now_us);
        Ok(self.take(decision).should_shut_down)
    }

    pub(crate) fn alter(
        &mut self,
        id: NodeId,
        epoch: BrokerEpoch,
        partition: i32,
        proposal: &IsrProposal,
    ) -> AlterAnswer {
        let own = |&(member, of): &(NodeId, BrokerEpoch)| match member == id {
            true => (member, epoch),
            false => (member, of),
        };
        let command = AlterPartition {
            broker: id,
            epoch,
            partitions: vec![AlteredPartition {
                topic_id: TOPIC,
                index: PartitionIndex(partition),
                leader_epoch: proposal.leader_epoch,
                partition_epoch: proposal.partition_epoch,
                isr: proposal.isr.iter().map(own).collect(),
                recovery: LeaderRecoveryState::Recovered,
            }],
            defaults: self.defaults,
        };
        let decision = match command.decide(self.image()) {
            Ok(decision) => decision,
            Err(refusal) => return AlterAnswer::Refused(refusal.code),
        };
        match self.take(decision).pop() {
            Some(Ok(state)) => AlterAnswer::Accepted {
                leader_epoch: state.leader_epoch,
                partition_epoch: state.partition_epoch,
                isr: state.isr.clone(),
            },
            Some(Err(refusal)) => AlterAnswer::Refused(refusal.code),
            None => AlterAnswer::Unknown,
        }
    }

    pub(crate) fn reassign(&mut self, partition: i32, replicas: Option<Vec<NodeId>>) {
        let index = PartitionIndex(partition);
        let command = AlterReassignments {
            partitions: vec![Reassignment { topic: NAME.into(), index, replicas }],
            allow_factor_change: true,
            defaults: self.defaults,
        };
        let decision = command.decide(self.image());
        self.take(decision);
    }

    pub(crate) fn elect_preferred(&mut self, partition: i32) {
        let command = ElectLeaders {
            kind: ElectionKind::Preferred,
            partitions: vec![(NAME.into(), PartitionIndex(partition))],
            defaults: self.defaults,
        };
        let decision = command.decide(self.image());
        self.take(decision);
    }

    /// Somebody saw the broker's process end.
    pub(crate) fn fence(&mut self, id: NodeId) {
        let Some(epoch) = self.image().broker(id).map(|broker| broker.epoch) else { return };
        let fence = BrokerChange::Fence;
        if let Ok(decision) = change_broker(self.image(), self.defaults, id, epoch, fence) {
            self.take(decision);
        }
    }

    /// A new active controller: it gives everybody a whole session, and looks what was left undone.
    pub(crate) fn take_over(&mut self, now_us: u64) {
        for at in self.heard.values_mut() {
            *at = now_us;
        }
        let decision = settle(self.image(), self.defaults);
        self.take(decision);
    }

    /// Fences who was silent for too long.
    pub(crate) fn tick(&mut self, now_us: u64) {
        let session_us = self.session_us;
        let silent = |(_, at): &(&NodeId, &u64)| now_us.saturating_sub(**at) >= session_us;
        let silent: Vec<NodeId> = self.heard.iter().filter(silent).map(|(id, _)| *id).collect();
        for id in silent {
            if self.image().broker(id).is_some_and(|broker| !broker.fenced) {
                self.fence(id);
            }
        }
    }
}

pub(crate) fn partition_of(image: &ClusterImage, index: i32) -> Option<&Arc<Partition>> {
    image.topics.get_by_id(TOPIC)?.partition(PartitionIndex(index))
}
