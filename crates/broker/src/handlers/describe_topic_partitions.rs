//! DescribeTopicPartitions (key 75, v0): topics and partitions in pages, with eligible leader replicas (KIP-966).

use std::collections::BTreeSet;
use std::ops::Bound;

use millstream_base::{ErrorCode, NodeId, PartitionIndex, Uuid};
use millstream_metadata::{ClusterImage, Partition, Topic, names};
use millstream_wire::Str;
use millstream_wire::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic, RequestCursor,
    ResponseCursor, TopicRequest,
};

use crate::authorizer::{Operation, Resource};
use crate::cluster_view;
use crate::context::RequestContext;

pub(crate) fn handle(
    context: &RequestContext,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let image = context.broker.image();
    let setting = context.broker.config().node.max_request_partition_size_limit;
    let limit = request.response_partition_limit.min(setting).max(1);
    let mut page = Page {
        context,
        image: &image,
        left: usize::try_from(limit).unwrap_or(1),
        response: DescribeTopicPartitionsResponse::default(),
    };
    let cursor = request.cursor.as_ref();
    if cursor.is_some_and(|cursor| cursor.partition_index < 0) {
        return refused(request.topics, ErrorCode::InvalidRequest);
    }
    let from = cursor.map_or("", |cursor| &cursor.topic_name);
    if request.topics.is_empty() {
        for topic in image.topics.iter_from(from) {
            if page.may_describe(&topic.name) && !page.add(topic, cursor) {
                break;
            }
        }
        return page.response;
    }
    let wanted: BTreeSet<&Str> = request.topics.iter().map(|topic| &topic.name).collect();
    for name in wanted.into_iter().filter(|name| name.as_str() >= from) {
        let found = image.topics.get(name).filter(|_| page.may_describe(name));
        let goes_on = match found {
            Some(topic) => page.add(topic, cursor),
            None => page.add_missing(name),
        };
        if !goes_on {
            break;
        }
    }
    page.response
}

/// A response in the making.
struct Page<'a> {
    context: &'a RequestContext,
    image: &'a ClusterImage,
    /// How many partitions still fit.
    left: usize,
    response: DescribeTopicPartitionsResponse,
}

impl Page<'_> {
    fn may_describe(&self, name: &str) -> bool {
        self.context.allows(Operation::Describe, Resource::Topic(name))
    }

    /// Sets where the next page begins.
    fn end_at(&mut self, topic: &str, partition: i32) -> bool {
        self.response.next_cursor =
            Some(ResponseCursor { topic_name: topic.into(), partition_index: partition });
        false
    }

    /// Adds what fits of a topic; `false` when the page is full.
    fn add(&mut self, topic: &Topic, cursor: Option<&RequestCursor>) -> bool {
        if self.left == 0 {
            return self.end_at(&topic.name, 0);
        }
        let here = cursor.filter(|cursor| *cursor.topic_name == *topic.name);
        let start = PartitionIndex(here.map_or(0, |cursor| cursor.partition_index));
        let rest: Vec<_> =
            topic.partitions.range_from(Bound::Included(&start)).take(self.left + 1).collect();
        let fits = rest.len().min(self.left);
        let partitions = rest.iter().take(fits);
        self.response.topics.push(DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::None.code(),
            name: Some((&topic.name).into()),
            topic_id: topic.id,
            is_internal: topic.is_internal(),
            partitions: partitions
                .map(|(index, p)| described(self.image, index.get(), p))
                .collect(),
            topic_authorized_operations: self
                .context
                .allowed_operations(Resource::Topic(&topic.name)),
        });
        self.left -= fits;
        match rest.get(fits) {
            Some((next, _)) => self.end_at(&topic.name, next.get()),
            None => true,
        }
    }

    /// A topic that is not there, or that the client may not see.
    fn add_missing(&mut self, name: &Str) -> bool {
        if self.left == 0 {
            return self.end_at(name, 0);
        }
        let error = if !self.may_describe(name) {
            ErrorCode::TopicAuthorizationFailed
        } else if names::check_topic_name(name).is_err() {
            ErrorCode::InvalidTopicException
        } else {
            ErrorCode::UnknownTopicOrPartition
        };
        self.response.topics.push(failed(error, name));
        true
    }
}

fn described(
    image: &ClusterImage,
    index: i32,
    partition: &Partition,
) -> DescribeTopicPartitionsResponsePartition {
    let leader = partition.leader.filter(|id| cluster_view::is_alive(image, *id));
    let error = if leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable };
    DescribeTopicPartitionsResponsePartition {
        error_code: error.code(),
        partition_index: index,
        leader_id: leader.map_or(-1, NodeId::get),
        leader_epoch: partition.leader_epoch.get(),
        replica_nodes: cluster_view::numbers(&partition.replicas),
        isr_nodes: cluster_view::numbers(&partition.isr),
        eligible_leader_replicas: Some(cluster_view::numbers(&partition.elr)),
        last_known_elr: Some(cluster_view::numbers(&partition.last_known_elr)),
        offline_replicas: cluster_view::offline_replicas(image, partition),
    }
}

fn failed(error: ErrorCode, name: &Str) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic {
        error_code: error.code(),
        name: Some(name.clone()),
        topic_id: Uuid::ZERO,
        is_internal: names::is_internal_topic(name),
        ..Default::default()
    }
}

fn refused(topics: Vec<TopicRequest>, error: ErrorCode) -> DescribeTopicPartitionsResponse {
    let topics = topics.into_iter().map(|topic| failed(error, &topic.name)).collect();
    DescribeTopicPartitionsResponse { topics, ..Default::default() }
}
