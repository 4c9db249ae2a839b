//! Metadata (key 3, v0-13): brokers, topics, partitions and their leaders. Makes topics where that is allowed.

use std::collections::BTreeSet;
use std::sync::Arc;

use millstream_base::{ErrorCode, Uuid};
use millstream_metadata::{ClusterImage, Partition, Topic, names};
use millstream_wire::Str;
use millstream_wire::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};

use crate::authorizer::{Operation, Resource};
use crate::auto_create;
use crate::cluster_view;
use crate::context::RequestContext;

/// Topics can be asked for by id from here on.
const FIRST_WITH_TOPIC_IDS: i16 = 12;
/// Clients know LISTENER_NOT_FOUND from here on.
const FIRST_WITH_LISTENER_NOT_FOUND: i16 = 6;
/// The cluster's authorized operations are told in these versions; DescribeCluster took their place.
const WITH_CLUSTER_OPERATIONS: std::ops::RangeInclusive<i16> = 8..=10;

/// Stands for "not asked for" in fields of authorized operations.
const NOT_ASKED: i32 = i32::MIN;

pub(crate) async fn handle(context: RequestContext, request: MetadataRequest) -> MetadataResponse {
    if let Some(refused) = refused(&context, &request) {
        return MetadataResponse { topics: refused, ..Default::default() };
    }
    let wanted = wanted(&context, &request);
    if let Wanted::Names(names) = &wanted {
        create_missing(&context, &request, names).await;
    }
    let image = context.broker.image();
    let view = View {
        context: &context,
        image: &image,
        with_operations: request.include_topic_authorized_operations,
    };
    let topics = match wanted {
        Wanted::All => view.all(),
        Wanted::Names(names) => names.iter().map(|name| view.by_name(name)).collect(),
        Wanted::Ids(ids) => ids.into_iter().map(|id| view.by_id(id)).collect(),
    };
    let with_cluster_operations = request.include_cluster_authorized_operations
        && WITH_CLUSTER_OPERATIONS.contains(&context.version);
    MetadataResponse {
        brokers: brokers(&context, &image),
        cluster_id: Some(context.broker.cluster_id().into()),
        controller_id: cluster_view::controller(&context, &image),
        topics,
        cluster_authorized_operations: match with_cluster_operations {
            true if context.allows(Operation::Describe, Resource::Cluster) => {
                context.allowed_operations(Resource::Cluster)
            }
            true => 0,
            false => NOT_ASKED,
        },
        ..Default::default()
    }
}

/// What a request asks for.
enum Wanted {
    All,
    /// Each name once.
    Names(Vec<Str>),
    Ids(Vec<Uuid>),
}

/// An empty list means all topics in version 0 and none later; null means all.
fn wanted(context: &RequestContext, request: &MetadataRequest) -> Wanted {
    let Some(topics) = &request.topics else { return Wanted::All };
    if topics.is_empty() && context.version == 0 {
        return Wanted::All;
    }
    if topics.iter().any(|topic| topic.topic_id != Uuid::ZERO) {
        let ids: BTreeSet<Uuid> =
            topics.iter().map(|topic| topic.topic_id).filter(|id| *id != Uuid::ZERO).collect();
        return Wanted::Ids(ids.into_iter().collect());
    }
    let mut seen = BTreeSet::new();
    let names = topics.iter().filter_map(|topic| topic.name.clone());
    Wanted::Names(names.filter(|name| seen.insert(name.clone())).collect())
}

/// Before [`FIRST_WITH_TOPIC_IDS`] every topic must have a name and none an id; else all are refused.
fn refused(
    context: &RequestContext,
    request: &MetadataRequest,
) -> Option<Vec<MetadataResponseTopic>> {
    if context.version >= FIRST_WITH_TOPIC_IDS {
        return None;
    }
    let topics = request.topics.as_deref().unwrap_or_default();
    let wrong = topics.iter().any(|topic| topic.name.is_none() || topic.topic_id != Uuid::ZERO);
    let refusal = |topic: &millstream_wire::messages::metadata::MetadataRequestTopic| {
        let name = topic.name.clone().unwrap_or_default();
        failed(ErrorCode::InvalidRequest, Some(name), topic.topic_id)
    };
    wrong.then(|| topics.iter().map(refusal).collect())
}

/// Makes the topics that are asked for and not there, if client and broker both allow it. What cannot be made
/// shows as missing afterwards.
async fn create_missing(context: &RequestContext, request: &MetadataRequest, names: &[Str]) {
    if !request.allow_auto_topic_creation || !context.broker.config().node.auto_create_topics_enable
    {
        return;
    }
    let image = context.broker.image();
    let missing = |name: &&Str| {
        image.topics.get(name).is_none()
            && names::check_topic_name(name).is_ok()
            && context.allows(Operation::Describe, Resource::Topic(name))
            && may_create(context, name)
    };
    let missing: Vec<&str> = names.iter().filter(missing).map(Str::as_str).collect();
    if !missing.is_empty() {
        auto_create::create(&context.broker, &missing).await;
    }
}

