//! CreateTopics (key 19, v2-7). From version 5 on the answer has the settings that resulted (KIP-525).

use millstream_base::{ErrorCode, NodeId, PartitionIndex, Uuid};
use millstream_config::{BrokerConfig, Resource as Described};
use millstream_metadata::decide::{CreateTopics, CreatedTopic, NewTopic, Refusal};
use millstream_wire::Str;
use millstream_wire::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest,
    CreateTopicsResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::auto_create::default_replication_factor;
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: CreateTopicsRequest,
) -> CreateTopicsResponse {
    let config = context.broker.config().clone();
    let may_create = |name: &str| {
        context.allows(Operation::Create, Resource::Cluster)
            || context.allows(Operation::Create, Resource::Topic(name))
    };
    let (allowed, refused): (Vec<_>, Vec<_>) =
        request.topics.iter().partition(|topic| may_create(&topic.name));
    let mut topics: Vec<CreatableTopicResult> =
        refused.into_iter().map(|topic| unauthorized(&topic.name)).collect();
    let command = CreateTopics {
        topics: allowed.into_iter().map(|topic| new_topic(&context, topic)).collect(),
        validate_only: request.validate_only,
        default_num_partitions: config.node.num_partitions,
        default_replication_factor: default_replication_factor(
            config.node.default_replication_factor,
        ),
        seed: context.broker.random().next_u64(),
    };
    let names: Vec<String> = command.topics.iter().map(|topic| topic.name.clone()).collect();
    let for_decision = config.clone();
    let decided = context.broker.quorum();
    match decided.execute(move |image, _| Ok(command.decide(image, &for_decision))).await {
        Ok(decided) => topics.extend(decided.into_iter().map(|(name, result)| match result {
            Ok(created) => created_topic(&context, &config, &name, &created),
            Err(refusal) => failed(&name, &refusal),
        })),
        Err(error) => {
            let refusal = Refusal::new(error.code(), error.to_string());
            topics.extend(names.iter().map(|name| failed(name, &refusal)));
        }
    }
    CreateTopicsResponse { topics, ..Default::default() }
}

fn new_topic(context: &RequestContext, topic: &CreatableTopic) -> NewTopic {
    let assignments = topic.assignments.iter().map(|row| {
        let replicas = row.broker_ids.iter().copied().map(NodeId).collect();
        (PartitionIndex(row.partition_index), replicas)
    });
    let configs = topic
        .configs
        .iter()
        .map(|setting| (setting.name.to_string(), setting.value.as_ref().map(ToString::to_string)));
    NewTopic {
        name: topic.name.to_string(),
        id: Uuid::from_random(context.broker.random().bytes16()),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}

fn created_topic(
    context: &RequestContext,
    config: &BrokerConfig,
    name: &str,
    created: &CreatedTopic,
) -> CreatableTopicResult {
    let result = CreatableTopicResult {
        name: name.into(),
        topic_id: created.id,
        error_message: None,
        configs: None,
        ..Default::default()
    };
    if !context.allows(Operation::DescribeConfigs, Resource::Topic(name)) {
        let topic_config_error_code = ErrorCode::TopicAuthorizationFailed.code();
        return CreatableTopicResult { topic_config_error_code, ..result };
    }
    let settings = config.describe(Described::Topic(&created.configs), |_| true);
    let settings = settings.into_iter().map(|entry| CreatableTopicConfigs {
        name: Str::from_static(entry.name),
        value: entry.value.map(Str::from),
        read_only: entry.read_only,
        config_source: entry.source.code(),
        is_sensitive: entry.sensitive,
    });
    CreatableTopicResult {
        num_partitions: created.num_partitions,
        replication_factor: created.replication_factor,
        configs: Some(settings.collect()),
        ..result
    }
}

fn failed(name: &str, refusal: &Refusal) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.into(),
        error_code: refusal.code.code(),
        error_message: Some((&refusal.message).into()),
        configs: Some(Vec::new()),
        ..Default::default()
    }
}

fn unauthorized(name: &str) -> CreatableTopicResult {
    let message = "the principal may not create this topic";
    failed(name, &Refusal::new(ErrorCode::TopicAuthorizationFailed, message))
}
