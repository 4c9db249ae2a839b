//! TxnOffsetCommit (key 28, v0-6): offsets that count when the transaction commits. From version 5 on the group's partition joins the
//! transaction by itself (KIP-890); before, AddOffsetsToTxn has to come first. Version 6 names topics by id.

use std::sync::Arc;

use millstream_base::{ErrorCode, PartitionIndex, ProducerEpoch, ProducerId};
use millstream_groups::{CommitOffset, TransactionalCommit};
use millstream_metadata::ClusterImage;
use millstream_txns::Producer;
use millstream_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestTopic, TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::{own, own_opt};
use crate::coordinator::{InTransaction, offsets_partition};
use crate::transactions::{Join, Joined, in_leaders_words};

/// Clients before this give up when a coordinator says that it is loading.
const FIRST_WITH_LOADING: i16 = 2;
/// From here on clients know that they may abort and go on.
const FIRST_WITH_ABORTABLE: i16 = 4;
/// From here on the group's partition joins by itself.
const FIRST_ADDING: i16 = 5;
/// From here on topics are named by id alone.
const FIRST_WITH_TOPIC_IDS: i16 = 6;

pub(crate) async fn handle(
    context: RequestContext,
    request: TxnOffsetCommitRequest,
) -> TxnOffsetCommitResponse {
    let (offsets, mut response) = prepare(&context, &request);
    if !offsets.is_empty() {
        let codes = commit(&context, &request, offsets).await;
        fill(&mut response, context.version, &codes);
    }
    response
}

/// Sorts out what needs no coordinator: the answer has an entry for every partition, `None` as its code where the
/// coordinator has the word.
fn prepare(
    context: &RequestContext,
    request: &TxnOffsetCommitRequest,
) -> (Vec<CommitOffset>, TxnOffsetCommitResponse) {
    let image = context.broker.image();
    let may_use_id =
        context.allows(Operation::Write, Resource::TransactionalId(&request.transactional_id));
    let may_use_group = context.allows(Operation::Read, Resource::Group(&request.group_id));
    let allowed = match (may_use_id, may_use_group) {
        (false, _) => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        (_, false) => Err(ErrorCode::GroupAuthorizationFailed),
        _ => Ok(()),
    };
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let named = allowed.and_then(|()| resolve(context, &image, topic));
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let index = asked.partition_index;
            let known = named.clone().and_then(|name| exists(&image, name, index));
            partitions.push(TxnOffsetCommitResponsePartition {
                partition_index: index,
                error_code: known.as_ref().err().map_or(0, |code| code.code()),
            });
            let Ok(topic) = known else { continue };
            offsets.push(CommitOffset {
                topic,
                partition: index,
                offset: asked.committed_offset,
                leader_epoch: asked.committed_leader_epoch,
                metadata: asked.committed_metadata.as_deref().unwrap_or_default().into(),
            });
        }
        let (name, topic_id) = (topic.name.clone(), topic.topic_id);
        topics.push(TxnOffsetCommitResponseTopic { name, topic_id, partitions });
    }
    (offsets, TxnOffsetCommitResponse { topics, ..Default::default() })
}

fn resolve(
    context: &RequestContext,
    image: &ClusterImage,
    topic: &TxnOffsetCommitRequestTopic,
) -> Result<Arc<str>, ErrorCode> {
    let name = if context.version >= FIRST_WITH_TOPIC_IDS {
        image.topics.name_of(topic.topic_id).cloned().ok_or(ErrorCode::UnknownTopicId)?
    } else {
        own(&topic.name)
    };
    if context.allows(Operation::Read, Resource::Topic(&name)) {
        Ok(name)
    } else {
        Err(ErrorCode::TopicAuthorizationFailed)
    }
}

fn exists(image: &ClusterImage, topic: Arc<str>, index: i32) -> Result<Arc<str>, ErrorCode> {
    match image.topics.partition(&topic, PartitionIndex(index)) {
        Some(_) => Ok(topic),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}

async fn commit(
    context: &RequestContext,
    request: &TxnOffsetCommitRequest,
    offsets: Vec<CommitOffset>,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    let transaction = enter(context, request).await?;
    let asked = TransactionalCommit {
        group_id: own(&request.group_id),
        member_id: own(&request.member_id),
        instance_id: own_opt(request.group_instance_id.as_ref()),
        generation: request.generation_id_or_member_epoch,
        offsets,
    };
    let groups = context.broker.groups();
    let written = groups.decide_in_transaction(&asked.group_id, &transaction, |shard, now| {
        shard.commit_offsets_in_transaction(now, &asked)
    })?;
    written.committed().await?
}

/// Sees that the group's partition is part of the producer's open transaction.
async fn enter(
    context: &RequestContext,
    request: &TxnOffsetCommitRequest,
) -> Result<InTransaction, ErrorCode> {
    let producer = (ProducerId(request.producer_id), ProducerEpoch(request.producer_epoch));
    if producer.0.get() < 0 || producer.1.get() < 0 || request.transactional_id.is_empty() {
        return Err(ErrorCode::InvalidRequest);
    }
    let verification = context.broker.groups().begin_verification(&request.group_id, producer)?;
    let may_add = context.version >= FIRST_ADDING;
    if verification.is_some() {
        let partition = offsets_partition(&context.broker.image(), &request.group_id);
        let join = Join {
            transactional_id: own(&request.transactional_id),
            producer: Producer { id: request.producer_id, epoch: request.producer_epoch },
            partitions: vec![partition.ok_or(ErrorCode::CoordinatorNotAvailable)?],
            may_add,
        };
        let transactions = context.broker.transactions();
        let codes = match join.ask(transactions) {
            Joined::Now(codes) => codes,
            Joined::Later => join.ask_patiently(transactions).await,
        };
        if let Some(code) = codes.into_iter().find(|code| code.is_error()) {
            return Err(in_coordinators_words(context.version, code));
        }
    }
    Ok(InTransaction { producer, verification })
}

/// The answer comes from a coordinator, and so are its words.
fn in_coordinators_words(version: i16, code: ErrorCode) -> ErrorCode {
    let knows_abortable = version >= FIRST_WITH_ABORTABLE;
    match in_leaders_words(code, knows_abortable, version >= FIRST_ADDING) {
        ErrorCode::NotEnoughReplicas => ErrorCode::CoordinatorNotAvailable,
        code => code,
    }
}

/// Puts the coordinator's codes where it had the word, in order.
fn fill(
    response: &mut TxnOffsetCommitResponse,
    version: i16,
    codes: &Result<Vec<ErrorCode>, ErrorCode>,
) {
    let mut each = codes.iter().flatten();
    let open = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in open.filter(|partition| partition.error_code == 0) {
        let code = match codes {
            Ok(_) => each.next().copied().unwrap_or(ErrorCode::UnknownServerError),
            Err(ErrorCode::CoordinatorLoadInProgress) if version < FIRST_WITH_LOADING => {
                ErrorCode::CoordinatorNotAvailable
            }
            Err(code) => *code,
        };
        partition.error_code = code.code();
    }
}
