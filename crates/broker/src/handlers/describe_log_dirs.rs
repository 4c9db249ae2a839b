//! DescribeLogDirs (key 35, v1-5): what lies in which directory, and how much room is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_base::{ErrorCode, PartitionIndex};
use millstream_env::task;
use millstream_wire::messages::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse,
    DescribeLogDirsResult, DescribeLogDirsTopic,
};

use crate::authorizer::{Operation, Resource};
use crate::context::RequestContext;

pub(crate) async fn handle(
    context: RequestContext,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if !context.allows(Operation::Describe, Resource::Cluster) {
        let error_code = ErrorCode::ClusterAuthorizationFailed.code();
        return DescribeLogDirsResponse { error_code, ..Default::default() };
    }
    let describe = move || describe(&context, &request);
    let results = task::spawn_blocking(describe).await.unwrap_or_default();
    DescribeLogDirsResponse { results, ..Default::default() }
}

fn describe(
    context: &RequestContext,
    request: &DescribeLogDirsRequest,
) -> Vec<DescribeLogDirsResult> {
    let replicas = context.broker.replicas();
    let logs = replicas.logs();
    let mut by_dir: Vec<BTreeMap<_, Vec<_>>> = vec![BTreeMap::new(); logs.dirs().len()];
    for partition in replicas.all() {
        if !is_wanted(request, &partition.name.topic, partition.index()) {
            continue;
        }
        let (path, size) = partition.with_log(|log| (log.path(), log.size_bytes()));
        let entry = DescribeLogDirsPartition {
            partition_index: partition.index().get(),
            partition_size: i64::try_from(size).unwrap_or(i64::MAX),
            ..Default::default()
        };
        if let Some(topics) = logs.place_of(&path).and_then(|at| by_dir.get_mut(at)) {
            topics.entry(partition.name.topic.clone()).or_default().push(entry);
        }
    }
    let results = logs.dirs().iter().zip(by_dir).map(|(dir, topics)| {
        let topic = |(name, mut partitions): (Arc<str>, Vec<DescribeLogDirsPartition>)| {
            partitions.sort_by_key(|partition| partition.partition_index);
            DescribeLogDirsTopic { name: (&name).into(), partitions }
        };
        let space = dir.space();
        let error =
            space.as_ref().err().map_or(ErrorCode::None, millstream_log::StorageError::code);
        let (free, total) = space.unwrap_or_default();
        DescribeLogDirsResult {
            error_code: error.code(),
            log_dir: dir.path().to_string_lossy().as_ref().into(),
            topics: topics.into_iter().map(topic).collect(),
            total_bytes: i64::try_from(total).unwrap_or(i64::MAX),
            usable_bytes: i64::try_from(free).unwrap_or(i64::MAX),
            is_cordoned: false,
        }
    });
    let absent = logs.absent().iter().map(|path| DescribeLogDirsResult {
        error_code: ErrorCode::KafkaStorageError.code(),
        log_dir: path.to_string_lossy().as_ref().into(),
        ..Default::default()
    });
    results.chain(absent).collect()
}

/// Null asks for everything.
fn is_wanted(request: &DescribeLogDirsRequest, topic: &str, index: PartitionIndex) -> bool {
    let Some(topics) = &request.topics else { return true };
    topics.iter().any(|wanted| wanted.topic == *topic && wanted.partitions.contains(&index.get()))
}
