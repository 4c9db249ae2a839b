//! AlterPartition (API key 56): a leader asks for another ISR, and says that it has recovered.
//!
//! Key type: [`AlterPartition`]. What the leader knows of the partition must be what the controller knows, or the leader
//! is told to look again; a replica may join the ISR only as the very process that fetched (KIP-903). The ISR that
//! completes a reassignment ends it, and may end the leader's lead with it. A leader that leaves its own ISR resigns.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_base::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, PartitionIndex, Uuid};

use super::brokers::check_epoch;
use super::change::{Election, PartitionChange};
use super::rules::{ElectionDefaults, Rules};
use super::settle::Presence;
use super::{Decision, Refusal};
use crate::image::{ClusterImage, LeaderRecoveryState, Partition, Topic};
use crate::record::MetadataRecord;
use crate::replay::change_partition;

/// One partition as its leader wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlteredPartition {
    /// The topic.
    pub topic_id: Uuid,
    /// The partition.
    pub index: PartitionIndex,
    /// The leader epoch under which it leads.
    pub leader_epoch: LeaderEpoch,
    /// The partition epoch that it knows.
    pub partition_epoch: i32,
    /// The ISR that it wants, each member with its broker epoch; -1 where that is not said.
    pub isr: Vec<(NodeId, BrokerEpoch)>,
    /// Whether it still has to make the log whole.
    pub recovery: LeaderRecoveryState,
}

/// The command.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterPartition {
    /// The leader that asks.
    pub broker: NodeId,
    /// Its broker epoch.
    pub epoch: BrokerEpoch,
    /// The partitions.
    pub partitions: Vec<AlteredPartition>,
    /// The controller's own settings.
    pub defaults: ElectionDefaults,
}

/// The answer for one partition: its state after the change.
pub type AlteredState = Result<Arc<Partition>, Refusal>;

impl AlterPartition {
    /// Decides each partition on its own, in the order of the command. The whole command is refused when the broker is
    /// not registered at that epoch.
    ///
    /// # Errors
    /// `STALE_BROKER_EPOCH`.
    pub fn decide(&self, image: &ClusterImage) -> Result<Decision<Vec<AlteredState>>, Refusal> {
        check_epoch(image, self.broker, self.epoch).map_err(|refusal| Refusal {
            code: ErrorCode::StaleBrokerEpoch,
            message: refusal.message,
        })?;
        let (rules, presence) = (Rules::new(image, self.defaults), Presence::of(image));
        let mut records = Vec::new();
        let mut reply: Vec<AlteredState> = Vec::with_capacity(self.partitions.len());
        let mut named = BTreeSet::new();
        for wanted in &self.partitions {
            if !named.insert((wanted.topic_id, wanted.index)) {
                let message = format!("partition {} is named twice", wanted.index);
                reply.push(Err(Refusal::new(ErrorCode::InvalidRequest, message)));
                continue;
            }
            reply.push(self.one(image, rules, &presence, wanted, &mut records));
        }
        Ok(Decision { records, reply })
    }

    fn one(
        &self,
        image: &ClusterImage,
        rules: Rules<'_>,
        presence: &Presence<'_>,
        wanted: &AlteredPartition,
        records: &mut Vec<MetadataRecord>,
    ) -> AlteredState {
        let topic = image.topics.get_by_id(wanted.topic_id).ok_or_else(|| {
            let message = format!("no topic has the id {}", wanted.topic_id);
            Refusal::new(ErrorCode::UnknownTopicId, message)
        })?;
        let old = topic.partition(wanted.index).ok_or_else(|| {
            let message = format!("topic `{}` has no partition {}", topic.name, wanted.index);
            Refusal::new(ErrorCode::UnknownTopicOrPartition, message)
        })?;
        self.check(image, topic, old, wanted)?;
        let unclean = rules.allows_unclean(topic);
        let change = PartitionChange::new(image, rules, topic, wanted.index, old)
            .isr(wanted.isr.iter().map(|(id, _)| *id).collect())
            .recovery(wanted.recovery)
            .election(if unclean { Election::Unclean } else { Election::Online })
            .build(|id| presence.has(id, old));
        let Some(record) = change else { return Ok(Arc::clone(old)) };
        let new = after_record(old, &record);
        records.push(record);
        if new.leader != Some(self.broker) {
            let message = format!(
                "the change was made, and partition {} of `{}` has another leader now: read the metadata",
                wanted.index, topic.name
            );
            return Err(Refusal::new(ErrorCode::NewLeaderElected, message));
        }
        Ok(Arc::new(new))
    }

