//! OffsetFetch (key 9, v1-10): where groups have got to. One group before version 8, several after; version 10 names
//! topics by id.

use std::sync::Arc;

use millstream_base::{ErrorCode, Uuid};
use millstream_groups::{FetchedOffset, FetchedTopics, OffsetFetch};
use millstream_wire::Str;
use millstream_wire::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::{own, own_opt};

const FIRST_WITH_GROUPS: i16 = 8;
const FIRST_WITH_TOPIC_IDS: i16 = 10;

pub(crate) async fn handle(
    context: RequestContext,
    request: OffsetFetchRequest,
) -> OffsetFetchResponse {
    let require_stable = request.require_stable;
    if context.version >= FIRST_WITH_GROUPS {
        let mut groups = Vec::with_capacity(request.groups.len());
        for group in request.groups {
            groups.push(fetch(&context, group, require_stable).await);
        }
        return OffsetFetchResponse { groups, ..Default::default() };
    }
    let topic = |topic: millstream_wire::messages::offset_fetch::OffsetFetchRequestTopic| {
        OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        }
    };
    let group = OffsetFetchRequestGroup {
        group_id: request.group_id,
        topics: request.topics.map(|topics| topics.into_iter().map(topic).collect()),
        ..Default::default()
    };
    let asked = group.topics.clone().unwrap_or_default();
    old_form(context.version, &asked, fetch(&context, group, require_stable).await)
}

/// Who asked for what, and by which name or id each topic is to be called in the answer.
struct Asked {
    name: Arc<str>,
    id: Uuid,
    partitions: Vec<i32>,
}

async fn fetch(
    context: &RequestContext,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> OffsetFetchResponseGroup {
    let group_id = group.group_id.clone();
    let fetched = match context.allows(Operation::Describe, Resource::Group(&group_id)) {
        true => fetch_topics(context, group, require_stable).await.map_err(in_words),
        false => Err(ErrorCode::GroupAuthorizationFailed),
    };
    let error_code = fetched.as_ref().err().map_or(0, |code| code.code());
    let topics = fetched.unwrap_or_default();
    OffsetFetchResponseGroup { group_id, topics, error_code }
}

/// Clients do not know that a coordinator may be unavailable for an OffsetFetch; this is what makes them ask again.
fn in_words(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::CoordinatorNotAvailable => ErrorCode::NotCoordinator,
        code => code,
    }
}

async fn fetch_topics(
    context: &RequestContext,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
) -> Result<Vec<OffsetFetchResponseTopics>, ErrorCode> {
    let mut refused = Vec::new();
    let asked = group.topics.map(|topics| split(context, topics, &mut refused));
    let names = |asked: &Vec<Asked>| {
        let pair = |topic: &Asked| (Arc::clone(&topic.name), topic.partitions.clone());
        asked.iter().map(pair).collect()
    };
    let request = OffsetFetch {
        group_id: own(&group.group_id),
        member_id: own_opt(group.member_id.as_ref()),
        member_epoch: group.member_epoch,
        topics: asked.as_ref().map(names),
        require_stable,
    };
    let groups = context.broker.groups();
    let fetched: FetchedTopics =
        groups.read(&request.group_id, |shard| shard.fetch_offsets(&request)).await??;
    let mut topics = match asked {
        Some(asked) => {
            let named = asked.into_iter().zip(fetched);
            named.map(|(asked, (_, offsets))| answer(&asked.name, asked.id, offsets)).collect()
        }
        None => all_topics(context, fetched),
    };
    topics.append(&mut refused);
    Ok(topics)
}

/// Resolves topic ids and takes out what the client may not see.
fn split(
    context: &RequestContext,
    topics: Vec<OffsetFetchRequestTopics>,
    refused: &mut Vec<OffsetFetchResponseTopics>,
) -> Vec<Asked> {
    let by_id = context.version >= FIRST_WITH_TOPIC_IDS;
    let image = by_id.then(|| context.broker.image());
    let mut asked = Vec::with_capacity(topics.len());
    for topic in topics {
        let name = match &image {
            Some(image) => image.topics.name_of(topic.topic_id).cloned(),
            None => Some(own(&topic.name)),
        };
        let code = match name {
            Some(name) if context.allows(Operation::Describe, Resource::Topic(&name)) => {
                let partitions = topic.partition_indexes;
                asked.push(Asked { name, id: topic.topic_id, partitions });
                continue;
            }
            Some(_) => ErrorCode::TopicAuthorizationFailed,
            None => ErrorCode::UnknownTopicId,
        };
        let nothing = |partition: &i32| nothing(*partition, code);
        refused.push(OffsetFetchResponseTopics {
            name: topic.name,
            topic_id: topic.topic_id,
            partitions: topic.partition_indexes.iter().map(nothing).collect(),
        });
    }
    asked
}

/// Everything that the group has, as far as the client may see it (and it can be named in this version).
fn all_topics(context: &RequestContext, fetched: FetchedTopics) -> Vec<OffsetFetchResponseTopics> {
    let image = context.broker.image();
    let visible = fetched
        .into_iter()
        .filter(|(name, _)| context.allows(Operation::Describe, Resource::Topic(name)));
    let named = visible.filter_map(|(name, offsets)| {
        let id = image.topics.id_of(&name);
        if context.version >= FIRST_WITH_TOPIC_IDS && id.is_none() {
            return None;
        }
        Some(answer(&name, id.unwrap_or_default(), offsets))
    });
    named.collect()
}

fn answer(
    name: &Arc<str>,
    topic_id: Uuid,
    offsets: Vec<FetchedOffset>,
) -> OffsetFetchResponseTopics {
    let partition = |fetched: FetchedOffset| match fetched.committed {
        Some(committed) => OffsetFetchResponsePartitions {
            partition_index: fetched.partition,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            metadata: Some(Str::from(&*committed.metadata)),
            error_code: fetched.error.code(),
        },
        None => nothing(fetched.partition, fetched.error),
    };
    let partitions = offsets.into_iter().map(partition).collect();
    OffsetFetchResponseTopics { name: name.into(), topic_id, partitions }
}

fn nothing(partition_index: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::EMPTY),
        error_code: error.code(),
    }
}

/// The answer before version 8. Version 1 has no place for the group's error but its partitions.
fn old_form(
    version: i16,
    asked: &[OffsetFetchRequestTopics],
    group: OffsetFetchResponseGroup,
) -> OffsetFetchResponse {
    let error_code = group.error_code;
    let mut topics = group.topics;
    if version < 2 && error_code != 0 {
        let error = ErrorCode::from_code(error_code).unwrap_or(ErrorCode::UnknownServerError);
        let failed = |topic: &OffsetFetchRequestTopics| OffsetFetchResponseTopics {
            name: topic.name.clone(),
            partitions: topic.partition_indexes.iter().map(|at| nothing(*at, error)).collect(),
            ..Default::default()
        };
        topics = asked.iter().map(failed).collect();
    }
    let partition = |at: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: at.partition_index,
        committed_offset: at.committed_offset,
        committed_leader_epoch: at.committed_leader_epoch,
        metadata: at.metadata,
        error_code: at.error_code,
    };
    let topic = |topic: OffsetFetchResponseTopics| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    };
    let topics = topics.into_iter().map(topic).collect();
    OffsetFetchResponse { topics, error_code, ..Default::default() }
}
