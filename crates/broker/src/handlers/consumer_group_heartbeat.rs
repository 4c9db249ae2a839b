//! ConsumerGroupHeartbeat (key 68, v0-1): the whole membership of the consumer protocol (KIP-848).

use millstream_base::ErrorCode;
use millstream_groups::{
    Assignment as Owned, ConsumerHeartbeat, ConsumerHeartbeatReply, GroupError,
};
use millstream_wire::Str;
use millstream_wire::messages::consumer_group_heartbeat::{
    Assignment, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
    RequestTopicPartitions, ResponseTopicPartitions,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::Written;
use crate::coordinator::convert::{client_info, own, own_opt};
use crate::dispatch::{self, Outcome, Refusal};
use crate::server::Outgoing;

type Heard = Result<ConsumerHeartbeatReply, GroupError>;

pub(crate) fn handle(
    context: RequestContext,
    body: &[u8],
    out: &mut Outgoing,
) -> Result<Outcome, Refusal> {
    let request: ConsumerGroupHeartbeatRequest = dispatch::decode(&context, body)?;
    let written = beat(&context, &request);
    match written {
        Ok(Written { reply, committed: None }) => {
            dispatch::answer(&context, &answer(reply), out)?;
            Ok(Outcome::Answered)
        }
        Ok(written) => Ok(Outcome::Exclusive(Box::pin(async move {
            let reply = written.committed().await.unwrap_or_else(|code| Err(code.into()));
            let mut out = Outgoing::default();
            dispatch::answer(&context, &answer(reply), &mut out)?;
            Ok(out)
        }))),
        Err(code) => {
            dispatch::answer(&context, &answer(Err(code.into())), out)?;
            Ok(Outcome::Answered)
        }
    }
}

fn beat(
    context: &RequestContext,
    request: &ConsumerGroupHeartbeatRequest,
) -> Result<Written<Heard>, ErrorCode> {
    let groups = context.broker.groups();
    if !groups.speaks_consumer_protocol() {
        return Err(ErrorCode::UnsupportedVersion);
    }
    if !context.allows(Operation::Read, Resource::Group(&request.group_id)) {
        return Err(ErrorCode::GroupAuthorizationFailed);
    }
    let may_see = |topic: &Str| context.allows(Operation::Describe, Resource::Topic(topic));
    if !request.subscribed_topic_names.iter().flatten().all(may_see) {
        return Err(ErrorCode::TopicAuthorizationFailed);
    }
    let topics = request.subscribed_topic_names.as_ref();
    let asked = ConsumerHeartbeat {
        group_id: own(&request.group_id),
        member_id: own(&request.member_id),
        member_epoch: request.member_epoch,
        instance_id: own_opt(request.instance_id.as_ref()),
        rack: own_opt(request.rack_id.as_ref()),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topics: topics.map(|topics| topics.iter().map(own).collect()),
        regex: own_opt(request.subscribed_topic_regex.as_ref()),
        assignor: own_opt(request.server_assignor.as_ref()),
        owned: request.topic_partitions.as_ref().map(|owned| {
            let topic = |topic: &RequestTopicPartitions| {
                (topic.topic_id, topic.partitions.iter().copied().collect())
            };
            owned.iter().map(topic).collect()
        }),
        client: client_info(context),
        needs_member_id: context.version >= 1,
        random: groups.random(),
    };
    groups.decide(&asked.group_id, |shard, now| shard.consumer_heartbeat(now, &asked))
}

fn answer(heard: Heard) -> ConsumerGroupHeartbeatResponse {
    match heard {
        Ok(reply) => ConsumerGroupHeartbeatResponse {
            member_id: Some((&reply.member_id).into()),
            member_epoch: reply.member_epoch,
            heartbeat_interval_ms: reply.heartbeat_interval_ms,
            assignment: reply.assignment.as_ref().map(assignment),
            ..Default::default()
        },
        Err(GroupError { code, message }) => ConsumerGroupHeartbeatResponse {
            error_code: code.code(),
            error_message: Some(message).filter(|text| !text.is_empty()).map(Str::from),
            ..Default::default()
        },
    }
}

fn assignment(assigned: &Owned) -> Assignment {
    let topic =
        |(topic_id, partitions): (&_, &std::collections::BTreeSet<i32>)| ResponseTopicPartitions {
            topic_id: *topic_id,
            partitions: partitions.iter().copied().collect(),
        };
    Assignment { topic_partitions: assigned.iter().map(topic).collect() }
}