fn may_create(context: &RequestContext, name: &str) -> bool {
    context.allows(Operation::Create, Resource::Cluster)
        || context.allows(Operation::Create, Resource::Topic(name))
}

fn brokers(context: &RequestContext, image: &ClusterImage) -> Vec<MetadataResponseBroker> {
    let told = cluster_view::reachable(context, image);
    told.map(|(broker, host, port)| MetadataResponseBroker {
        node_id: broker.id.get(),
        host,
        port,
        rack: broker.rack.as_ref().map(Str::from),
    })
    .collect()
}

/// How one request looks at the image.
struct View<'a> {
    context: &'a RequestContext,
    image: &'a ClusterImage,
    with_operations: bool,
}

impl View<'_> {
    /// Every topic that the client may see.
    fn all(&self) -> Vec<MetadataResponseTopic> {
        let visible = |topic: &&Arc<Topic>| self.may_describe(&topic.name);
        self.image.topics.iter().filter(visible).map(|topic| self.topic(topic)).collect()
    }

    fn by_name(&self, name: &Str) -> MetadataResponseTopic {
        let refuse = |error| MetadataResponseTopic {
            is_internal: names::is_internal_topic(name),
            ..failed(error, Some(name.clone()), Uuid::ZERO)
        };
        if !self.may_describe(name) {
            return refuse(ErrorCode::TopicAuthorizationFailed);
        }
        match self.image.topics.get(name) {
            Some(topic) => self.topic(topic),
            None if names::check_topic_name(name).is_err() => {
                refuse(ErrorCode::InvalidTopicException)
            }
            None => refuse(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// A topic that the client may not see is refused without its name (KIP-516).
    fn by_id(&self, id: Uuid) -> MetadataResponseTopic {
        match self.image.topics.get_by_id(id) {
            Some(topic) if self.may_describe(&topic.name) => self.topic(topic),
            Some(_) => failed(ErrorCode::TopicAuthorizationFailed, None, id),
            None => failed(ErrorCode::UnknownTopicId, None, id),
        }
    }

    fn may_describe(&self, name: &str) -> bool {
        self.context.allows(Operation::Describe, Resource::Topic(name))
    }

    fn topic(&self, topic: &Topic) -> MetadataResponseTopic {
        let partitions = topic.partitions.iter();
        MetadataResponseTopic {
            error_code: ErrorCode::None.code(),
            name: Some((&topic.name).into()),
            topic_id: topic.id,
            is_internal: topic.is_internal(),
            partitions: partitions.map(|(index, p)| self.partition(index.get(), p)).collect(),
            topic_authorized_operations: match self.with_operations {
                true => self.context.allowed_operations(Resource::Topic(&topic.name)),
                false => NOT_ASKED,
            },
        }
    }

    fn partition(&self, index: i32, partition: &Partition) -> MetadataResponsePartition {
        let offline = cluster_view::offline_replicas(self.image, partition);
        let (leader, mut error) = self.leader(partition);
        let mut replicas = cluster_view::numbers(&partition.replicas);
        let mut isr = cluster_view::numbers(&partition.isr);
        // Clients of version 0 cannot tell a broker that is gone from one that they have not heard of yet.
        if self.context.version == 0 {
            replicas.retain(|id| !offline.contains(id));
            isr.retain(|id| !offline.contains(id));
            if error == ErrorCode::None && !offline.is_empty() {
                error = ErrorCode::ReplicaNotAvailable;
            }
        }
        MetadataResponsePartition {
            error_code: error.code(),
            partition_index: index,
            leader_id: leader,
            leader_epoch: partition.leader_epoch.get(),
            replica_nodes: replicas,
            isr_nodes: isr,
            offline_replicas: offline,
        }
    }

    fn leader(&self, partition: &Partition) -> (i32, ErrorCode) {
        let leader = partition.leader.filter(|id| cluster_view::is_alive(self.image, *id));
        let Some(leader) = leader else { return (-1, ErrorCode::LeaderNotAvailable) };
        if self.context.address_of(self.image, leader).is_some() {
            return (leader.get(), ErrorCode::None);
        }
        let knows_listeners = self.context.version >= FIRST_WITH_LISTENER_NOT_FOUND;
        let unknown = ErrorCode::ListenerNotFound;
        (-1, if knows_listeners { unknown } else { ErrorCode::LeaderNotAvailable })
    }
}

fn failed(error: ErrorCode, name: Option<Str>, topic_id: Uuid) -> MetadataResponseTopic {
    MetadataResponseTopic { error_code: error.code(), name, topic_id, ..Default::default() }
}