    fn check(
        &self,
        image: &ClusterImage,
        topic: &Topic,
        old: &Partition,
        wanted: &AlteredPartition,
    ) -> Result<(), Refusal> {
        let name = format!("partition {} of `{}`", wanted.index, topic.name);
        let refuse = |code, message: String| Err(Refusal::new(code, format!("{name} {message}")));
        let (epoch, known) = (wanted.leader_epoch, old.leader_epoch);
        if epoch > known || wanted.partition_epoch > old.partition_epoch {
            return refuse(
                ErrorCode::NotController,
                "is known to its leader at a later epoch than here: ask the active controller"
                    .into(),
            );
        }
        if epoch < known {
            return refuse(
                ErrorCode::FencedLeaderEpoch,
                format!("is at leader epoch {known}, not {epoch}: somebody else may lead it"),
            );
        }
        if old.leader != Some(self.broker) {
            let message = format!("is not led by broker {}", self.broker);
            return refuse(ErrorCode::InvalidRequest, message);
        }
        if wanted.partition_epoch < old.partition_epoch {
            let (at, stale) = (old.partition_epoch, wanted.partition_epoch);
            return refuse(
                ErrorCode::InvalidUpdateVersion,
                format!("is at partition epoch {at}, not {stale}: read the metadata and ask again"),
            );
        }
        if let Some(problem) = isr_problem(self.broker, old, wanted) {
            return refuse(ErrorCode::InvalidRequest, problem);
        }
        let unfit = |(id, epoch): &(NodeId, BrokerEpoch)| {
            ineligible(image, old, *id, *epoch).map(|why| format!("broker {id} {why}"))
        };
        match wanted.isr.iter().find_map(unfit) {
            Some(why) => {
                refuse(ErrorCode::IneligibleReplica, format!("cannot have that ISR: {why}"))
            }
            None => Ok(()),
        }
    }
}

/// What is wrong with the ISR itself.
fn isr_problem(leader: NodeId, old: &Partition, wanted: &AlteredPartition) -> Option<String> {
    for (at, (id, _)) in wanted.isr.iter().enumerate() {
        if !old.has_replica(*id) {
            return Some(format!("has no replica on broker {id}"));
        }
        if wanted.isr.iter().take(at).any(|(earlier, _)| earlier == id) {
            return Some(format!("cannot have broker {id} in its ISR twice"));
        }
    }
    if !wanted.isr.iter().any(|(id, _)| *id == leader) && !resigns(old, wanted) {
        return Some(format!(
            "cannot have an ISR without its leader {leader}, unless others that are in sync now lead on"
        ));
    }
    let recovering = wanted.recovery == LeaderRecoveryState::Recovering;
    if recovering && wanted.isr.len() > 1 {
        return Some("cannot have followers in its ISR while its leader recovers".to_owned());
    }
    let recovered = old.leader_recovery_state == LeaderRecoveryState::Recovered;
    (recovering && recovered).then(|| "has recovered and cannot recover again".to_owned())
}

/// A leader may leave its ISR, when its disk fails: somebody else who has been in sync leads then.
fn resigns(old: &Partition, wanted: &AlteredPartition) -> bool {
    let recovered = LeaderRecoveryState::Recovered;
    !wanted.isr.is_empty()
        && (old.leader_recovery_state, wanted.recovery) == (recovered, recovered)
        && wanted.isr.iter().all(|(id, _)| old.isr.contains(id))
}

/// Why a broker may not be in an ISR.
fn ineligible(
    image: &ClusterImage,
    partition: &Partition,
    id: NodeId,
    epoch: BrokerEpoch,
) -> Option<String> {
    let Some(broker) = image.broker(id) else { return Some("is not registered".to_owned()) };
    if broker.in_controlled_shutdown {
        return Some("is stopping".to_owned());
    }
    if broker.fenced {
        return Some("is fenced".to_owned());
    }
    if !image.is_directory_online(id, partition) {
        return Some("has its replica in a log directory that is out of service".to_owned());
    }
    let stale = epoch.get() >= 0 && epoch != broker.epoch;
    stale.then(|| format!("is registered at epoch {}, but fetched at {epoch}", broker.epoch))
}

/// The partition after the record.
fn after_record(old: &Partition, record: &MetadataRecord) -> Partition {
    let mut new = old.clone();
    if let MetadataRecord::PartitionChange(record) = record {
        // A record of our own making fits.
        drop(change_partition(&mut new, record));
    }
    new
}
