//! ConsumerGroupDescribe (key 69, v0-1): state, epochs, members and assignments of consumer-protocol groups.

use millstream_base::ErrorCode;
use millstream_groups::{Assignment as Assigned, DescribedConsumer, DescribedConsumerGroup};
use millstream_metadata::ClusterImage;
use millstream_wire::Str;
use millstream_wire::messages::consumer_group_describe::{
    Assignment, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribedGroup,
    Member, TopicPartitions,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;
use crate::coordinator::convert::send_opt;

/// What AuthorizedOperations says when nobody asked.
const NOT_ASKED: i32 = i32::MIN;
/// The types of members in version 1 and up.
const CLASSIC: i8 = 0;
const CONSUMER: i8 = 1;

pub(crate) async fn handle(
    context: RequestContext,
    request: ConsumerGroupDescribeRequest,
) -> ConsumerGroupDescribeResponse {
    let image = context.broker.image();
    let asks_operations = request.include_authorized_operations;
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for group_id in request.group_ids {
        let mut group = describe(&context, &image, group_id).await;
        if asks_operations && group.error_code == 0 {
            group.authorized_operations = Resource::Group(&group.group_id).all_operations();
        }
        groups.push(group);
    }
    ConsumerGroupDescribeResponse { groups, ..Default::default() }
}

async fn describe(context: &RequestContext, image: &ClusterImage, group_id: Str) -> DescribedGroup {
    let groups = context.broker.groups();
    if !groups.speaks_consumer_protocol() {
        return refused(group_id, ErrorCode::UnsupportedVersion, None);
    }
    if !context.allows(Operation::Describe, Resource::Group(&group_id)) {
        return refused(group_id, ErrorCode::GroupAuthorizationFailed, None);
    }
    match groups.read(&group_id, |shard| shard.describe_consumer_group(&group_id)).await {
        Ok(Some(group)) => answer(image, group_id, group),
        Ok(None) => {
            let message = format!("there is no consumer-protocol group `{group_id}`");
            refused(group_id, ErrorCode::GroupIdNotFound, Some(message))
        }
        Err(code) => refused(group_id, code, None),
    }
}

fn refused(group_id: Str, error: ErrorCode, message: Option<String>) -> DescribedGroup {
    DescribedGroup {
        error_code: error.code(),
        error_message: message.map(Str::from),
        group_id,
        authorized_operations: NOT_ASKED,
        ..Default::default()
    }
}

fn answer(image: &ClusterImage, group_id: Str, group: DescribedConsumerGroup) -> DescribedGroup {
    let member = |member: DescribedConsumer| Member {
        member_id: (&member.member_id).into(),
        instance_id: send_opt(member.instance_id.as_ref()),
        rack_id: send_opt(member.rack.as_ref()),
        member_epoch: member.epoch,
        client_id: (&member.client_id).into(),
        client_host: (&member.client_host).into(),
        subscribed_topic_names: member.topics.iter().map(Str::from).collect(),
        subscribed_topic_regex: send_opt(member.regex.as_ref()),
        assignment: assignment(image, &member.assigned),
        target_assignment: assignment(image, &member.target),
        member_type: if member.is_classic { CLASSIC } else { CONSUMER },
    };
    DescribedGroup {
        group_id,
        // Beside no error Kafka leaves this open and clients do not look; `millstream group describe` does.
        error_message: group.rebalance_reason.as_ref().map(Str::from),
        group_state: group.state.into(),
        group_epoch: group.epoch,
        assignment_epoch: group.assignment_epoch,
        assignor_name: (&group.assignor).into(),
        members: group.members.into_iter().map(member).collect(),
        authorized_operations: NOT_ASKED,
        ..Default::default()
    }
}

/// Topics that are gone are left out, as there is no name for them.
fn assignment(image: &ClusterImage, assigned: &Assigned) -> Assignment {
    let topic = |(id, partitions): (&_, &std::collections::BTreeSet<i32>)| {
        Some(TopicPartitions {
            topic_id: *id,
            topic_name: image.topics.name_of(*id)?.into(),
            partitions: partitions.iter().copied().collect(),
        })
    };
    Assignment { topic_partitions: assigned.iter().filter_map(topic).collect() }
}
