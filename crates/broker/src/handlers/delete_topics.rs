//! DeleteTopics (key 20, v1-6): by name, from version 6 on also by id (KIP-516).

use millstream_base::{ErrorCode, Uuid};
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::{DeleteTopics, Refusal, TopicRef};
use millstream_wire::Str;
use millstream_wire::messages::delete_topics::{
    DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

/// The first version whose clients know TOPIC_DELETION_DISABLED.
const FIRST_WITH_DISABLED: i16 = 3;

pub(crate) async fn handle(
    context: RequestContext,
    request: DeleteTopicsRequest,
) -> DeleteTopicsResponse {
    let image = context.broker.image();
    let (mut responses, mut topics) = (Vec::new(), Vec::new());
    for named in named(&request) {
        match named.and_then(|topic| check(&context, &image, topic)) {
            Ok(topic) => topics.push(topic),
            Err(refused) => responses.push(refused),
        }
    }
    let enabled = context.broker.config().node.delete_topic_enable;
    let command = DeleteTopics { topics: topics.clone(), enabled };
    match context.broker.quorum().execute(move |image, _| Ok(command.decide(image))).await {
        Ok(decided) => responses.extend(decided.into_iter().map(|(topic, result)| match result {
            Ok(deleted) => DeletableTopicResult {
                name: Some((&deleted.name).into()),
                topic_id: deleted.id,
                ..Default::default()
            },
            Err(refusal) => failed(&context, &topic, &refusal),
        })),
        Err(error) => {
            let refusal = Refusal::new(error.code(), error.to_string());
            responses.extend(topics.iter().map(|topic| failed(&context, topic, &refusal)));
        }
    }
    DeleteTopicsResponse { responses, ..Default::default() }
}

/// The topics of a request of any version, each with a name or an id and not with both.
fn named(request: &DeleteTopicsRequest) -> Vec<Result<TopicRef, DeletableTopicResult>> {
    let names = request.topic_names.iter().map(|name| Ok(TopicRef::Name(name.to_string())));
    let refuse = |topic: &DeleteTopicState, message: &'static str| {
        Err(DeletableTopicResult {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            error_code: ErrorCode::InvalidRequest.code(),
            error_message: Some(Str::from_static(message)),
        })
    };
    let states = request.topics.iter().map(|topic| match (&topic.name, topic.topic_id) {
        (Some(_), id) if id != Uuid::ZERO => {
            refuse(topic, "a topic must be named by its name or its id, not by both")
        }
        (None, Uuid::ZERO) => refuse(topic, "a topic must be named by its name or its id"),
        (Some(name), _) => Ok(TopicRef::Name(name.to_string())),
        (None, id) => Ok(TopicRef::Id(id)),
    });
    names.chain(states).collect()
}

/// Who may not see a topic learns by its id alone that it may not delete it, and not what it is called.
fn check(
    context: &RequestContext,
    image: &ClusterImage,
    topic: TopicRef,
) -> Result<TopicRef, DeletableTopicResult> {
    let name = match &topic {
        TopicRef::Name(name) => Some(name.as_str()),
        TopicRef::Id(id) => image.topics.name_of(*id).map(AsRef::as_ref),
    };
    if name.is_none_or(|name| context.allows(Operation::Delete, Resource::Topic(name))) {
        return Ok(topic);
    }
    let message = "the principal may not delete this topic";
    Err(failed(context, &topic, &Refusal::new(ErrorCode::TopicAuthorizationFailed, message)))
}

fn failed(context: &RequestContext, topic: &TopicRef, refusal: &Refusal) -> DeletableTopicResult {
    let old = context.version < FIRST_WITH_DISABLED;
    let code = match refusal.code {
        ErrorCode::TopicDeletionDisabled if old => ErrorCode::InvalidRequest,
        code => code,
    };
    let (name, topic_id) = match topic {
        TopicRef::Name(name) => (Some(name.into()), Uuid::ZERO),
        TopicRef::Id(id) => (None, *id),
    };
    DeletableTopicResult {
        name,
        topic_id,
        error_code: code.code(),
        error_message: Some((&refusal.message).into()),
    }
}
