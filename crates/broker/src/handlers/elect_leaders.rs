//! ElectLeaders (key 43, v0-2): partitions go back to their preferred leader (KIP-183), or get one from outside the ISR
//! (KIP-460).

use millstream_base::{ErrorCode, PartitionIndex};
use millstream_metadata::ClusterImage;
use millstream_metadata::decide::{
    Decision, ElectLeaders, ElectionKind, MAX_CHANGES_PER_BATCH, Refusal,
};
use millstream_quorum::{CommitError, Turn};
use millstream_wire::messages::elect_leaders::{
    ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

type Named = Vec<(String, PartitionIndex)>;

pub(crate) async fn handle(
    context: RequestContext,
    request: ElectLeadersRequest,
) -> ElectLeadersResponse {
    let named = request.topic_partitions.as_ref().map(|topics| {
        let partitions = topics.iter().flat_map(|topic| {
            let indexes = topic.partitions.iter();
            indexes.map(|index| (topic.topic.to_string(), PartitionIndex(*index)))
        });
        partitions.collect::<Named>()
    });
    let all_of = |code: ErrorCode, message: &str| {
        let refusal = Refusal::new(code, message);
        let named = named.clone().unwrap_or_default();
        let mut response =
            response(named.into_iter().map(|partition| (partition, Err(refusal.clone()))));
        response.error_code = code.code();
        response
    };
    if !context.allows(Operation::Alter, Resource::Cluster) {
        let message = "the principal may not alter the cluster";
        return all_of(ErrorCode::ClusterAuthorizationFailed, message);
    }
    let Some(kind) = ElectionKind::from_code(request.election_type) else {
        let message = "the election type is neither 0 (preferred) nor 1 (unclean)";
        return all_of(ErrorCode::InvalidRequest, message);
    };
    let is_all = named.is_none();
    match elect(&context, kind, named.clone()).await {
        // Whoever asks for all does not want to hear of those that are as they should be.
        Ok(elected) => response(elected.into_iter().filter(|(_, result)| {
            let needless = |refusal: &Refusal| refusal.code == ErrorCode::ElectionNotNeeded;
            !is_all || !result.as_ref().is_err_and(needless)
        })),
        Err(error) => all_of(error.code(), &error.to_string()),
    }
}

async fn elect(
    context: &RequestContext,
    kind: ElectionKind,
    named: Option<Named>,
) -> Result<Vec<((String, PartitionIndex), Result<(), Refusal>)>, CommitError> {
    let quorum = context.broker.quorum();
    let named = match named {
        Some(named) => named,
        None => {
            let find = move |image: &ClusterImage, _: &Turn| {
                Ok(Decision::reply(ElectLeaders::candidates(image, kind)))
            };
            quorum.execute(find).await?
        }
    };
    let defaults = context.broker.active_controller().defaults();
    let mut elected = Vec::with_capacity(named.len());
    for part in named.chunks(MAX_CHANGES_PER_BATCH) {
        let command = ElectLeaders { kind, partitions: part.to_vec(), defaults };
        let decide = move |image: &ClusterImage, _: &Turn| Ok(command.decide(image));
        let results = quorum.execute(decide).await?;
        elected.extend(part.iter().cloned().zip(results));
    }
    Ok(elected)
}

fn response(
    results: impl Iterator<Item = ((String, PartitionIndex), Result<(), Refusal>)>,
) -> ElectLeadersResponse {
    let mut topics: Vec<ReplicaElectionResult> = Vec::new();
    for ((name, index), result) in results {
        let refusal = result.err();
        let answer = PartitionResult {
            partition_id: index.get(),
            error_code: refusal.as_ref().map_or(ErrorCode::None, |refusal| refusal.code).code(),
            error_message: refusal.map(|refusal| refusal.message.into()),
        };
        match topics.last_mut().filter(|topic| *topic.topic == *name) {
            Some(topic) => topic.partition_result.push(answer),
            None => topics
                .push(ReplicaElectionResult { topic: name.into(), partition_result: vec![answer] }),
        }
    }
    ElectLeadersResponse { replica_election_results: topics, ..ElectLeadersResponse::default() }
}
