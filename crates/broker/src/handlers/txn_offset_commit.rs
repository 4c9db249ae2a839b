//! TxnOffsetCommit (key 28, v0-6): offsets that count when the transaction commits. From version 5 on the group's partition joins the
//! transaction by itself (KIP-890); before, AddOffsetsToTxn has to come first. Version 6 names topics by id.

use millstream_base::{ErrorCode, ProducerEpoch, ProducerId};
use millstream_groups::{CommitOffset, TransactionalCommit};
use millstream_txns::Producer;
use millstream_wire::messages::txn_offset_commit::{
    TxnOffsetCommitRequest, TxnOffsetCommitRequestPartition, TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::commits::{AskedPartition, Codes, Commits, Sorted, TopicRef};
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
    let (offsets, sorted) = sort(&context, &request);
    let codes = match offsets.is_empty() {
        true => Ok(Vec::new()),
        false => commit(&context, &request, offsets).await,
    };
    response(request, context.version, &sorted, codes)
}

/// What the coordinator is asked, and what needs no coordinator.
fn sort(context: &RequestContext, request: &TxnOffsetCommitRequest) -> (Vec<CommitOffset>, Sorted) {
    let may_use_id =
        context.allows(Operation::Write, Resource::TransactionalId(&request.transactional_id));
    let may_use_group = context.allows(Operation::Read, Resource::Group(&request.group_id));
    let allowed = match (may_use_id, may_use_group) {
        (false, _) => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        (_, false) => Err(ErrorCode::GroupAuthorizationFailed),
        _ => Ok(()),
    };
    let mut commits = Commits::new(context, allowed);
    for topic in &request.topics {
        let name = match context.version >= FIRST_WITH_TOPIC_IDS {
            true => TopicRef::Id(topic.topic_id),
            false => TopicRef::Name(&topic.name),
        };
        commits.sort(name, topic.partitions.iter().map(asked));
    }
    commits.finish()
}

fn asked(partition: &TxnOffsetCommitRequestPartition) -> AskedPartition<'_> {
    AskedPartition {
        index: partition.partition_index,
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition.committed_metadata.as_ref(),
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

fn response(
    request: TxnOffsetCommitRequest,
    version: i16,
    sorted: &Sorted,
    codes: Codes,
) -> TxnOffsetCommitResponse {
    let codes = codes.map_err(|code| match code {
        ErrorCode::CoordinatorLoadInProgress if version < FIRST_WITH_LOADING => {
            ErrorCode::CoordinatorNotAvailable
        }
        code => code,
    });
    let mut codes = sorted.codes(&codes);
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().zip(&mut codes);
        let partitions = partitions.map(|(asked, error_code)| TxnOffsetCommitResponsePartition {
            partition_index: asked.partition_index,
            error_code,
        });
        let partitions = partitions.collect();
        TxnOffsetCommitResponseTopic { name: topic.name, topic_id: topic.topic_id, partitions }
    });
    TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}
