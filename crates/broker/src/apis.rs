//! The one list of what is served: ApiVersions advertises it and dispatch checks against it.

use std::ops::RangeInclusive;

use millstream_wire::ApiKey;
use millstream_wire::messages::api_versions::ApiVersion;

/// Each served API with the versions that work.
pub(crate) const SUPPORTED: &[(ApiKey, RangeInclusive<i16>)] = &[
    (ApiKey::Produce, 3..=13),
    (ApiKey::Fetch, 4..=18),
    (ApiKey::ListOffsets, 1..=11),
    (ApiKey::Metadata, 0..=13),
    (ApiKey::OffsetCommit, 2..=10),
    (ApiKey::OffsetFetch, 1..=10),
    (ApiKey::FindCoordinator, 0..=6),
    (ApiKey::JoinGroup, 0..=9),
    (ApiKey::Heartbeat, 0..=4),
    (ApiKey::LeaveGroup, 0..=5),
    (ApiKey::SyncGroup, 0..=5),
    (ApiKey::DescribeGroups, 0..=6),
    (ApiKey::ListGroups, 0..=5),
    (ApiKey::ApiVersions, 0..=5),
    (ApiKey::CreateTopics, 2..=7),
    (ApiKey::DeleteTopics, 1..=6),
    (ApiKey::DeleteRecords, 0..=2),
    (ApiKey::InitProducerId, 0..=5),
    (ApiKey::OffsetForLeaderEpoch, 2..=4),
    (ApiKey::AddPartitionsToTxn, 0..=5),
    (ApiKey::AddOffsetsToTxn, 0..=4),
    (ApiKey::EndTxn, 0..=5),
    (ApiKey::WriteTxnMarkers, 1..=2),
    (ApiKey::TxnOffsetCommit, 0..=6),
    (ApiKey::DescribeConfigs, 1..=4),
    (ApiKey::AlterConfigs, 0..=2),
    (ApiKey::DescribeLogDirs, 1..=5),
    (ApiKey::CreatePartitions, 0..=3),
    (ApiKey::DeleteGroups, 0..=3),
    (ApiKey::IncrementalAlterConfigs, 0..=1),
    (ApiKey::OffsetDelete, 0..=0),
    (ApiKey::DescribeCluster, 0..=2),
    (ApiKey::DescribeProducers, 0..=0),
    (ApiKey::DescribeTransactions, 0..=0),
    (ApiKey::ListTransactions, 0..=2),
    (ApiKey::ConsumerGroupHeartbeat, 0..=1),
    (ApiKey::ConsumerGroupDescribe, 0..=1),
    (ApiKey::ListConfigResources, 0..=1),
    (ApiKey::DescribeTopicPartitions, 0..=0),
];

/// Whether `api` is served at `version`.
pub(crate) fn serves(api: ApiKey, version: i16) -> bool {
    SUPPORTED.iter().any(|(served, versions)| *served == api && versions.contains(&version))
}

/// The list as ApiVersions gives it.
///
/// Produce is said to begin at 0, although 0 to 2 are refused: older librdkafka asks for exactly that and sends
/// everything uncompressed when it is not there (KAFKA-18659).
pub(crate) fn advertised() -> Vec<ApiVersion> {
    SUPPORTED
        .iter()
        .map(|(api, versions)| ApiVersion {
            api_key: api.code(),
            min_version: if *api == ApiKey::Produce { 0 } else { *versions.start() },
            max_version: *versions.end(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_that_the_codec_knows_are_served() {
        for &(api, ref versions) in SUPPORTED {
            assert!(*versions.start() >= api.min(), "{api:?}");
            assert!(*versions.end() <= api.latest_stable(), "{api:?}");
        }
    }

    #[test]
    fn produce_is_advertised_from_zero_and_served_from_three() {
        let produce = advertised().into_iter().find(|api| api.api_key == 0).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
        assert!(!serves(ApiKey::Produce, 2));
        assert!(serves(ApiKey::Produce, 3));
    }
}
