//! CreatePartitions (key 37, v0-3): more partitions for topics that exist.

use millstream_base::{ErrorCode, NodeId};
use millstream_metadata::decide::{CreatePartitions, MorePartitions, Refusal};
use millstream_wire::messages::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
    CreatePartitionsTopicResult,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let allows = |name: &str| context.allows(Operation::Alter, Resource::Topic(name));
    let (allowed, refused): (Vec<_>, Vec<_>) =
        request.topics.iter().partition(|topic| allows(&topic.name));
    let message = "the principal may not alter this topic";
    let unauthorized = Refusal::new(ErrorCode::TopicAuthorizationFailed, message);
    let mut results: Vec<CreatePartitionsTopicResult> =
        refused.into_iter().map(|topic| result(&topic.name, Err(&unauthorized))).collect();
    let command = CreatePartitions {
        topics: allowed.into_iter().map(more).collect(),
        validate_only: request.validate_only,
        seed: context.broker.random().next_u64(),
    };
    let names: Vec<String> = command.topics.iter().map(|topic| topic.name.clone()).collect();
    match context.broker.quorum().execute(move |image, _| Ok(command.decide(image))).await {
        Ok(decided) => results
            .extend(decided.iter().map(|(name, decided)| result(name, decided.as_ref().copied()))),
        Err(error) => {
            let refusal = Refusal::new(error.code(), error.to_string());
            results.extend(names.iter().map(|name| result(name, Err(&refusal))));
        }
    }
    CreatePartitionsResponse { results, ..Default::default() }
}

fn more(topic: &CreatePartitionsTopic) -> MorePartitions {
    let rows = topic.assignments.as_ref().map(|rows| {
        rows.iter().map(|row| row.broker_ids.iter().copied().map(NodeId).collect()).collect()
    });
    MorePartitions { name: topic.name.to_string(), count: topic.count, assignments: rows }
}

fn result(name: &str, decided: Result<(), &Refusal>) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        name: name.into(),
        error_code: decided.err().map_or(ErrorCode::None, |refusal| refusal.code).code(),
        error_message: decided.err().map(|refusal| (&refusal.message).into()),
    }
}
