//! What is asked of other brokers: to write markers into partitions that they lead, and whether partitions belong to
//! transactions that they coordinate.
//!
//! Key types: [`SendMarkers`] (WriteTxnMarkers), [`Question`] (AddPartitionsToTxn, version 4 and up). A broker that does not
//! answer, or answers something else than was asked, gives NETWORK_EXCEPTION for every partition: it is asked again.

use std::sync::Arc;
use std::time::Duration;

use millstream_base::{ErrorCode, NodeId};
use millstream_txns::{Markers, TxnPartition};
use millstream_wire::Str;
use millstream_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResult, AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
};
use millstream_wire::messages::write_txn_markers::{
    WritableTxnMarker, WritableTxnMarkerResult, WritableTxnMarkerTopic, WriteTxnMarkersRequest,
};
use tracing::debug;

use super::join::Join;
use super::outbox::{Codes, Post};
use crate::cluster::{Channel, Peers};

/// How long an answer may take. The other side waits for its replicas.
const WITHIN: Duration = Duration::from_secs(8);

/// Markers of one transaction, for partitions that one broker leads.
#[derive(Debug)]
pub(super) struct SendMarkers {
    /// Whose, and how it ends.
    pub markers: Arc<Markers>,
    /// The epoch of the coordinator that decided.
    pub coordinator_epoch: i32,
    /// Where to, of all its partitions; in order.
    pub partitions: Vec<TxnPartition>,
}

/// Whether partitions belong to a transaction, or may join it.
#[derive(Debug)]
pub(super) struct Question(pub Join);

impl Post for SendMarkers {
    async fn send(peers: &Peers, to: NodeId, all: Vec<Self>) -> Vec<Codes> {
        let request = WriteTxnMarkersRequest { markers: all.iter().map(Self::wire).collect() };
        let answer = match peers.call(to, Channel::Transactions, &request, WITHIN).await {
            Ok(answer) => answer.markers,
            Err(error) => {
                debug!(%error, "markers were not written");
                Vec::new()
            }
        };
        let mut answers = answer.into_iter();
        all.iter().map(|asked| asked.codes(answers.next())).collect()
    }
}

impl SendMarkers {
    fn wire(&self) -> WritableTxnMarker {
        let markers = &self.markers;
        let topic = |(name, partition_indexes)| WritableTxnMarkerTopic { name, partition_indexes };
        WritableTxnMarker {
            producer_id: markers.producer.id,
            producer_epoch: markers.producer.epoch,
            transaction_result: markers.commit,
            topics: by_topic(&self.partitions).into_iter().map(topic).collect(),
            coordinator_epoch: self.coordinator_epoch,
            transaction_version: i8::try_from(markers.version).unwrap_or_default(),
        }
    }

    fn codes(&self, answer: Option<WritableTxnMarkerResult>) -> Codes {
        let mine = answer.filter(|answer| answer.producer_id == self.markers.producer.id);
        let topics = mine.into_iter().flat_map(|answer| answer.topics);
        let codes = topics.flat_map(|topic| {
            let name = topic.name;
            let codes = topic.partitions.into_iter();
            codes.map(move |it| (name.clone(), it.partition_index, it.error_code))
        });
        in_order(&self.partitions, codes)
    }
}

impl Post for Question {
    async fn send(peers: &Peers, to: NodeId, all: Vec<Self>) -> Vec<Codes> {
        let transactions = all.iter().map(Self::wire).collect();
        let request = AddPartitionsToTxnRequest { transactions, ..Default::default() };
        let answer = match peers.call(to, Channel::Transactions, &request, WITHIN).await {
            Ok(answer) => answer.results_by_transaction,
            Err(error) => {
                debug!(%error, "a transaction coordinator was not reached");
                Vec::new()
            }
        };
        let mut answers = answer.into_iter();
        all.iter().map(|asked| asked.codes(answers.next())).collect()
    }
}

impl Question {
    fn wire(&self) -> AddPartitionsToTxnTransaction {
        let Join { transactional_id, producer, partitions, may_add } = &self.0;
        let topic = |(name, partitions)| AddPartitionsToTxnTopic { name, partitions };
        AddPartitionsToTxnTransaction {
            transactional_id: transactional_id.into(),
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            verify_only: !may_add,
            topics: by_topic(partitions).into_iter().map(topic).collect(),
        }
    }

    fn codes(&self, answer: Option<AddPartitionsToTxnResult>) -> Codes {
        let id = &*self.0.transactional_id;
        let mine = answer.filter(|answer| &*answer.transactional_id == id);
        let topics = mine.into_iter().flat_map(|answer| answer.topic_results);
        let codes = topics.flat_map(|topic| {
            let name = topic.name;
            let codes = topic.results_by_partition.into_iter();
            codes.map(move |it| (name.clone(), it.partition_index, it.partition_error_code))
        });
        in_order(&self.0.partitions, codes)
    }
}

/// Topics with their partitions, as the wire has them.
fn by_topic(partitions: &[TxnPartition]) -> Vec<(Str, Vec<i32>)> {
    let mut topics: Vec<(Str, Vec<i32>)> = Vec::new();
    for (topic, partition) in partitions {
        match topics.iter_mut().find(|(name, _)| **name == **topic) {
            Some((_, all)) => all.push(*partition),
            None => topics.push((topic.into(), vec![*partition])),
        }
    }
    topics
}

/// The code of each partition that was asked about. The answer is in the order of topics; one that misses gives
/// NETWORK_EXCEPTION.
fn in_order(asked: &[TxnPartition], answer: impl Iterator<Item = (Str, i32, i16)>) -> Codes {
    let answer: std::collections::HashMap<(Str, i32), i16> =
        answer.map(|(topic, partition, code)| ((topic, partition), code)).collect();
    let code = |(topic, partition): &TxnPartition| {
        let code = answer.get(&(Str::from(topic), *partition))?;
        Some(ErrorCode::from_code(*code).unwrap_or(ErrorCode::UnknownServerError))
    };
    asked.iter().map(|it| code(it).unwrap_or(ErrorCode::NetworkException)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partitions() -> Vec<TxnPartition> {
        vec![("a".into(), 1), ("b".into(), 0), ("a".into(), 0)]
    }

    #[test]
    fn codes_come_in_the_order_of_the_question() {
        let answer = [("a", 0, 3), ("a", 1, 0), ("c", 7, 5)];
        let answer = answer.into_iter().map(|(topic, at, code)| (Str::from(topic), at, code));
        let expected =
            [ErrorCode::None, ErrorCode::NetworkException, ErrorCode::UnknownTopicOrPartition];
        assert_eq!(in_order(&partitions(), answer), expected);
    }

    #[test]
    fn an_answer_about_someone_else_says_nothing() {
        let join = Join {
            transactional_id: "mine".into(),
            producer: millstream_txns::Producer { id: 1, epoch: 0 },
            partitions: partitions(),
            may_add: false,
        };
        let answer =
            AddPartitionsToTxnResult { transactional_id: "other".into(), ..Default::default() };
        let codes = Question(join).codes(Some(answer));
        assert_eq!(codes, [ErrorCode::NetworkException; 3]);
    }
}
