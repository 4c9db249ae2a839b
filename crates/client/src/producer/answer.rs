//! What a broker's answer to a produce request means for each batch.
//!
//! Key type: [`Verdict`]. Pure but for the lookup of topic ids.

use std::sync::Arc;

use millstream_base::{ErrorCode, NodeId, Offset, TimestampMs};
use millstream_wire::Str;
use millstream_wire::messages::produce::{PartitionProduceResponse, ProduceResponse};

use super::sender::Sent;
use super::{Acks, Inner, ProduceError};
use crate::cluster::NewLeader;
use crate::{Broker, ClientError, ClusterMetadata};

/// The fate of one batch.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Appended.
    Landed {
        /// Offset of the first record, if the broker said so.
        base_offset: Option<Offset>,
        /// The broker's timestamp, for topics with LogAppendTime.
        append_time: Option<TimestampMs>,
    },
    /// To be sent again.
    Retry {
        /// Why.
        error: ClientError,
        /// Whether the metadata may be stale.
        refresh: bool,
    },
    /// The sequence number does not follow what the broker has.
    OutOfSequence(ClientError),
    /// The batch is larger than the topic allows.
    TooLarge(ProduceError),
    /// Refused for good.
    Failed(ProduceError),
}

/// A verdict for each of `batches`, in their order.
pub(super) fn verdicts(
    inner: &Inner,
    batches: &[Sent],
    answer: Result<ProduceResponse, ClientError>,
) -> Vec<Verdict> {
    let response = match answer {
        Ok(response) => response,
        Err(error) => return batches.iter().map(|sent| of_failure(sent, &error)).collect(),
    };
    if inner.config.acks == Acks::None {
        let landed = |_| Verdict::Landed { base_offset: None, append_time: None };
        return batches.iter().map(landed).collect();
    }
    let metadata = inner.cluster.metadata();
    batches
        .iter()
        .map(|sent| match find(&metadata, &response, sent) {
            Some(partition) => of_partition(sent, partition),
            None => {
                let error = ClientError::Missing(sent.partition.to_string());
                Verdict::Retry { error, refresh: true }
            }
        })
        .collect()
}

/// What the answer says about one batch.
fn find<'a>(
    metadata: &ClusterMetadata,
    response: &'a ProduceResponse,
    sent: &Sent,
) -> Option<&'a PartitionProduceResponse> {
    let id = metadata.topic(&sent.partition.topic).map(|topic| topic.id).unwrap_or_default();
    let topics = response.responses.iter().filter(|topic| {
        *topic.name == *sent.partition.topic || topic.topic_id == id && !id.is_zero()
    });
    let mut partitions = topics.flat_map(|topic| &topic.partition_responses);
    partitions.find(|partition| partition.index == sent.partition.partition.0)
}

/// The leaders that the answer names for partitions that moved.
pub(super) fn new_leaders(
    metadata: &ClusterMetadata,
    batches: &[Sent],
    response: &ProduceResponse,
) -> Vec<NewLeader> {
    let endpoints = || {
        response.node_endpoints.iter().filter_map(|node| {
            Some(Broker {
                id: NodeId(node.node_id),
                host: node.host.to_string(),
                port: u16::try_from(node.port).ok()?,
                rack: node.rack.as_ref().map(ToString::to_string),
            })
        })
    };
    let told = batches.iter().filter_map(|sent| {
        let leader = &find(metadata, response, sent)?.current_leader;
        NewLeader::of(&sent.partition, (leader.leader_id, leader.leader_epoch), endpoints())
    });
    told.collect()
}

/// The request as a whole failed.
fn of_failure(sent: &Sent, error: &ClientError) -> Verdict {
    if error.is_retriable() {
        return Verdict::Retry { error: error.clone(), refresh: true };
    }
    let partition = sent.partition.clone();
    Verdict::Failed(ProduceError::Send { partition, source: Box::new(error.clone()) })
}

fn of_partition(sent: &Sent, answer: &PartitionProduceResponse) -> Verdict {
    let message = answer.error_message.as_ref().map(Str::as_str);
    let what = || sent.partition.to_string();
    let Err(error) = ClientError::check_with(answer.error_code, message, what) else {
        return Verdict::Landed {
            base_offset: (answer.base_offset >= 0).then_some(Offset(answer.base_offset)),
            append_time: (answer.log_append_time_ms >= 0)
                .then_some(TimestampMs(answer.log_append_time_ms)),
        };
    };
    let Some(code) = error.code() else {
        let partition = sent.partition.clone();
        return Verdict::Failed(ProduceError::Send { partition, source: Box::new(error) });
    };
    match code {
        // The broker has it already: an earlier answer was lost.
        ErrorCode::DuplicateSequenceNumber => {
            Verdict::Landed { base_offset: None, append_time: None }
        }
        ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId
            if sent.numbered.identity.is_some() =>
        {
            Verdict::OutOfSequence(error)
        }
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge => {
            Verdict::TooLarge(refusal(sent, code, answer))
        }
        code if code.is_retriable() => Verdict::Retry { error, refresh: is_about_metadata(code) },
        code => Verdict::Failed(refusal(sent, code, answer)),
    }
}

/// Whether `code` may mean that another broker leads the partition, or that the topic is another one now.
const fn is_about_metadata(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::LeaderNotAvailable
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::UnknownTopicId
            | ErrorCode::InconsistentTopicId
            | ErrorCode::FencedLeaderEpoch
            | ErrorCode::UnknownLeaderEpoch
            | ErrorCode::ReplicaNotAvailable
            | ErrorCode::KafkaStorageError
            | ErrorCode::NetworkException
    )
}

fn refusal(sent: &Sent, code: ErrorCode, answer: &PartitionProduceResponse) -> ProduceError {
    let text = |text: &Str| Arc::<str>::from(text.as_str());
    let records = answer
        .record_errors
        .iter()
        .filter_map(|record| {
            let place = u32::try_from(record.batch_index).ok()?;
            Some((place, record.batch_index_error_message.as_ref().map(text)))
        })
        .collect();
    ProduceError::Refused {
        partition: sent.partition.clone(),
        code,
        message: answer.error_message.as_ref().map(text),
        records,
    }
}
