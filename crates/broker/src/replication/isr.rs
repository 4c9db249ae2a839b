//! Who is in sync: followers that fell behind are looked for, and changes are brought to the controller (AlterPartition).
//!
//! One task sends, one request at a time; what gathers meanwhile goes together. An ISR changes when the controller says so, never
//! before.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, LeaderEpoch, NodeId, PartitionIndex, Uuid};
use millstream_env::task::{self, JoinHandle};
use millstream_partition::{AlterAnswer, IsrProposal};
use millstream_wire::messages::alter_partition as wire;
use tokio::sync::watch;
use tracing::{debug, info};

use crate::broker::Broker;
use crate::replica::Partition;

/// How long one try may take before it is unknown what came of it.
const WITHIN: Duration = Duration::from_secs(5);
/// The pause before something is asked again.
const PAUSE: Duration = Duration::from_millis(50);

/// A partition and the ISR that its leader proposes.
type Proposed = (Arc<Partition>, IsrProposal);

/// Brings proposals to the controller.
pub(super) fn send_proposals(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let (broker, mut stop) = (Arc::clone(broker), stop.clone());
    task::spawn(async move {
        let send = async {
            let mut again: Vec<Proposed> = Vec::new();
            let mut attempt = 0;
            loop {
                let mut batch = std::mem::take(&mut again);
                let come = broker.replicas().shared().proposals.take();
                if batch.is_empty() {
                    batch = come.await;
                } else if let Ok(more) = task::timeout(PAUSE, come).await {
                    batch.extend(more);
                }
                batch.retain(|(partition, proposal)| partition.still_proposes(proposal));
                let batch = newest_of_each(batch);
                if !batch.is_empty() {
                    attempt += 1;
                    again = send(&broker, batch, attempt).await;
                }
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = send => {}
        }
    })
}

/// Of several proposals of one partition only the last: the controller refuses a partition that is named twice.
fn newest_of_each(batch: Vec<Proposed>) -> Vec<Proposed> {
    let mut newest: HashMap<(Uuid, PartitionIndex), Proposed> = HashMap::new();
    for (partition, proposal) in batch {
        let key = (partition.topic_id, partition.index());
        let is_older =
            |known: &Proposed| Arc::ptr_eq(&known.0, &partition) && known.1.id > proposal.id;
        if !newest.get(&key).is_some_and(is_older) {
            newest.insert(key, (partition, proposal));
        }
    }
    newest.into_values().collect()
}

/// Sends a batch, once: whether a try may have arrived is for each partition to know. What must be asked again comes back.
async fn send(broker: &Broker, batch: Vec<Proposed>, attempt: usize) -> Vec<Proposed> {
    let request = request(broker, &batch);
    let answers = match broker.controller().call_once(&request, attempt, WITHIN).await {
        Ok(Some(response)) => Answers::of(response),
        Ok(None) => Answers::Refused(ErrorCode::NotController),
        Err(error) => {
            debug!(%error, "the controller could not be asked for changes of in-sync replicas");
            Answers::Unknown
        }
    };
    let settle = |(partition, proposal): Proposed| {
        let answer = answers.to(&partition);
        if matches!(answer, AlterAnswer::Accepted { .. }) {
            let isr: Vec<i32> = proposal.isr.iter().map(|(id, _)| id.get()).collect();
            info!(partition = %partition.name, ?isr, "the in-sync replicas changed");
        }
        let again = partition.isr_answered(proposal.id, answer)?;
        Some((partition, again))
    };
    batch.into_iter().filter_map(settle).collect()
}

fn request(broker: &Broker, batch: &[Proposed]) -> wire::AlterPartitionRequest {
    let me = broker.node_id();
    let image = broker.image();
    let registered = broker.replicas().logs().broker_epoch();
    let own = registered.or_else(|| image.broker(me).map(|it| it.epoch.get())).unwrap_or(-1);
    let mut topics: HashMap<Uuid, Vec<wire::RequestPartitionData>> = HashMap::new();
    for (partition, proposal) in batch {
        let members = proposal.isr.iter().map(|(id, epoch)| wire::BrokerState {
            broker_id: id.get(),
            broker_epoch: if *id == me { own } else { epoch.get() },
        });
        topics.entry(partition.topic_id).or_default().push(wire::RequestPartitionData {
            partition_index: partition.index().get(),
            leader_epoch: proposal.leader_epoch.get(),
            new_isr_with_epochs: members.collect(),
            partition_epoch: proposal.partition_epoch,
            ..Default::default()
        });
    }
    let topic = |(topic_id, partitions)| wire::RequestTopicData { topic_id, partitions };
    wire::AlterPartitionRequest {
        broker_id: me.get(),
        broker_epoch: own,
        topics: topics.into_iter().map(topic).collect(),
    }
}

/// What the controller said.
enum Answers {
    /// Nobody knows whether it arrived.
    Unknown,
    /// All were refused.
    Refused(ErrorCode),
    /// Each has its own answer.
    Each(HashMap<(Uuid, PartitionIndex), AlterAnswer>),
}

impl Answers {
    fn of(response: wire::AlterPartitionResponse) -> Self {
        if response.error_code != 0 {
            return Self::Refused(code(response.error_code));
        }
        let each = response.topics.into_iter().flat_map(|topic| {
            let id = topic.topic_id;
            topic.partitions.into_iter().map(move |partition| {
                ((id, PartitionIndex(partition.partition_index)), answer(&partition))
            })
        });
        Self::Each(each.collect())
    }

    fn to(&self, partition: &Partition) -> AlterAnswer {
        match self {
            Self::Unknown => AlterAnswer::Unknown,
            Self::Refused(code) => AlterAnswer::Refused(*code),
            Self::Each(each) => {
                let own = each.get(&(partition.topic_id, partition.index()));
                own.cloned().unwrap_or(AlterAnswer::Unknown)
            }
        }
    }
}

fn code(code: i16) -> ErrorCode {
    ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError)
}

fn answer(partition: &wire::ResponsePartitionData) -> AlterAnswer {
    if partition.error_code != 0 {
        return AlterAnswer::Refused(code(partition.error_code));
    }
    AlterAnswer::Accepted {
        leader_epoch: LeaderEpoch(partition.leader_epoch),
        partition_epoch: partition.partition_epoch,
        isr: partition.isr.iter().copied().map(NodeId).collect(),
    }
}

/// How often partitions are looked through for followers that could join: idle ones say nothing by themselves.
const JOIN_LOOK: Duration = Duration::from_millis(500);

/// Looks now and then for followers that are caught up and not in sync.
pub(super) fn check_joining(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let (broker, mut stop) = (Arc::clone(broker), stop.clone());
    task::spawn(async move {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = task::sleep(JOIN_LOOK) => {}
            }
            if broker.image().brokers.len() < 2 {
                continue;
            }
            for partition in broker.replicas().all() {
                partition.check_joining();
            }
        }
    })
}

/// Looks every half of `replica.lag.time.max.ms` for followers that fell behind.
pub(super) fn check_lag(broker: &Arc<Broker>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let (broker, mut stop) = (Arc::clone(broker), stop.clone());
    task::spawn(async move {
        loop {
            let interval = broker.replicas().shared().lag_time_max() / 2;
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = task::sleep(interval.max(Duration::from_millis(10))) => {}
            }
            for partition in broker.replicas().all() {
                partition.check_lag();
            }
        }
    })
}
