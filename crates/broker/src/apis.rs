//! The lists of what is served, one for each kind of listener: ApiVersions advertises them and dispatch checks against
//! them.
//!
//! Key type: [`ListenerKind`]. What only nodes of the cluster say to each other over our own API is served and never
//! advertised.

use std::ops::RangeInclusive;

use millstream_wire::ApiKey;
use millstream_wire::messages::api_versions::ApiVersion;

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListenerKind {
    /// Clients and other brokers.
    Broker,
    /// Controllers, brokers that have something to tell them, and admin clients (KIP-919).
    Controller,
}

/// What brokers serve, with the versions that work.
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
    (ApiKey::ElectLeaders, 0..=2),
    (ApiKey::AlterPartitionReassignments, 0..=1),
    (ApiKey::ListPartitionReassignments, 0..=0),
    (ApiKey::DescribeQuorum, 0..=2),
    (ApiKey::UpdateFeatures, 0..=2),
    (ApiKey::UnregisterBroker, 0..=0),
    (ApiKey::AddRaftVoter, 0..=1),
    (ApiKey::RemoveRaftVoter, 0..=0),
    (ApiKey::UnregisterController, 0..=0),
];

/// What controllers serve, with the versions that work.
pub(crate) const BY_CONTROLLERS: &[(ApiKey, RangeInclusive<i16>)] = &[
    (ApiKey::ApiVersions, 0..=5),
    (ApiKey::CreateTopics, 2..=7),
    (ApiKey::DeleteTopics, 1..=6),
    (ApiKey::DescribeConfigs, 1..=4),
    (ApiKey::AlterConfigs, 0..=2),
    (ApiKey::CreatePartitions, 0..=3),
    (ApiKey::IncrementalAlterConfigs, 0..=1),
    (ApiKey::Envelope, 0..=0),
    (ApiKey::DescribeCluster, 1..=2),
    (ApiKey::ElectLeaders, 0..=2),
    (ApiKey::AlterPartitionReassignments, 0..=1),
    (ApiKey::ListPartitionReassignments, 0..=0),
    (ApiKey::DescribeQuorum, 0..=2),
    (ApiKey::AlterPartition, 2..=3),
    (ApiKey::UpdateFeatures, 0..=2),
    (ApiKey::BrokerRegistration, 0..=4),
    (ApiKey::BrokerHeartbeat, 0..=2),
    (ApiKey::UnregisterBroker, 0..=0),
    (ApiKey::AllocateProducerIds, 0..=0),
    (ApiKey::ControllerRegistration, 0..=0),
    (ApiKey::AssignReplicasToDirs, 0..=0),
    (ApiKey::AddRaftVoter, 0..=1),
    (ApiKey::RemoveRaftVoter, 0..=0),
    (ApiKey::UnregisterController, 0..=0),
];

/// What brokers and controllers say to each other besides, whatever the listener.
const AMONG_NODES: &[ApiKey] = &[ApiKey::QuorumMessage];

/// What clients ask of a broker and only the active controller does: a broker hands it on (KIP-590).
const FORWARDED: &[ApiKey] = &[
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::ElectLeaders,
    ApiKey::AlterPartitionReassignments,
    ApiKey::ListPartitionReassignments,
    ApiKey::DescribeQuorum,
    ApiKey::UpdateFeatures,
    ApiKey::UnregisterBroker,
    ApiKey::AddRaftVoter,
    ApiKey::RemoveRaftVoter,
    ApiKey::UnregisterController,
];

/// What is served on a kind of listener.
fn served(on: ListenerKind) -> &'static [(ApiKey, RangeInclusive<i16>)] {
    match on {
        ListenerKind::Broker => SUPPORTED,
        ListenerKind::Controller => BY_CONTROLLERS,
    }
}

/// Whether `api` is served at `version` on a kind of listener.
pub(crate) fn serves(on: ListenerKind, api: ApiKey, version: i16) -> bool {
    let listed = served(on).iter().any(|(it, versions)| *it == api && versions.contains(&version));
    listed || (AMONG_NODES.contains(&api) && api.has_version(version))
}

/// Whether a broker that is not the active controller hands such a request on to it.
pub(crate) fn is_forwarded(api: ApiKey) -> bool {
    FORWARDED.contains(&api)
}

/// Whether `api` is served before the broker has taken its place in the cluster.
pub(crate) fn is_served_early(api: ApiKey) -> bool {
    api == ApiKey::ApiVersions || AMONG_NODES.contains(&api)
}

/// A list as ApiVersions gives it.
///
/// Produce is said to begin at 0, although 0 to 2 are refused: older librdkafka asks for exactly that and sends
/// everything uncompressed when it is not there (KAFKA-18659).
pub(crate) fn advertised(on: ListenerKind) -> Vec<ApiVersion> {
    served(on)
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
        for &(api, ref versions) in SUPPORTED.iter().chain(BY_CONTROLLERS) {
            assert!(*versions.start() >= api.min(), "{api:?}");
            assert!(*versions.end() <= api.latest_stable(), "{api:?}");
        }
    }

    #[test]
    fn produce_is_advertised_from_zero_and_served_from_three() {
        let produce =
            advertised(ListenerKind::Broker).into_iter().find(|api| api.api_key == 0).unwrap();
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
        assert!(!serves(ListenerKind::Broker, ApiKey::Produce, 2));
        assert!(serves(ListenerKind::Broker, ApiKey::Produce, 3));
    }

    #[test]
    fn what_nodes_say_to_each_other_is_served_and_not_advertised() {
        for on in [ListenerKind::Broker, ListenerKind::Controller] {
            assert!(serves(on, ApiKey::QuorumMessage, 0));
            let code = ApiKey::QuorumMessage.code();
            assert!(advertised(on).iter().all(|api| api.api_key != code), "{on:?}");
        }
        assert!(!serves(ListenerKind::Controller, ApiKey::Produce, 9));
        assert!(!serves(ListenerKind::Broker, ApiKey::Envelope, 0));
    }
}
