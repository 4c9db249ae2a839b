//! AddPartitionsToTxn (key 24, v0-5): partitions join a transaction. From version 4 on it is what brokers send: several transactions
//! at once, and the question whether a partition is part of one without adding it (KIP-890).

use std::sync::Arc;

use millstream_base::{ErrorCode, PartitionIndex};
use millstream_metadata::ClusterImage;
use millstream_txns::{AddPartitions, Producer, TxnPartition};
use millstream_wire::Str;
use millstream_wire::messages::add_partitions_to_txn::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnRequest, AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult, AddPartitionsToTxnTopic, AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::own;
use crate::topic_rules;
use crate::transactions::{Join, answer_here};

/// From here on brokers ask for several transactions.
const FIRST_BATCHED: i16 = 4;
/// Clients before this know a fenced producer by another code (KIP-588).
const FIRST_WITH_FENCED: i16 = 2;
/// Brokers before this do not know TRANSACTION_ABORTABLE.
const FIRST_WITH_ABORTABLE: i16 = 5;

pub(crate) async fn handle(
    context: RequestContext,
    request: AddPartitionsToTxnRequest,
) -> AddPartitionsToTxnResponse {
    if context.version < FIRST_BATCHED {
        let asked = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            verify_only: false,
            topics: request.v3_and_below_topics,
        };
        let results_by_topic_v3_and_below = add_for_client(&context, &asked).await;
        return AddPartitionsToTxnResponse { results_by_topic_v3_and_below, ..Default::default() };
    }
    if !context.allows(Operation::ClusterAction, Resource::Cluster) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return AddPartitionsToTxnResponse { error_code, ..Default::default() };
    }
    // All are decided before the first is waited for: they are of several producers.
    let transactions = context.broker.transactions();
    let said: Vec<_> =
        request.transactions.iter().map(|asked| answer_here(&join(asked), transactions)).collect();
    let mut results = Vec::with_capacity(request.transactions.len());
    for (asked, said) in request.transactions.into_iter().zip(said) {
        let said = match said {
            Ok((codes, commit)) => commit.done().await.map(|()| codes),
            Err(code) => Err(code),
        };
        let codes = said.unwrap_or_else(|code| vec![code; count(&asked)]);
        let topic_results = answer(&context, &asked.topics, &codes);
        results.push(AddPartitionsToTxnResult {
            transactional_id: asked.transactional_id,
            topic_results,
        });
    }
    AddPartitionsToTxnResponse { results_by_transaction: results, ..Default::default() }
}

/// A client's request: all of it, or nothing.
async fn add_for_client(
    context: &RequestContext,
    asked: &AddPartitionsToTxnTransaction,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let id = &asked.transactional_id;
    if !context.allows(Operation::Write, Resource::TransactionalId(id)) {
        let code = ErrorCode::TransactionalIdAuthorizationFailed;
        return answer(context, &asked.topics, &vec![code; count(asked)]);
    }
    let image = context.broker.image();
    let mut codes: Vec<ErrorCode> = Vec::with_capacity(count(asked));
    for topic in &asked.topics {
        let may_write = context.allows(Operation::Write, Resource::Topic(&topic.name))
            && !topic_rules::is_internal(&topic.name);
        codes.extend(topic.partitions.iter().map(|index| match may_write {
            true => existing(&image, &topic.name, *index),
            false => ErrorCode::TopicAuthorizationFailed,
        }));
    }
    if codes.iter().any(|code| code.is_error()) {
        for code in codes.iter_mut().filter(|code| !code.is_error()) {
            *code = ErrorCode::OperationNotAttempted;
        }
    } else {
        codes = add(context, asked).await;
    }
    answer(context, &asked.topics, &codes)
}

fn existing(image: &ClusterImage, topic: &str, index: i32) -> ErrorCode {
    match image.topics.partition(topic, PartitionIndex(index)) {
        Some(_) => ErrorCode::None,
        None => ErrorCode::UnknownTopicOrPartition,
    }
}

async fn add(context: &RequestContext, asked: &AddPartitionsToTxnTransaction) -> Vec<ErrorCode> {
    let request = AddPartitions {
        transactional_id: own(&asked.transactional_id),
        producer: producer(asked),
        partitions: partitions(asked),
        client_version: 0,
    };
    let transactions = context.broker.transactions();
    let decide = transactions
        .decide(&request.transactional_id, |shard, now| shard.add_partitions(now, &request));
    let outcome = match decide {
        Ok(written) => written.commit.done().await.and(written.reply),
        Err(code) => Err(code),
    };
    vec![outcome.err().unwrap_or(ErrorCode::None); count(asked)]
}

/// What a broker asks: whether partitions are part of a transaction, or may join it.
fn join(asked: &AddPartitionsToTxnTransaction) -> Join {
    Join {
        transactional_id: own(&asked.transactional_id),
        producer: producer(asked),
        partitions: partitions(asked),
        may_add: !asked.verify_only,
    }
}

const fn producer(asked: &AddPartitionsToTxnTransaction) -> Producer {
    Producer { id: asked.producer_id, epoch: asked.producer_epoch }
}

fn partitions(asked: &AddPartitionsToTxnTransaction) -> Vec<TxnPartition> {
    let of_topic = |topic: &AddPartitionsToTxnTopic| {
        let name: Arc<str> = own(&topic.name);
        topic.partitions.iter().map(move |index| (Arc::clone(&name), *index)).collect::<Vec<_>>()
    };
    asked.topics.iter().flat_map(of_topic).collect()
}

fn count(asked: &AddPartitionsToTxnTransaction) -> usize {
    asked.topics.iter().map(|topic| topic.partitions.len()).sum()
}

/// One code for each partition, in the order of the request.
fn answer(
    context: &RequestContext,
    topics: &[AddPartitionsToTxnTopic],
    codes: &[ErrorCode],
) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut codes = codes.iter().copied();
    let mut of_topic = |topic: &AddPartitionsToTxnTopic| {
        let of_partition = |index: &i32| AddPartitionsToTxnPartitionResult {
            partition_index: *index,
            partition_error_code: in_version(context.version, codes.next()).code(),
        };
        let results_by_partition = topic.partitions.iter().map(of_partition).collect();
        AddPartitionsToTxnTopicResult { name: Str::clone(&topic.name), results_by_partition }
    };
    topics.iter().map(&mut of_topic).collect()
}

fn in_version(version: i16, code: Option<ErrorCode>) -> ErrorCode {
    match code.unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::ProducerFenced if version < FIRST_WITH_FENCED => ErrorCode::InvalidProducerEpoch,
        ErrorCode::TransactionAbortable if version < FIRST_WITH_ABORTABLE => {
            ErrorCode::InvalidTxnState
        }
        code => code,
    }
}
